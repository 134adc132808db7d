//! Double-precision arithmetic in the four rounding modes, by operations that round to nearest.
//!
//! The error of a rounded result is computed exactly (by subtraction for sums, by fused
//! multiplication for the rest); its sign tells whether a directed mode takes the neighbour.
//! Operands are those that programs have: no signalling values, no results below the normal range.

/// How results that do not fit are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rounding {
    /// To the nearest, ties to even.
    #[default]
    Nearest,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
    /// Towards zero.
    Zero,
}

impl Rounding {
    /// The mode that the lowest two bits name.
    pub(super) fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }

    #[inline(always)]
    pub(super) fn add(self, a: f64, b: f64) -> f64 {
        let sum = a + b;
        if self == Self::Nearest {
            return sum;
        }
        if !sum.is_finite() {
            return self.overflow(sum, a.is_finite() && b.is_finite());
        }
        let part = sum - a;
        let error = (a - (sum - part)) + (b - part);
        if error == 0.0 {
            // A difference of equal numbers is -0 in this mode only.
            let positive = a.to_bits() == 0 && b.to_bits() == 0;
            return if self == Self::Down && sum == 0.0 && !positive {
                -0.0
            } else {
                sum
            };
        }
        self.adjust(sum, error)
    }

    #[inline(always)]
    pub(super) fn sub(self, a: f64, b: f64) -> f64 {
        self.add(a, -b)
    }

    #[inline(always)]
    pub(super) fn mul(self, a: f64, b: f64) -> f64 {
        let product = a * b;
        if self == Self::Nearest {
            return product;
        }
        if !product.is_finite() {
            return self.overflow(product, a.is_finite() && b.is_finite());
        }
        self.adjust(product, a.mul_add(b, -product))
    }

    #[inline(always)]
    pub(super) fn div(self, a: f64, b: f64) -> f64 {
        let quotient = a / b;
        if self == Self::Nearest {
            return quotient;
        }
        if !quotient.is_finite() {
            return self.overflow(quotient, a.is_finite() && b != 0.0);
        }
        let rest = (-quotient).mul_add(b, a);
        self.adjust(quotient, if b < 0.0 { -rest } else { rest })
    }

    #[inline(always)]
    pub(super) fn sqrt(self, a: f64) -> f64 {
        let root = a.sqrt();
        if self == Self::Nearest || !root.is_finite() {
            return root;
        }
        self.adjust(root, (-root).mul_add(root, a))
    }

    /// The result of this mode, for a nearest one and the sign of what it lacks.
    #[inline(always)]
    fn adjust(self, nearest: f64, error: f64) -> f64 {
        let (down, up) = match self {
            Self::Nearest => (false, false),
            Self::Down => (true, false),
            Self::Up => (false, true),
            Self::Zero => (nearest > 0.0, nearest < 0.0),
        };
        if down && error < 0.0 {
            nearest.next_down()
        } else if up && error > 0.0 {
            nearest.next_up()
        } else {
            nearest
        }
    }

    /// The result of this mode where the nearest one is infinite (or not a number).
    #[cold]
    fn overflow(self, nearest: f64, finite: bool) -> f64 {
        let stays = match self {
            Self::Nearest => true,
            Self::Down => nearest < 0.0,
            Self::Up => nearest > 0.0,
            Self::Zero => false,
        };
        if nearest.is_nan() || !finite || stays {
            nearest
        } else {
            f64::MAX.copysign(nearest)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIRECTED: [Rounding; 3] = [Rounding::Down, Rounding::Up, Rounding::Zero];

    #[test]
    fn known_roundings() {
        let tiny = 2.0_f64.powi(-80);
        for (mode, above, below) in [
            (Rounding::Nearest, 1.0, -1.0),
            (Rounding::Down, 1.0, (-1.0_f64).next_down()),
            (Rounding::Up, 1.0_f64.next_up(), -1.0),
            (Rounding::Zero, 1.0, -1.0),
        ] {
            assert_eq!(mode.add(1.0, tiny), above);
            assert_eq!(mode.sub(-1.0, tiny), below);
        }
        for (mode, third) in [
            (Rounding::Down, 0x3fd5_5555_5555_5555),
            (Rounding::Up, 0x3fd5_5555_5555_5556),
        ] {
            assert_eq!(mode.div(1.0, 3.0).to_bits(), third);
        }
        assert_eq!(Rounding::Down.sqrt(2.0).to_bits(), 0x3ff6_a09e_667f_3bcc);
        assert_eq!(Rounding::Up.sqrt(2.0).to_bits(), 0x3ff6_a09e_667f_3bcd);
        assert_eq!(Rounding::Zero.sqrt(4.0), 2.0);
    }

    #[test]
    fn zeros_have_the_sign_of_the_mode() {
        for mode in [Rounding::Nearest, Rounding::Up, Rounding::Zero] {
            assert_eq!(mode.sub(1.5, 1.5).to_bits(), 0);
        }
        assert_eq!(Rounding::Down.sub(1.5, 1.5).to_bits(), (-0.0_f64).to_bits());
        assert_eq!(Rounding::Down.add(0.0, 0.0).to_bits(), 0);
        assert_eq!(Rounding::Down.sub(0.0, 0.0).to_bits(), (-0.0_f64).to_bits());
        assert_eq!(
            Rounding::Down.add(0.0, -0.0).to_bits(),
            (-0.0_f64).to_bits()
        );
        assert_eq!(Rounding::Up.add(-0.0, -0.0).to_bits(), (-0.0_f64).to_bits());
    }

    #[test]
    fn overflow_stops_where_the_mode_says() {
        for (mode, result) in [
            (Rounding::Nearest, f64::INFINITY),
            (Rounding::Down, f64::MAX),
            (Rounding::Up, f64::INFINITY),
            (Rounding::Zero, f64::MAX),
        ] {
            assert_eq!(mode.mul(f64::MAX, 2.0), result);
            assert_eq!(mode.div(f64::MAX, 0.5), result);
            assert_eq!(mode.add(f64::MAX, f64::MAX), result);
            assert_eq!(mode.mul(f64::INFINITY, 2.0), f64::INFINITY);
            assert_eq!(mode.div(f64::INFINITY, 2.0), f64::INFINITY);
            assert_eq!(mode.sqrt(f64::INFINITY), f64::INFINITY);
        }
        assert_eq!(Rounding::Up.add(f64::MIN, f64::MIN), f64::MIN);
    }

    proptest! {
        /// Products of 26-bit mantissas and sums in a narrow range are exact: all modes agree.
        #[test]
        fn exact_results_do_not_depend_on_the_mode(a in -(1_i64 << 26)..1 << 26, b in 1_i64..1 << 26) {
            let (a, b) = (a as f64, b as f64);
            for mode in DIRECTED {
                prop_assert_eq!(mode.mul(a, b), a * b);
                prop_assert_eq!(mode.add(a, b), a + b);
                prop_assert_eq!(mode.div(a * b, b), a);
                prop_assert_eq!(mode.sqrt(b * b), b);
            }
        }

        /// Down and up enclose the nearest result and are neighbours when it is not exact.
        #[test]
        fn directed_results_enclose(a in 1e-100..1e100_f64, b in 1e-100..1e100_f64, negative: bool) {
            let a = if negative { -a } else { a };
            type Operation = fn(Rounding, f64, f64) -> f64;
            let operations: [Operation; 5] =
                [Rounding::add, Rounding::sub, Rounding::mul, Rounding::div, |mode, a, _| mode.sqrt(a.abs())];
            for operation in operations {
                let [down, up, zero] = DIRECTED.map(|mode| operation(mode, a, b));
                let nearest = operation(Rounding::Nearest, a, b);
                prop_assert!(down <= nearest && nearest <= up);
                prop_assert!(down == up || down.next_up() == up);
                prop_assert_eq!(zero, if nearest > 0.0 { down } else { up });
            }
        }
    }
}

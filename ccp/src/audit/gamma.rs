//! Quantiles of the gamma distribution with scale 1.

/// Terms and bisections that are tried: far more than are needed for any count below 2⁵³.
const STEPS: usize = 100_000;

/// The value that a gamma variable of this shape stays below with this probability; the shape is
/// positive.
pub(super) fn quantile(shape: f64, probability: f64) -> f64 {
    let mut low = 0.0;
    let mut high = shape + 10.0;
    while cumulative(shape, high) < probability && high < f64::MAX / 4.0 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if cumulative(shape, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The regularised lower incomplete gamma function.
fn cumulative(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = (shape * x.ln() - x - ln_gamma(shape)).exp();
    if x < shape + 1.0 {
        return (front * series(shape, x)).clamp(0.0, 1.0);
    }
    (1.0 - front * fraction(shape, x)).clamp(0.0, 1.0)
}

fn series(shape: f64, x: f64) -> f64 {
    let mut term = 1.0 / shape;
    let mut sum = term;
    let mut n = shape;
    for _ in 0..STEPS {
        n += 1.0;
        term *= x / n;
        sum += term;
        if term < sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// The continued fraction of the upper part, by the method of Lentz.
fn fraction(shape: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - shape;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / if b.abs() < TINY { TINY } else { b };
    let mut h = d;
    for i in 1..STEPS {
        let n = i as f64;
        let a = -n * (n - shape);
        b += 2.0;
        d = a * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + a / c;
        if c.abs() < TINY {
            c = TINY;
        }
        let delta = d * c;
        h *= delta;
        if (delta - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

/// The logarithm of the gamma function, by Stirling's series where it is exact enough.
fn ln_gamma(x: f64) -> f64 {
    let mut shift = 0.0;
    let mut x = x;
    while x < 15.0 {
        shift += x.ln();
        x += 1.0;
    }
    let square = x * x;
    let tail =
        (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + tail - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_factorials() {
        let mut factorial: f64 = 1.0;
        for n in 1..100_u32 {
            assert!(
                (ln_gamma(f64::from(n)) - factorial.ln()).abs() < 1e-10,
                "{n}"
            );
            factorial *= f64::from(n);
        }
        assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-12);
    }

    #[test]
    fn quantiles_undo_the_distribution() {
        for shape in [0.5, 1.0, 7.0, 1000.0, 1e6] {
            for probability in [0.005, 0.5, 0.975, 0.9999] {
                let back = cumulative(shape, quantile(shape, probability));
                assert!(
                    (back - probability).abs() < 1e-7,
                    "{shape} {probability}: {back}"
                );
            }
        }
        // With shape 1 it is the exponential distribution.
        assert!((quantile(1.0, 0.5) - 2.0_f64.ln()).abs() < 1e-12);
    }
}

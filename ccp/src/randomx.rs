//! RandomX in safe Rust, light mode: the memory-hard hash behind proofs of capacity.
//!
//! Written from the public specification of RandomX. It is meant for verification: the cache of a
//! key takes 256 MiB, a hash a fraction of a second. Results do not depend on the platform, since
//! rounding modes are computed and not set.
//!
//! ```no_run
//! use ccp::randomx::{Cache, Hasher, Parameters};
//!
//! let cache = Cache::new(b"test key 000", Parameters::STOCK)?;
//! let hash = Hasher::new(&cache).hash(b"This is a test");
//! assert_eq!(hash[..4], [0x63, 0x91, 0x83, 0xaa]);
//! # Ok::<_, ccp::randomx::OutOfMemory>(())
//! ```

mod aes;
mod blake;
mod cache;
mod float;
mod program;
mod superscalar;
mod vm;

#[cfg(all(test, feature = "native"))]
pub(crate) use cache::READ;
pub use cache::{Cache, OutOfMemory};
pub use vm::Hasher;

/// What distinguishes variants of RandomX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Lines of the cache that an item of the dataset is made from, between 1 and 16.
    pub(crate) cache_accesses: usize,
    /// Bytes of the dataset without its extra part, a power of two up to 2³².
    pub(crate) dataset_base_size: u64,
}

impl Parameters {
    /// The published algorithm.
    pub const STOCK: Self = Self {
        cache_accesses: 8,
        dataset_base_size: 1 << 31,
    };

    /// The variant of the network: twice the accesses, twice the dataset.
    pub const NETWORK: Self = Self {
        cache_accesses: 16,
        dataset_base_size: 1 << 32,
    };

    /// Items of 64 bytes in the dataset.
    #[must_use]
    pub fn dataset_items(&self) -> u64 {
        (self.dataset_base_size + DATASET_EXTRA_SIZE) / LINE_SIZE
    }
}

/// Bytes of a line of the cache and of an item of the dataset.
const LINE_SIZE: u64 = 64;
/// Bytes by which the start of a program's part of the dataset varies.
const DATASET_EXTRA_SIZE: u64 = 33_554_368;
/// The most cache accesses of any variant; a cache has programs for all of them.
const MAX_CACHE_ACCESSES: usize = 16;

/// Upper half of the product.
#[inline(always)]
fn mul_high(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

/// Upper half of the signed product.
#[inline(always)]
fn mul_high_signed(a: u64, b: u64) -> u64 {
    ((i128::from(a.cast_signed()) * i128::from(b.cast_signed())) >> 64) as u64
}

/// A 32-bit constant as a signed 64-bit one.
fn sign_extend(value: u32) -> u64 {
    i64::from(value.cast_signed()).cast_unsigned()
}

fn is_zero_or_power_of_two(value: u32) -> bool {
    value & value.wrapping_sub(1) == 0
}

/// `2^x / divisor` for the greatest x with which it fits into 64 bits; the divisor is not zero.
fn reciprocal(divisor: u32) -> u64 {
    let divisor = u64::from(divisor.max(1));
    let (quotient, remainder) = ((1 << 63) / divisor, (1 << 63) % divisor);
    let shift = u64::BITS - divisor.leading_zeros();
    (quotient << shift).wrapping_add((remainder << shift) / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reciprocals() {
        for (divisor, expected) in [
            (3, 12_297_829_382_473_034_410),
            (13, 11_351_842_506_898_185_609),
            (33, 17_887_751_829_051_686_415),
            (65_537, 18_446_462_603_027_742_720),
            (15_000_001, 10_316_166_306_300_415_204),
            (3_845_182_035, 10_302_264_209_224_146_340),
            (0xffff_ffff, 9_223_372_039_002_259_456),
        ] {
            assert_eq!(reciprocal(divisor), expected, "{divisor}");
        }
    }

    #[test]
    fn upper_halves() {
        assert_eq!(mul_high(u64::MAX, u64::MAX), u64::MAX - 1);
        assert_eq!(mul_high_signed(u64::MAX, u64::MAX), 0);
        assert_eq!(mul_high_signed(1 << 63, 2), u64::MAX);
    }

    #[test]
    fn datasets_have_the_published_sizes() {
        assert_eq!(Parameters::STOCK.dataset_items(), 34_078_719);
        assert_eq!(Parameters::NETWORK.dataset_items(), 67_633_151);
    }
}

//! Nonces, thresholds, unit ids and hashes.

use std::{cmp::Ordering, collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha3::Digest as _;

/// A text that is not 32 bytes in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not 64 hexadecimal digits")]
pub struct ParseError {
    /// What was expected.
    pub what: &'static str,
    /// The text (cut after 80 characters).
    pub text: String,
}

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident $what:literal;)*) => {$(
        $(#[$meta])*
        ///
        /// The text is 64 lower-case digits without prefix. Reading takes either case, `0x` before
        /// the digits, and in JSON also a list of 32 numbers.
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                parse(text, $what).map(Self)
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WordVisitor($what)).map(Self)
            }
        }
    )*};
}

words! {
    /// The randomness of an epoch, from the chain.
    GlobalNonce "global nonce";
    /// The greatest hash that is a proof, from the chain.
    Difficulty "difficulty";
    /// A compute unit.
    UnitId "unit id";
    /// What a prover varies.
    LocalNonce "local nonce";
    /// The hash of a local nonce.
    ResultHash "result hash";
    /// The key of the memory that belongs to a unit in an epoch.
    PuzzleKey "puzzle key";
}

fn parse(text: &str, what: &'static str) -> Result<[u8; 32], ParseError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(|_| {
        ParseError {
            what,
            text: text.chars().take(80).collect(),
        }
    })?;
    Ok(bytes)
}

struct WordVisitor(&'static str);

impl<'de> de::Visitor<'de> for WordVisitor {
    type Value = [u8; 32];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} of 64 hexadecimal digits", self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; 32], E> {
        parse(text, self.0).map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<[u8; 32], A::Error> {
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = list
                .next_element()?
                .ok_or_else(|| de::Error::invalid_length(index, &self))?;
        }
        match list.next_element::<de::IgnoredAny>()? {
            Some(_) => Err(de::Error::invalid_length(33, &self)),
            None => Ok(bytes),
        }
    }
}

impl PuzzleKey {
    /// The key of a unit in an epoch: `keccak256(global_nonce ‖ unit)`.
    ///
    /// Because the unit is part of it, each unit needs memory of its own.
    #[must_use]
    pub fn new(global_nonce: &GlobalNonce, unit: &UnitId) -> Self {
        let mut hasher = sha3::Keccak256::new();
        hasher.update(global_nonce.0);
        hasher.update(unit.0);
        Self(hasher.finalize().into())
    }
}

impl ResultHash {
    /// Whether this hash is a proof at `difficulty`: it is not greater, byte 0 counting most.
    #[must_use]
    pub fn meets(&self, difficulty: &Difficulty) -> bool {
        self.0.cmp(&difficulty.0) != Ordering::Greater
    }
}

impl Difficulty {
    /// The number of hashes that a proof takes on average: 2²⁵⁶ / (difficulty + 1).
    #[must_use]
    pub fn expected_hashes(&self) -> f64 {
        // Rounding to 53 bits is far below what anyone measures.
        let threshold = self
            .0
            .iter()
            .fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
        2.0_f64.powi(256) / (threshold + 1.0)
    }
}

impl LocalNonce {
    /// The nonce that is tried after this one: bytes 0 to 7, a little-endian number, grow by one.
    ///
    /// Start from random bytes, drawn anew for each job, so that no work is repeated.
    ///
    /// ```
    /// let mut bytes = [0xff; 32];
    /// bytes[0] = 7;
    /// assert_eq!(ccp::LocalNonce(bytes).next().0[..2], [8, 0xff]);
    /// ```
    #[must_use]
    pub fn next(self) -> Self {
        let mut bytes = self.0;
        if let Some(counter) = bytes.first_chunk_mut::<8>() {
            *counter = u64::from_le_bytes(*counter).wrapping_add(1).to_le_bytes();
        }
        Self(bytes)
    }
}

/// The sequence number of a proof: from 1 for each unit and epoch.
///
/// A client that has seen nothing asks for proofs after 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ProofIndex(pub u64);

/// A physical core, counted from 0. As a key in JSON it is a decimal string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhysicalCore(pub u32);

/// A logical core, as the operating system numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogicalCore(pub u32);

macro_rules! cores {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

cores! { PhysicalCore LogicalCore }

/// What all proofs of an epoch have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpochParameters {
    /// The nonce.
    pub global_nonce: GlobalNonce,
    /// The threshold.
    pub difficulty: Difficulty,
}

/// Which core proves which unit.
pub type Allocation = BTreeMap<PhysicalCore, UnitId>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_compared_from_the_left_and_inclusively() {
        let word = |first: u8, last: u8| {
            let mut bytes = [0; 32];
            (bytes[0], bytes[31]) = (first, last);
            bytes
        };
        let difficulty = Difficulty(word(1, 5));
        for (hash, meets) in [
            (word(1, 5), true),
            (word(1, 6), false),
            (word(1, 4), true),
            (word(0, 0xff), true),
            (word(0xff, 0), false),
        ] {
            assert_eq!(
                ResultHash(hash).meets(&difficulty),
                meets,
                "{}",
                ResultHash(hash)
            );
        }
    }

    #[test]
    fn nonces_wrap_inside_their_counter() {
        let next = LocalNonce([0xff; 32]).next();
        assert_eq!(next.0[..8], [0; 8]);
        assert_eq!(next.0[8..], [0xff; 24]);
        assert_eq!(LocalNonce([0; 32]).next().0[..2], [1, 0]);
    }

    #[test]
    fn work_of_the_production_difficulty() {
        let production: Difficulty =
            "0000241fffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                .parse()
                .unwrap();
        assert!((production.expected_hashes() - 464_421.0).abs() < 1.0);
        let local = Difficulty(
            [0, 0, 0, 0]
                .into_iter()
                .chain([0xff; 28])
                .collect::<Vec<_>>()
                .try_into()
                .unwrap(),
        );
        assert_eq!(local.expected_hashes(), 2.0_f64.powi(32));
        assert_eq!(Difficulty([0; 32]).expected_hashes(), 2.0_f64.powi(256));
    }

    #[test]
    fn json_takes_old_forms_and_gives_the_new_one() {
        let unit = UnitId([0xab; 32]);
        let digits = "ab".repeat(32);
        let numbers = format!("[{}171]", "171,".repeat(31));
        for text in [
            format!("\"{digits}\""),
            format!("\"0x{}\"", digits.to_uppercase()),
            numbers,
        ] {
            assert_eq!(
                serde_json::from_str::<UnitId>(&text).unwrap(),
                unit,
                "{text}"
            );
        }
        assert_eq!(
            serde_json::to_string(&unit).unwrap(),
            format!("\"{digits}\"")
        );
        for bad in [
            "\"\"",
            "\"ab\"",
            "[1]",
            "null",
            "7",
            &format!("[{}256]", "1,".repeat(31)),
            &format!("[{}1]", "1,".repeat(32)),
        ] {
            assert!(serde_json::from_str::<UnitId>(bad).is_err(), "{bad}");
        }
        let allocation = Allocation::from([(PhysicalCore(10), unit)]);
        let text = serde_json::to_string(&allocation).unwrap();
        assert_eq!(text, format!("{{\"10\":\"{digits}\"}}"));
        assert_eq!(
            serde_json::from_str::<Allocation>(&text).unwrap(),
            allocation
        );
    }

    proptest! {
        #[test]
        fn texts_round_trip(bytes: [u8; 32], text: String) {
            prop_assert_eq!(ResultHash(bytes).to_string().parse(), Ok(ResultHash(bytes)));
            let _ = text.parse::<ResultHash>();
        }
    }
}

//! Content identifiers: sha2-256 only, which is all that the marketplace uses.

use std::{fmt, str::FromStr};

use data_encoding::{Encoding, Specification};

use crate::{Bytes32, primitives::shorten, sha256};

/// Why a content identifier was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidError {
    /// Not base32 lower (`b…`), base58btc (`z…`) or version 0 (`Qm…`).
    #[error("cid {text:?} is not in base32 (b…), base58 (z…) or of version 0 (Qm…)")]
    Text {
        /// The text (cut after 80 characters).
        text: String,
    },
    /// The bytes are not `01, codec, 12, 20` and a digest of 32 bytes.
    #[error("cid 0x{bytes} is not of version 1 with a sha2-256 digest of 32 bytes")]
    Bytes {
        /// The bytes in hex (at most 64 of them).
        bytes: String,
    },
    /// A codec whose number takes more than one byte has no place in the four bytes of the chain.
    #[error("codec {codec:#x} takes more than one byte and has no form on the chain")]
    Codec {
        /// The codec.
        codec: u64,
    },
}

/// The codec of a block, as a multicodec number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Codec(pub u64);

impl Codec {
    /// Uninterpreted bytes.
    pub const RAW: Self = Self(0x55);
    /// Protobuf nodes, which inner nodes of files are made of.
    pub const DAG_PB: Self = Self(0x70);
    /// CBOR with links.
    pub const DAG_CBOR: Self = Self(0x71);
    /// JSON with links.
    pub const DAG_JSON: Self = Self(0x0129);
}

/// A content identifier of version 1 with a sha2-256 digest.
///
/// Version 0 texts are read as what they mean: version 1 with [`Codec::DAG_PB`].
///
/// ```
/// use deal_types::{Cid, Codec};
///
/// let cid = Cid::of_block(Codec::RAW, b"hello world\n");
/// assert_eq!(cid.to_string(), "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4");
/// assert_eq!(cid.to_string().parse(), Ok(cid));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    /// What the block holds.
    pub codec: Codec,
    /// sha2-256 of the block.
    pub digest: [u8; 32],
}

/// Version, then (after the codec) hash function sha2-256 and its length.
const VERSION: u8 = 1;
const SHA2_256: [u8; 2] = [0x12, 0x20];

impl Cid {
    /// The identifier of a block.
    #[must_use]
    pub fn of_block(codec: Codec, block: &[u8]) -> Self {
        Self {
            codec,
            digest: sha256(block).0,
        }
    }

    /// Whether `block` is the content that this identifier names.
    #[must_use]
    pub fn names(&self, block: &[u8]) -> bool {
        self.digest == sha256(block).0
    }

    /// The binary form.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.codec.0);
        bytes.extend_from_slice(&SHA2_256);
        bytes.extend_from_slice(&self.digest);
        bytes
    }

    /// Reads the binary form, of version 1 or 0.
    ///
    /// # Errors
    /// Other versions, hash functions and lengths.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        match Self::split_from(bytes) {
            Some((cid, [])) => Ok(cid),
            _ => Err(CidError::of_bytes(bytes)),
        }
    }

    /// Splits the binary form, of version 1 or 0, from the front.
    pub(crate) fn split_from(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (codec, hash) = match bytes {
            [0x12, 0x20, ..] => (Codec::DAG_PB.0, bytes),
            [VERSION, rest @ ..] => take_varint(rest)?,
            _ => return None,
        };
        let (digest, rest) = hash.strip_prefix(&SHA2_256)?.split_first_chunk()?;
        let cid = Self {
            codec: Codec(codec),
            digest: *digest,
        };
        Some((cid, rest))
    }
}

impl CidError {
    /// The error for bytes that are no identifier.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self::Bytes {
            bytes: hex::encode(bytes.get(..64).unwrap_or(bytes)),
        }
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", BASE32_LOWER.encode(&self.to_bytes()))
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        // The longest codec number makes 72 characters; base58 takes quadratic time.
        let bytes = match text.as_bytes() {
            _ if text.len() > 128 => None,
            [b'b', digits @ ..] => BASE32_LOWER.decode(digits).ok(),
            [b'z', digits @ ..] => bs58::decode(digits).into_vec().ok(),
            [b'Q', b'm', ..] => bs58::decode(text).into_vec().ok(),
            _ => None,
        };
        Self::from_bytes(&bytes.ok_or_else(|| CidError::Text {
            text: shorten(text),
        })?)
    }
}

/// A content identifier as contracts hold it (`CIDV1`): four bytes and the digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct OnChainCid {
    /// Version, codec, hash function and digest length: `01 55 12 20` for raw blocks.
    pub prefixes: [u8; 4],
    /// The digest.
    pub hash: Bytes32,
}

impl OnChainCid {
    /// `keccak256(prefixes ‖ hash)`, the key under which contracts keep sets of effectors.
    #[must_use]
    pub fn key(&self) -> Bytes32 {
        crate::keccak256_of(&[&self.prefixes, &self.hash.0])
    }
}

impl TryFrom<Cid> for OnChainCid {
    type Error = CidError;

    fn try_from(cid: Cid) -> Result<Self, CidError> {
        match u8::try_from(cid.codec.0) {
            Ok(codec) if codec < 0x80 => {
                let [function, length] = SHA2_256;
                let prefixes = [VERSION, codec, function, length];
                Ok(Self {
                    prefixes,
                    hash: Bytes32(cid.digest),
                })
            }
            _ => Err(CidError::Codec { codec: cid.codec.0 }),
        }
    }
}

impl TryFrom<OnChainCid> for Cid {
    type Error = CidError;

    fn try_from(cid: OnChainCid) -> Result<Self, CidError> {
        match cid.prefixes {
            [VERSION, codec, 0x12, 0x20] if codec < 0x80 => Ok(Self {
                codec: Codec(codec.into()),
                digest: cid.hash.0,
            }),
            _ => {
                let bytes = [cid.prefixes.as_slice(), &cid.hash.0].concat();
                Err(CidError::Bytes {
                    bytes: hex::encode(bytes),
                })
            }
        }
    }
}

/// Appends an unsigned varint.
pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value as u8) | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Splits an unsigned varint (minimal, at most 64 bits) from the front.
pub(crate) fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        let shift = 7 * u32::try_from(index).ok()?;
        if index == 9 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            let minimal = *byte != 0 || index == 0;
            return minimal
                .then(|| bytes.get(index + 1..).map(|rest| (value, rest)))
                .flatten();
        }
    }
    None
}

static BASE32_LOWER: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("abcdefghijklmnopqrstuvwxyz234567");
    // The specification is a constant of the right length, which the tests encode with.
    specification
        .encoding()
        .unwrap_or(data_encoding::BASE32_NOPAD)
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_forms_are_read_and_bad_ones_refused() {
        let raw = Cid::of_block(Codec::RAW, b"");
        assert_eq!(
            raw.to_string(),
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        );
        let base58 = format!("z{}", bs58::encode(raw.to_bytes()).into_string());
        assert_eq!(base58.parse(), Ok(raw));
        let old: Cid = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
            .parse()
            .unwrap();
        assert_eq!(old.codec, Codec::DAG_PB);
        assert_eq!(Cid::from_bytes(&old.to_bytes()[2..]), Ok(old));
        let upper = raw.to_string().to_uppercase();
        for bad in [
            "",
            "b",
            "z",
            "Qm",
            "é",
            &upper,
            &raw.to_string()[..40],
            &"b".repeat(100_000),
        ] {
            assert!(bad.parse::<Cid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn other_versions_functions_and_lengths_are_refused() {
        let good = Cid::of_block(Codec::RAW, b"x").to_bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let sha2_512 = [&[1, 0x55, 0x13, 0x40][..], &[7; 64]].concat();
        let identity = [&[1, 0x55, 0x00, 0x01][..], &[7]].concat();
        let longer = [&good[..], &[7]].concat();
        for bytes in [
            with(0, 2),
            with(2, 0x16),
            with(3, 0x1f),
            good[..35].to_vec(),
            longer,
            sha2_512,
            identity,
        ] {
            let text = format!("b{}", BASE32_LOWER.encode(&bytes));
            let error = text.parse::<Cid>().unwrap_err();
            assert_eq!(Cid::from_bytes(&bytes), Err(error.clone()));
            let message = error.to_string();
            assert!(message.contains(&hex::encode(&bytes[..5])), "{message}");
            assert!(message.contains("sha2-256 digest of 32 bytes"), "{message}");
        }
    }

    #[test]
    fn four_bytes_hold_short_codecs_only() {
        let raw = Cid::of_block(Codec::RAW, b"x");
        let chain = OnChainCid::try_from(raw).unwrap();
        assert_eq!(chain.prefixes, [1, 0x55, 0x12, 0x20]);
        assert_eq!(Cid::try_from(chain), Ok(raw));
        let json = Cid {
            codec: Codec::DAG_JSON,
            ..raw
        };
        assert_eq!(
            OnChainCid::try_from(json),
            Err(CidError::Codec { codec: 0x129 })
        );
        assert!(
            Cid::try_from(OnChainCid {
                prefixes: [1, 0x55, 0x13, 0x40],
                ..chain
            })
            .is_err()
        );
        assert!(Cid::try_from(OnChainCid::default()).is_err());
    }

    proptest! {
        #[test]
        fn bytes_and_text_round_trip(codec: u64, digest: [u8; 32]) {
            let cid = Cid { codec: Codec(codec), digest };
            prop_assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
            prop_assert_eq!(cid.to_string().parse(), Ok(cid));
        }

        #[test]
        fn any_bytes_are_taken_without_panic(bytes: Vec<u8>, text: String) {
            if let Ok(cid) = Cid::from_bytes(&bytes) {
                prop_assert!(bytes == cid.to_bytes() || bytes == cid.to_bytes()[2..]);
            }
            let _ = text.parse::<Cid>();
        }
    }
}

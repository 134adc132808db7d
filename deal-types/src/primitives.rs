//! Words, addresses and keys as the chain knows them.

use std::{fmt, str::FromStr};

use crate::keccak256;

/// Unsigned 256-bit integer of the chain.
///
/// JSON texts of amounts are decimal strings; see `deal_types::decimal`.
pub use ruint::aliases::U256;

/// Text that does not denote the value it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Neither `0x` and the right number of hexadecimal digits nor the digits alone.
    #[error("{what} {text:?} is not {digits} hexadecimal digits")]
    Hex {
        /// What was expected.
        what: &'static str,
        /// The text (cut after 80 characters).
        text: String,
        /// How many digits it must have.
        digits: usize,
    },
    /// A peer id that is not base58 of a libp2p identity.
    #[error("peer id {text:?} is not base58 of an ed25519 identity of 38 bytes")]
    PeerId {
        /// The text (cut after 80 characters).
        text: String,
    },
    /// The bytes of a peer id of another key type; only ed25519 keys fit into a word.
    #[error("peer id {bytes} is not an ed25519 key and has no form on the chain")]
    KeyType {
        /// The bytes in hex.
        bytes: String,
    },
}

/// A 32-byte word: identifiers, nonces, hashes.
///
/// Its text is `0x` and 64 lower-case digits; parsing takes either case, with or without `0x`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes32(pub [u8; 32]);

impl Bytes32 {
    /// The zero word, which stands for "none" in many places.
    pub const ZERO: Self = Self([0; 32]);

    /// Whether all bytes are zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The word as a big-endian integer.
    #[must_use]
    pub fn to_uint(self) -> U256 {
        U256::from_be_bytes(self.0)
    }

    /// The big-endian bytes of an integer.
    #[must_use]
    pub fn from_uint(value: U256) -> Self {
        Self(value.to_be_bytes())
    }
}

impl fmt::Display for Bytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Bytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Bytes32 {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_hex(text, "word").map(Self)
    }
}

impl AsRef<[u8]> for Bytes32 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for Bytes32 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// An account or contract of the chain.
///
/// [`Display`](fmt::Display) gives the checksummed form of EIP-55, [`Address::to_deal_id`] the form that
/// peers use as the id of a deal. Parsing takes either case, with or without `0x`, and does not
/// insist on the checksum.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 20]);

impl Address {
    /// The zero address, which stands for "none".
    pub const ZERO: Self = Self([0; 20]);

    /// Whether all bytes are zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The text that names a deal in peers and scripts: `0x` and 40 lower-case digits.
    #[must_use]
    pub fn to_deal_id(self) -> String {
        format!("0x{}", hex::encode(self.0))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.0);
        let checksum = hex::encode(keccak256(digits.as_bytes()));
        f.write_str("0x")?;
        for (digit, check) in digits.chars().zip(checksum.bytes()) {
            // A hexadecimal digit of eight or more.
            let upper = check > b'7';
            fmt::Write::write_char(
                f,
                if upper {
                    digit.to_ascii_uppercase()
                } else {
                    digit
                },
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_hex(text, "address").map(Self)
    }
}

/// The ed25519 public key of a peer or worker, the only kind of identity that the chain can name.
///
/// Its text is the base58 peer id (`12D3Koo…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub [u8; 32]);

/// Identity multihash (length 36) of the protobuf `{type: ed25519, data: 32 bytes}`.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl PeerKey {
    /// The key inside the bytes of a peer id.
    ///
    /// # Errors
    /// Identities of another key type, and hashed ones, cannot be represented on the chain.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        bytes
            .strip_prefix(&PEER_ID_PREFIX)
            .and_then(|key| key.try_into().ok())
            .map(Self)
            .ok_or_else(|| ParseError::KeyType {
                bytes: hex::encode(bytes.get(..64).unwrap_or(bytes)),
            })
    }

    /// The bytes of the peer id.
    #[must_use]
    pub fn to_peer_id_bytes(self) -> Vec<u8> {
        [PEER_ID_PREFIX.as_slice(), &self.0].concat()
    }

    /// The word that names this peer on the chain.
    #[must_use]
    pub fn to_word(self) -> Bytes32 {
        Bytes32(self.0)
    }

    /// The peer that a word of the chain names.
    #[must_use]
    pub fn from_word(word: Bytes32) -> Self {
        Self(word.0)
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // The base58 text of 38 bytes has at most 52 characters; decoding takes quadratic time.
        let bytes = (text.len() <= 128)
            .then(|| bs58::decode(text).into_vec().ok())
            .flatten()
            .ok_or_else(|| ParseError::PeerId {
                text: shorten(text),
            })?;
        Self::from_peer_id_bytes(&bytes)
    }
}

/// The first 80 characters, for messages.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

fn parse_hex<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], ParseError> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseError::Hex {
        what,
        text: shorten(text),
        digits: 2 * N,
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_checksum_and_a_deal_id() {
        let text = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        for form in [text, &text.to_lowercase(), &text[2..], &text.to_uppercase()] {
            let address: Address = form.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.to_deal_id(), text.to_lowercase());
        }
        for bad in [
            "",
            "0x",
            &text[..41],
            "0xg39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "é",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn peer_ids_are_keys() {
        let word: Bytes32 = "0x246cd65bc58db104674f76c9b1340eb16881d9ef90e33d4b1086ebd334f4002d"
            .parse()
            .unwrap();
        let text = "12D3KooWCGZ6t8by5ag5YMQW4k3HoPLaKdN5rB9DhAmDUeG8dj1N";
        assert_eq!(PeerKey::from_word(word).to_string(), text);
        assert_eq!(text.parse::<PeerKey>().unwrap().to_word(), word);
        // An RSA identity (a sha2-256 multihash) and garbage.
        assert!(matches!(
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse::<PeerKey>(),
            Err(ParseError::KeyType { .. })
        ));
        assert!(matches!(
            "0OIl".parse::<PeerKey>(),
            Err(ParseError::PeerId { .. })
        ));
    }
}

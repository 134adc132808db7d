//! Peer ids: the multihash of a public key.

use std::{fmt, str::FromStr};

use multihash::Multihash;

use crate::{
    base58,
    key::{KeyError, PublicKey},
};

/// Code of the multihash that holds its input unchanged.
const IDENTITY: u64 = 0x00;
const SHA2_256: u64 = 0x12;
/// Longest serialized key that becomes an identity multihash.
const MAX_INLINE_KEY: usize = 42;

/// Name of a peer: the multihash of its public key, `12D3Koo…` as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(Multihash<MAX_INLINE_KEY>);

/// A text or byte string that is no peer id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIdError {
    /// Not base58.
    #[error("peer id \"{text}\" is not base58: {reason}")]
    NotBase58 {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Base58, but not a multihash.
    #[error("peer id of {length} bytes is not a multihash: {reason}")]
    NotMultihash {
        /// Length of the bytes.
        length: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// A multihash that cannot name a peer.
    #[error(
        "peer id has a multihash of code {code:#x} and {length} bytes, expected an identity of at most 42 bytes or sha2-256"
    )]
    Unsupported {
        /// Code of the hash function.
        code: u64,
        /// Length of the digest.
        length: usize,
    },
}

impl PeerId {
    /// The peer id of `key`.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        use sha2::Digest as _;
        let encoded = key.to_protobuf();
        let hash = if encoded.len() <= MAX_INLINE_KEY {
            Multihash::wrap(IDENTITY, &encoded)
        } else {
            Multihash::wrap(SHA2_256, &sha2::Sha256::digest(&encoded))
        };
        // Both inputs are no longer than what fits.
        Self(hash.unwrap_or_default())
    }

    /// Reads the bytes of a multihash.
    ///
    /// # Errors
    /// When they are no multihash, or one that cannot name a peer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        let hash = Multihash::from_bytes(bytes).map_err(|error| PeerIdError::NotMultihash {
            length: bytes.len(),
            reason: error.to_string(),
        })?;
        let length = hash.digest().len();
        match hash.code() {
            SHA2_256 if length == 32 => Ok(Self(hash)),
            IDENTITY if length <= MAX_INLINE_KEY => Ok(Self(hash)),
            code => Err(PeerIdError::Unsupported { code, length }),
        }
    }

    /// The bytes of the multihash.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The public key that the id holds.
    ///
    /// # Errors
    /// When the id is only a hash of the key (as of RSA keys), or the key is malformed.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        if self.0.code() != IDENTITY {
            return Err(KeyError::NotInlined { peer_id: *self });
        }
        PublicKey::from_protobuf(self.0.digest())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&base58::encode(&self.to_bytes()))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        // Base58 decoding is quadratic: refuse what cannot be a peer id before decoding it.
        if text.len() > 128 {
            return Err(PeerIdError::NotBase58 {
                text: text.chars().take(16).chain(['…']).collect(),
                reason: format!("{} characters, expected at most 128", text.len()),
            });
        }
        let bytes = bs58::decode(text)
            .into_vec()
            .map_err(|error| PeerIdError::NotBase58 {
                text: text.to_owned(),
                reason: error.to_string(),
            })?;
        Self::from_bytes(&bytes)
    }
}

impl serde::Serialize for PeerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PeerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyPair;

    #[test]
    fn text_round_trip() {
        let text = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        let peer_id: PeerId = text.parse().unwrap();
        assert_eq!(peer_id.to_string(), text);
        assert_eq!(KeyPair::from_seed(&[1; 32]).peer_id(), peer_id);
        assert_eq!(PeerId::of(&peer_id.public_key().unwrap()), peer_id);
    }

    #[test]
    fn what_is_no_peer_id() {
        assert!("".parse::<PeerId>().is_err());
        assert!("0OIl".parse::<PeerId>().is_err());
        assert!("1".repeat(100_000).parse::<PeerId>().is_err());
    }
}

//! Keys and signatures of peers.

use std::{fmt, sync::Arc};

use ed25519_dalek::{
    VerifyingKey,
    hazmat::{ExpandedSecretKey, raw_sign},
};
use k256::ecdsa::signature::{Signer as _, Verifier as _};

use crate::PeerId;

/// Makes signatures in the name of one peer.
pub trait Signer {
    /// The key that verifies what this signs.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message`.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// Checks signatures of one peer.
pub trait Verifier {
    /// Checks that `signature` was made over `message`.
    ///
    /// # Errors
    /// When it was not.
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError>;
}

/// The secret key of a peer, expanded once, with its public key and peer id.
#[derive(Clone)]
pub struct KeyPair {
    secret: Secret,
    public: PublicKey,
    peer_id: PeerId,
}

#[derive(Clone)]
enum Secret {
    Ed25519 {
        seed: [u8; 32],
        expanded: Arc<ExpandedSecretKey>,
        public: Box<VerifyingKey>,
    },
    Secp256k1(Box<k256::ecdsa::SigningKey>),
}

/// The public key of a peer.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKey {
    /// Ed25519, the only type in practice.
    Ed25519(VerifyingKey),
    /// ECDSA over secp256k1 with SHA-256.
    Secp256k1(Box<k256::ecdsa::VerifyingKey>),
    /// RSA (PKCS#1 v1.5 with SHA-256): verification only.
    #[cfg(feature = "rsa")]
    Rsa(Box<rsa::PublicKey>),
}

/// The bytes of a signature: 64 raw bytes for Ed25519, DER for secp256k1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Signature(Box<[u8]>);

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A peer id that is a hash of its key.
    #[error("public key is not inlined in peer id {peer_id}")]
    NotInlined {
        /// The peer id.
        peer_id: PeerId,
    },
    /// Bytes that are no serialized public key.
    #[error("public key of {length} bytes is malformed: {reason}")]
    Malformed {
        /// Length of what was read.
        length: usize,
        /// What is wrong.
        reason: String,
    },
    /// A key type that this build does not know.
    #[error("key type {code} is unknown, expected 0 (RSA), 1 (Ed25519) or 2 (secp256k1)")]
    UnknownType {
        /// The code of the libp2p key message.
        code: u64,
    },
    /// Bytes that are no secret key.
    #[error("secret key of {length} bytes is malformed, expected 32 bytes of a valid scalar")]
    MalformedSecret {
        /// Length of what was read.
        length: usize,
    },
}

/// Why a signature does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The bytes are no signature of the key's type.
    #[error("{key_type} signature of {length} bytes is malformed, expected {expected}")]
    Malformed {
        /// Type of the key.
        key_type: &'static str,
        /// Length of the signature.
        length: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// The signature was made with another key or over another message.
    #[error("{key_type} signature does not match key and message of {message_length} bytes")]
    Mismatch {
        /// Type of the key.
        key_type: &'static str,
        /// Length of the message.
        message_length: usize,
    },
}

impl KeyPair {
    /// The Ed25519 key of a 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        Self::new(
            Secret::Ed25519 {
                seed: *seed,
                expanded: Arc::new(ExpandedSecretKey::from(seed)),
                public: Box::new(public),
            },
            PublicKey::Ed25519(public),
        )
    }

    /// The secp256k1 key of a 32-byte scalar.
    ///
    /// # Errors
    /// When the scalar is zero or not below the order of the curve.
    pub fn secp256k1_from_scalar(scalar: &[u8; 32]) -> Result<Self, KeyError> {
        let key =
            k256::ecdsa::SigningKey::from_slice(scalar).map_err(|_| KeyError::MalformedSecret {
                length: scalar.len(),
            })?;
        let public = PublicKey::Secp256k1(Box::new(*key.verifying_key()));
        Ok(Self::new(Secret::Secp256k1(Box::new(key)), public))
    }

    /// The peer id of the key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The 32 bytes that the key was made from.
    #[must_use]
    pub fn secret_bytes(&self) -> [u8; 32] {
        match &self.secret {
            Secret::Ed25519 { seed, .. } => *seed,
            Secret::Secp256k1(key) => key.to_bytes().into(),
        }
    }

    fn new(secret: Secret, public: PublicKey) -> Self {
        let peer_id = PeerId::of(&public);
        Self {
            secret,
            public,
            peer_id,
        }
    }
}

impl Signer for KeyPair {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Signature {
        match &self.secret {
            Secret::Ed25519 {
                expanded, public, ..
            } => {
                let signature = raw_sign::<sha2::Sha512>(expanded, message, public);
                Signature(Box::from(signature.to_bytes()))
            }
            Secret::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                Signature(Box::from(signature.to_der().as_bytes()))
            }
        }
    }
}

impl fmt::Debug for KeyPair {
    /// Never shows the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyPair({})", self.peer_id)
    }
}

impl PublicKey {
    /// Reads the libp2p key message.
    ///
    /// # Errors
    /// When the message or the key in it is malformed, or the type is unknown.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, KeyError> {
        let malformed = |reason: &str| malformed_key(bytes, reason);
        let (code, key) = split_key_message(bytes)
            .ok_or_else(|| malformed("expected a message of a type and the bytes of the key"))?;
        match code {
            #[cfg(feature = "rsa")]
            RSA => {
                use rsa::pkcs8::DecodePublicKey as _;
                rsa::PublicKey::from_public_key_der(key)
                    .map(|key| Self::Rsa(Box::new(key)))
                    .map_err(|error| malformed_key(key, &error.to_string()))
            }
            ED25519 => Self::ed25519_from_bytes(key),
            SECP256K1 => k256::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .map(|key| Self::Secp256k1(Box::new(key)))
                .map_err(|_| malformed_key(key, "expected a point of secp256k1")),
            code => Err(KeyError::UnknownType { code }),
        }
    }

    /// Reads the 32 bytes of an Ed25519 key.
    ///
    /// # Errors
    /// When they are not 32 bytes of a point of the curve.
    pub fn ed25519_from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        VerifyingKey::try_from(bytes)
            .map(Self::Ed25519)
            .map_err(|_| malformed_key(bytes, "expected 32 bytes of an Ed25519 point"))
    }

    /// The libp2p key message.
    #[must_use]
    pub fn to_protobuf(&self) -> Vec<u8> {
        let (code, key) = match self {
            Self::Ed25519(key) => (ED25519, key.as_bytes().to_vec()),
            Self::Secp256k1(key) => (SECP256K1, key.to_sec1_point(true).as_bytes().to_vec()),
            #[cfg(feature = "rsa")]
            Self::Rsa(key) => {
                use rsa::pkcs8::EncodePublicKey as _;
                let der = key.to_public_key_der().map(rsa::pkcs8::Document::into_vec);
                (RSA, der.unwrap_or_default())
            }
        };
        let mut message = vec![0x08, code as u8, 0x12];
        push_varint(&mut message, key.len() as u64);
        message.extend_from_slice(&key);
        message
    }

    /// The peer id of the key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId::of(self)
    }

    /// Name of the key's type, for messages.
    #[must_use]
    pub fn key_type(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "Ed25519",
            Self::Secp256k1(_) => "secp256k1",
            #[cfg(feature = "rsa")]
            Self::Rsa(_) => "RSA",
        }
    }
}

impl Verifier for PublicKey {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let malformed = |expected| SignatureError::Malformed {
            key_type: self.key_type(),
            length: signature.len(),
            expected,
        };
        let verified = match self {
            Self::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::try_from(signature)
                    .map_err(|_| malformed("64 bytes"))?;
                key.verify(message, &signature).is_ok()
            }
            Self::Secp256k1(key) => {
                let signature = k256::ecdsa::Signature::from_der(signature)
                    .map_err(|_| malformed("the DER form of two scalars"))?;
                // The library refuses a high S, which the protocol allows.
                key.verify(message, &signature.normalize_s()).is_ok()
            }
            #[cfg(feature = "rsa")]
            Self::Rsa(key) => {
                let signature = rsa::pkcs1v15::Signature::try_from(signature)
                    .map_err(|_| malformed("as many bytes as the key has"))?;
                rsa::pkcs1v15::VerifyingKey::<sha2::Sha256>::new((**key).clone())
                    .verify(message, &signature)
                    .is_ok()
            }
        };
        if verified {
            return Ok(());
        }
        Err(SignatureError::Mismatch {
            key_type: self.key_type(),
            message_length: message.len(),
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "PublicKey({} {})",
            self.key_type(),
            self.peer_id()
        )
    }
}

impl Signature {
    /// The signature with these bytes; whether they verify is another question.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Signature({})",
            bs58::encode(&self.0).into_string()
        )
    }
}

// Codes of the libp2p key message.
#[cfg(feature = "rsa")]
const RSA: u64 = 0;
const ED25519: u64 = 1;
const SECP256K1: u64 = 2;

fn malformed_key(bytes: &[u8], reason: &str) -> KeyError {
    KeyError::Malformed {
        length: bytes.len(),
        reason: reason.to_owned(),
    }
}

/// Field 1 (varint) is the type, field 2 (bytes) the key; peer ids need exactly this form.
fn split_key_message(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (code, rest) = take_varint(bytes.strip_prefix(&[0x08])?)?;
    let (length, key) = take_varint(rest.strip_prefix(&[0x12])?)?;
    (length == key.len() as u64).then_some((code, key))
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (position, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((value, bytes.split_at_checked(position + 1)?.1));
        }
    }
    None
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ed25519_signs_and_verifies() {
        let pair = KeyPair::from_seed(&[7; 32]);
        let signature = pair.sign(b"message");
        let key = pair.public_key();
        assert_eq!(key.verify(b"message", signature.as_bytes()), Ok(()));
        assert!(key.verify(b"massage", signature.as_bytes()).is_err());
        assert!(key.verify(b"message", &signature.as_bytes()[1..]).is_err());
        assert_eq!(
            PublicKey::from_protobuf(&key.to_protobuf()).as_ref(),
            Ok(key)
        );
        assert_eq!(pair.secret_bytes(), [7; 32]);
    }

    #[test]
    fn secp256k1_signs_and_verifies() {
        let pair = KeyPair::secp256k1_from_scalar(&[7; 32]).unwrap();
        let signature = pair.sign(b"message");
        let key = pair.public_key();
        assert_eq!(key.verify(b"message", signature.as_bytes()), Ok(()));
        assert!(key.verify(b"massage", signature.as_bytes()).is_err());
        assert_eq!(
            PublicKey::from_protobuf(&key.to_protobuf()).as_ref(),
            Ok(key)
        );
        assert_eq!(pair.peer_id().public_key().as_ref(), Ok(key));
        assert!(KeyPair::secp256k1_from_scalar(&[0; 32]).is_err());
        assert!(!format!("{pair:?}").contains("07"));
    }

    #[test]
    fn known_signature() {
        // From the protocol description: the key library of the reference made it.
        let seed = "ee1e3c3d0fdfd6b4bd4f169c9a0383c5b0f8d8897d077282d75ee3bce3e9a4f1";
        let pair = KeyPair::from_seed(&hex::decode(seed).unwrap().try_into().unwrap());
        assert_eq!(
            pair.peer_id().to_string(),
            "12D3KooWANqfCDrV79MZdMnMqTvDdqSAPSxdgFY1L6DCq2DVGB4D"
        );
        assert_eq!(
            hex::encode(pair.sign(b"message").as_bytes()),
            "b015bb1faff57f003017cea5770566f410eed181f7c37d281508d3597d138aef\
             724d56479b1915d8e5f818be639f4233d02adab0670e7e8cf3919c2d2413cc06"
        );
    }

    #[test]
    fn malformed_keys() {
        assert!(PublicKey::from_protobuf(&[]).is_err());
        assert!(PublicKey::from_protobuf(&[8, 1, 0x12, 1, 0]).is_err());
        assert_eq!(
            PublicKey::from_protobuf(&[8, 9, 0x12, 0]),
            Err(KeyError::UnknownType { code: 9 })
        );
    }
}

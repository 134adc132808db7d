//! The particle: header, script, signature and data.

use bytes::Bytes;

use crate::{KeyError, KeyPair, PeerId, Signature, SignatureError, Signer as _, Verifier as _};

/// A particle: a script on its way, with what happened so far.
#[derive(Clone, PartialEq, Eq)]
pub struct Particle {
    /// Chosen by the initiator; usually a UUID.
    pub id: String,
    /// The peer that made the particle.
    pub init_peer_id: PeerId,
    /// When it was made, in milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// How long it lives, in milliseconds.
    pub ttl: u32,
    /// AIR text.
    pub script: String,
    /// The initiator's signature over everything but the data.
    pub signature: Signature,
    /// What happened so far; carries signatures of its own.
    pub data: Bytes,
}

/// Why a particle is not what its initiator made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParticleError {
    /// The initiator's peer id holds no usable key.
    #[error("public key of the initiator of particle {id:?} cannot be decoded: {source}")]
    Key {
        /// Particle id.
        id: String,
        /// What is wrong with the key.
        source: KeyError,
    },
    /// The signature is not the initiator's.
    #[error("particle {id:?} by {init_peer_id} does not verify: {source}")]
    Signature {
        /// Particle id.
        id: String,
        /// Who is said to have made it.
        init_peer_id: PeerId,
        /// What is wrong with the signature.
        source: SignatureError,
    },
}

impl Particle {
    /// Makes and signs a particle without data.
    #[must_use]
    pub fn new(key: &KeyPair, id: String, timestamp: u64, ttl: u32, script: String) -> Self {
        let signature = key.sign(&signed_bytes(&id, timestamp, ttl, &script));
        let init_peer_id = key.peer_id();
        Self {
            id,
            init_peer_id,
            timestamp,
            ttl,
            script,
            signature,
            data: Bytes::new(),
        }
    }

    /// The bytes that the initiator signs: id, timestamp, ttl, script.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(&self.id, self.timestamp, self.ttl, &self.script)
    }

    /// Checks the initiator's signature.
    ///
    /// # Errors
    /// When the initiator's key cannot be had, or the signature is not by it.
    pub fn verify(&self) -> Result<(), ParticleError> {
        let key = self
            .init_peer_id
            .public_key()
            .map_err(|source| ParticleError::Key {
                id: self.id.clone(),
                source,
            })?;
        key.verify(&self.signed_bytes(), self.signature.as_bytes())
            .map_err(|source| ParticleError::Signature {
                id: self.id.clone(),
                init_peer_id: self.init_peer_id,
                source,
            })
    }

    /// When the particle dies, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.timestamp.saturating_add(u64::from(self.ttl))
    }

    /// Whether the particle is dead at `now` (milliseconds since the Unix epoch).
    #[must_use]
    pub fn is_expired(&self, now: u64) -> bool {
        self.remaining(now) == 0
    }

    /// Milliseconds that are left at `now`.
    #[must_use]
    pub fn remaining(&self, now: u64) -> u64 {
        self.deadline().saturating_sub(now)
    }
}

impl std::fmt::Debug for Particle {
    /// Script and data by their length only.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Particle")
            .field("id", &self.id)
            .field("init_peer_id", &self.init_peer_id)
            .field("timestamp", &self.timestamp)
            .field("ttl", &self.ttl)
            .field("script", &format_args!("{} bytes", self.script.len()))
            .field("signature", &self.signature)
            .field("data", &format_args!("{} bytes", self.data.len()))
            .finish()
    }
}

fn signed_bytes(id: &str, timestamp: u64, ttl: u32, script: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(id.len() + script.len() + 12);
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(&timestamp.to_le_bytes());
    bytes.extend_from_slice(&ttl.to_le_bytes());
    bytes.extend_from_slice(script.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_signature() {
        let seed = "ee1e3c3d0fdfd6b4bd4f169c9a0383c5b0f8d8897d077282d75ee3bce3e9a4f1";
        let key = KeyPair::from_seed(&hex::decode(seed).unwrap().try_into().unwrap());
        let id = "2883f959-e9e7-4843-8c37-205d393ca372".to_owned();
        let particle = Particle::new(&key, id, 1_696_934_545_662, 7000, "abc".to_owned());
        assert_eq!(
            hex::encode(particle.signature.as_bytes()),
            "29c7970e739fa9ed1d3a7031883b3258122f52ae961e84f481ef953075ce66c8\
             d9bc2347effd74a2e7dd9587dc3e899fbf6f0e9fa13ced984370718165c6fb07"
        );
        assert_eq!(particle.verify(), Ok(()));
        assert_eq!(particle.deadline(), 1_696_934_552_662);
        assert!(particle.is_expired(1_696_934_552_662));
        assert_eq!(particle.remaining(1_696_934_552_661), 1);
    }

    #[test]
    fn altered_particles_do_not_verify() {
        let key = KeyPair::secp256k1_from_scalar(&[9; 32]).unwrap();
        let particle = Particle::new(&key, "id".to_owned(), 1, 2, "(null)".to_owned());
        assert_eq!(particle.verify(), Ok(()));
        let other = Particle {
            ttl: 3,
            ..particle.clone()
        };
        assert!(matches!(
            other.verify(),
            Err(ParticleError::Signature { .. })
        ));
        let other = Particle {
            init_peer_id: KeyPair::from_seed(&[1; 32]).peer_id(),
            ..particle
        };
        assert!(other.verify().is_err());
    }
}

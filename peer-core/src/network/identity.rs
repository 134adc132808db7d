//! Keys and peer ids of this project in libp2p's types and back.

use libp2p::identity::{Keypair, secp256k1};
use particle::{KeyPair, PublicKey, Signer as _};

use super::NetworkError;

/// The same peer id in libp2p's type. `None` cannot happen: both types hold the same multihashes.
pub(crate) fn to_libp2p(peer: &particle::PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&peer.to_bytes()).ok()
}

/// The same peer id in our type. `None` for hashes that libp2p may come to accept.
pub(crate) fn from_libp2p(peer: &libp2p::PeerId) -> Option<particle::PeerId> {
    particle::PeerId::from_bytes(&peer.to_bytes()).ok()
}

/// The same key in libp2p's type.
pub(crate) fn key_pair(key: &KeyPair) -> Result<Keypair, NetworkError> {
    let secret = key.secret_bytes();
    let refused = |reason: String| NetworkError::Key { reason };
    match key.public_key() {
        PublicKey::Ed25519(_) => {
            Keypair::ed25519_from_bytes(secret).map_err(|error| refused(error.to_string()))
        }
        PublicKey::Secp256k1(_) => secp256k1::SecretKey::try_from_bytes(secret)
            .map(|secret| secp256k1::Keypair::from(secret).into())
            .map_err(|error| refused(error.to_string())),
        other => Err(refused(format!(
            "keys of type {} only verify",
            other.key_type()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_libraries_agree_on_peer_ids() {
        let ed25519 = KeyPair::from_seed(&[1; 32]);
        let secp256k1 = KeyPair::secp256k1_from_scalar(&[2; 32]).unwrap();
        for key in [ed25519, secp256k1] {
            let theirs = key_pair(&key).unwrap().public().to_peer_id();
            assert_eq!(to_libp2p(&key.peer_id()), Some(theirs));
            assert_eq!(from_libp2p(&theirs), Some(key.peer_id()));
            assert_eq!(theirs.to_string(), key.peer_id().to_string());
        }
    }
}

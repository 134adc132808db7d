//! Particles: header, signatures, data, content identifiers, merge.

pub mod cid;
pub mod data;
mod key;
mod peer_id;
mod tetraplet;

pub use key::{KeyError, KeyPair, PublicKey, Signature, SignatureError, Signer, Verifier};
pub use peer_id::{PeerId, PeerIdError};
pub use tetraplet::Tetraplet;

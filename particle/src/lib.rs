//! Particles: header, signatures, data, content identifiers, merge.

pub mod cid;
pub mod data;
pub mod frame;
mod header;
mod key;
mod msgpack;
mod peer_id;
mod tetraplet;
pub mod value;

pub use header::{Particle, ParticleError};
pub use key::{KeyError, KeyPair, PublicKey, Signature, SignatureError, Signer, Verifier};
pub use peer_id::{PeerId, PeerIdError};
pub use tetraplet::Tetraplet;

//! Particles of the Fluence protocol: header and signature, the wire frame, and the data that
//! travels with a script: trace, content stores, provenance and signatures.
//!
//! ```
//! use particle::{KeyPair, Particle, Signer as _, data::{Data, Envelope, VerifyOptions, Versions}};
//!
//! // A peer makes a particle; the signature covers everything but the data.
//! let key = KeyPair::from_seed(&[1; 32]);
//! let mut particle =
//!     Particle::new(&key, "id-1".into(), 1_700_000_000_000, 7_000, "(null)".into());
//!
//! // It signs the results that it answers for, here none, and writes the data.
//! let stored_key = particle::data::stored_public_key(key.public_key()).expect("Ed25519");
//! let signature = particle::data::sign_cids(&key, &mut [], &particle.id);
//! let mut data = Data::default();
//! data.signatures.insert(&stored_key, &signature);
//! let versions = Versions::of_interpreter("0.64.1".parse()?);
//! particle.data = data.encode(&versions)?.into();
//!
//! // Another peer checks all of it.
//! particle.verify()?;
//! let envelope = Envelope::decode(&particle.data)?;
//! envelope.check_version()?;
//! let data = envelope.data()?;
//! data.verify_stores(VerifyOptions::default())?;
//! particle::data::check_signatures(&Data::default(), &data, &particle.id, None)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base58;
pub mod cid;
pub mod data;
pub mod frame;
mod header;
mod key;
pub mod merge;
pub mod msgpack;
mod peer_id;
mod tetraplet;
pub mod value;

pub use header::{Particle, ParticleError};
pub use key::{KeyError, KeyPair, PublicKey, Signature, SignatureError, Signer, Verifier};
pub use peer_id::{PeerId, PeerIdError};
pub use tetraplet::Tetraplet;

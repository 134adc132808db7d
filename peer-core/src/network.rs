//! The libp2p network: transports, identify, Kademlia, the particle protocol, blocks of content.
//!
//! [`Network::start`] opens the listeners and runs the swarm on a task of its own. The handle it
//! returns is cheap to clone. Particles come in through the receiver that `start` returns as well,
//! and go out through [`Network::send`], which writes into a bounded queue of the connection
//! without passing through the swarm: one slow peer holds back nobody but its own senders.
//!
//! Peers also give each other blocks of content ([`Network::block`]), which nobody has to believe.
//!
//! Every queue is bounded. When the peer does not take particles from the receiver, streams are
//! no longer read, and yamux holds the senders back.

mod address;
mod blocks;
mod bootstrap;
mod boxed;
mod counters;
mod discovery;
mod driver;
mod error;
mod gather;
mod handle;
mod identity;
mod particles;
#[cfg(feature = "http")]
mod recorder;
mod table;
mod timers;
mod transport;

#[cfg(test)]
mod tests;

pub use self::blocks::{BlockError, BlockProvider, MAX_BLOCK};
#[cfg(feature = "http")]
pub(crate) use self::counters::is_spell;
pub use self::counters::{NetworkCounters, ParticleSizes};
pub use self::error::{DialError, KademliaError, NetworkError, SendError};
pub use self::handle::{Network, Role, peer_of_address};
pub use crate::counters::{Counter, Histogram};

use particle::{Particle, PeerId};

/// A particle that arrived.
#[derive(Debug)]
pub struct Incoming {
    /// The peer that delivered it; who made it is another question.
    pub from: PeerId,
    /// The particle, decoded but not verified.
    pub particle: Particle,
}

/// A change in the set of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// A connection was established; a peer may have several.
    Connected {
        /// The remote peer.
        peer: PeerId,
        /// Its address on this connection.
        address: String,
    },
    /// The last connection of a peer is gone.
    Disconnected {
        /// The remote peer.
        peer: PeerId,
        /// The addresses it was known by.
        addresses: Vec<String>,
    },
}

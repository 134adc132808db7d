//! What can go wrong, by who asked for it.

use std::time::Duration;

use thiserror::Error;

/// Why the network did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The key cannot be used with libp2p.
    #[error("the key of the peer cannot be used: {reason}")]
    Key {
        /// What libp2p said.
        reason: String,
    },
    /// The transport could not be set up.
    #[error("the transport cannot be set up: {reason}")]
    Transport {
        /// What libp2p said.
        reason: String,
    },
    /// A text in the configuration is no multiaddress.
    #[error("`{address}` is not a multiaddress: {reason}")]
    Address {
        /// The text.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The name of the network makes no protocol name.
    #[error("`{name}` is not a protocol name: {reason}")]
    Protocol {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why an address could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The text is no multiaddress.
    #[error("`{address}` is not a multiaddress: {reason}")]
    Address {
        /// The text.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answered, or not the expected peer.
    #[error("cannot connect to {target}: {reason}")]
    Unreachable {
        /// The address or peer.
        target: String,
        /// Why, one reason per address.
        reason: String,
    },
    /// The network was shut down.
    #[error("the network is shut down")]
    Stopped,
}

/// Why a particle was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The peer is neither connected nor can it be found and dialed.
    #[error("{peer} cannot be reached: {reason}")]
    Unreachable {
        /// The peer.
        peer: String,
        /// Why.
        reason: String,
    },
    /// The peer did not take the particle in time.
    #[error("{peer} did not take the particle within {after:?}")]
    TimedOut {
        /// The peer.
        peer: String,
        /// The time it had.
        after: Duration,
    },
    /// The stream or its connection failed.
    #[error("sending to {peer} failed: {reason}")]
    Stream {
        /// The peer.
        peer: String,
        /// What the stream said.
        reason: String,
    },
    /// The frame is longer than any peer accepts.
    #[error("the particle needs {size} bytes, at most {limit} can be sent")]
    TooLarge {
        /// Bytes of the frame.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The network was shut down.
    #[error("the network is shut down")]
    Stopped,
}

/// Why Kademlia has no answer. The texts reach scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KademliaError {
    /// The query found nobody.
    #[error("KademliaError::NoPeersFound")]
    NoPeersFound,
    /// The peer was not found in time.
    #[error("KademliaError::PeerTimedOut")]
    PeerTimedOut,
    /// The query did not end in time.
    #[error("KademliaError::QueryTimedOut")]
    QueryTimedOut,
    /// The network was shut down while the query ran, or there is no Kademlia.
    #[error("KademliaError::Cancelled")]
    Cancelled,
    /// The routing table is empty.
    #[error("KademliaError::NoKnownPeers")]
    NoKnownPeers,
    /// The peer could not be found several times in a row and is not looked for again yet.
    #[error("KademliaError::PeerBanned")]
    PeerBanned,
}

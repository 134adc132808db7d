//! What builtins ask of the network: who is connected, who is near a key, how to reach a peer.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A peer and the addresses it can be reached at, in the JSON form that scripts see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The peer id in base58.
    pub peer_id: String,
    /// Multiaddresses as text; empty when none is known.
    pub addresses: Vec<String>,
}

/// The network as builtins see it (§1.10 of the peer description, `Connectivity`).
///
/// Peer ids are base58 text that has been checked by the caller. Implemented by the libp2p network
/// and by the simulator.
#[async_trait]
pub trait Connectivity: Send + Sync {
    /// Whether at least one connection to the peer is established.
    async fn is_connected(&self, peer_id: &str) -> bool;

    /// Connects to a peer, by the given addresses and those already known. True when a connection
    /// is established (now or before), false when dialing failed.
    ///
    /// # Errors
    /// An address that is not a multiaddress: its text and what is wrong with it.
    async fn connect(&self, contact: Contact) -> Result<bool, String>;

    /// The peer with every address known for it; nothing when the peer is unknown.
    async fn get_contact(&self, peer_id: &str) -> Option<Contact>;

    /// Up to `count` peers of the local routing table, closest first, by XOR distance of the
    /// SHA-256 of their ids' bytes to the SHA-256 of `key`. The host itself is not among them.
    ///
    /// `key` are the bytes of a multihash (code, length, digest).
    async fn neighborhood(&self, key: &[u8], count: usize) -> Vec<String>;
}

/// A network without anybody: for tests and for peers that are alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNetwork;

#[async_trait]
impl Connectivity for NoNetwork {
    async fn is_connected(&self, _peer_id: &str) -> bool {
        false
    }

    async fn connect(&self, _contact: Contact) -> Result<bool, String> {
        Ok(false)
    }

    async fn get_contact(&self, _peer_id: &str) -> Option<Contact> {
        None
    }

    async fn neighborhood(&self, _key: &[u8], _count: usize) -> Vec<String> {
        Vec::new()
    }
}

//! The connection pool: what is known about each remote peer, shared between the swarm, which
//! writes it, and the handles, which read it without waiting for the swarm.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::SendError;

/// Addresses kept for one peer that told us about itself; more are ignored.
const MAX_DISCOVERED_ADDRESSES: usize = 16;
/// Peers without a connection that are remembered; the rest of the world is left to Kademlia.
const MAX_DISCOVERED_PEERS: usize = 4096;

/// One frame on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) frame: Bytes,
    pub(crate) done: oneshot::Sender<Result<(), SendError>>,
}

/// An established connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) address: Multiaddr,
    /// Whether the remote peer dialed us; a client always does.
    pub(crate) inbound: bool,
    pub(crate) queue: mpsc::Sender<Outgoing>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Oldest first.
    connections: Vec<Connection>,
    discovered: Vec<Multiaddr>,
}

/// All peers with a connection or with addresses they advertised.
#[derive(Debug, Default)]
pub(crate) struct PeerTable {
    entries: RwLock<HashMap<PeerId, Entry>>,
}

impl PeerTable {
    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.read()
            .get(peer)
            .is_some_and(|entry| !entry.connections.is_empty())
    }

    /// The connections of a peer, newest first: a client that came back with the same key is
    /// listening on its newest one.
    pub(crate) fn connections(&self, peer: &PeerId) -> Vec<Connection> {
        self.read()
            .get(peer)
            .map(|entry| entry.connections.iter().rev().cloned().collect())
            .unwrap_or_default()
    }

    /// All addresses known of a peer, or nothing when the peer is unknown.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Option<Vec<Multiaddr>> {
        let entries = self.read();
        let entry = entries.get(peer)?;
        let mut addresses: Vec<Multiaddr> = Vec::new();
        let connected = entry
            .connections
            .iter()
            .map(|connection| &connection.address);
        for address in connected.chain(&entry.discovered) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        Some(addresses)
    }

    /// Peers with at least one connection.
    pub(crate) fn connected_peers(&self) -> Vec<PeerId> {
        self.read()
            .iter()
            .filter(|(_, entry)| !entry.connections.is_empty())
            .map(|(peer, _)| *peer)
            .collect()
    }

    pub(crate) fn add_connection(&self, peer: PeerId, connection: Connection) {
        self.write()
            .entry(peer)
            .or_default()
            .connections
            .push(connection);
    }

    /// Forgets a connection; when it was the last one the peer is forgotten too, with what it
    /// advertised, and its addresses are returned.
    pub(crate) fn remove_connection(
        &self,
        peer: &PeerId,
        id: ConnectionId,
    ) -> Option<Vec<Multiaddr>> {
        let addresses = self.addresses(peer)?;
        let mut entries = self.write();
        let entry = entries.get_mut(peer)?;
        entry.connections.retain(|connection| connection.id != id);
        if entry.connections.is_empty() {
            entries.remove(peer);
            return Some(addresses);
        }
        None
    }

    /// Stores addresses a peer advertised, as far as there is room.
    pub(crate) fn add_discovered(
        &self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) {
        let mut entries = self.write();
        if entries.len() >= MAX_DISCOVERED_PEERS && !entries.contains_key(&peer) {
            return;
        }
        let entry = entries.entry(peer).or_default();
        for address in addresses {
            if entry.discovered.len() >= MAX_DISCOVERED_ADDRESSES {
                break;
            }
            if !entry.discovered.contains(&address) {
                entry.discovered.push(address);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<PeerId, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<PeerId, Entry>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(id: usize) -> Connection {
        Connection {
            id: ConnectionId::new_unchecked(id),
            address: format!("/ip4/127.0.0.1/tcp/{id}").parse().unwrap(),
            inbound: true,
            queue: mpsc::channel(1).0,
        }
    }

    #[test]
    fn the_newest_connection_comes_first() {
        let table = PeerTable::default();
        let peer = PeerId::random();
        table.add_connection(peer, connection(1));
        table.add_connection(peer, connection(2));
        let ids: Vec<_> = table.connections(&peer).iter().map(|c| c.id).collect();
        assert_eq!(
            ids,
            [
                ConnectionId::new_unchecked(2),
                ConnectionId::new_unchecked(1)
            ]
        );
        assert!(
            table
                .remove_connection(&peer, ConnectionId::new_unchecked(2))
                .is_none()
        );
        assert!(table.is_connected(&peer));
        let left = table
            .remove_connection(&peer, ConnectionId::new_unchecked(1))
            .unwrap();
        assert_eq!(left.len(), 1);
        assert!(!table.is_connected(&peer));
        assert!(table.addresses(&peer).is_none());
    }

    #[test]
    fn advertised_addresses_are_bounded_and_mean_no_connection() {
        let table = PeerTable::default();
        let peer = PeerId::random();
        let many = (0..100).map(|port| format!("/ip4/1.1.1.1/tcp/{port}").parse().unwrap());
        table.add_discovered(peer, many);
        assert_eq!(
            table.addresses(&peer).unwrap().len(),
            MAX_DISCOVERED_ADDRESSES
        );
        assert!(!table.is_connected(&peer));
    }
}

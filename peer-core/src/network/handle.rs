//! The handle of a running network.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use libp2p::Multiaddr;
use particle::frame::MAX_JS_FRAME_LEN;
use particle::{KeyPair, Particle, PeerId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::address::{peer_of, without_peer};
use super::blocks::{BlockError, BlockProvider};
use super::counters::NetworkCounters;
use super::driver::{Command, Driver, Outside};
use super::identity::{from_libp2p, key_pair, to_libp2p};
#[cfg(feature = "http")]
use super::recorder::Recorder;
use super::table::{Connection, Outgoing, PeerTable};
use super::{
    DialError, Incoming, KademliaError, NetworkError, NetworkEvent, SendError, bootstrap, timers,
};
use crate::config::NetworkConfig;
use crate::connectivity::{Connectivity, Contact};

/// How often a connection is made for one frame.
const MAX_RECONNECTS: usize = 3;
/// Events kept for a slow subscriber.
const EVENTS: usize = 1024;

/// What a participant of the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Listens, is part of the Kademlia table.
    Host,
    /// Dials its relay and nothing else.
    Client,
}

/// A running network. Clones share it.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    peer_id: PeerId,
    libp2p_id: libp2p::PeerId,
    listen: Vec<String>,
    send_timeout: Duration,
    max_frame: usize,
    table: Arc<PeerTable>,
    counters: Arc<NetworkCounters>,
    commands: mpsc::Sender<Command>,
    incoming: mpsc::Sender<Incoming>,
    events: broadcast::Sender<NetworkEvent>,
    stop: watch::Sender<bool>,
    /// Bootstrap nodes that are connected.
    bootstraps: bootstrap::Connected,
    /// How many there are.
    bootstrap_nodes: usize,
    /// Whether the last Kademlia bootstrap began.
    joined: AtomicBool,
    /// What others get when they ask for blocks.
    provider: Arc<OnceLock<Arc<dyn BlockProvider>>>,
    #[cfg(feature = "http")]
    recorder: Arc<Recorder>,
}

/// A network, and what it receives.
type Started = (Network, mpsc::Receiver<Incoming>);

impl Network {
    /// Opens the listeners of the configuration and starts the swarm. Returns when all of them
    /// are open. Bootstrap nodes are dialed in the background and again whenever they go away.
    ///
    /// Has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// An address of the configuration is malformed or cannot be listened on, or the key cannot
    /// be used with libp2p.
    pub async fn start(
        key: &KeyPair,
        config: &NetworkConfig,
        role: Role,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), NetworkError> {
        Self::begin(key, config, role).await
    }

    /// A plain function, which is compiled once, unlike what an `async` one consists of.
    #[inline(never)]
    fn begin<'a>(
        key: &'a KeyPair,
        config: &'a NetworkConfig,
        role: Role,
    ) -> BoxFuture<'a, Result<Started, NetworkError>> {
        Box::pin(Self::join(key, config, role))
    }

    async fn join(
        key: &KeyPair,
        config: &NetworkConfig,
        role: Role,
    ) -> Result<Started, NetworkError> {
        timers::start();
        let libp2p_key = key_pair(key)?;
        let libp2p_id = libp2p_key.public().to_peer_id();
        let table = Arc::new(PeerTable::default());
        let counters = Arc::new(NetworkCounters::default());
        let (incoming, received) = mpsc::channel(config.particle_queue_buffer.max(1));
        let (events, _) = broadcast::channel(EVENTS);
        let provider = Arc::<OnceLock<_>>::default();
        let bootstrap_nodes: Vec<Multiaddr> = config
            .bootstrap_nodes
            .iter()
            .map(|text| parse(text))
            .collect::<Result<BTreeSet<_>, _>>()?
            .into_iter()
            .collect();

        let (driver, commands, listen) = Driver::start(
            libp2p_key,
            config,
            role,
            Outside {
                table: table.clone(),
                counters: counters.clone(),
                incoming: incoming.clone(),
                events: events.clone(),
                provider: provider.clone(),
            },
        )
        .await?;
        #[cfg(feature = "http")]
        let recorder = driver.recorder();
        tokio::spawn(driver.run());

        let network = Self {
            inner: Arc::new(Inner {
                peer_id: key.peer_id(),
                libp2p_id,
                listen: listen.iter().map(Multiaddr::to_string).collect(),
                send_timeout: config.protocol.upgrade_timeout.0 * 2,
                max_frame: usize::try_from(config.protocol.max_frame_size.0).unwrap_or(usize::MAX),
                table,
                counters,
                commands,
                incoming,
                events,
                stop: watch::channel(false).0,
                bootstraps: bootstrap::Connected::default(),
                bootstrap_nodes: bootstrap_nodes.len(),
                joined: AtomicBool::new(false),
                provider,
                #[cfg(feature = "http")]
                recorder,
            }),
        };
        bootstrap::start(&network, bootstrap_nodes, config);
        Ok((network, received))
    }

    /// The id of this peer.
    pub fn peer_id(&self) -> PeerId {
        self.inner.peer_id
    }

    /// The addresses to reach this peer from this machine, one per listener, each with
    /// `/p2p/<peer id>`. A listener on all interfaces is given with the loopback address.
    pub fn listen_addresses(&self) -> &[String] {
        &self.inner.listen
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &NetworkCounters {
        &self.inner.counters
    }

    /// What libp2p counts about itself.
    #[cfg(feature = "http")]
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.inner.recorder
    }

    /// Connections made and lost from now on. A subscriber that falls behind loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<NetworkEvent> {
        self.inner.events.subscribe()
    }

    /// Peers with an established connection.
    pub fn connected_peers(&self) -> Vec<PeerId> {
        self.inner
            .table
            .connected_peers()
            .iter()
            .filter_map(from_libp2p)
            .collect()
    }

    /// Whether a connection to the peer is established. True for this peer itself.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        *peer == self.inner.peer_id
            || to_libp2p(peer).is_some_and(|peer| self.inner.table.is_connected(&peer))
    }

    /// The bootstrap nodes that are connected now.
    pub fn connected_bootstraps(&self) -> Vec<String> {
        self.inner.bootstraps.addresses()
    }

    /// The bootstrap nodes that ought to be connected.
    pub fn bootstrap_nodes(&self) -> usize {
        self.inner.bootstrap_nodes
    }

    /// Whether the last attempt to look around in Kademlia could begin.
    pub fn joined_kademlia(&self) -> bool {
        self.inner.joined.load(Ordering::Relaxed)
    }

    /// Particles that were received and wait for the engine.
    pub fn queued_particles(&self) -> usize {
        let queue = &self.inner.incoming;
        queue.max_capacity().saturating_sub(queue.capacity())
    }

    /// Dials an address, with or without a peer id at its end, and waits for the connection.
    ///
    /// # Errors
    /// The address is malformed, nobody answers there, or another peer than the one named.
    pub async fn dial(&self, address: &str) -> Result<PeerId, DialError> {
        let address: Multiaddr = address.parse().map_err(|error| DialError::Address {
            address: address.to_owned(),
            reason: format!("{error}"),
        })?;
        self.dial_multiaddr(address).await
    }

    pub(super) async fn dial_multiaddr(&self, address: Multiaddr) -> Result<PeerId, DialError> {
        let target = address.to_string();
        let (reply, answer) = oneshot::channel();
        self.command(Command::Dial { address, reply })
            .await
            .ok_or(DialError::Stopped)?;
        match answer.await {
            Ok(Ok(peer)) => from_libp2p(&peer).ok_or_else(|| DialError::Unreachable {
                target,
                reason: format!("peer id {peer} is of an unknown kind"),
            }),
            Ok(Err(reason)) => Err(DialError::Unreachable { target, reason }),
            Err(_) => Err(DialError::Stopped),
        }
    }

    /// Connects to a peer by the given addresses and those already known. Returns at once when a
    /// connection exists.
    ///
    /// # Errors
    /// An address is malformed or none of them leads to the peer.
    pub async fn connect(&self, peer: &PeerId, addresses: &[String]) -> Result<(), DialError> {
        let target = peer.to_string();
        let addresses: Vec<Multiaddr> = addresses
            .iter()
            .map(|text| {
                text.parse().map_err(|error| DialError::Address {
                    address: text.clone(),
                    reason: format!("{error}"),
                })
            })
            .collect::<Result<_, _>>()?;
        if self.is_connected(peer) {
            return Ok(());
        }
        let Some(peer) = to_libp2p(peer) else {
            return Err(DialError::Unreachable {
                target,
                reason: "unknown kind of id".to_owned(),
            });
        };
        self.connect_libp2p(peer, addresses).await
    }

    /// Closes all connections of a peer. False when there were none.
    pub async fn disconnect(&self, peer: &PeerId) -> bool {
        let Some(peer) = to_libp2p(peer) else {
            return false;
        };
        let (reply, answer) = oneshot::channel();
        self.command(Command::Disconnect { peer, reply }).await;
        answer.await.unwrap_or(false)
    }

    /// Sends a particle: through the newest connection of the peer, after connecting by known
    /// addresses or by a Kademlia lookup when there is none. Returns when the particle is written
    /// completely. A particle for this peer itself goes into the queue of received ones.
    ///
    /// # Errors
    /// The peer cannot be found or reached, does not take the particle in time, or the particle
    /// is too large.
    pub async fn send(&self, peer: &PeerId, particle: &Particle) -> Result<(), SendError> {
        if *peer == self.inner.peer_id {
            let incoming = Incoming {
                from: *peer,
                particle: particle.clone(),
            };
            let queued = self.inner.incoming.send(incoming).await;
            return queued.map_err(|_| SendError::Stopped);
        }
        let frame = Bytes::from(particle::frame::encode(particle));
        self.send_frame(peer, frame).await
    }

    /// Sends an encoded particle to another peer, as [`send`](Self::send) does: a frame made once
    /// serves many.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_frame(&self, peer: &PeerId, frame: Bytes) -> Result<(), SendError> {
        let result = self.send_remote(peer, frame).await;
        match &result {
            Ok(()) => self.inner.counters.sent.increment(),
            Err(_) => self.inner.counters.send_failed.increment(),
        }
        result
    }

    /// Runs a Kademlia lookup of a peer's addresses; the routing table is looked at first.
    ///
    /// # Errors
    /// The peer is not found in time or was not found too often.
    pub async fn discover(&self, peer: &PeerId) -> Result<Vec<String>, KademliaError> {
        let peer = to_libp2p(peer).ok_or(KademliaError::NoPeersFound)?;
        let addresses = self.discover_libp2p(peer).await?;
        Ok(addresses.iter().map(Multiaddr::to_string).collect())
    }

    /// Adds a peer to the Kademlia table.
    pub async fn add_contact(&self, peer: &PeerId, addresses: &[String]) {
        let Some(peer) = to_libp2p(peer) else { return };
        let addresses = addresses
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        self.command(Command::AddContact { peer, addresses }).await;
    }

    /// Fills the Kademlia table by queries for this peer's own surroundings; they run in the
    /// background.
    ///
    /// # Errors
    /// The table is empty.
    pub async fn bootstrap(&self) -> Result<(), KademliaError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Bootstrap { reply }).await;
        let begun = answer.await.unwrap_or(Err(KademliaError::Cancelled));
        self.inner.joined.store(begun.is_ok(), Ordering::Relaxed);
        begun
    }

    /// Gives blocks to whoever asks for them. Once set, the provider stays: false when there was one.
    pub fn provide_blocks(&self, provider: Arc<dyn BlockProvider>) -> bool {
        self.inner.provider.set(provider).is_ok()
    }

    /// Asks a peer for the block that the bytes of a content identifier name; connects to it as
    /// [`send`](Self::send) does. Nothing where the peer does not have it. The block is not compared
    /// with the identifier.
    ///
    /// # Errors
    /// The peer cannot be reached, does not exchange blocks, or does not answer.
    pub async fn block(&self, peer: &PeerId, cid: Vec<u8>) -> Result<Option<Vec<u8>>, BlockError> {
        let unreachable = |reason: String| BlockError::Unreachable {
            peer: peer.to_string(),
            reason,
        };
        let Some(target) = to_libp2p(peer) else {
            return Err(unreachable("unknown kind of id".to_owned()));
        };
        if !self.inner.table.is_connected(&target) {
            let reached = self.reach(target, None).await;
            reached.map_err(|error| unreachable(error.to_string()))?;
        }
        let (reply, answer) = oneshot::channel();
        self.command(Command::Block {
            peer: target,
            cid,
            reply,
        })
        .await
        .ok_or(BlockError::Stopped)?;
        answer.await.unwrap_or(Err(BlockError::Stopped))
    }

    /// Closes all connections and listeners and ends the background work. Idempotent.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        let (reply, answer) = oneshot::channel();
        self.command(Command::Shutdown { reply }).await;
        let _ = answer.await;
    }

    #[cfg(test)]
    pub(super) fn raw_connections(&self, peer: &libp2p::PeerId) -> Vec<Connection> {
        self.inner.table.connections(peer)
    }

    /// Ends when the network is shut down.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.inner.stop.subscribe()
    }

    pub(super) fn bootstraps(&self) -> &bootstrap::Connected {
        &self.inner.bootstraps
    }

    async fn command(&self, command: Command) -> Option<()> {
        self.inner.commands.send(command).await.ok()
    }

    async fn connect_libp2p(
        &self,
        peer: libp2p::PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<(), DialError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Connect {
            peer,
            addresses,
            reply,
        })
        .await
        .ok_or(DialError::Stopped)?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(DialError::Unreachable {
                target: peer.to_string(),
                reason,
            }),
            Err(_) => Err(DialError::Stopped),
        }
    }

    async fn discover_libp2p(&self, peer: libp2p::PeerId) -> Result<Vec<Multiaddr>, KademliaError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Discover { peer, reply }).await;
        answer.await.unwrap_or(Err(KademliaError::Cancelled))
    }

    async fn send_remote(&self, peer: &PeerId, frame: Bytes) -> Result<(), SendError> {
        if frame.len() > self.inner.max_frame {
            return Err(SendError::TooLarge {
                size: frame.len(),
                limit: self.inner.max_frame,
            });
        }
        let libp2p_peer = to_libp2p(peer).ok_or_else(|| SendError::Unreachable {
            peer: peer.to_string(),
            reason: "unknown kind of id".to_owned(),
        })?;
        let mut last = None;
        if self.inner.table.is_connected(&libp2p_peer) {
            self.inner.counters.contacts_local.increment();
        }
        // A connection can end between finding and using it: two peers that dial each other at once
        // close one. Then the next one is used, then a new one.
        for attempt in 0..=MAX_RECONNECTS {
            if attempt > 0 {
                self.reach(libp2p_peer, last.take()).await?;
            }
            for connection in self.inner.table.connections(&libp2p_peer) {
                match self.send_on(&libp2p_peer, &connection, &frame).await {
                    Err(SendError::Stream { reason, .. }) => last = Some(reason),
                    result => return result,
                }
            }
        }
        Err(SendError::Unreachable {
            peer: peer.to_string(),
            reason: last.unwrap_or_else(|| "the connection was closed at once".to_owned()),
        })
    }

    async fn send_on(
        &self,
        peer: &libp2p::PeerId,
        connection: &Connection,
        frame: &Bytes,
    ) -> Result<(), SendError> {
        if connection.inbound && frame.len() > MAX_JS_FRAME_LEN {
            self.inner.counters.oversized_for_clients.increment();
            tracing::warn!(
                %peer,
                "sending {} bytes to a peer that dialed us; JS clients accept {MAX_JS_FRAME_LEN}",
                frame.len()
            );
        }
        let closed = || SendError::Stream {
            peer: peer.to_string(),
            reason: "the connection was closed".to_owned(),
        };
        let after = super::particles::patience_for(self.inner.send_timeout, frame.len());
        let sending = async {
            let (done, report) = oneshot::channel();
            let outgoing = Outgoing {
                frame: frame.clone(),
                done,
            };
            connection
                .queue
                .send(outgoing)
                .await
                .map_err(|_| closed())?;
            report.await.map_err(|_| closed())?
        };
        match tokio::time::timeout(after, sending).await {
            Ok(result) => result,
            Err(_) => Err(SendError::TimedOut {
                peer: peer.to_string(),
                after,
            }),
        }
    }

    /// Establishes a connection by the addresses the peer advertised, else by those Kademlia
    /// finds.
    async fn reach(&self, peer: libp2p::PeerId, last: Option<String>) -> Result<(), SendError> {
        let counters = &self.inner.counters;
        let unreachable = |reason: String| SendError::Unreachable {
            peer: peer.to_string(),
            reason: match &last {
                Some(last) => format!("{reason}, after its connection failed: {last}"),
                None => reason,
            },
        };
        if let Some(addresses) = self
            .inner
            .table
            .addresses(&peer)
            .filter(|known| !known.is_empty())
            && self.connect_libp2p(peer, addresses).await.is_ok()
        {
            counters.contacts_found.increment();
            return Ok(());
        }
        let addresses = self.discover_libp2p(peer).await.map_err(|error| {
            match error {
                KademliaError::NoPeersFound | KademliaError::PeerTimedOut => {
                    &counters.contacts_unknown
                }
                _ => &counters.contacts_failed,
            }
            .increment();
            unreachable(format!("it is not connected, and {error}"))
        })?;
        match self.connect_libp2p(peer, addresses).await {
            Ok(()) => {
                counters.contacts_found.increment();
                Ok(())
            }
            Err(error) => {
                counters.contacts_unreachable.increment();
                Err(match error {
                    DialError::Unreachable { reason, .. } => unreachable(reason),
                    error => unreachable(error.to_string()),
                })
            }
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Network({})", self.inner.peer_id)
    }
}

#[async_trait]
impl Connectivity for Network {
    async fn is_connected(&self, peer_id: &str) -> bool {
        peer_id
            .parse()
            .is_ok_and(|peer| Network::is_connected(self, &peer))
    }

    async fn connect(&self, contact: Contact) -> Result<bool, String> {
        let peer: PeerId = contact
            .peer_id
            .parse()
            .map_err(|error| format!("{error}"))?;
        match Network::connect(self, &peer, &contact.addresses).await {
            Ok(()) => Ok(true),
            Err(error @ DialError::Address { .. }) => Err(error.to_string()),
            Err(error) => {
                tracing::debug!("{error}");
                Ok(false)
            }
        }
    }

    async fn get_contact(&self, peer_id: &str) -> Option<Contact> {
        let addresses = if peer_id == self.inner.peer_id.to_string() {
            self.inner.listen.clone()
        } else {
            let peer: libp2p::PeerId = peer_id.parse().ok()?;
            let addresses = self.inner.table.addresses(&peer)?;
            addresses
                .into_iter()
                .map(|address| without_peer(address).to_string())
                .collect()
        };
        Some(Contact {
            peer_id: peer_id.to_owned(),
            addresses,
        })
    }

    async fn neighborhood(&self, key: &[u8], count: usize) -> Vec<String> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Neighborhood {
            key: key.to_vec(),
            count,
            reply,
        })
        .await;
        let peers = answer.await.unwrap_or_default();
        peers
            .iter()
            .filter(|peer| **peer != self.inner.libp2p_id)
            .map(ToString::to_string)
            .collect()
    }
}

/// Reads an address of the configuration.
pub(super) fn parse(text: &str) -> Result<Multiaddr, NetworkError> {
    text.parse()
        .map_err(|error: multiaddr::Error| NetworkError::Address {
            address: text.to_owned(),
            reason: error.to_string(),
        })
}

/// The peer id that an address names, if it names one.
pub fn peer_of_address(address: &str) -> Option<PeerId> {
    let address: Multiaddr = address.parse().ok()?;
    from_libp2p(&peer_of(&address)?)
}

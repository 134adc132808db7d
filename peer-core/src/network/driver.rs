//! The task that polls the swarm: listeners, dials, identify and Kademlia. Particles do not pass
//! through it.

use std::collections::{HashMap, HashSet};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::request_response::ResponseChannel;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, connection_limits, identify, kad, ping};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::address::{
    describe, peer_of, root, socket_of, spell_out_loopback, with_peer, with_port,
};
use super::blocks::{self, BlockProvider, Exchange};
use super::boxed::Boxed;
use super::counters::NetworkCounters;
use super::discovery::{Answer, Discovery, DiscoveryLimits};
use super::handle::{Role, parse};
use super::identity::from_libp2p;
use super::particles::{self, Limits, PARTICLE_PROTOCOL, Shared};
#[cfg(feature = "http")]
use super::recorder::Recorder;
use super::table::PeerTable;
use super::transport::transport;
use super::{Incoming, KademliaError, NetworkError, NetworkEvent};
use crate::config::NetworkConfig;
use crate::identify::{Rules, is_global};

/// Commands that wait for the swarm.
const COMMANDS: usize = 256;
/// Local addresses that the owner of this peer named and that are kept for that.
const MAX_NAMED: usize = 1024;
/// Memory for inbound frames that are still arriving, of all connections together.
const INBOUND_MEMORY: usize = 512 * 1024 * 1024;
/// How long closing all connections may take.
const CLOSING: Duration = Duration::from_secs(2);
/// How long opening a listener may take.
const LISTENING: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What a handle asks of the swarm.
#[derive(Debug)]
pub(crate) enum Command {
    Dial {
        address: Multiaddr,
        reply: oneshot::Sender<Result<PeerId, String>>,
    },
    Connect {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<(), String>>,
    },
    Disconnect {
        peer: PeerId,
        reply: oneshot::Sender<bool>,
    },
    AddContact {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    },
    Discover {
        peer: PeerId,
        reply: oneshot::Sender<Answer>,
    },
    Neighborhood {
        key: Vec<u8>,
        count: usize,
        reply: oneshot::Sender<Vec<PeerId>>,
    },
    Bootstrap {
        reply: oneshot::Sender<Result<(), KademliaError>>,
    },
    /// Asks a connected peer for a block.
    Block {
        peer: PeerId,
        cid: Vec<u8>,
        reply: blocks::Reply,
    },
    /// What was found for another peer that asked.
    Found {
        answer: blocks::Answer,
        channel: ResponseChannel<blocks::Answer>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    kademlia: Toggle<kad::Behaviour<MemoryStore>>,
    particles: particles::Behaviour,
    blocks: blocks::Behaviour,
}

/// The swarm and everybody who waits for it.
pub(crate) struct Driver {
    swarm: Swarm<Boxed<Behaviour>>,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<NetworkEvent>,
    table: Arc<PeerTable>,
    counters: Arc<NetworkCounters>,
    rules: Rules,
    /// Local addresses that are kept all the same: this peer was told of them by its owner.
    named: HashSet<Multiaddr>,
    /// Connected peers that are not part of this Kademlia network.
    outsiders: HashSet<PeerId>,
    discovery: Discovery,
    exchange: Exchange,
    dials: HashMap<ConnectionId, oneshot::Sender<Result<PeerId, String>>>,
    connects: HashMap<PeerId, Vec<oneshot::Sender<Result<(), String>>>>,
    #[cfg(feature = "http")]
    recorder: Arc<Recorder>,
}

/// What a driver shares with the handles of its network.
pub(crate) struct Outside {
    pub(crate) table: Arc<PeerTable>,
    pub(crate) counters: Arc<NetworkCounters>,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) events: broadcast::Sender<NetworkEvent>,
    pub(crate) provider: Arc<OnceLock<Arc<dyn BlockProvider>>>,
}

impl Driver {
    /// Opens the listeners. Returns the driver, the way to command it, and the addresses under
    /// which this machine reaches the listeners.
    pub(crate) async fn start(
        key: Keypair,
        config: &NetworkConfig,
        role: Role,
        outside: Outside,
    ) -> Result<(Self, mpsc::Sender<Command>, Vec<Multiaddr>), NetworkError> {
        let Outside {
            table,
            counters,
            incoming,
            events,
            provider,
        } = outside;
        let name = config.network.kademlia_protocol();
        let rules = Rules {
            kademlia_protocol: name.clone(),
            allow_local_addresses: config.allow_local_addresses,
        };
        let kademlia_protocol = StreamProtocol::try_from_owned(name.clone()).map_err(|error| {
            NetworkError::Protocol {
                name,
                reason: error.to_string(),
            }
        })?;
        let protocol = &config.protocol;
        let limits = Limits {
            max_frame: usize::try_from(protocol.max_frame_size.0).unwrap_or(usize::MAX),
            upgrade_timeout: protocol.upgrade_timeout.0,
            outbound_substream_timeout: protocol.outbound_substream_timeout.0,
            max_reads: protocol.max_inbound_streams.max(1),
            max_opening: protocol.max_outbound_streams.max(1),
            max_queued: protocol.max_queued.max(1),
        };
        let shared = Arc::new(Shared::new(
            limits,
            counters.clone(),
            incoming,
            INBOUND_MEMORY,
        ));
        let peer = key.public().to_peer_id();
        let behaviour = Behaviour {
            limits: connection_limits::Behaviour::new(connection_limits(config)),
            identify: identify::Behaviour::new(
                identify::Config::new(PARTICLE_PROTOCOL.to_string(), key.public())
                    .with_agent_version(concat!("aquamarine/", env!("CARGO_PKG_VERSION")).to_owned())
                    // Addresses are kept in one place, the peer table.
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(PING_INTERVAL)
                    .with_timeout(PING_TIMEOUT),
            ),
            kademlia: (role == Role::Host)
                .then(|| kademlia(peer, kademlia_protocol, config))
                .into(),
            particles: particles::Behaviour::new(shared, table.clone()),
            blocks: blocks::behaviour(),
        };
        let swarm_config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(config.connection_idle_timeout.0)
            // Each protocol here has one name, so its first message need not wait until the remote
            // side has agreed: a particle is there one round trip sooner, in fewer packets.
            .with_substream_upgrade_protocol_override(Version::V1Lazy);
        let mut swarm = Swarm::new(
            transport(&key, config.socket_timeout.0)?,
            Boxed(behaviour),
            peer,
            swarm_config,
        );
        for text in &config.external_addresses {
            swarm.add_external_address(parse(text)?);
        }

        let (sender, commands) = mpsc::channel(COMMANDS);
        let mut driver = Self {
            swarm,
            commands,
            events,
            table,
            counters,
            rules,
            named: HashSet::new(),
            outsiders: HashSet::new(),
            discovery: Discovery::new(DiscoveryLimits {
                patience: config.kademlia.query_timeout.0 * 2,
                fail_threshold: config.kademlia.peer_fail_threshold.max(1),
                ban: config.kademlia.ban_cooldown.0,
            }),
            exchange: Exchange::new(provider, sender.downgrade()),
            dials: HashMap::new(),
            connects: HashMap::new(),
            #[cfg(feature = "http")]
            recorder: Arc::default(),
        };
        let mut listen = Vec::new();
        for text in &config.listen {
            listen.push(with_peer(driver.listen(&parse(text)?).await?, peer));
        }
        Ok((driver, sender, listen))
    }

    /// What libp2p counts about itself.
    #[cfg(feature = "http")]
    pub(crate) fn recorder(&self) -> Arc<Recorder> {
        self.recorder.clone()
    }

    /// Runs until it is told to shut down or every handle is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let deadline = self.discovery.next_deadline();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown { reply }) => {
                        self.close().await;
                        drop(self);
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return self.close().await,
                },
                () = sleep_until(deadline) => self.discovery.expire(Instant::now()),
            }
        }
    }

    /// Opens one listener and waits until it is open.
    async fn listen(&mut self, address: &Multiaddr) -> Result<Multiaddr, NetworkError> {
        let failed = |reason: String| NetworkError::Listen {
            address: address.to_string(),
            reason,
        };
        // The transport shares ports between sockets of one user, so that two peers could listen
        // on one port without noticing. A plain socket cannot: it tells.
        if let Some(socket) = socket_of(address).filter(|(_, port)| *port != 0) {
            TcpListener::bind(socket).map_err(|error| failed(error.to_string()))?;
        }
        let listener = self
            .swarm
            .listen_on(address.clone())
            .map_err(|error| failed(root(&error)))?;
        let opened = async {
            loop {
                let event = self.swarm.select_next_some().await;
                match &event {
                    SwarmEvent::NewListenAddr {
                        listener_id,
                        address,
                    } if *listener_id == listener => {
                        let address = address.clone();
                        self.on_swarm_event(event);
                        return Ok(address);
                    }
                    SwarmEvent::ListenerClosed {
                        listener_id,
                        reason,
                        ..
                    } if *listener_id == listener => {
                        return Err(match reason {
                            Ok(()) => "it was closed".to_owned(),
                            Err(error) => root(error),
                        });
                    }
                    SwarmEvent::ListenerError { listener_id, error }
                        if *listener_id == listener =>
                    {
                        return Err(root(error));
                    }
                    _ => self.on_swarm_event(event),
                }
            }
        };
        let opened = match tokio::time::timeout(LISTENING, opened).await {
            Ok(result) => result.map_err(failed)?,
            Err(_) => return Err(failed(format!("it did not open within {LISTENING:?}"))),
        };
        let port = socket_of(&opened).map_or(0, |(_, port)| port);
        Ok(spell_out_loopback(&with_port(address, port)))
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { address, reply } => self.dial(address, reply),
            Command::Connect {
                peer,
                addresses,
                reply,
            } => self.connect(peer, addresses, reply),
            Command::Disconnect { peer, reply } => {
                let _ = reply.send(self.swarm.disconnect_peer_id(peer).is_ok());
            }
            Command::AddContact { peer, addresses } => {
                for address in &addresses {
                    if !is_global(address) && self.named.len() < MAX_NAMED {
                        self.named.insert(with_peer(address.clone(), peer));
                    }
                }
                self.add_contact(peer, addresses);
            }
            Command::Discover { peer, reply } => self.discover(peer, reply),
            Command::Neighborhood { key, count, reply } => {
                let _ = reply.send(self.neighborhood(key, count));
            }
            Command::Bootstrap { reply } => {
                let result = match self.swarm.behaviour_mut().kademlia.as_mut() {
                    Some(kademlia) => kademlia
                        .bootstrap()
                        .map(|_| ())
                        .map_err(|_| KademliaError::NoKnownPeers),
                    None => Err(KademliaError::Cancelled),
                };
                let _ = reply.send(result);
            }
            Command::Block { peer, cid, reply } => {
                let behaviour = &mut self.swarm.behaviour_mut().blocks;
                self.exchange.ask(behaviour, peer, cid, reply);
            }
            Command::Found { answer, channel } => {
                // The other side may have left.
                let _ = self
                    .swarm
                    .behaviour_mut()
                    .blocks
                    .send_response(channel, answer);
            }
            Command::Shutdown { .. } => {}
        }
    }

    fn dial(&mut self, address: Multiaddr, reply: oneshot::Sender<Result<PeerId, String>>) {
        let peer = peer_of(&address);
        if let Some(peer) = peer.filter(|peer| self.table.is_connected(peer)) {
            let _ = reply.send(Ok(peer));
            return;
        }
        let options = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(vec![address])
                .condition(PeerCondition::Always)
                .build(),
            None => DialOpts::unknown_peer_id().address(address).build(),
        };
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(id, reply);
            }
            Err(error) => {
                let _ = reply.send(Err(describe(&error)));
            }
        }
    }

    fn connect(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<(), String>>,
    ) {
        if self.table.is_connected(&peer) {
            let _ = reply.send(Ok(()));
            return;
        }
        let mut known = addresses;
        known.extend(self.table.addresses(&peer).unwrap_or_default());
        let options = DialOpts::peer_id(peer)
            .addresses(known)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        match self.swarm.dial(options) {
            // A dial under way serves everybody who wants to reach the peer.
            Ok(()) | Err(libp2p::swarm::DialError::DialPeerConditionFalse(_)) => {
                self.connects.entry(peer).or_default().push(reply);
            }
            Err(error) => {
                let _ = reply.send(Err(describe(&error)));
            }
        }
    }

    fn add_contact(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.outsiders.contains(&peer) {
            return;
        }
        if let Some(kademlia) = self.swarm.behaviour_mut().kademlia.as_mut() {
            for address in addresses {
                kademlia.add_address(&peer, address);
            }
        }
    }

    fn discover(&mut self, peer: PeerId, reply: oneshot::Sender<Answer>) {
        let Some(kademlia) = self.swarm.behaviour_mut().kademlia.as_mut() else {
            let _ = reply.send(Err(KademliaError::NoPeersFound));
            return;
        };
        let known: Vec<Multiaddr> = kademlia
            .kbucket(peer)
            .into_iter()
            .flat_map(|bucket| {
                bucket
                    .iter()
                    .filter(|entry| *entry.node.key.preimage() == peer)
                    .flat_map(|entry| entry.node.value.iter().cloned().collect::<Vec<_>>())
                    .collect::<Vec<_>>()
            })
            .collect();
        if !known.is_empty() {
            let _ = reply.send(Ok(known));
        } else if self.discovery.wait_for(peer, reply, Instant::now()) {
            kademlia.get_closest_peers(peer);
        }
    }

    fn neighborhood(&mut self, key: Vec<u8>, count: usize) -> Vec<PeerId> {
        let Some(kademlia) = self.swarm.behaviour_mut().kademlia.as_mut() else {
            return Vec::new();
        };
        let key = kad::KBucketKey::new(key);
        kademlia
            .get_closest_local_peers(&key)
            .take(count)
            .map(kad::KBucketKey::into_preimage)
            .collect()
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        #[cfg(feature = "http")]
        self.recorder.swarm(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            } => {
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Ok(peer_id));
                }
                for reply in self.connects.remove(&peer_id).unwrap_or_default() {
                    let _ = reply.send(Ok(()));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                let reason = describe(&error);
                tracing::debug!(peer = ?peer_id, "dial failed: {reason}");
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Err(reason.clone()));
                }
                let waiting = peer_id.and_then(|peer| self.connects.remove(&peer));
                for reply in waiting.unwrap_or_default() {
                    let _ = reply.send(Err(reason.clone()));
                }
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error,
                ..
            } => {
                tracing::debug!(from = %send_back_addr, "inbound connection failed: {}", root(&error));
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!("a listener failed: {error}"),
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                tracing::warn!(?addresses, ?reason, "a listener was closed");
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identify(peer_id, info);
            }
            BehaviourEvent::Kademlia(event) => {
                #[cfg(feature = "http")]
                self.recorder.kademlia(&event);
                self.on_kademlia(event);
            }
            #[cfg(feature = "http")]
            BehaviourEvent::Ping(event) => self.recorder.ping(&event),
            BehaviourEvent::Particles(event) => self.on_connection_change(event),
            BehaviourEvent::Blocks(event) => {
                let behaviour = &mut self.swarm.behaviour_mut().blocks;
                self.exchange.on_event(behaviour, event);
            }
            _ => {}
        }
    }

    fn on_identify(&mut self, peer: PeerId, info: identify::Info) {
        let protocols = info.protocols.iter().map(AsRef::as_ref);
        let Some(introduction) = self.rules.judge(protocols, info.listen_addrs) else {
            self.counters.foreign_peers.increment();
            tracing::debug!(%peer, agent = %info.agent_version, "disconnecting a peer without the particle protocol");
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        let addresses = introduction.addresses;
        if introduction.in_network {
            self.outsiders.remove(&peer);
            self.add_contact(peer, addresses.clone());
        } else if let Some(kademlia) = self.swarm.behaviour_mut().kademlia.as_mut() {
            // A bootstrap node of another network was entered before it said so.
            kademlia.remove_peer(&peer);
            self.outsiders.insert(peer);
        }
        if !addresses.is_empty() {
            let addresses = addresses
                .into_iter()
                .map(|address| with_peer(address, peer));
            self.table.add_discovered(peer, addresses);
        }
    }

    fn on_kademlia(&mut self, event: kad::Event) {
        match event {
            kad::Event::RoutingUpdated {
                peer, addresses, ..
            } => {
                let addresses = addresses.into_vec();
                self.prune(&peer, &addresses);
                self.learned(&peer, addresses);
            }
            kad::Event::RoutablePeer { peer, address }
            | kad::Event::PendingRoutablePeer { peer, address } => {
                self.learned(&peer, vec![address]);
            }
            kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(result),
                ..
            } => {
                let peers = match result {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                for info in peers {
                    self.learned(&info.peer_id, info.addrs);
                }
            }
            _ => {}
        }
    }

    /// Takes local addresses out of the routing table, which passes on what it has. Kademlia enters
    /// every address that a connection was made by, those from the answers of strangers included.
    fn prune(&mut self, peer: &PeerId, addresses: &[Multiaddr]) {
        if self.rules.allow_local_addresses {
            return;
        }
        let Some(kademlia) = self.swarm.behaviour_mut().kademlia.as_mut() else {
            return;
        };
        for address in addresses {
            let full = with_peer(address.clone(), *peer);
            if !is_global(address) && !self.named.contains(&full) {
                kademlia.remove_address(peer, address);
            }
        }
    }

    /// Tells those who look for a peer its addresses, as far as they may be believed.
    fn learned(&mut self, peer: &PeerId, mut addresses: Vec<Multiaddr>) {
        addresses.retain(|address| self.rules.believes(address));
        if !addresses.is_empty() {
            self.discovery.learned(peer, &addresses);
        }
    }

    fn on_connection_change(&mut self, event: particles::Event) {
        let event = match event {
            particles::Event::Connected { peer, address } => {
                tracing::debug!(%peer, %address, "connected");
                from_libp2p(&peer).map(|peer| NetworkEvent::Connected {
                    peer,
                    address: address.to_string(),
                })
            }
            particles::Event::Disconnected { peer, addresses } => {
                tracing::debug!(%peer, "disconnected");
                self.outsiders.remove(&peer);
                from_libp2p(&peer).map(|peer| NetworkEvent::Disconnected {
                    peer,
                    addresses: addresses.iter().map(Multiaddr::to_string).collect(),
                })
            }
        };
        if let Some(event) = event {
            // Nobody has to listen.
            let _ = self.events.send(event);
        }
    }

    /// Closes listeners and connections, politely as far as the remote peers are quick.
    async fn close(&mut self) {
        self.commands.close();
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.connected_peers().next().is_some() {
                let event = self.swarm.select_next_some().await;
                if let SwarmEvent::Behaviour(event) = event {
                    self.on_behaviour_event(event);
                }
            }
        };
        let _ = tokio::time::timeout(CLOSING, closing).await;
    }
}

fn kademlia(
    peer: PeerId,
    protocol: StreamProtocol,
    config: &NetworkConfig,
) -> kad::Behaviour<MemoryStore> {
    let settings = &config.kademlia;
    let mut kad_config = kad::Config::new(protocol);
    kad_config
        .set_query_timeout(settings.query_timeout.0)
        .set_max_packet_size(usize::try_from(settings.max_packet_size.0).unwrap_or(usize::MAX))
        // Records are never stored, so there is nothing to replicate or publish.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None);
    if let Some(factor) = settings.replication_factor.and_then(NonZeroUsize::new) {
        kad_config.set_replication_factor(factor);
    }
    let mut behaviour = kad::Behaviour::with_config(peer, MemoryStore::new(peer), kad_config);
    behaviour.set_mode(Some(kad::Mode::Server));
    behaviour
}

fn connection_limits(config: &NetworkConfig) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(config.max_pending_incoming)
        .with_max_pending_outgoing(config.max_pending_outgoing)
        .with_max_established_incoming(config.max_established_incoming)
        .with_max_established_outgoing(config.max_established_outgoing)
        .with_max_established(config.max_established)
        .with_max_established_per_peer(Some(config.max_established_per_peer))
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

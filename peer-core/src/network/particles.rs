//! The particle protocol: one frame per substream, no answer.

mod handler;
mod stream;

pub(crate) use self::stream::patience_for;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::mpsc;

use self::handler::{Handler, ToBehaviour};
use self::stream::Budget;
use super::Incoming;
use super::address::with_peer;
use super::counters::NetworkCounters;
use super::identity::from_libp2p;
use super::table::{Connection, Outgoing, PeerTable};

/// The name of the particle protocol.
pub(crate) const PARTICLE_PROTOCOL: StreamProtocol =
    StreamProtocol::new(crate::identify::PARTICLE_PROTOCOL);

#[derive(Debug)]
pub(crate) struct Limits {
    /// Bytes of a frame without its length prefix.
    pub(crate) max_frame: usize,
    /// Time for one frame, not counting the part that is due to its size.
    pub(crate) upgrade_timeout: Duration,
    /// Time to open an outbound substream.
    pub(crate) outbound_substream_timeout: Duration,
    /// Frames read from one connection at a time; further streams wait unread.
    pub(crate) max_reads: usize,
    /// Outbound substreams of one connection negotiated at a time.
    pub(crate) max_opening: usize,
    /// Frames that wait for one connection; a sender waits when there are more.
    pub(crate) max_queued: usize,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<NetworkCounters>,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    budget: Arc<Budget>,
}

impl Shared {
    pub(crate) fn new(
        limits: Limits,
        counters: Arc<NetworkCounters>,
        incoming: mpsc::Sender<Incoming>,
        memory: usize,
    ) -> Self {
        Self {
            limits,
            counters,
            incoming,
            budget: Arc::new(Budget::new(memory)),
        }
    }
}

/// Something that changed in the set of connected peers.
#[derive(Debug)]
pub(crate) enum Event {
    /// A connection was established.
    Connected { peer: PeerId, address: Multiaddr },
    /// The last connection of a peer is gone; these were its addresses.
    Disconnected {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    },
}

/// Gives each connection a handler and keeps the peer table up to date.
pub(crate) struct Behaviour {
    shared: Arc<Shared>,
    table: Arc<PeerTable>,
    /// Queues of connections that are accepted but not yet announced.
    announced: HashMap<ConnectionId, mpsc::Sender<Outgoing>>,
    events: VecDeque<ToSwarm<Event, THandlerInEvent<Self>>>,
}

impl Behaviour {
    pub(crate) fn new(shared: Arc<Shared>, table: Arc<PeerTable>) -> Self {
        Self {
            shared,
            table,
            announced: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    fn handler(&mut self, id: ConnectionId, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        let from = from_libp2p(&peer).ok_or_else(|| {
            ConnectionDenied::new(format!("peer id {peer} is of an unknown kind"))
        })?;
        let (sender, receiver) = mpsc::channel(self.shared.limits.max_queued);
        self.announced.insert(id, sender);
        Ok(Handler::new(self.shared.clone(), from, receiver))
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(id, peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(id, peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let Some(queue) = self.announced.remove(&established.connection_id) else {
                    return;
                };
                let peer = established.peer_id;
                let address = with_peer(established.endpoint.get_remote_address().clone(), peer);
                self.table.add_connection(
                    peer,
                    Connection {
                        id: established.connection_id,
                        address: address.clone(),
                        inbound: established.endpoint.is_listener(),
                        queue,
                    },
                );
                self.events
                    .push_back(ToSwarm::GenerateEvent(Event::Connected { peer, address }));
            }
            FromSwarm::ConnectionClosed(closed) => {
                let peer = closed.peer_id;
                if let Some(addresses) = self.table.remove_connection(&peer, closed.connection_id) {
                    let event = Event::Disconnected { peer, addresses };
                    self.events.push_back(ToSwarm::GenerateEvent(event));
                }
            }
            // Another behaviour refused the connection after a handler was made for it.
            FromSwarm::DialFailure(failure) => {
                self.announced.remove(&failure.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.announced.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer_id: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            ToBehaviour::SlowReader { stalled } => {
                self.shared.counters.slow_readers.increment();
                tracing::warn!(
                    peer = %peer_id,
                    "closing a connection: the peer did not read {stalled} particles in a row"
                );
                let connection = CloseConnection::One(id);
                self.events.push_back(ToSwarm::CloseConnection {
                    peer_id,
                    connection,
                });
            }
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        // Events are queued only from calls after which the swarm polls again.
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

//! What the page shows: peers, their connections, and the trails of particles, kept current by the
//! peers' own events.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use examples::path::{Step, StepKind};
use particle::PeerId;
use peer_core::engine::{Event, Source};
use peer_core::host::ParticleContext;
use peer_core::peer::{Observer, PeerEvent, PeerEventKind};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// Particles that are remembered.
const MAX_PARTICLES: usize = 300;
/// Steps of one particle that are remembered.
const MAX_STEPS: usize = 500;
/// Journeys from peer to peer that are shown at a time.
const MAX_FLIGHTS: usize = 200;
/// Messages that wait for a slow reader.
const WAITING: usize = 64;

/// What the page shows.
pub(crate) struct Board {
    network: Mutex<Network>,
    changes: broadcast::Sender<Arc<str>>,
}

#[derive(Default)]
struct Network {
    nodes: Vec<Node>,
    /// Where the nodes are.
    places: HashMap<PeerId, usize>,
    links: BTreeSet<(usize, usize)>,
    trails: HashMap<String, Trail>,
    /// Ids of the trails, the oldest first.
    order: VecDeque<String>,
    particles: u64,
    sent: u64,
    new: News,
}

/// A peer or a client.
#[derive(Clone, Serialize)]
struct Node {
    id: PeerId,
    name: String,
    is_client: bool,
    runs: u64,
    calls: u64,
    failures: u64,
}

/// What happened to one particle.
struct Trail {
    maker: PeerId,
    started: SystemTime,
    ttl: Duration,
    steps: Vec<Step>,
    /// Steps that are not remembered.
    left_out: usize,
    /// Nodes where something happened.
    visited: BTreeSet<usize>,
    /// Calls and journeys that began and have not ended.
    open: i64,
    last_ms: f64,
    is_failed: bool,
}

/// What the page has not been told.
#[derive(Default)]
struct News {
    trails: BTreeSet<String>,
    nodes: BTreeSet<usize>,
    flights: Vec<Flight>,
    links: bool,
}

/// A journey from one peer to another.
#[derive(Serialize)]
struct Flight {
    particle: String,
    from: usize,
    /// Nothing when nobody knows the peer.
    to: Option<usize>,
    took_ms: f64,
    arrived: bool,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            network: Mutex::default(),
            changes: broadcast::Sender::new(WAITING),
        }
    }
}

impl Board {
    pub(crate) fn add_peer(&self, id: PeerId, name: &str) {
        self.lock().add(id, name, false);
    }

    pub(crate) fn add_client(&self, id: PeerId, name: &str) {
        self.lock().add(id, name, true);
    }

    /// Takes in all connections.
    pub(crate) fn connected(&self, pairs: impl Iterator<Item = (PeerId, PeerId)>) {
        let mut network = self.lock();
        let links: BTreeSet<_> = pairs
            .filter_map(|(one, other)| {
                let (one, other) = (network.places.get(&one)?, network.places.get(&other)?);
                Some((*one.min(other), *one.max(other)))
            })
            .collect();
        if network.links != links {
            network.links = links;
            network.new.links = true;
        }
    }

    /// How everything stands, as JSON.
    pub(crate) fn state(&self) -> String {
        let network = self.lock();
        let particles = network.order.iter().map(|id| network.summary(id));
        json!({
            "nodes": network.nodes.iter().enumerate().collect::<Vec<_>>(),
            "links": network.links,
            "particles": particles.collect::<Vec<_>>(),
            "flights": [],
            "totals": network.totals(),
        })
        .to_string()
    }

    /// Tells all readers what is new since the last time.
    pub(crate) fn publish(&self) {
        let mut network = self.lock();
        let new = std::mem::take(&mut network.new);
        if new.is_empty() {
            return;
        }
        let nodes = new.nodes.iter();
        let nodes = nodes.filter_map(|place| Some((place, network.nodes.get(*place)?)));
        let particles = new.trails.iter().map(|id| network.summary(id));
        let changes = json!({
            "nodes": nodes.collect::<Vec<_>>(),
            "links": new.links.then_some(&network.links),
            "particles": particles.collect::<Vec<_>>(),
            "flights": new.flights,
            "totals": network.totals(),
        });
        drop(network);
        // There may be no readers.
        let _ = self.changes.send(changes.to_string().into());
    }

    /// What is published from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Arc<str>> {
        self.changes.subscribe()
    }

    /// How many listen to it.
    pub(crate) fn readers(&self) -> usize {
        self.changes.receiver_count()
    }

    /// All about one particle.
    pub(crate) fn particle(&self, id: &str) -> Option<Value> {
        let network = self.lock();
        let trail = network.trails.get(id)?;
        Some(json!({
            "summary": network.summary(id),
            "ttl_ms": trail.ttl.as_millis(),
            "left_out": trail.left_out,
            "steps": trail.steps,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Board {
    fn observe(&self, event: &PeerEvent) {
        self.lock().take(event);
    }
}

impl Network {
    fn add(&mut self, id: PeerId, name: &str, is_client: bool) {
        let place = self.nodes.len();
        self.places.insert(id, place);
        self.nodes.push(Node {
            id,
            name: name.to_owned(),
            is_client,
            runs: 0,
            calls: 0,
            failures: 0,
        });
        self.new.nodes.insert(place);
    }

    fn take(&mut self, event: &PeerEvent) {
        let Some(place) = self.places.get(&event.peer).copied() else {
            return;
        };
        let Some(node) = self.nodes.get_mut(place) else {
            return;
        };
        let id = event.particle_id();
        let mut flight = None;
        let opened = match &event.kind {
            PeerEventKind::Engine(Event::Admitted { particle, .. }) => {
                self.begin(particle);
                0
            }
            PeerEventKind::Engine(Event::Executed(run)) => {
                node.runs += 1;
                node.failures += u64::from(run.ret_code != 0);
                // A client hands all copies to its relay, which is one journey.
                let most = if node.is_client { 1 } else { usize::MAX };
                run.calls.len() + run.next_peers.len().min(most)
            }
            PeerEventKind::Engine(Event::Called(call)) => {
                node.calls += 1;
                node.failures += u64::from(call.ret_code != 0);
                0
            }
            PeerEventKind::Sent { to, took, .. } => {
                self.sent += 1;
                flight = Some((to, *took, true));
                0
            }
            PeerEventKind::NotSent { to, .. } => {
                node.failures += 1;
                flight = Some((to, Duration::ZERO, false));
                0
            }
            _ => 0,
        };
        self.new.nodes.insert(place);
        if let Some((to, took, arrived)) = flight
            && self.new.flights.len() < MAX_FLIGHTS
        {
            self.new.flights.push(Flight {
                particle: id.to_owned(),
                from: place,
                to: self.places.get(to).copied(),
                took_ms: took.as_secs_f64() * 1e3,
                arrived,
            });
        }
        if let Some(trail) = self.trails.get_mut(id) {
            trail.visited.insert(place);
            trail.open += i64::try_from(opened).unwrap_or(i64::MAX);
            trail.take(event);
            self.new.trails.insert(id.to_owned());
        }
    }

    /// Begins a trail, where there is none, and forgets the oldest one when there are too many.
    fn begin(&mut self, particle: &ParticleContext) {
        if self.trails.contains_key(&particle.id) {
            return;
        }
        self.particles += 1;
        let trail = Trail {
            maker: particle.init_peer_id,
            started: UNIX_EPOCH + Duration::from_millis(particle.timestamp),
            ttl: Duration::from_millis(particle.ttl.into()),
            steps: Vec::new(),
            left_out: 0,
            visited: BTreeSet::new(),
            open: 0,
            last_ms: 0.0,
            is_failed: false,
        };
        self.trails.insert(particle.id.clone(), trail);
        self.order.push_back(particle.id.clone());
        if self.order.len() > MAX_PARTICLES
            && let Some(oldest) = self.order.pop_front()
        {
            self.trails.remove(&oldest);
            self.new.trails.remove(&oldest);
        }
    }

    fn summary(&self, id: &str) -> Value {
        let Some(trail) = self.trails.get(id) else {
            return Value::Null;
        };
        let age = trail.started.elapsed().unwrap_or_default();
        let state = match trail {
            Trail { open: 1.., .. } if age < trail.ttl => "in flight",
            Trail {
                is_failed: true, ..
            } => "failed",
            Trail { .. } => "at rest",
        };
        let started_ms = trail.started.duration_since(UNIX_EPOCH);
        json!({
            "id": id,
            "maker": self.places.get(&trail.maker),
            "started_ms": started_ms.unwrap_or_default().as_millis(),
            "steps": trail.steps.len() + trail.left_out,
            "visited": trail.visited,
            "state": state,
            "failed": trail.is_failed,
            "last_ms": trail.last_ms,
        })
    }

    fn totals(&self) -> Value {
        json!({ "particles": self.particles, "sent": self.sent })
    }
}

impl Trail {
    fn take(&mut self, event: &PeerEvent) {
        // A journey ends where a copy is taken in or refused, not where it was written.
        let has_arrived = |source: &Source| matches!(source, Source::Peer(_));
        let ended = match &event.kind {
            PeerEventKind::Engine(Event::Executed(run)) => {
                run.source.as_ref().is_some_and(has_arrived)
            }
            PeerEventKind::Engine(Event::Dropped { source, .. }) => has_arrived(source),
            PeerEventKind::Engine(Event::Called(_)) | PeerEventKind::NotSent { .. } => true,
            _ => false,
        };
        self.open -= i64::from(ended);
        let Some(step) = Step::of(event, self.started) else {
            return;
        };
        self.is_failed |= match &step.kind {
            StepKind::Executed { error, .. } => error.is_some(),
            StepKind::NotSent { .. } | StepKind::Refused { .. } => true,
            StepKind::Called { .. } | StepKind::Sent { .. } => false,
        };
        self.last_ms = self.last_ms.max(step.at_ms);
        if self.steps.len() < MAX_STEPS {
            self.steps.push(step);
        } else {
            self.left_out += 1;
        }
    }
}

impl News {
    fn is_empty(&self) -> bool {
        self.trails.is_empty() && self.nodes.is_empty() && self.flights.is_empty() && !self.links
    }
}

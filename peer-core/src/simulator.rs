//! A network of peers in one thread and in virtual time, the same for the same seed.
//!
//! The simulator drives the engine that real peers run, with the builtins that real peers have;
//! only sockets and the clock are made up. Peers can be cut off, slowed, crashed and restarted,
//! messages can be held, lost, doubled or tampered with. Everything that happens follows from the
//! seed and from the calls that are made on the [`Simulator`], so a run that went wrong is
//! repeated by its seed.
//!
//! ```
//! use std::sync::Arc;
//! use peer_core::{
//!     host::{FunctionOutcome, NativeFunctions},
//!     simulator::{PeerOptions, Simulator},
//! };
//!
//! let mut simulator = Simulator::new(42);
//! let answers = Arc::new(std::sync::Mutex::new(Vec::new()));
//! let heard = answers.clone();
//! let host = NativeFunctions::new().with("show", "result", move |call| {
//!     heard.lock().unwrap().push(call.arguments[0].get().to_owned());
//!     FunctionOutcome::Empty
//! });
//! let alice = simulator.add_peer(PeerOptions::new("alice").with_host(Arc::new(host)));
//! let bob = simulator.add_peer(PeerOptions::new("bob"));
//! let script = format!(
//!     r#"(seq
//!          (call "{bob}" ("op" "array") ["hello" 1] greeting)
//!          (call "{alice}" ("show" "result") [greeting]))"#,
//!     bob = simulator.peer_id(bob).unwrap(),
//!     alice = simulator.peer_id(alice).unwrap(),
//! );
//! simulator.start(alice, &script, 7_000).unwrap();
//! assert!(simulator.run_until_idle(7_000));
//! assert_eq!(*answers.lock().unwrap(), [r#"["hello",1]"#]);
//! ```

mod adversary;
mod background;
mod fabric;
mod invariants;
mod node;
mod random;
mod snapshot;
#[cfg(test)]
mod tests;
mod time;

pub use self::{
    adversary::Adversary,
    background::SimControl,
    fabric::Link,
    invariants::Violation,
    node::PeerOptions,
    random::Random,
    snapshot::{ParticleSnapshot, PeerSnapshot, Snapshot},
};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    task::Context,
};

use bytes::Bytes;
use particle::{Particle, PeerId, Signature};

use self::{
    background::{Background, Requests},
    fabric::{Fabric, Fate, lock},
    invariants::Ledger,
    node::Node,
    time::{CallFuture, VirtualClock, Woken},
};
use crate::engine::{ActorId, CallJob, DataKey, Event, Input, Output, ScriptCache, Source};

/// When simulations start, in milliseconds since the Unix epoch.
pub const START_MS: u64 = 1_700_000_000_000;

/// A peer of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimPeer(usize);

/// What a hostile or broken peer sends instead of a particle: nothing, something else, or several.
pub type Tamper = Box<dyn FnMut(&mut Random, &Particle, SimPeer) -> Vec<Particle>>;

/// A network of peers in virtual time. See the [module](self).
pub struct Simulator {
    seed: u64,
    random: Random,
    clock: Arc<VirtualClock>,
    now_ms: u64,
    fabric: Arc<Mutex<Fabric>>,
    scripts: Arc<ScriptCache>,
    nodes: Vec<Node>,
    by_id: BTreeMap<PeerId, usize>,
    queue: BTreeMap<(u64, u64), Due>,
    next_due: u64,
    held: Vec<(usize, usize, Particle)>,
    deadlines: BTreeSet<(u64, usize)>,
    tasks: BTreeMap<u64, Task>,
    background: Background,
    requests: Requests,
    next_task: u64,
    woken: Woken,
    recording: bool,
    events: Vec<(SimPeer, Event)>,
    ledger: Arc<Ledger>,
    totals: Totals,
}

/// What happened in a simulation, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Totals {
    /// Messages that peers sent.
    pub sent: u64,
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that were lost on the way, or that nobody was there for.
    pub lost: u64,
    /// Bytes of data in the messages that arrived.
    pub bytes: u64,
    /// Runs of the state machine.
    pub runs: u64,
    /// Calls of functions.
    pub calls: u64,
}

/// Something that happens at a certain time.
enum Due {
    /// A particle arrives.
    Message {
        from: usize,
        to: usize,
        particle: Particle,
    },
    /// A slow peer gets to its own work.
    Work {
        peer: usize,
        life: u64,
        input: Input,
    },
}

/// A call under way.
struct Task {
    peer: usize,
    actor: ActorId,
    call_id: u32,
    future: CallFuture,
}

/// Why the simulator did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A peer of another simulation.
    #[error("peer {index} is not of this simulation, which has {count} peers")]
    UnknownPeer {
        /// Number of the peer.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The peer has crashed.
    #[error("peer {name} is down")]
    Down {
        /// Name of the peer.
        name: String,
    },
}

impl Simulator {
    /// An empty network.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random::new(seed),
            clock: Arc::new(VirtualClock::new(START_MS)),
            now_ms: START_MS,
            fabric: Arc::default(),
            scripts: Arc::new(ScriptCache::new(1024, 32 << 20)),
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_due: 0,
            held: Vec::new(),
            deadlines: BTreeSet::new(),
            tasks: BTreeMap::new(),
            background: BTreeMap::new(),
            requests: Requests::default(),
            next_task: 0,
            woken: Woken::default(),
            recording: false,
            events: Vec::new(),
            ledger: Arc::default(),
            totals: Totals::default(),
        }
    }

    /// Adds a peer. Its key follows from the seed and the number of peers before it, unless the
    /// options name one.
    pub fn add_peer(&mut self, options: PeerOptions) -> SimPeer {
        let index = self.nodes.len();
        let own_seed = Random::new(self.seed ^ (index as u64).rotate_left(32)).bytes();
        let view = fabric::View {
            fabric: self.fabric.clone(),
            own: index,
        };
        let mut node = Node::new(options, own_seed, view, self.clock.clone(), &self.scripts);
        node.watch(&self.ledger);
        lock(&self.fabric).add(&node.peer_id(), node.relay().map(|relay| relay.0));
        self.by_id.insert(node.peer_id(), index);
        self.nodes.push(node);
        SimPeer(index)
    }

    /// The id of a peer; nothing for a peer of another simulation.
    #[must_use]
    pub fn peer_id(&self, peer: SimPeer) -> Option<PeerId> {
        self.nodes.get(peer.0).map(Node::peer_id)
    }

    /// The peer with an id.
    #[must_use]
    pub fn find(&self, peer_id: &PeerId) -> Option<SimPeer> {
        self.by_id.get(peer_id).copied().map(SimPeer)
    }

    /// All peers, in the order in which they were added.
    pub fn peers(&self) -> impl Iterator<Item = SimPeer> + use<> {
        (0..self.nodes.len()).map(SimPeer)
    }

    /// The time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What happened so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The engine of a peer; nothing while it is down.
    #[must_use]
    pub fn engine(&self, peer: SimPeer) -> Option<&crate::engine::Engine> {
        self.nodes.get(peer.0).and_then(Node::engine)
    }

    /// Keeps the events of all engines from now on.
    pub fn record_events(&mut self) {
        self.recording = true;
    }

    /// Keeps what every call returns from now on, for [`Simulator::violations`].
    pub fn record_calls(&mut self) {
        lock(&self.ledger).get_or_insert_default();
    }

    /// Takes the events that were kept.
    pub fn take_events(&mut self) -> Vec<(SimPeer, Event)> {
        std::mem::take(&mut self.events)
    }

    /// Makes, signs and starts a particle at a peer. Its id follows from the seed.
    ///
    /// # Errors
    /// A peer that is down or of another simulation.
    pub fn start(
        &mut self,
        peer: SimPeer,
        script: &str,
        ttl_ms: u32,
    ) -> Result<Particle, SimError> {
        let key = self.node(peer)?.key().clone();
        let id = uuid(&mut self.random);
        let particle = Particle::new(&key, id, self.now_ms, ttl_ms, script.to_owned());
        self.inject(peer, particle.clone())?;
        Ok(particle)
    }

    /// Hands a particle to a peer as if something in its process had made it.
    ///
    /// # Errors
    /// A peer that is down or of another simulation.
    pub fn inject(&mut self, peer: SimPeer, particle: Particle) -> Result<(), SimError> {
        let node = self.node(peer)?;
        if node.engine().is_none() {
            return Err(SimError::Down {
                name: node.name().to_owned(),
            });
        }
        let source = Source::Local;
        self.handle(peer.0, Input::Particle { particle, source });
        Ok(())
    }

    /// The data that a peer remembers of a particle.
    #[must_use]
    pub fn data(&self, peer: SimPeer, signature: &Signature) -> Option<&Bytes> {
        let node = self.nodes.get(peer.0)?;
        node.engine()?.data(&DataKey {
            peer_id: node.peer_id(),
            signature: signature.clone(),
        })
    }

    /// Sets how messages travel where nothing else is said.
    pub fn set_default_link(&mut self, link: Link) {
        lock(&self.fabric).set_default_link(link);
    }

    /// Sets how messages travel from one peer to another, in this direction.
    pub fn set_link(&mut self, from: SimPeer, to: SimPeer, link: Link) {
        lock(&self.fabric).set_link(from.0, to.0, link);
    }

    /// Splits the network: only peers of the same part reach each other. Peers that are in no part
    /// make up one of their own.
    pub fn partition(&mut self, parts: &[&[SimPeer]]) {
        let parts: Vec<Vec<usize>> = parts
            .iter()
            .map(|part| part.iter().map(|peer| peer.0).collect())
            .collect();
        lock(&self.fabric).partition(&parts);
    }

    /// Ends a partition.
    pub fn heal(&mut self) {
        lock(&self.fabric).partition(&[]);
    }

    /// Keeps messages from one peer to another back, in this direction.
    pub fn hold(&mut self, from: SimPeer, to: SimPeer) {
        lock(&self.fabric).hold(from.0, to.0);
    }

    /// Lets messages through again; those that were kept back are sent now, in their order.
    pub fn release(&mut self, from: SimPeer, to: SimPeer) {
        lock(&self.fabric).release(from.0, to.0);
        let (released, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(sender, receiver, _)| (*sender, *receiver) == (from.0, to.0));
        self.held = held;
        for (from, to, particle) in released {
            self.transmit(from, to, particle);
        }
    }

    /// Stops a peer at once: what it remembers is gone, but for its store.
    pub fn crash(&mut self, peer: SimPeer) {
        let Some(node) = self.nodes.get_mut(peer.0) else {
            return;
        };
        node.crash();
        lock(&self.fabric).set_alive(peer.0, false);
        self.tasks.retain(|_, task| task.peer != peer.0);
        self.background.retain(|_, (of, _)| *of != peer.0);
        self.update_deadline(peer.0);
    }

    /// Starts a peer that has crashed, with its store.
    pub fn restart(&mut self, peer: SimPeer) {
        if let Some(node) = self.nodes.get_mut(peer.0) {
            node.restart(&self.scripts);
            lock(&self.fabric).set_alive(peer.0, true);
        }
    }

    /// Makes every run and every call of a peer take so long.
    pub fn slow(&mut self, peer: SimPeer, delay_ms: u64) {
        if let Some(node) = self.nodes.get_mut(peer.0) {
            node.delay_ms = delay_ms;
        }
    }

    /// Replaces what a peer sends; with `None`, it sends what it should again. It no longer counts
    /// as honest, whatever comes later.
    pub fn tamper(&mut self, peer: SimPeer, tamper: Option<Tamper>) {
        if let Some(node) = self.nodes.get_mut(peer.0) {
            node.honest &= tamper.is_none();
            node.tamper = tamper;
        }
    }

    /// Makes a peer cheat.
    pub fn corrupt(&mut self, peer: SimPeer, adversary: Adversary) {
        if let Some(node) = self.nodes.get(peer.0) {
            let tamper = adversary.tamper(node.key().clone());
            self.tamper(peer, Some(tamper));
        }
    }

    /// Moves on until nothing is on its way and no call is under way, but not past `limit_ms` from
    /// now. Deadlines of particles alone are not waited for. True when it became idle.
    pub fn run_until_idle(&mut self, limit_ms: u64) -> bool {
        let limit = self.now_ms.saturating_add(limit_ms);
        while !self.is_idle() {
            if !self.step(limit) {
                return false;
            }
        }
        true
    }

    /// Moves on for so long, whether anything happens or not.
    pub fn run_for(&mut self, duration_ms: u64) {
        let limit = self.now_ms.saturating_add(duration_ms);
        while self.step(limit) {}
        self.set_time(limit);
    }

    /// Whether nothing is on its way and no call is under way. Messages that are held do not
    /// count.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.tasks.is_empty()
    }

    /// Does the next thing, unless it lies after `limit`. False when there was none.
    fn step(&mut self, limit: u64) -> bool {
        if let Some(task) = self.woken.pop() {
            if self.poll_background(task) {
                self.obey();
            } else {
                self.poll(task);
            }
            return true;
        }
        let message = self.queue.keys().next().map(|(at, _)| *at);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let next = [message, deadline, self.clock.next_wake()]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next.filter(|&next| next <= limit) else {
            return false;
        };
        self.set_time(next);
        if deadline.is_some_and(|at| at <= next) {
            if let Some((_, peer)) = self.deadlines.pop_first() {
                self.handle(peer, Input::Timer);
            }
        } else if message.is_some_and(|at| at <= next)
            && let Some((_, due)) = self.queue.pop_first()
        {
            self.take(due);
        }
        true
    }

    fn set_time(&mut self, now_ms: u64) {
        if now_ms > self.now_ms {
            self.now_ms = now_ms;
        }
        self.clock.advance(self.now_ms);
    }

    fn take(&mut self, due: Due) {
        match due {
            Due::Message { from, to, particle } => {
                let Some(node) = self.nodes.get(from) else {
                    return;
                };
                let source = Source::Peer(node.peer_id());
                if self
                    .nodes
                    .get(to)
                    .is_none_or(|node| node.engine().is_none())
                {
                    self.totals.lost += 1;
                    return;
                }
                self.totals.delivered += 1;
                self.totals.bytes += particle.data.len() as u64;
                self.handle(to, Input::Particle { particle, source });
            }
            Due::Work { peer, life, input } => {
                if self.nodes.get(peer).is_some_and(|node| node.life == life) {
                    self.handle(peer, input);
                }
            }
        }
    }

    /// Feeds an engine, and does what it asks for until it asks for nothing.
    fn handle(&mut self, peer: usize, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.obey();
            let now_ms = self.now_ms;
            let Some(engine) = self.nodes.get_mut(peer).and_then(Node::engine_mut) else {
                return;
            };
            engine.handle(input, now_ms);
            while let Some(output) = self
                .nodes
                .get_mut(peer)
                .and_then(Node::engine_mut)
                .and_then(|engine| engine.poll_output())
            {
                if let Some(input) = self.carry_out(peer, output) {
                    inputs.insert(0, input);
                }
            }
        }
        self.update_deadline(peer);
    }

    fn carry_out(&mut self, peer: usize, output: Output) -> Option<Input> {
        match output {
            Output::Run(job) => {
                self.totals.runs += 1;
                self.work(peer, job.execute())
            }
            Output::Call(job) => self.call(peer, job),
            Output::CancelCall { actor, call_id } => {
                self.tasks.retain(|_, task| {
                    (task.peer, task.actor, task.call_id) != (peer, actor, call_id)
                });
                None
            }
            Output::Send { to, particle } => {
                for to in to {
                    self.send(peer, &to, &particle);
                }
                None
            }
            Output::Event(event) => {
                if self.recording {
                    self.events.push((SimPeer(peer), event));
                }
                None
            }
            Output::Load { actor, key } => {
                let data = self.nodes.get(peer).map(|node| node.load(&key));
                Some(Input::Loaded {
                    actor,
                    data: data.unwrap_or_default(),
                })
            }
            Output::Save { key, data } => {
                if let Some(node) = self.nodes.get(peer) {
                    node.save(&key, Some(&data));
                }
                None
            }
            Output::Forget { key } => {
                if let Some(node) = self.nodes.get(peer) {
                    node.save(&key, None);
                }
                None
            }
        }
    }

    /// The result of some work of a peer: at once, or later when the peer is slow.
    fn work(&mut self, peer: usize, input: Input) -> Option<Input> {
        match self.nodes.get(peer) {
            Some(node) if node.delay_ms > 0 => {
                let at = self.now_ms.saturating_add(node.delay_ms);
                let life = node.life;
                self.schedule(at, Due::Work { peer, life, input });
                None
            }
            _ => Some(input),
        }
    }

    fn call(&mut self, peer: usize, job: CallJob) -> Option<Input> {
        self.totals.calls += 1;
        let host = self.nodes.get(peer)?.host().clone();
        let (actor, call_id) = (job.actor(), job.call.call_id);
        let mut future: CallFuture = Box::pin(async move { job.execute(host.as_ref()).await });
        let task = self.next_task;
        self.next_task += 1;
        let waker = self.woken.waker(task);
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        match poll {
            std::task::Poll::Ready(input) => self.work(peer, input),
            std::task::Poll::Pending => {
                self.tasks.insert(
                    task,
                    Task {
                        peer,
                        actor,
                        call_id,
                        future,
                    },
                );
                None
            }
        }
    }

    fn poll(&mut self, id: u64) {
        let Some(mut task) = self.tasks.remove(&id) else {
            return;
        };
        let waker = self.woken.waker(id);
        match task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            std::task::Poll::Ready(input) => {
                if let Some(input) = self.work(task.peer, input) {
                    self.handle(task.peer, input);
                }
            }
            std::task::Poll::Pending => {
                self.tasks.insert(id, task);
            }
        }
    }

    fn send(&mut self, from: usize, to: &PeerId, particle: &Particle) {
        let Some(node) = self.nodes.get_mut(from) else {
            return;
        };
        // A client hands everything to its relay.
        let to = match node.relay() {
            Some(relay) => Some(relay.0),
            None => self.by_id.get(to).copied(),
        };
        let Some(to) = to else {
            self.totals.sent += 1;
            self.totals.lost += 1;
            return;
        };
        let particles = match &mut node.tamper {
            Some(tamper) => tamper(&mut self.random, particle, SimPeer(to)),
            None => vec![particle.clone()],
        };
        for particle in particles {
            self.totals.sent += 1;
            self.transmit(from, to, particle);
        }
    }

    fn transmit(&mut self, from: usize, to: usize, particle: Particle) {
        let fate = lock(&self.fabric).fate(from, to, &mut self.random);
        match fate {
            Fate::Arrives(times) => {
                for time in times {
                    let at = self.now_ms.saturating_add(time);
                    let particle = particle.clone();
                    self.schedule(at, Due::Message { from, to, particle });
                }
            }
            Fate::Held => self.held.push((from, to, particle)),
            Fate::Lost => self.totals.lost += 1,
        }
    }

    fn schedule(&mut self, at: u64, due: Due) {
        self.queue.insert((at, self.next_due), due);
        self.next_due += 1;
    }

    fn update_deadline(&mut self, peer: usize) {
        let Some(node) = self.nodes.get_mut(peer) else {
            return;
        };
        let deadline = node.engine().and_then(|engine| engine.next_deadline());
        if deadline != node.deadline_ms {
            if let Some(old) = node.deadline_ms {
                self.deadlines.remove(&(old, peer));
            }
            node.deadline_ms = deadline;
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, peer));
        }
    }

    fn node(&self, peer: SimPeer) -> Result<&Node, SimError> {
        self.nodes.get(peer.0).ok_or(SimError::UnknownPeer {
            index: peer.0,
            count: self.nodes.len(),
        })
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Simulator")
            .field("seed", &self.seed)
            .field("now_ms", &self.now_ms)
            .field("peers", &self.nodes.len())
            .field("queue", &self.queue.len())
            .field("tasks", &self.tasks.len())
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

/// An id in the form of a version 4 UUID.
fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.next_u64(), random.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 50),
        low & 0xffff_ffff_ffff
    )
}

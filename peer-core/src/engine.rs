//! The particle engine: particles, call results and the time go in; runs of the state machine,
//! calls of functions and particles to send come out.
//!
//! An engine waits for nothing, reads no clock and holds no socket. Its driver feeds [`Input`]s to
//! [`Engine::handle`] together with the time, takes [`Output`]s from [`Engine::poll_output`], and
//! calls again with [`Input::Timer`] at [`Engine::next_deadline`]. The tokio driver and the
//! deterministic simulator drive the same engine.
//!
//! Each particle is an actor of its own in each scope (the host, and every worker), found by the
//! particle's signature. An actor runs the state machine at most once at a time: with one copy of
//! the particle that arrived and all results of calls that finished since the last run. Ready
//! actors take turns, first come first served, on a bounded number of runs per scope.
//!
//! Whatever is not done is dropped with a [`DropReason`], counted in [`Counters`] and told to
//! observers as an [`Event`].

mod actor;
mod admission;
mod call;
mod counters;
mod event;
mod machine;
mod run;
mod schedule;
mod scripts;
#[cfg(test)]
mod tests;

pub use self::{
    call::{CallFinished, CallJob},
    counters::Counters,
    event::{CallReport, DropReason, Event, Execution},
    run::{CallResult, RunFinished, RunJob},
    scripts::ScriptCache,
};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use particle::{KeyPair, Particle, PeerId, Signature};

use self::actor::{Actor, Phase};
use crate::{config::EngineLimits, host::ParticleContext};

/// What an engine is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// A particle arrived.
    Particle {
        /// The particle; its signature is not verified yet.
        particle: Particle,
        /// Where it came from.
        source: Source,
    },
    /// A particle arrived whose signature was verified before, by [`Verified::check`].
    Verified {
        /// The particle.
        particle: Verified,
        /// Where it came from.
        source: Source,
    },
    /// A run ended: what [`RunJob::execute`] returned.
    RunFinished(RunFinished),
    /// A call ended: what [`CallJob::execute`] returned.
    CallFinished(CallFinished),
    /// Stored data was read, in answer to [`Output::Load`].
    Loaded {
        /// The actor that the data was read for.
        actor: ActorId,
        /// The data; empty when there is none or it cannot be read.
        data: Bytes,
    },
    /// Time has passed.
    Timer,
}

/// What an engine asks for. Outputs are carried out in the order in which they appear.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Run the state machine, and hand the result back.
    Run(RunJob),
    /// Make a call, and hand the result back.
    Call(CallJob),
    /// Nobody waits for a call any longer; its future may be dropped.
    CancelCall {
        /// The actor that made the call.
        actor: ActorId,
        /// The call.
        call_id: u32,
    },
    /// Send a particle to other peers.
    Send {
        /// The peers.
        to: Vec<PeerId>,
        /// The particle.
        particle: Particle,
    },
    /// Read the stored data of a particle, and hand it back as [`Input::Loaded`].
    Load {
        /// The actor that waits.
        actor: ActorId,
        /// What to read.
        key: DataKey,
    },
    /// Store the data of a particle, before any later output is carried out.
    Save {
        /// What to write.
        key: DataKey,
        /// The data.
        data: Bytes,
    },
    /// Delete the stored data of a particle that has expired.
    Forget {
        /// What to delete.
        key: DataKey,
    },
    /// Something happened; only when events were asked for.
    Event(Event),
}

/// A particle whose signature was looked at.
#[derive(Debug)]
pub struct Verified {
    particle: Particle,
    /// What is wrong with its signature.
    outcome: Result<(), String>,
}

impl Verified {
    /// Verifies the signature of a particle, which takes some time.
    #[must_use]
    pub fn check(particle: Particle) -> Self {
        let outcome = particle.verify().map_err(|error| error.to_string());
        Self { particle, outcome }
    }
}

/// Where a particle came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Another peer sent it.
    Peer(PeerId),
    /// Something in this process: a client, a spell, another scope.
    Local,
}

/// Names an actor within an engine; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(u64);

/// Names the data of a particle in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DataKey {
    /// The scope.
    pub peer_id: PeerId,
    /// The signature of the particle.
    pub signature: Signature,
}

impl DataKey {
    /// The key as bytes: the peer id, then the signature.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let peer_id = self.peer_id.to_bytes();
        let length = u8::try_from(peer_id.len()).unwrap_or(u8::MAX);
        [&[length], peer_id.as_slice(), self.signature.as_bytes()].concat()
    }
}

/// What an engine is busy with at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Particles that are remembered, in all scopes.
    pub particles: usize,
    /// Copies of particles that wait for a run.
    pub queued: usize,
    /// Bytes of data that wait or are remembered.
    pub held: usize,
    /// Runs of the state machine that have a place.
    pub running: usize,
    /// Runs that exceeded their time and have not ended.
    pub stuck: usize,
    /// Runs that may be under way in one scope.
    pub max_parallel_runs: usize,
}

/// The particle engine of one peer. See the [module](self).
pub struct Engine {
    host_id: PeerId,
    limits: EngineLimits,
    max_parallel_runs: usize,
    managers: BTreeSet<PeerId>,
    events: bool,
    scripts: Arc<ScriptCache>,
    scopes: BTreeMap<PeerId, Scope>,
    /// In boxes, as nodes of the map are half empty where keys only grow.
    actors: BTreeMap<ActorId, Box<Actor>>,
    /// How many of them each peer started. Never iterated.
    by_initiator: HashMap<PeerId, usize>,
    next_actor: u64,
    next_run: u64,
    /// Scopes of runs that have not ended, also of actors that are gone.
    runs: BTreeMap<u64, PeerId>,
    timers: BTreeSet<(u64, ActorId, Timer)>,
    held: usize,
    /// Copies that wait for a run, over all particles.
    queued: usize,
    /// Runs that exceeded their time and have not ended.
    stuck: BTreeSet<u64>,
    outputs: VecDeque<Output>,
    counters: Counters,
}

/// The host or a worker.
struct Scope {
    key: Arc<KeyPair>,
    active: bool,
    /// Runs at a time.
    max_parallel_runs: usize,
    /// Never iterated, so its order does not matter.
    by_signature: HashMap<Signature, ActorId>,
    ready: VecDeque<ActorId>,
    running: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Expiry,
    Run(u64),
    Call(u32),
}

impl Engine {
    /// The engine of the peer with this key.
    #[must_use]
    pub fn new(key: Arc<KeyPair>, limits: EngineLimits) -> Self {
        let scripts = ScriptCache::new(limits.script_cache_entries, limits.script_cache_size.0);
        let max_parallel_runs = match limits.max_parallel_runs {
            0 => std::thread::available_parallelism().map_or(2, |number| 2 * number.get()),
            number => number,
        };
        let host_id = key.peer_id();
        Self {
            host_id,
            limits,
            max_parallel_runs,
            managers: BTreeSet::new(),
            events: false,
            scripts: Arc::new(scripts),
            scopes: BTreeMap::from([(host_id, Scope::new(key, max_parallel_runs))]),
            actors: BTreeMap::new(),
            by_initiator: HashMap::new(),
            next_actor: 0,
            next_run: 0,
            runs: BTreeMap::new(),
            timers: BTreeSet::new(),
            held: 0,
            queued: 0,
            stuck: BTreeSet::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Asks for [`Output::Event`]s.
    #[must_use]
    pub fn with_events(mut self) -> Self {
        self.events = true;
        self
    }

    /// Shares the parsed scripts of other engines.
    #[must_use]
    pub fn with_scripts(mut self, scripts: Arc<ScriptCache>) -> Self {
        self.scripts = scripts;
        self
    }

    /// Names peers whose particles also reach deactivated workers, beside the host's own.
    #[must_use]
    pub fn with_managers(mut self, managers: impl IntoIterator<Item = PeerId>) -> Self {
        self.managers.extend(managers);
        self
    }

    /// The id of the host.
    #[must_use]
    pub fn host_id(&self) -> PeerId {
        self.host_id
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many particles are remembered, in all scopes.
    #[must_use]
    pub fn particles(&self) -> usize {
        self.actors.len()
    }

    /// Bytes of data that wait or are remembered.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// What the engine is busy with.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            particles: self.actors.len(),
            queued: self.queued,
            held: self.held,
            running: self.runs.len(),
            stuck: self.stuck.len(),
            max_parallel_runs: self.max_parallel_runs,
        }
    }

    /// Whether no run and no call is under way, and nothing waits for one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty()
            && self.actors.values().all(|actor| {
                matches!(actor.phase, Phase::Idle | Phase::Stuck) && actor.calls.is_empty()
            })
    }

    /// The data that is remembered of a particle in a scope.
    #[must_use]
    pub fn data(&self, key: &DataKey) -> Option<&Bytes> {
        let scope = self.scopes.get(&key.peer_id)?;
        let actor = scope.by_signature.get(&key.signature)?;
        self.actors.get(actor).map(|actor| &actor.prev)
    }

    /// Everything that is remembered, in no particular order of particles: the particle and its
    /// data.
    pub fn remembered(&self) -> impl Iterator<Item = (&ParticleContext, &Bytes)> {
        self.actors
            .values()
            .map(|actor| (actor.particle.as_ref(), &actor.prev))
    }

    /// Adds a worker: a scope with a key of its own. Does nothing when it is there already.
    pub fn add_worker(&mut self, key: Arc<KeyPair>) {
        self.scopes
            .entry(key.peer_id())
            .or_insert_with(|| Scope::new(key, self.max_parallel_runs));
    }

    /// Sets how many runs a worker may have at a time, at least one and never more than the host;
    /// true when it is known.
    pub fn limit_worker_runs(&mut self, worker: &PeerId, runs: usize) -> bool {
        match self.scopes.get_mut(worker) {
            Some(scope) if *worker != self.host_id => {
                scope.max_parallel_runs = runs.clamp(1, self.max_parallel_runs.max(1));
                true
            }
            _ => false,
        }
    }

    /// Activates or deactivates a worker; true when it is known.
    pub fn set_worker_active(&mut self, worker: &PeerId, active: bool) -> bool {
        match self.scopes.get_mut(worker) {
            Some(scope) if *worker != self.host_id => {
                scope.active = active;
                true
            }
            _ => false,
        }
    }

    /// Removes a worker with all its particles; true when it was known.
    pub fn remove_worker(&mut self, worker: &PeerId) -> bool {
        if *worker == self.host_id {
            return false;
        }
        let Some(scope) = self.scopes.get(worker) else {
            return false;
        };
        let mut actors: Vec<ActorId> = scope.by_signature.values().copied().collect();
        actors.sort_unstable();
        for actor in actors {
            self.remove(actor);
        }
        self.scopes.remove(worker);
        true
    }

    /// Whether verifying the signature of a particle is all that is left to do before it is
    /// admitted to the host. Then a driver may do that with [`Verified::check`] while others use
    /// the engine.
    #[must_use]
    pub fn is_new(&self, particle: &Particle, now_ms: u64) -> bool {
        self.check(particle, now_ms).is_ok()
            && self
                .scopes
                .get(&self.host_id)
                .is_some_and(|scope| !scope.by_signature.contains_key(&particle.signature))
    }

    /// Takes in what happened, at the time `now_ms` (milliseconds since the Unix epoch).
    pub fn handle(&mut self, input: Input, now_ms: u64) {
        match input {
            Input::Particle { particle, source } => {
                self.counters.received += 1;
                self.admit(self.host_id, particle, false, source, now_ms);
            }
            Input::Verified {
                particle: Verified { particle, outcome },
                source,
            } => {
                self.counters.received += 1;
                match outcome {
                    Ok(()) => self.admit(self.host_id, particle, true, source, now_ms),
                    Err(reason) => {
                        let reason = DropReason::BadSignature { reason };
                        self.drop_particle(particle.id, self.host_id, source, reason, now_ms);
                    }
                }
            }
            Input::RunFinished(run) => self.run_finished(run, now_ms),
            Input::CallFinished(CallFinished {
                actor,
                call_id,
                result,
            }) => self.call_finished(actor, call_id, result, false, now_ms),
            Input::Loaded { actor, data } => self.loaded(actor, data),
            Input::Timer => {}
        }
        self.fire_timers(now_ms);
        self.start_runs(now_ms);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timer`] is needed, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.first().map(|(at, ..)| *at)
    }

    fn fire_timers(&mut self, now_ms: u64) {
        while let Some(&(at, actor_id, timer)) = self.timers.first() {
            if at > now_ms {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Expiry => self.expire(actor_id, now_ms),
                Timer::Run(run_id) => self.run_timed_out(actor_id, run_id, now_ms),
                Timer::Call(call_id) => self.call_timed_out(actor_id, call_id, now_ms),
            }
        }
    }

    fn expire(&mut self, actor_id: ActorId, now_ms: u64) {
        let Some(actor) = self.actors.get(&actor_id) else {
            return;
        };
        let running = matches!(actor.phase, Phase::Running(_) | Phase::Stuck);
        let pending_calls = actor.calls.len() + actor.waiting_calls.len();
        if running || pending_calls > 0 || actor.has_work() {
            self.counters.expired_with_work += 1;
        }
        self.counters.expired += 1;
        if self.events {
            self.outputs.push_back(Output::Event(Event::Expired {
                particle: actor.particle.clone(),
                peer_id: actor.peer_id,
                pending_calls,
                queued: actor.inbox.len(),
                running,
                data: actor.prev.clone(),
                at_ms: now_ms,
            }));
        }
        self.remove(actor_id);
    }

    /// Forgets an actor. A run that is under way ends unheard.
    fn remove(&mut self, actor_id: ActorId) {
        let Some(actor) = self.actors.remove(&actor_id) else {
            return;
        };
        self.held = self.held.saturating_sub(actor.held());
        self.queued = self.queued.saturating_sub(actor.inbox.len());
        let initiator = actor.particle.init_peer_id;
        if let Some(count) = self.by_initiator.get_mut(&initiator) {
            *count -= 1;
            if *count == 0 {
                self.by_initiator.remove(&initiator);
            }
        }
        self.timers
            .remove(&(actor.deadline_ms.saturating_add(1), actor_id, Timer::Expiry));
        if let Phase::Running(run) = &actor.phase {
            self.timers
                .remove(&(run.timeout_ms, actor_id, Timer::Run(run.run_id)));
        }
        for (&call_id, call) in &actor.calls {
            self.timers.remove(&(
                call.deadline_ms.saturating_add(1),
                actor_id,
                Timer::Call(call_id),
            ));
            self.outputs.push_back(Output::CancelCall {
                actor: actor_id,
                call_id,
            });
        }
        if let Some(scope) = self.scopes.get_mut(&actor.peer_id) {
            scope.by_signature.remove(&actor.particle.signature);
            if matches!(actor.phase, Phase::Ready) {
                scope.ready.retain(|ready| *ready != actor_id);
            }
        }
        if self.limits.persist_data {
            self.outputs.push_back(Output::Forget {
                key: DataKey {
                    peer_id: actor.peer_id,
                    signature: actor.particle.signature.clone(),
                },
            });
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("host_id", &self.host_id)
            .field("scopes", &self.scopes.len())
            .field("particles", &self.actors.len())
            .field("runs", &self.runs.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Scope {
    fn new(key: Arc<KeyPair>, max_parallel_runs: usize) -> Self {
        Self {
            key,
            active: true,
            max_parallel_runs,
            by_signature: HashMap::new(),
            ready: VecDeque::new(),
            running: 0,
        }
    }
}

//! Feeds the engine and carries out what it asks for.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use particle::{Particle, PeerId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use super::event::{Observer, PeerEvent, PeerEventKind};
use crate::clock::Clock;
use crate::engine::{
    ActorId, CallJob, Counters, DataKey, Engine, Input, Load, Output, RunJob, Source, Verified,
};
use crate::host::FunctionHost;
use crate::network::{Counter, Incoming, Network};
use crate::store::{Change, Durability, Store, Table};

/// Particles that may be on their way to other peers at a time; further ones are dropped.
const MAX_SENDING: usize = 65_536;
/// Small runs of one particle before others have their turn on a thread.
const MAX_RUNS_IN_A_ROW: usize = 8;

/// The state of a running peer. Whoever has an input for the engine feeds it, whatever thread that
/// is; the outputs are carried out there as well, or handed to tasks.
pub(super) struct Core {
    engine: Mutex<Engine>,
    network: Network,
    host: Arc<dyn FunctionHost>,
    observers: Vec<Arc<dyn Observer>>,
    clock: Arc<dyn Clock>,
    relay: Option<PeerId>,
    runtime: Handle,
    calls: Mutex<HashMap<(ActorId, u32), AbortHandle>>,
    store: Arc<dyn Store>,
    sending: AtomicUsize,
    refused_sends: Counter,
    /// Wakes the timer when the engine's next deadline may have changed.
    deadline_changed: Notify,
    stopped: watch::Sender<bool>,
}

/// What a peer is joined from, besides its engine and its network.
pub(super) struct Parts {
    pub(super) host: Arc<dyn FunctionHost>,
    pub(super) observers: Vec<Arc<dyn Observer>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) relay: Option<PeerId>,
}

impl Core {
    pub(super) fn start(
        engine: Engine,
        network: Network,
        received: mpsc::Receiver<Incoming>,
        parts: Parts,
    ) -> Arc<Self> {
        let core = Arc::new(Self {
            engine: Mutex::new(engine),
            network,
            host: parts.host,
            observers: parts.observers,
            clock: parts.clock,
            relay: parts.relay,
            runtime: Handle::current(),
            calls: Mutex::default(),
            store: parts.store,
            sending: AtomicUsize::new(0),
            refused_sends: Counter::default(),
            deadline_changed: Notify::new(),
            stopped: watch::channel(false).0,
        });
        tokio::spawn(core.clone().receive(received));
        tokio::spawn(core.clone().keep_time());
        core
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn submit(self: &Arc<Self>, particle: Particle) {
        self.feed(
            Input::Particle {
                particle,
                source: Source::Local,
            },
            Place::Task,
        );
    }

    /// Changes the scopes of the engine, and carries out what comes of it.
    #[cfg(feature = "marine")]
    pub(super) fn change(self: &Arc<Self>, change: impl FnOnce(&mut Engine)) {
        change(&mut lock(&self.engine));
        self.feed(Input::Timer, Place::Task);
    }

    pub(super) fn counters(&self) -> Counters {
        lock(&self.engine).counters().clone()
    }

    pub(super) fn refused_sends(&self) -> u64 {
        self.refused_sends.get()
    }

    pub(super) fn engine_load(&self) -> Load {
        lock(&self.engine).load()
    }

    pub(super) fn metrics(&self) -> Vec<(String, u64)> {
        let engine = self.counters();
        let mut metrics: Vec<(String, u64)> = self
            .network
            .counters()
            .values()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        metrics.extend(
            [
                ("engine_particles_received", engine.received),
                ("engine_particles_admitted", engine.admitted),
                ("engine_runs", engine.runs),
                ("engine_runs_failed", engine.failed_runs),
                ("engine_runs_timed_out", engine.timed_out_runs),
                ("engine_calls", engine.calls),
                ("engine_calls_failed", engine.failed_calls),
                ("engine_calls_timed_out", engine.timed_out_calls),
                ("engine_particles_sent", engine.sent),
                ("engine_particles_expired", engine.expired),
                (
                    "engine_particles_expired_with_work",
                    engine.expired_with_work,
                ),
                ("peer_sends_refused", self.refused_sends.get()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let dropped = engine.dropped.iter();
        metrics.extend(
            dropped.map(|(reason, count)| (format!("engine_particles_dropped_{reason}"), *count)),
        );
        metrics
    }

    pub(super) async fn stop(&self) {
        self.stopped.send_replace(true);
        self.network.shutdown().await;
        for (_, call) in lock(&self.calls).drain() {
            call.abort();
        }
    }

    /// Takes particles from the network. While this waits for nothing but the engine, the queue
    /// behind it holds the senders back.
    async fn receive(self: Arc<Self>, mut received: mpsc::Receiver<Incoming>) {
        let mut stopped = self.stopped.subscribe();
        loop {
            tokio::select! {
                incoming = received.recv() => {
                    let Some(Incoming { from, particle }) = incoming else { return };
                    let source = Source::Peer(from);
                    // The engine is not held while a signature is verified.
                    let is_new = lock(&self.engine).is_new(&particle, self.clock.now_ms());
                    let input = match is_new {
                        true => Input::Verified { particle: Verified::check(particle), source },
                        false => Input::Particle { particle, source },
                    };
                    self.feed(input, Place::Task);
                }
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    /// Tells the engine when the time it waits for has come.
    async fn keep_time(self: Arc<Self>) {
        let mut stopped = self.stopped.subscribe();
        loop {
            let deadline = lock(&self.engine).next_deadline();
            let pause = async {
                match deadline {
                    Some(deadline) => {
                        let left = deadline.saturating_sub(self.clock.now_ms());
                        self.clock.sleep(Duration::from_millis(left)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => self.feed(Input::Timer, Place::Task),
                () = self.deadline_changed.notified() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    /// Gives the engine an input and carries out what comes of it.
    fn feed(self: &Arc<Self>, input: Input, place: Place) {
        let mut inputs = VecDeque::from([input]);
        let mut outputs = Vec::new();
        for done in 0.. {
            let mut next_run = None;
            while let Some(input) = inputs.pop_front() {
                self.handle(input, &mut outputs);
                for output in outputs.drain(..) {
                    match output {
                        // This thread may compute: it goes on with the first run itself.
                        Output::Run(job) if next_run.is_none() && place.takes(&job, done) => {
                            next_run = Some(job);
                        }
                        output => inputs.extend(self.carry_out(output)),
                    }
                }
            }
            let Some(job) = next_run.filter(|_| !*self.stopped.borrow()) else {
                return;
            };
            inputs.extend(match place {
                Place::Blocking => Some(execute(job)),
                Place::Task | Place::Worker => self.execute_briefly(job),
            });
        }
    }

    /// Runs the state machine on a thread that other tasks wait for. A run that takes too long for
    /// that begins again on another thread.
    fn execute_briefly(self: &Arc<Self>, job: RunJob) -> Option<Input> {
        let started = Instant::now();
        match job.execute_briefly() {
            Ok(input) => Some(measured(input, started)),
            Err(job) => {
                self.execute_elsewhere(*job);
                None
            }
        }
    }

    fn execute_elsewhere(self: &Arc<Self>, job: RunJob) {
        let core = self.clone();
        self.runtime
            .spawn_blocking(move || core.feed(execute(job), Place::Blocking));
    }

    fn handle(&self, input: Input, outputs: &mut Vec<Output>) {
        let mut engine = lock(&self.engine);
        let before = engine.next_deadline();
        engine.handle(input, self.clock.now_ms());
        while let Some(output) = engine.poll_output() {
            outputs.push(output);
        }
        let after = engine.next_deadline();
        drop(engine);
        // A deadline that moved away costs one idle wake-up, one that came closer must be heard.
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.deadline_changed.notify_one();
        }
    }

    /// Carries out one output; what is finished at once is returned as the next input.
    fn carry_out(self: &Arc<Self>, output: Output) -> Option<Input> {
        match output {
            // Waking a thread of those that may compute costs as much as a small run.
            Output::Run(job) if job.is_small() => {
                let core = self.clone();
                self.runtime.spawn(async move {
                    if let Some(input) = core.execute_briefly(job) {
                        core.feed(input, Place::Worker);
                    }
                });
            }
            Output::Run(job) => self.execute_elsewhere(job),
            Output::Call(job) => return self.call(job),
            Output::CancelCall { actor, call_id } => {
                if let Some(call) = lock(&self.calls).remove(&(actor, call_id)) {
                    call.abort();
                }
            }
            Output::Send { to, particle } => self.send(to, particle),
            Output::Load { actor, key } => {
                let core = self.clone();
                self.runtime.spawn_blocking(move || {
                    let data = core.load(&key);
                    core.feed(Input::Loaded { actor, data }, Place::Blocking);
                });
            }
            // Not worth waiting for the disk: what is lost is merged again from a copy.
            Output::Save { key, data } => {
                self.store(Change::put(Table::Particles, key.to_bytes(), data));
            }
            Output::Forget { key } => {
                self.store(Change::delete(Table::Particles, key.to_bytes()));
            }
            Output::Event(event) => self.tell(PeerEventKind::Engine(event)),
        }
        None
    }

    /// The stored data of a particle; empty when there is none or it cannot be read.
    fn load(&self, key: &DataKey) -> Bytes {
        match self.store.get(Table::Particles, &key.to_bytes()) {
            Ok(data) => data.map(Bytes::from).unwrap_or_default(),
            Err(error) => {
                tracing::error!("data of a particle is not available: {error}");
                Bytes::new()
            }
        }
    }

    fn store(&self, change: Change) {
        if let Err(error) = self.store.apply(&[change], Durability::Later) {
            tracing::error!("data of a particle is not kept: {error}");
        }
    }

    /// Makes a call. Most functions answer at once, which needs no task.
    fn call(self: &Arc<Self>, job: CallJob) -> Option<Input> {
        let id = (job.actor(), job.call.call_id);
        let host = self.host.clone();
        let mut call = Box::pin(async move { job.execute(&*host).await });
        let _inside = self.runtime.enter();
        if let Poll::Ready(input) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(input);
        }
        let core = self.clone();
        // The entry is there before the task can look for it.
        let mut calls = lock(&self.calls);
        let task = self.runtime.spawn(async move {
            let input = call.await;
            lock(&core.calls).remove(&id);
            core.feed(input, Place::Worker);
        });
        calls.insert(id, task.abort_handle());
        None
    }

    fn send(self: &Arc<Self>, to: Vec<PeerId>, particle: Particle) {
        // A client knows nobody but its relay, which sends on.
        let to = match self.relay {
            Some(relay) => vec![relay],
            None => to,
        };
        let frame = Bytes::from(particle::frame::encode(&particle));
        let deadline_ms = particle.deadline();
        for peer in to {
            if self.sending.fetch_add(1, Ordering::Relaxed) >= MAX_SENDING {
                self.sending.fetch_sub(1, Ordering::Relaxed);
                self.refused_sends.increment();
                let reason = format!("{MAX_SENDING} particles are already being sent");
                self.tell_not_sent(&particle.id, peer, reason);
                continue;
            }
            let core = self.clone();
            let (id, frame) = (particle.id.clone(), frame.clone());
            self.runtime.spawn(async move {
                core.send_one(&id, peer, frame, deadline_ms).await;
                core.sending.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    async fn send_one(&self, id: &str, peer: PeerId, frame: Bytes, deadline_ms: u64) {
        let started = Instant::now();
        let left = Duration::from_millis(deadline_ms.saturating_sub(self.clock.now_ms()));
        let sending = tokio::time::timeout(left, self.network.send_frame(&peer, frame));
        let reason = match sending.await {
            Ok(Ok(())) => {
                if !self.observers.is_empty() {
                    let particle_id = id.to_owned();
                    self.tell(PeerEventKind::Sent {
                        particle_id,
                        to: peer,
                        took: started.elapsed(),
                    });
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{peer} did not take the particle before it expired"),
        };
        self.tell_not_sent(id, peer, reason);
    }

    fn tell_not_sent(&self, id: &str, to: PeerId, reason: String) {
        tracing::info!(particle_id = id, "particle not sent: {reason}");
        self.tell(PeerEventKind::NotSent {
            particle_id: id.to_owned(),
            to,
            reason,
        });
    }

    fn tell(&self, kind: PeerEventKind) {
        if self.observers.is_empty() {
            return;
        }
        let event = PeerEvent {
            peer: self.network.peer_id(),
            at: SystemTime::now(),
            kind,
        };
        for observer in &self.observers {
            observer.observe(&event);
        }
    }
}

/// Where the engine is fed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a task that has other things to do.
    Task,
    /// In a task for this, on a thread that others wait for.
    Worker,
    /// On a thread that may compute.
    Blocking,
}

impl Place {
    /// Whether a run may be executed there, after so many others.
    fn takes(self, job: &RunJob, done: usize) -> bool {
        match self {
            Self::Task => false,
            Self::Worker => done < MAX_RUNS_IN_A_ROW && job.is_small(),
            Self::Blocking => true,
        }
    }
}

/// Runs the state machine and measures it.
fn execute(job: RunJob) -> Input {
    let started = Instant::now();
    measured(job.execute(), started)
}

fn measured(mut input: Input, started: Instant) -> Input {
    if let Input::RunFinished(finished) = &mut input {
        finished.elapsed = started.elapsed();
    }
    input
}

/// A panic elsewhere does not make the data unusable: nothing is left half done under a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

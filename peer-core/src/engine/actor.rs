//! What an engine remembers of one particle in one scope.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use particle::PeerId;

use super::{CallResult, Source, run::RequestedCall};
use crate::host::ParticleContext;

/// How many waiting copies a new one is compared with.
const COMPARED: usize = 8;

/// One particle in one scope: its data, the copies that wait, the calls under way.
pub(super) struct Actor {
    pub(super) peer_id: PeerId,
    pub(super) particle: Arc<ParticleContext>,
    pub(super) deadline_ms: u64,
    pub(super) phase: Phase,
    /// The data of the last run.
    pub(super) prev: Bytes,
    /// Whether a run has merged anything into `prev` in this engine's life.
    pub(super) has_run: bool,
    /// Data of copies that wait for their turn.
    pub(super) inbox: VecDeque<(Bytes, Source)>,
    /// Results that wait for the next run.
    pub(super) results: BTreeMap<u32, CallResult>,
    /// Calls under way.
    pub(super) calls: BTreeMap<u32, PendingCall>,
    /// Calls that wait because too many are under way.
    pub(super) waiting_calls: VecDeque<RequestedCall>,
}

/// What an actor is doing.
pub(super) enum Phase {
    /// Its stored data is being read.
    Loading,
    /// Nothing.
    Idle,
    /// It waits for a free place to run in.
    Ready,
    /// The state machine runs.
    Running(RunInfo),
    /// A run exceeded its time; nothing more is done for the particle.
    Stuck,
}

/// A run under way.
pub(super) struct RunInfo {
    pub(super) run_id: u64,
    pub(super) started_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) source: Option<Source>,
    pub(super) current: Bytes,
    pub(super) results: Vec<u32>,
    /// Bytes of those results.
    pub(super) result_bytes: usize,
}

/// A call under way.
pub(super) struct PendingCall {
    pub(super) service_id: String,
    pub(super) function_name: String,
    pub(super) started_ms: u64,
    pub(super) deadline_ms: u64,
}

impl Actor {
    pub(super) fn new(peer_id: PeerId, particle: Arc<ParticleContext>, deadline_ms: u64) -> Self {
        Self {
            peer_id,
            particle,
            deadline_ms,
            phase: Phase::Idle,
            prev: Bytes::new(),
            has_run: false,
            inbox: VecDeque::new(),
            results: BTreeMap::new(),
            calls: BTreeMap::new(),
            waiting_calls: VecDeque::new(),
        }
    }

    /// Whether merging `data` would change nothing: it is what a run had as input or output, or
    /// what already waits.
    pub(super) fn knows(&self, data: &Bytes) -> bool {
        if self.has_run && self.prev == *data {
            return true;
        }
        if let Phase::Running(run) = &self.phase
            && run.source.is_some()
            && run.current == *data
        {
            return true;
        }
        let waiting = self.inbox.iter().rev().take(COMPARED);
        waiting.into_iter().any(|(waiting, _)| waiting == data)
    }

    /// Whether there is something to run for.
    pub(super) fn has_work(&self) -> bool {
        !self.inbox.is_empty() || !self.results.is_empty()
    }

    /// Gives back what an actor with nothing to do need not hold: most are that until they expire.
    pub(super) fn rest(&mut self) {
        if self.inbox.is_empty() {
            self.inbox = VecDeque::new();
        }
        if self.calls.is_empty() {
            self.calls = BTreeMap::new();
        }
        if self.waiting_calls.is_empty() {
            self.waiting_calls = VecDeque::new();
        }
    }

    /// Bytes that the actor holds: data, copies that wait, results until a run has ended that took
    /// them.
    pub(super) fn held(&self) -> usize {
        let inbox: usize = self.inbox.iter().map(|(data, _)| data.len()).sum();
        let running = match &self.phase {
            Phase::Running(run) => run.result_bytes,
            _ => 0,
        };
        self.prev.len() + inbox + size_of_results(&self.results) + running
    }
}

/// Bytes of results.
pub(super) fn size_of_results(results: &BTreeMap<u32, CallResult>) -> usize {
    results.values().map(|result| result.result.len()).sum()
}

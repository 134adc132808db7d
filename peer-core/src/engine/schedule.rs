//! Runs of the state machine: who is next, and what becomes of their outcome.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use particle::{KeyPair, Particle, PeerId};

use super::{
    ActorId, DataKey, DropReason, Engine, Event, Execution, Output, RunFinished, RunJob, Source,
    Timer,
    actor::{Actor, Phase, RunInfo, size_of_results},
    admission::check_memory,
    run::RunOutcome,
};

impl Engine {
    /// Puts an idle actor into the queue of its scope, or to rest when there is no work for it.
    pub(super) fn make_ready(&mut self, actor_id: ActorId) {
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        if !matches!(actor.phase, Phase::Idle) {
            return;
        }
        if !actor.has_work() {
            actor.rest();
        } else if let Some(scope) = self.scopes.get_mut(&actor.peer_id) {
            actor.phase = Phase::Ready;
            scope.ready.push_back(actor_id);
        }
    }

    pub(super) fn start_runs(&mut self, now_ms: u64) {
        let scopes: Vec<PeerId> = self
            .scopes
            .iter()
            .filter(|(_, scope)| !scope.ready.is_empty())
            .map(|(peer_id, _)| *peer_id)
            .collect();
        for peer_id in scopes {
            while let Some(scope) = self.scopes.get_mut(&peer_id)
                && scope.running < scope.max_parallel_runs
                && let Some(actor_id) = scope.ready.pop_front()
            {
                let key = scope.key.clone();
                self.start_run(actor_id, key, now_ms);
            }
        }
    }

    pub(super) fn start_run(&mut self, actor_id: ActorId, key: Arc<KeyPair>, now_ms: u64) {
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        actor.phase = Phase::Idle;
        // Copies that a run before has made superfluous.
        let mut superfluous = Vec::new();
        let mut next = None;
        while let Some((data, source)) = actor.inbox.pop_front() {
            self.held = self.held.saturating_sub(data.len());
            self.queued = self.queued.saturating_sub(1);
            if actor.has_run && data == actor.prev {
                superfluous.push(source);
                continue;
            }
            next = Some((data, source));
            break;
        }
        if !superfluous.is_empty() {
            let (id, peer_id) = (actor.particle.id.clone(), actor.peer_id);
            for source in superfluous {
                self.drop_particle(id.clone(), peer_id, source, DropReason::Duplicate, now_ms);
            }
        }
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        let results = std::mem::take(&mut actor.results);
        if next.is_none() && results.is_empty() {
            return;
        }
        let (current, source) = match next {
            Some((data, source)) => (data, Some(source)),
            None => (Bytes::new(), None),
        };
        let run_id = self.next_run;
        self.next_run += 1;
        let timeout_ms = now_ms
            .saturating_add(self.limits.run_timeout.as_millis())
            .min(actor.deadline_ms)
            .saturating_add(1);
        actor.phase = Phase::Running(RunInfo {
            run_id,
            started_ms: now_ms,
            timeout_ms,
            source,
            current: current.clone(),
            results: results.keys().copied().collect(),
            result_bytes: size_of_results(&results),
        });
        self.timers
            .insert((timeout_ms, actor_id, Timer::Run(run_id)));
        self.runs.insert(run_id, actor.peer_id);
        if let Some(scope) = self.scopes.get_mut(&actor.peer_id) {
            scope.running += 1;
        }
        self.counters.runs += 1;
        self.outputs.push_back(Output::Run(RunJob {
            actor: actor_id,
            run_id,
            particle: actor.particle.clone(),
            key,
            peer_id: actor.peer_id,
            prev: actor.prev.clone(),
            current,
            results,
            limits: self.limits.vm.clone(),
            scripts: self.scripts.clone(),
        }));
    }

    pub(super) fn run_finished(&mut self, finished: RunFinished, now_ms: u64) {
        self.stuck.remove(&finished.run_id);
        if let Some(peer_id) = self.runs.remove(&finished.run_id)
            && let Some(scope) = self.scopes.get_mut(&peer_id)
        {
            scope.running = scope.running.saturating_sub(1);
        }
        let actor_id = finished.actor;
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        let run = match std::mem::replace(&mut actor.phase, Phase::Idle) {
            Phase::Running(run) if run.run_id == finished.run_id => run,
            other => {
                actor.phase = other;
                return;
            }
        };
        self.held = self.held.saturating_sub(run.result_bytes);
        self.timers
            .remove(&(run.timeout_ms, actor_id, Timer::Run(run.run_id)));
        let elapsed = finished.elapsed;
        match finished.outcome {
            Ok(outcome) => self.take_outcome(actor_id, &run, outcome, elapsed, now_ms),
            Err(reason) => {
                self.counters.failed_runs += 1;
                let report = Execution {
                    failure: Some(reason),
                    data_verified: false,
                    ..execution(actor, &run, elapsed, now_ms)
                };
                self.emit_execution(report);
            }
        }
        self.make_ready(actor_id);
    }

    /// Keeps the data of a run, then does what it asks for.
    pub(super) fn take_outcome(
        &mut self,
        actor_id: ActorId,
        run: &RunInfo,
        outcome: RunOutcome,
        elapsed: Duration,
        now_ms: u64,
    ) {
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        let (size, before) = (outcome.data.len(), actor.prev.len());
        if size > before
            && let Err(reason) = check_memory(&self.limits, self.held, size - before)
        {
            self.counters.failed_runs += 1;
            let report = Execution {
                failure: Some(format!("data of {size} bytes are not kept: {reason}")),
                ..execution(actor, run, elapsed, now_ms)
            };
            self.emit_execution(report);
            return;
        }
        self.held = (self.held + size).saturating_sub(before);
        let changed = actor.prev != outcome.data;
        actor.prev = outcome.data;
        actor.has_run = true;
        if outcome.ret_code != 0 {
            self.counters.failed_runs += 1;
        }
        if self.limits.persist_data && changed {
            self.outputs.push_back(Output::Save {
                key: DataKey {
                    peer_id: actor.peer_id,
                    signature: actor.particle.signature.clone(),
                },
                data: actor.prev.clone(),
            });
        }
        let mut report = Execution {
            ret_code: outcome.ret_code,
            error_message: outcome.error_message,
            data_verified: !matches!(outcome.ret_code, UNVERIFIED_CIDS | UNVERIFIED_SIGNATURES),
            data_size: actor.prev.len(),
            ..execution(actor, run, elapsed, now_ms)
        };
        let next_peers: Result<Vec<PeerId>, String> = outcome
            .next_peers
            .iter()
            .map(|peer| {
                peer.parse()
                    .map_err(|error| format!("the next peer {peer:?} is not a peer id: {error}"))
            })
            .collect();
        match next_peers {
            // The published peer does nothing at all then.
            Err(failure) => {
                report.failure = Some(failure);
                self.emit_execution(report);
            }
            Ok(next_peers) => {
                report.next_peers.clone_from(&next_peers);
                if self.events {
                    report.calls = outcome
                        .calls
                        .iter()
                        .map(|call| {
                            let (service, function) = (&call.service_id, &call.function_name);
                            (call.call_id, service.clone(), function.clone())
                        })
                        .collect();
                }
                self.emit_execution(report);
                if now_ms <= self.deadline_of(actor_id) {
                    self.queue_calls(actor_id, outcome.calls, now_ms);
                    self.send(actor_id, next_peers, now_ms);
                }
            }
        }
    }

    pub(super) fn deadline_of(&self, actor_id: ActorId) -> u64 {
        self.actors
            .get(&actor_id)
            .map_or(0, |actor| actor.deadline_ms)
    }

    pub(super) fn send(&mut self, actor_id: ActorId, next_peers: Vec<PeerId>, now_ms: u64) {
        let Some(actor) = self.actors.get(&actor_id) else {
            return;
        };
        if next_peers.is_empty() {
            return;
        }
        let context = &actor.particle;
        let particle = Particle {
            id: context.id.clone(),
            init_peer_id: context.init_peer_id,
            timestamp: context.timestamp,
            ttl: context.ttl,
            script: context.script.to_string(),
            signature: context.signature.clone(),
            data: actor.prev.clone(),
        };
        let (local, remote): (Vec<_>, Vec<_>) = next_peers
            .into_iter()
            .partition(|peer| self.scopes.contains_key(peer));
        for peer_id in local {
            // Its header is that of a particle that was verified.
            self.admit(peer_id, particle.clone(), true, Source::Local, now_ms);
        }
        if !remote.is_empty() {
            self.counters.sent += remote.len() as u64;
            self.outputs.push_back(Output::Send {
                to: remote,
                particle,
            });
        }
    }

    pub(super) fn run_timed_out(&mut self, actor_id: ActorId, run_id: u64, now_ms: u64) {
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        let Phase::Running(run) = std::mem::replace(&mut actor.phase, Phase::Stuck) else {
            return;
        };
        debug_assert_eq!(run.run_id, run_id, "a run and its timer end together");
        self.held = self.held.saturating_sub(run.result_bytes);
        self.counters.timed_out_runs += 1;
        self.counters.failed_runs += 1;
        for (data, _) in std::mem::take(&mut actor.inbox) {
            self.held = self.held.saturating_sub(data.len());
            self.queued = self.queued.saturating_sub(1);
        }
        self.stuck.insert(run_id);
        let peer_id = actor.peer_id;
        let report = Execution {
            failure: Some(format!(
                "the run did not end within {} ms",
                now_ms.saturating_sub(run.started_ms)
            )),
            data_verified: false,
            ..execution(actor, &run, Duration::ZERO, now_ms)
        };
        // Others need not wait for a run that hangs, as long as not too many do: each of them still
        // has a thread.
        if self.stuck.len() <= MAX_STUCK_FACTOR.saturating_mul(self.max_parallel_runs) {
            self.runs.remove(&run_id);
            if let Some(scope) = self.scopes.get_mut(&peer_id) {
                scope.running = scope.running.saturating_sub(1);
            }
        }
        self.emit_execution(report);
    }

    pub(super) fn emit_execution(&mut self, report: Execution) {
        if self.events {
            self.outputs
                .push_back(Output::Event(Event::Executed(Box::new(report))));
        }
    }
}

/// How many runs may hang for each that may be under way, before their places are missed.
const MAX_STUCK_FACTOR: usize = 4;

/// Codes of runs whose incoming data is not what its peers signed.
const UNVERIFIED_CIDS: i64 = 8;
const UNVERIFIED_SIGNATURES: i64 = 9;

/// The report of a run that did nothing yet.
fn execution(actor: &Actor, run: &RunInfo, elapsed: Duration, now_ms: u64) -> Execution {
    Execution {
        particle: actor.particle.clone(),
        peer_id: actor.peer_id,
        source: run.source,
        data_verified: true,
        started_ms: run.started_ms,
        finished_ms: now_ms,
        elapsed,
        ret_code: 0,
        error_message: String::new(),
        calls: Vec::new(),
        results: run.results.clone(),
        next_peers: Vec::new(),
        data_size: 0,
        failure: None,
    }
}

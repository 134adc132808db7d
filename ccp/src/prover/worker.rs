//! A proving thread.

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{
    Shared, WorkerId,
    engine::{Counters, Order, Target},
    topology::pin,
};
use crate::{
    LocalNonce, LogicalCore, Preparation, Prepared, PuzzleError, PuzzleKey, RawProof, UnitId,
};

/// Follows orders until the prover stops.
pub(super) fn run(shared: &Shared, id: WorkerId, place: Option<LogicalCore>) {
    if let Some(place) = place
        && !pin(place)
    {
        shared.sink.not_pinned(id, place);
    }
    let Some((interrupt, counters)) = shared.engine().handles(id) else {
        return;
    };
    let worker = Worker {
        shared,
        id,
        interrupt,
        counters,
    };
    while let Some(order) = worker.next() {
        worker.follow(order);
    }
}

struct Worker<'a> {
    shared: &'a Shared,
    id: WorkerId,
    interrupt: Arc<AtomicBool>,
    counters: Arc<Counters>,
}

impl Worker<'_> {
    /// Waits for an order; nothing when the prover stops.
    fn next(&self) -> Option<Order> {
        let mut engine = self.shared.engine();
        loop {
            if self.shared.stopping.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(order) = engine.take(self.id) {
                drop(engine);
                // What this thread held may have been what others wait for.
                self.shared.wake.notify_all();
                return Some(order);
            }
            engine = self
                .shared
                .wake
                .wait(engine)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn follow(&self, order: Order) {
        match order {
            Order::Rest => {}
            Order::Create { unit, key } => self.create(unit, key),
            Order::Fill {
                unit,
                key,
                preparation,
            } => {
                let filled = guarded(|| self.fill(&key, &*preparation));
                self.unit_outcome(unit, &key, filled);
            }
            Order::Prove {
                unit,
                key,
                prepared,
                target,
            } => {
                let proven = guarded(|| self.prove(unit, &key, &*prepared, &target));
                drop(prepared);
                if let Err(error) = proven {
                    self.shared.sink.failed(self.id, unit, &error);
                    self.change(|engine| engine.worker_failed(self.id, &key, error));
                }
            }
        }
    }

    fn create(&self, unit: UnitId, key: PuzzleKey) {
        let puzzle = &self.shared.puzzle;
        let footprint = puzzle.footprint();
        let needed = footprint.preparing.saturating_add(footprint.solver);
        let created = guarded(|| {
            let reservation = self.shared.options.memory.reserve(needed)?;
            let begun = timed(&self.counters.caching, || puzzle.begin(&key))?;
            Ok((begun, reservation))
        });
        let outcome = created.map(|(preparation, reservation)| {
            self.change(|engine| engine.created(self.id, &key, preparation, reservation));
        });
        self.unit_outcome(unit, &key, outcome);
    }

    fn fill(&self, key: &PuzzleKey, preparation: &dyn Preparation) -> Result<(), PuzzleError> {
        loop {
            let chunk = self.shared.options.dataset_chunk.max(1);
            let more = timed(&self.counters.filling, || preparation.advance(chunk))?;
            // Whoever computes the last item sees this, whatever its orders are.
            if let Some(prepared) = preparation.finish()? {
                self.change(|engine| engine.ready(key, prepared));
                return Ok(());
            }
            if !more || self.interrupt.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    fn prove(
        &self,
        unit: UnitId,
        key: &PuzzleKey,
        prepared: &dyn Prepared,
        target: &Target,
    ) -> Result<(), PuzzleError> {
        let mut solver = prepared.solver()?;
        // Drawn anew, so that no work is done twice.
        let mut nonce = LocalNonce(rand::random());
        let (mut version, mut epoch) = (target.version(), target.epoch());
        let mut before = Instant::now();
        while !self.interrupt.load(Ordering::Relaxed) {
            let round = self.shared.options.hashes_per_round.max(1);
            nonce = solver.scan(nonce, round, &mut |local_nonce, result_hash| {
                let now = Instant::now();
                add_time(
                    &self.counters.hashing,
                    std::mem::replace(&mut before, now),
                    now,
                );
                self.counters.hashes.fetch_add(1, Ordering::Relaxed);
                let newest = target.version();
                if newest != version {
                    (version, epoch) = (newest, target.epoch());
                }
                if result_hash.meets(&epoch.difficulty) {
                    let proof = RawProof {
                        epoch,
                        local_nonce,
                        cu_id: unit,
                        result_hash,
                    };
                    self.found(key, proof);
                }
                match self.interrupt.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })?;
        }
        Ok(())
    }

    fn found(&self, key: &PuzzleKey, proof: RawProof) {
        let number = self.counters.proofs.fetch_add(1, Ordering::Relaxed);
        let every = self.shared.options.check_every;
        if every > 0
            && number.is_multiple_of(every)
            && let Err(error) = self.check(key, &proof)
        {
            self.shared.sink.failed(self.id, proof.cu_id, &error);
            return;
        }
        self.shared.sink.found(self.id, proof);
    }

    /// Computes a proof again. When that cannot be done it says nothing about the proof.
    fn check(&self, key: &PuzzleKey, proof: &RawProof) -> Result<(), PuzzleError> {
        let again = || {
            let prepared = self.shared.puzzle.checker()?.prepare(key).ok()?;
            prepared.solver().ok()?.hash(&proof.local_nonce).ok()
        };
        match again() {
            Some(hash) if hash != proof.result_hash => Err(PuzzleError::Failed {
                reason: format!(
                    "a proof is wrong, nonce {} has hash {hash}, not {}: memory or processor fail",
                    proof.local_nonce, proof.result_hash
                ),
            }),
            _ => Ok(()),
        }
    }

    fn unit_outcome(&self, unit: UnitId, key: &PuzzleKey, outcome: Result<(), PuzzleError>) {
        if let Err(error) = outcome {
            self.shared.sink.failed(self.id, unit, &error);
            self.change(|engine| engine.unit_failed(self.id, key, error));
        }
    }

    fn change(&self, change: impl FnOnce(&mut super::engine::Engine)) {
        change(&mut self.shared.engine());
        self.shared.wake.notify_all();
    }
}

fn timed<T>(counter: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let before = Instant::now();
    let result = work();
    add_time(counter, before, Instant::now());
    result
}

fn add_time(counter: &AtomicU64, before: Instant, now: Instant) {
    let time = now.saturating_duration_since(before).as_nanos();
    counter.fetch_add(time.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A puzzle that panics has failed; the thread lives on.
fn guarded<T>(work: impl FnOnce() -> Result<T, PuzzleError>) -> Result<T, PuzzleError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let reason = "it panicked".to_owned();
        Err(PuzzleError::Failed { reason })
    })
}

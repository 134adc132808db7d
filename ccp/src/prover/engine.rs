//! What each thread is to do: decided here, done elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::memory::Reservation;
use crate::{
    Allocation, Difficulty, EpochParameters, GlobalNonce, LogicalCore, PhysicalCore, Preparation,
    Prepared, Progress, PuzzleError, PuzzleKey, UnitId,
};

/// What is to be proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// The epoch.
    pub epoch: EpochParameters,
    /// Which core proves which unit; several can prove the same.
    pub allocation: Allocation,
}

/// A proving thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkerId {
    /// Its core.
    pub core: PhysicalCore,
    /// Its number among the threads of the core.
    pub thread: u32,
}

/// What a thread is to do.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Nothing.
    Rest,
    /// Begin to prepare a unit.
    Create { unit: UnitId, key: PuzzleKey },
    /// Help to prepare a unit.
    Fill {
        unit: UnitId,
        key: PuzzleKey,
        preparation: Arc<dyn Preparation>,
    },
    /// Prove a unit.
    Prove {
        unit: UnitId,
        key: PuzzleKey,
        prepared: Arc<dyn Prepared>,
        target: Arc<Target>,
    },
}

/// Kinds of orders, to tell whether one is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rest,
    Create,
    Fill,
    Prove,
}

impl Order {
    fn what(&self) -> (Kind, Option<PuzzleKey>) {
        match self {
            Self::Rest => (Kind::Rest, None),
            Self::Create { key, .. } => (Kind::Create, Some(*key)),
            Self::Fill { key, .. } => (Kind::Fill, Some(*key)),
            Self::Prove { key, .. } => (Kind::Prove, Some(*key)),
        }
    }
}

/// The threshold of an epoch, which can be replaced while threads hash.
#[derive(Debug)]
pub(super) struct Target {
    global_nonce: GlobalNonce,
    version: AtomicU64,
    difficulty: Mutex<Difficulty>,
}

impl Target {
    fn new(epoch: EpochParameters) -> Self {
        Self {
            global_nonce: epoch.global_nonce,
            version: AtomicU64::new(0),
            difficulty: Mutex::new(epoch.difficulty),
        }
    }

    fn replace(&self, difficulty: Difficulty) {
        *self
            .difficulty
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = difficulty;
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Changes whenever the threshold does.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn epoch(&self) -> EpochParameters {
        EpochParameters {
            global_nonce: self.global_nonce,
            difficulty: *self
                .difficulty
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// What a thread has done.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hashes: AtomicU64,
    pub(super) proofs: AtomicU64,
    /// Nanoseconds of each kind of work.
    pub(super) caching: AtomicU64,
    pub(super) filling: AtomicU64,
    pub(super) hashing: AtomicU64,
}

/// The time that a thread has spent since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// On caches.
    pub caching: Duration,
    /// On datasets.
    pub filling: Duration,
    /// On hashes.
    pub hashing: Duration,
}

/// How far the preparation of a unit is.
#[derive(Debug)]
enum Stage {
    /// It has not begun.
    Absent,
    /// A thread begins it.
    Creating(WorkerId),
    /// It goes on. The memory is reserved until it is done.
    Filling(
        Arc<dyn Preparation>,
        #[expect(dead_code, reason = "held, not read")] Reservation,
    ),
    /// It is done.
    Ready(Arc<dyn Prepared>),
    /// It failed.
    Failed(PuzzleError),
}

#[derive(Debug)]
struct Unit {
    key: PuzzleKey,
    stage: Stage,
    paused: bool,
}

#[derive(Debug)]
struct Worker {
    order: Order,
    /// The order was not taken yet.
    pending: bool,
    /// The key whose memory the thread holds since it took its last order.
    holding: Option<PuzzleKey>,
    /// It could not prove.
    failed: Option<PuzzleError>,
    /// Tells the thread that there is another order.
    interrupt: Arc<AtomicBool>,
    counters: Arc<Counters>,
    place: Option<LogicalCore>,
}

/// What a unit is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Memory of others must be freed first.
    Waiting,
    /// A thread makes its cache.
    Caching,
    /// Threads make its dataset.
    Filling(Progress),
    /// Threads hash.
    Proving,
    /// Its threads rest, its memory is kept.
    Paused,
    /// It failed; see [`super::Prover::retry`].
    Failed(String),
}

/// A unit and what it is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitStatus {
    /// The unit.
    pub unit: UnitId,
    /// What it is at.
    pub phase: Phase,
}

/// A thread and what it is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// The thread.
    pub worker: WorkerId,
    /// The logical core that it is meant for.
    pub place: Option<LogicalCore>,
    /// The unit, and what it is at.
    pub unit: Option<UnitStatus>,
    /// Hashes since the thread began.
    pub hashes: u64,
    /// Proofs since the thread began.
    pub proofs: u64,
    /// Time since the thread began.
    pub spent: Spent,
}

impl Counters {
    fn spent(&self) -> Spent {
        let read = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed));
        Spent {
            caching: read(&self.caching),
            filling: read(&self.filling),
            hashing: read(&self.hashing),
        }
    }
}

/// The state machine.
#[derive(Debug, Default)]
pub(super) struct Engine {
    target: Option<Arc<Target>>,
    allocation: Allocation,
    units: BTreeMap<UnitId, Unit>,
    workers: BTreeMap<WorkerId, Worker>,
}

impl Engine {
    /// Proves this from now on.
    pub(super) fn commit(&mut self, commitment: Commitment) {
        let Commitment { epoch, allocation } = commitment;
        match &self.target {
            Some(target) if target.global_nonce == epoch.global_nonce => {
                if target.epoch() != epoch {
                    target.replace(epoch.difficulty);
                }
            }
            _ => {
                self.target = Some(Arc::new(Target::new(epoch)));
                self.units.clear();
            }
        }
        let wanted: BTreeSet<UnitId> = allocation.values().copied().collect();
        self.units.retain(|unit, _| wanted.contains(unit));
        for unit in wanted {
            let key = PuzzleKey::new(&epoch.global_nonce, &unit);
            self.units.entry(unit).or_insert(Unit {
                key,
                stage: Stage::Absent,
                paused: false,
            });
        }
        self.allocation = allocation;
        self.retry();
    }

    /// Proves nothing from now on.
    pub(super) fn withdraw(&mut self) {
        self.target = None;
        self.allocation.clear();
        self.units.clear();
        self.schedule();
    }

    /// Pauses a unit or goes on with it; false for one that is not there.
    pub(super) fn set_paused(&mut self, unit: &UnitId, paused: bool) -> bool {
        let Some(found) = self.units.get_mut(unit) else {
            return false;
        };
        found.paused = paused;
        self.schedule();
        true
    }

    /// Tries again what failed.
    pub(super) fn retry(&mut self) {
        for unit in self.units.values_mut() {
            if matches!(unit.stage, Stage::Failed(_)) {
                unit.stage = Stage::Absent;
            }
        }
        for worker in self.workers.values_mut() {
            worker.failed = None;
        }
        self.schedule();
    }

    /// Adds a thread; false when it is there already.
    pub(super) fn add_worker(&mut self, id: WorkerId, place: Option<LogicalCore>) -> bool {
        if self.workers.contains_key(&id) {
            return false;
        }
        self.workers.insert(
            id,
            Worker {
                order: Order::Rest,
                pending: false,
                holding: None,
                failed: None,
                interrupt: Arc::default(),
                counters: Arc::default(),
                place,
            },
        );
        true
    }

    pub(super) fn remove_worker(&mut self, id: WorkerId) {
        self.workers.remove(&id);
    }

    /// What a thread shares with the engine.
    pub(super) fn handles(&self, id: WorkerId) -> Option<(Arc<AtomicBool>, Arc<Counters>)> {
        let worker = self.workers.get(&id)?;
        Some((Arc::clone(&worker.interrupt), Arc::clone(&worker.counters)))
    }

    /// A new order for a thread, which holds nothing of its last one any more.
    pub(super) fn take(&mut self, id: WorkerId) -> Option<Order> {
        let worker = self.workers.get_mut(&id)?;
        if !worker.pending {
            return None;
        }
        worker.pending = false;
        worker.interrupt.store(false, Ordering::Relaxed);
        worker.holding = worker.order.what().1;
        let order = worker.order.clone();
        // What it held may have been what others wait for.
        self.schedule();
        Some(order)
    }

    /// A thread has begun a preparation.
    pub(super) fn created(
        &mut self,
        id: WorkerId,
        key: &PuzzleKey,
        preparation: Arc<dyn Preparation>,
        reservation: Reservation,
    ) {
        self.release(id);
        let unit = self.units.values_mut().find(|unit| unit.key == *key);
        if let Some(unit) = unit
            && matches!(unit.stage, Stage::Creating(by) if by == id)
        {
            unit.stage = Stage::Filling(preparation, reservation);
        }
        self.schedule();
    }

    /// A preparation is done.
    pub(super) fn ready(&mut self, key: &PuzzleKey, prepared: Arc<dyn Prepared>) {
        let unit = self.units.values_mut().find(|unit| unit.key == *key);
        if let Some(unit) = unit
            && matches!(unit.stage, Stage::Filling(..))
        {
            unit.stage = Stage::Ready(prepared);
        }
        self.schedule();
    }

    /// A preparation failed.
    pub(super) fn unit_failed(&mut self, id: WorkerId, key: &PuzzleKey, error: PuzzleError) {
        self.release(id);
        let unit = self.units.values_mut().find(|unit| unit.key == *key);
        if let Some(unit) = unit
            && matches!(unit.stage, Stage::Creating(_) | Stage::Filling(..))
        {
            unit.stage = Stage::Failed(error);
        }
        self.schedule();
    }

    /// A thread cannot prove.
    pub(super) fn worker_failed(&mut self, id: WorkerId, key: &PuzzleKey, error: PuzzleError) {
        self.release(id);
        if let Some(worker) = self.workers.get_mut(&id)
            && worker.order.what() == (Kind::Prove, Some(*key))
        {
            worker.failed = Some(error);
        }
        self.schedule();
    }

    /// The thread holds no memory of a key any more.
    pub(super) fn release(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.holding = None;
        }
    }

    /// Gives every thread the order that it should have.
    fn schedule(&mut self) {
        // Memory of units that nobody wants is freed before new memory is taken.
        let wanted: BTreeSet<PuzzleKey> = self.units.values().map(|unit| unit.key).collect();
        let free = self
            .workers
            .values()
            .all(|worker| worker.holding.is_none_or(|key| wanted.contains(&key)));
        for (id, worker) in &mut self.workers {
            let unit = self
                .allocation
                .get(&id.core)
                .and_then(|unit| Some((*unit, self.units.get_mut(unit)?)));
            let order = match unit {
                Some((id_of_unit, unit)) if worker.failed.is_none() => {
                    order(*id, id_of_unit, unit, free, self.target.as_ref())
                }
                _ => Order::Rest,
            };
            if order.what() == worker.order.what() {
                // Also where a new order has not been taken: it is the right one.
                continue;
            }
            worker.order = order;
            worker.pending = true;
            worker.interrupt.store(true, Ordering::Relaxed);
        }
        self.recover();
    }

    /// A thread that was to begin a preparation but got another order first never will.
    fn recover(&mut self) {
        let mut again = false;
        for unit in self.units.values_mut() {
            let Stage::Creating(by) = unit.stage else {
                continue;
            };
            let Some(worker) = self.workers.get(&by) else {
                continue;
            };
            let ordered = worker.order.what() == (Kind::Create, Some(unit.key));
            let begun = worker.holding == Some(unit.key);
            if !ordered && !begun {
                unit.stage = Stage::Absent;
                again = true;
            }
        }
        if again {
            self.schedule();
        }
    }

    pub(super) fn units(&self) -> Vec<UnitStatus> {
        self.units
            .keys()
            .filter_map(|unit| self.status(unit))
            .collect()
    }

    pub(super) fn workers(&self) -> Vec<WorkerStatus> {
        let status = |(id, worker): (&WorkerId, &Worker)| {
            let unit = self.allocation.get(&id.core);
            let mut unit = unit.and_then(|unit| self.status(unit));
            if let (Some(unit), Some(error)) = (&mut unit, &worker.failed) {
                unit.phase = Phase::Failed(error.to_string());
            }
            WorkerStatus {
                worker: *id,
                place: worker.place,
                unit,
                hashes: worker.counters.hashes.load(Ordering::Relaxed),
                proofs: worker.counters.proofs.load(Ordering::Relaxed),
                spent: worker.counters.spent(),
            }
        };
        self.workers.iter().map(status).collect()
    }

    fn status(&self, id: &UnitId) -> Option<UnitStatus> {
        let unit = self.units.get(id)?;
        let phase = match &unit.stage {
            Stage::Failed(error) => Phase::Failed(error.to_string()),
            _ if unit.paused => Phase::Paused,
            Stage::Absent => Phase::Waiting,
            Stage::Creating(_) => Phase::Caching,
            Stage::Filling(preparation, _) => Phase::Filling(preparation.progress()),
            Stage::Ready(_) => Phase::Proving,
        };
        Some(UnitStatus { unit: *id, phase })
    }
}

/// The order of a thread whose core is allocated to a unit.
fn order(
    worker: WorkerId,
    id: UnitId,
    unit: &mut Unit,
    free: bool,
    target: Option<&Arc<Target>>,
) -> Order {
    let (key, id) = (unit.key, id);
    if unit.paused {
        return Order::Rest;
    }
    match (&unit.stage, target) {
        (Stage::Absent, _) if free => {
            unit.stage = Stage::Creating(worker);
            Order::Create { unit: id, key }
        }
        (Stage::Creating(by), _) if *by == worker => Order::Create { unit: id, key },
        (Stage::Filling(preparation, _), _) => Order::Fill {
            unit: id,
            key,
            preparation: Arc::clone(preparation),
        },
        (Stage::Ready(prepared), Some(target)) => Order::Prove {
            unit: id,
            key,
            prepared: Arc::clone(prepared),
            target: Arc::clone(target),
        },
        _ => Order::Rest,
    }
}

#[cfg(test)]
mod tests;

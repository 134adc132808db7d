//! The prover: threads that prove units on the cores that are allocated to them.
//!
//! What is to be done is decided by a state machine without threads, clock or memory of its own
//! (`engine`); here are the threads that ask it for orders, and tell it what came of them.

mod engine;
mod memory;
mod rate;
mod topology;
mod worker;

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

pub use engine::{Commitment, Phase, Spent, UnitStatus, WorkerId, WorkerStatus};
pub use memory::MemoryBudget;
pub use rate::Windows;
pub use topology::{Topology, TopologyError, pin};

use crate::{Difficulty, PhysicalCore, Puzzle, PuzzleError, RawProof, UnitId};

/// How a prover works.
#[derive(Clone, Debug)]
pub struct ProverOptions {
    /// The cores that there are.
    pub topology: Topology,
    /// Threads of a physical core; unset: as many as it has logical cores.
    pub threads_per_core: Option<u32>,
    /// Hashes that are overlapped in one go before the next go begins.
    pub hashes_per_round: u64,
    /// Items of a dataset that a thread takes at a time: after each it looks for new orders.
    pub dataset_chunk: u64,
    /// Whether threads stay on their logical cores.
    pub pin: bool,
    /// The memory that may be taken.
    pub memory: MemoryBudget,
    /// Each how many proofs of a thread one is computed again with [`Puzzle::checker`]; 0: none.
    pub check_every: u64,
}

impl ProverOptions {
    /// Usual options for the cores of this machine.
    ///
    /// # Errors
    /// When the machine does not say which cores it has.
    pub fn for_this_machine() -> Result<Self, TopologyError> {
        Ok(Self {
            topology: Topology::of_this_machine()?,
            threads_per_core: None,
            hashes_per_round: 1024,
            dataset_chunk: 65_536,
            pin: true,
            memory: MemoryBudget::of_this_machine(),
            check_every: 16,
        })
    }
}

/// Where a prover's findings go. Calls come from proving threads: the thread goes on when they
/// return.
pub trait ProofSink: Send + Sync {
    /// A proof was found.
    fn found(&self, worker: WorkerId, proof: RawProof);

    /// A unit, or one thread of it, cannot go on; the prover stays up and others are not concerned.
    fn failed(&self, worker: WorkerId, unit: UnitId, error: &PuzzleError) {
        let _ = (worker, unit, error);
    }

    /// A thread could not be bound to a logical core; it goes on unbound.
    fn not_pinned(&self, worker: WorkerId, core: crate::LogicalCore) {
        let _ = (worker, core);
    }
}

/// Why a prover refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProverError {
    /// An allocation for a core that does not exist.
    #[error("core {core} does not exist: this machine has the physical cores 0 to {last}")]
    UnknownCore {
        /// The core.
        core: u32,
        /// The last that there is.
        last: u32,
    },
    /// A threshold that no hash can be expected to meet.
    #[error("difficulty {difficulty} is met by no hash: expected more than zero")]
    ZeroDifficulty {
        /// The threshold.
        difficulty: Difficulty,
    },
    /// A unit that is not in the commitment.
    #[error("unit {unit} is not in the active commitment")]
    UnknownUnit {
        /// The unit.
        unit: UnitId,
    },
    /// The system gave no thread.
    #[error("no thread for core {core}: {source}")]
    Thread {
        /// The core.
        core: u32,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Proves units with threads; dropping it stops them.
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use ccp::{Difficulty, EpochParameters, GlobalNonce, PhysicalCore, RawProof, ToyPuzzle, UnitId,
///     prover::{Commitment, ProofSink, Prover, ProverOptions, WorkerId}};
///
/// struct Sender(mpsc::SyncSender<RawProof>);
/// impl ProofSink for Sender {
///     fn found(&self, _: WorkerId, proof: RawProof) {
///         let _ = self.0.try_send(proof);
///     }
/// }
///
/// let (sender, proofs) = mpsc::sync_channel(10);
/// let options = ProverOptions::for_this_machine()?;
/// let prover = Prover::new(Arc::new(ToyPuzzle::default()), Arc::new(Sender(sender)), options);
/// let mut easy = [0xff; 32];
/// easy[0] = 0x0f; // one hash in sixteen
/// prover.commit(Commitment {
///     epoch: EpochParameters { global_nonce: GlobalNonce([1; 32]), difficulty: Difficulty(easy) },
///     allocation: [(PhysicalCore(0), UnitId([2; 32]))].into(),
/// })?;
/// assert_eq!(proofs.recv()?.cu_id, UnitId([2; 32]));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Prover {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prover").finish_non_exhaustive()
    }
}

/// What the threads have in common.
struct Shared {
    puzzle: Arc<dyn Puzzle>,
    sink: Arc<dyn ProofSink>,
    options: ProverOptions,
    engine: Mutex<engine::Engine>,
    /// There may be new orders.
    wake: Condvar,
    stopping: AtomicBool,
}

impl Shared {
    fn engine(&self) -> MutexGuard<'_, engine::Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prover {
    /// A prover that has nothing to prove yet.
    #[must_use]
    pub fn new(puzzle: Arc<dyn Puzzle>, sink: Arc<dyn ProofSink>, options: ProverOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                puzzle,
                sink,
                options,
                engine: Mutex::default(),
                wake: Condvar::new(),
                stopping: AtomicBool::new(false),
            }),
            threads: Mutex::default(),
        }
    }

    /// Whether [`Prover::commit`] would take it.
    ///
    /// # Errors
    /// Zero difficulty, or a core that does not exist.
    pub fn check(&self, commitment: &Commitment) -> Result<(), ProverError> {
        let difficulty = commitment.epoch.difficulty;
        if difficulty.0 == [0; 32] {
            return Err(ProverError::ZeroDifficulty { difficulty });
        }
        let topology = &self.shared.options.topology;
        for core in commitment.allocation.keys() {
            if topology.logical(*core).is_none() {
                return Err(ProverError::UnknownCore {
                    core: core.0,
                    last: topology.len().saturating_sub(1),
                });
            }
        }
        Ok(())
    }

    /// Proves this from now on, instead of what was proven before.
    ///
    /// What both have in common goes on: with another difficulty only the threshold is replaced, a
    /// unit of the same epoch keeps its memory whichever cores prove it.
    ///
    /// # Errors
    /// A commitment that cannot be proven here; then nothing is changed.
    pub fn commit(&self, commitment: Commitment) -> Result<(), ProverError> {
        self.check(&commitment)?;
        self.spawn(&commitment)?;
        self.change(|engine| engine.commit(commitment));
        Ok(())
    }

    /// Proves nothing from now on.
    pub fn withdraw(&self) {
        self.change(engine::Engine::withdraw);
    }

    /// Stops proving a unit and keeps its memory until [`Prover::resume`].
    ///
    /// # Errors
    /// A unit that is not in the commitment.
    pub fn pause(&self, unit: UnitId) -> Result<(), ProverError> {
        self.set_paused(unit, true)
    }

    /// Goes on with a unit.
    ///
    /// # Errors
    /// A unit that is not in the commitment.
    pub fn resume(&self, unit: UnitId) -> Result<(), ProverError> {
        self.set_paused(unit, false)
    }

    /// Tries again what failed, for want of memory for example. For a clock to call.
    pub fn retry(&self) {
        self.change(engine::Engine::retry);
    }

    /// What each unit of the commitment is at.
    #[must_use]
    pub fn units(&self) -> Vec<UnitStatus> {
        self.shared.engine().units()
    }

    /// What each thread is at, with what it has done since it began.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.shared.engine().workers()
    }

    fn set_paused(&self, unit: UnitId, paused: bool) -> Result<(), ProverError> {
        match self.change(|engine| engine.set_paused(&unit, paused)) {
            true => Ok(()),
            false => Err(ProverError::UnknownUnit { unit }),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut engine::Engine) -> T) -> T {
        let result = change(&mut self.shared.engine());
        self.shared.wake.notify_all();
        result
    }

    /// Starts the threads of cores that had nothing to do until now.
    fn spawn(&self, commitment: &Commitment) -> Result<(), ProverError> {
        let options = &self.shared.options;
        for core in commitment.allocation.keys() {
            let logical = options.topology.logical(*core).unwrap_or_default();
            let count = options.threads_per_core.unwrap_or(logical.len() as u32);
            let mut places = logical.iter().copied().cycle();
            for thread in 0..count.max(1) {
                let place = places.next();
                self.spawn_worker(
                    WorkerId {
                        core: *core,
                        thread,
                    },
                    place,
                )?;
            }
        }
        Ok(())
    }

    fn spawn_worker(
        &self,
        id: WorkerId,
        place: Option<crate::LogicalCore>,
    ) -> Result<(), ProverError> {
        if !self.shared.engine().add_worker(id, place) {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let place = place.filter(|_| shared.options.pin);
        let WorkerId {
            core: PhysicalCore(core),
            thread,
        } = id;
        let spawned = std::thread::Builder::new()
            .name(format!("prove-{core}-{thread}"))
            .spawn(move || worker::run(&shared, id, place));
        match spawned {
            Ok(handle) => {
                let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
                threads.push(handle);
                Ok(())
            }
            Err(source) => {
                self.shared.engine().remove_worker(id);
                Err(ProverError::Thread { core, source })
            }
        }
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.withdraw();
        let threads = self
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;

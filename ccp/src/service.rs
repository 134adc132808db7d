//! A prover with its memory on disk: what it found survives crashes, has numbers, and is given to
//! whoever asks. The daemon is one around it; a peer can have one in its own process.

mod files;
mod hashrate;
mod ledger;
mod state;
mod view;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use files::Folder;
pub use files::StateError;
use hashrate::Hashrates;
pub use ledger::MAX_PROOFS;
use ledger::{Ledger, Recorded};
use state::Store;
use view::Meter;
pub use view::{View, WorkerView};

use crate::{
    BatchRequest, BatchResponse, GlobalNonce, LogicalCore, ProofIndex, Puzzle, PuzzleError,
    RawProof, UnitId,
    prover::{Commitment, ProofSink, Prover, ProverError, ProverOptions, Topology, WorkerId},
};

/// Why a service does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A commitment that cannot be proven here.
    #[error(transparent)]
    Prover(#[from] ProverError),
    /// The disk does not take it.
    #[error(transparent)]
    State(#[from] StateError),
    /// A commitment of an epoch that was followed by another.
    #[error("global nonce {nonce} belongs to an epoch that is over: the newest is {newest}")]
    Past {
        /// The nonce of the commitment.
        nonce: GlobalNonce,
        /// The nonce of the newest epoch.
        newest: GlobalNonce,
    },
    /// A place for threads that this machine does not have.
    #[error("logical core {core} does not exist")]
    UnknownLogicalCore {
        /// The core.
        core: u32,
    },
}

/// A prover with its memory on disk. All methods can wait for the disk.
///
/// Its owner calls [`Service::tick`] every second and [`Service::retry`] now and then.
///
/// ```
/// use std::{collections::BTreeMap, sync::Arc, time::Duration};
/// use ccp::{Difficulty, EpochParameters, GlobalNonce, PhysicalCore, ProofIndex, ToyPuzzle, UnitId,
///     prover::{Commitment, ProverOptions}, service::Service};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let options = ProverOptions::for_this_machine()?;
/// let service = Service::open(folder, Arc::new(ToyPuzzle::default()), options)?;
/// let mut easy = [0xff; 32];
/// easy[0] = 0x0f; // one hash in sixteen
/// service.commit(Commitment {
///     epoch: EpochParameters { global_nonce: GlobalNonce([1; 32]), difficulty: Difficulty(easy) },
///     allocation: [(PhysicalCore(0), UnitId([2; 32]))].into(),
/// })?;
/// let none = BTreeMap::from([(UnitId([2; 32]), ProofIndex(0))]);
/// while service.proofs_after(&none, 1).is_empty() {
///     std::thread::sleep(Duration::from_millis(1));
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Service {
    // Dropped first: its threads write to the ledger.
    prover: Prover,
    recorder: Arc<Recorder>,
    store: Mutex<Store>,
    meter: Mutex<Meter>,
    hashrates: Mutex<Hashrates>,
    topology: Topology,
    folder: Folder,
}

/// Keeps what threads find.
#[derive(Debug)]
struct Recorder {
    ledger: Ledger,
    /// Proofs that nobody needs: of another epoch, or more than are kept.
    dropped: AtomicU64,
}

impl ProofSink for Recorder {
    fn found(&self, worker: WorkerId, proof: RawProof) {
        let unit = proof.cu_id;
        let core = worker.core.0;
        match self.ledger.record(proof) {
            Ok(Recorded::Kept(proof)) => {
                tracing::info!("unit {unit}: proof {} found on core {core}", proof.id.idx.0);
            }
            Ok(Recorded::Waiting) => tracing::debug!("unit {unit}: a proof waits for the disk"),
            Ok(Recorded::Dropped) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("unit {unit}: a proof that nobody needs");
            }
            Err(error) => tracing::error!("unit {unit}: a proof waits in memory: {error}"),
        }
    }

    fn failed(&self, worker: WorkerId, unit: UnitId, error: &PuzzleError) {
        tracing::error!("unit {unit} on core {}: {error}", worker.core.0);
    }

    fn not_pinned(&self, worker: WorkerId, core: LogicalCore) {
        tracing::warn!(
            "thread {} of core {} is not bound to logical core {}: the system refused",
            worker.thread,
            worker.core.0,
            core.0
        );
    }
}

impl Service {
    /// Reads what is in a folder and goes on with it.
    ///
    /// # Errors
    /// A folder that cannot be used, or is in use.
    pub fn open(
        path: &Path,
        puzzle: Arc<dyn Puzzle>,
        options: ProverOptions,
    ) -> Result<Self, StateError> {
        let folder = Folder::open(path)?;
        let store = Store::open(folder.path())?;
        // Removes what an interrupted write left.
        files::names(folder.path())?;
        let ledger = Ledger::open(folder.path())?;
        let recorder = Arc::new(Recorder {
            ledger,
            dropped: AtomicU64::new(0),
        });
        let topology = options.topology.clone();
        let sink = Arc::clone(&recorder);
        let service = Self {
            prover: Prover::new(puzzle, sink, options),
            recorder,
            meter: Mutex::new(Meter::new(Instant::now())),
            hashrates: Mutex::new(Hashrates::new(folder.path())),
            topology,
            folder,
            store: Mutex::new(store),
        };
        let saved = service.store().saved().commitment.clone();
        if let Some(commitment) = saved {
            service.recorder.ledger.begin(commitment.epoch)?;
            service
                .meter()
                .begin(Some(commitment.epoch), Instant::now());
            if let Err(error) = service.prover.commit(commitment) {
                // The machine may have changed: the peer knows better.
                tracing::error!("what was proven before cannot go on: {error}");
            }
        }
        Ok(service)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hashrates(&self) -> MutexGuard<'_, Hashrates> {
        self.hashrates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Proves this from now on. It is on disk when this returns.
    ///
    /// # Errors
    /// A commitment that cannot be proven here, or of an epoch that is over, or a disk that does not take
    /// it; then what was proven goes on.
    pub fn commit(&self, commitment: Commitment) -> Result<(), ServiceError> {
        self.prover.check(&commitment)?;
        let mut store = self.store();
        let epoch = commitment.epoch;
        if store.is_past(&epoch.global_nonce) {
            return Err(ServiceError::Past {
                nonce: epoch.global_nonce,
                newest: store.saved().nonce.unwrap_or_default(),
            });
        }
        store.commit(&commitment)?;
        self.recorder.ledger.begin(epoch)?;
        let (units, cores) = (
            commitment
                .allocation
                .values()
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            commitment.allocation.len(),
        );
        if self.meter().begin(Some(epoch), Instant::now()) {
            tracing::info!(
                "epoch {}: {units} units on {cores} cores, difficulty {}",
                epoch.global_nonce,
                epoch.difficulty
            );
            if let Err(error) = self.hashrates().next_epoch() {
                tracing::warn!("rates of the last epoch are not kept: {error}");
            }
        } else {
            tracing::info!(
                "{units} units on {cores} cores, difficulty {}",
                epoch.difficulty
            );
        }
        self.prover.commit(commitment)?;
        Ok(())
    }

    /// Proves nothing from now on. What was found stays until the next epoch.
    ///
    /// # Errors
    /// A disk that does not take it: nothing is proven all the same, until a restart.
    pub fn withdraw(&self) -> Result<(), ServiceError> {
        let mut store = self.store();
        // Whatever the disk says: the cores are wanted for something else.
        self.prover.withdraw();
        store.withdraw()?;
        tracing::info!("no active commitment");
        Ok(())
    }

    /// At most `limit` proofs of the epoch with greater numbers than those known, smallest first, of the
    /// units that are named.
    #[must_use]
    pub fn proofs_after(
        &self,
        known: &BTreeMap<UnitId, ProofIndex>,
        limit: usize,
    ) -> Vec<BatchResponse> {
        self.recorder.ledger.after(known, limit)
    }

    /// Full batches of proofs, at most `max` in turns over the units; nothing when there are less than
    /// `min`.
    #[must_use]
    pub fn batches(
        &self,
        requests: &BTreeMap<UnitId, BatchRequest>,
        min: usize,
        max: usize,
    ) -> Vec<BatchResponse> {
        self.recorder.ledger.batches(requests, min, max)
    }

    /// Where the threads of its owner run from now on; it is remembered here, and done there.
    ///
    /// # Errors
    /// A core that does not exist, or a disk that does not take it.
    pub fn set_utility_cores(&self, cores: Vec<LogicalCore>) -> Result<(), ServiceError> {
        if let Some(unknown) = cores.iter().find(|core| !self.topology.has(**core)) {
            return Err(ServiceError::UnknownLogicalCore { core: unknown.0 });
        }
        self.store().set_utility_cores(cores)?;
        Ok(())
    }

    /// Where threads that prove nothing run, as it was set last.
    #[must_use]
    pub fn utility_cores(&self) -> Vec<LogicalCore> {
        self.store().saved().utility_cores.clone()
    }

    /// What is to be done every second.
    pub fn tick(&self) {
        if let Err(error) = self.recorder.ledger.write_waiting() {
            tracing::debug!("proofs still wait: {error}");
        }
        self.meter().read(&self.prover.workers(), Instant::now());
    }

    /// Tries again what failed, for want of memory for example.
    pub fn retry(&self) {
        let failed = |status: &crate::prover::WorkerStatus| {
            let phase = status.unit.as_ref().map(|unit| &unit.phase);
            matches!(phase, Some(crate::prover::Phase::Failed(_)))
        };
        if self.prover.workers().iter().any(failed) {
            self.prover.retry();
        }
    }

    /// Writes the rates of the epoch into the folder, with `windows` the latest ones as well. What cannot
    /// be written is logged.
    pub fn write_hashrates(&self, windows: bool) {
        let view = self.view();
        let mut hashrates = self.hashrates();
        let written = hashrates.write(&view).and_then(|()| match windows {
            true => hashrates.append(&view),
            false => Ok(()),
        });
        if let Err(error) = written {
            tracing::warn!("rates are not kept: {error}");
        }
    }

    /// What everything is at.
    #[must_use]
    pub fn view(&self) -> View {
        let (proofs, waiting) = self.recorder.ledger.counts();
        let workers = self.prover.workers();
        let mut view = self.meter().view(workers, Instant::now());
        view.proofs = proofs as u64;
        view.unsaved_proofs = waiting as u64;
        view.dropped_proofs = self.recorder.dropped.load(Ordering::Relaxed);
        view
    }

    /// Where the state is kept.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

//! Workers: identities inside the host, each with a key of its own and bound to one deal (§7 of the
//! peer description).
//!
//! ```
//! use peer_core::workers::normalize_deal_id;
//!
//! let deal = "0xA1b2000000000000000000000000000000000000";
//! assert_eq!(normalize_deal_id(deal), "a1b2000000000000000000000000000000000000");
//! ```

mod cores;
mod keys;
mod topology;

pub use self::{
    cores::{CoreError, CoreRange, CoreRangeError, Cores, CoresConfig, UnitId, WorkType},
    keys::KeyFileError,
    topology::Topology,
};

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
};

use particle::{KeyPair, Particle, PeerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::keys::KeyFolder;
use crate::{
    engine::Engine,
    records::{self, RecordError},
    store::{Change, Durability, Store, StoreError, Table},
};

/// The key of the record of cores in the table of the peer.
const CORES: &str = "cores";

/// What a host with workers and spells needs of the driver of its engine.
pub trait ScopeControl: Send + Sync {
    /// Adds the scope of a worker.
    fn add_worker(&self, worker: &Worker);
    /// Activates or deactivates a worker.
    fn set_worker_active(&self, worker: PeerId, active: bool);
    /// Removes the scope of a worker with all its particles.
    fn remove_worker(&self, worker: PeerId);
    /// Takes in a particle made here.
    fn submit(&self, particle: Particle);
}

/// Why a worker was not created, changed or removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The deal has a worker.
    #[error("Worker for {0} already exists")]
    Exists(String),
    /// No such worker.
    #[error("Worker {0} not found")]
    NotFound(PeerId),
    /// The deal has no worker.
    #[error("Worker for deal_id {0} not found")]
    NoDeal(String),
    /// It is active.
    #[error("Deal has already been activated")]
    Active,
    /// It is not active.
    #[error("Deal has already been deactivated")]
    Inactive,
    /// Its compute units have no cores.
    #[error("Failed to allocate cores for {worker}: {source}")]
    Cores {
        /// The worker.
        worker: PeerId,
        /// Why.
        source: CoreError,
    },
    /// The assignment of cores cannot start.
    #[error(transparent)]
    CoreSettings(CoreError),
    /// The file of its key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry of the store.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its key, and by that its id.
    pub key: Arc<KeyPair>,
    /// Who made it.
    pub creator: PeerId,
    /// Its deal, see [`normalize_deal_id`].
    pub deal_id: String,
    /// Whether particles of others run on it.
    pub active: bool,
    /// The compute units it works with.
    pub unit_ids: Vec<UnitId>,
    /// Logical processors of the cores of its units; none where it has no units.
    pub processors: usize,
}

impl Worker {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.key.peer_id()
    }

    /// Adds its scope to an engine.
    pub fn join(&self, engine: &mut Engine) {
        let id = self.id();
        engine.add_worker(self.key.clone());
        if self.processors > 0 {
            engine.limit_worker_runs(&id, self.processors);
        }
        engine.set_worker_active(&id, self.active);
    }
}

/// What is kept about a worker besides its key.
#[derive(Debug, Serialize, Deserialize)]
struct WorkerRecord {
    creator: String,
    deal_id: String,
    active: bool,
    unit_ids: Vec<UnitId>,
}

/// The workers of a host. Whatever is changed is on disk when the change returns.
pub struct Workers {
    host: Arc<KeyPair>,
    keys: KeyFolder,
    store: Arc<dyn Store>,
    workers: RwLock<BTreeMap<PeerId, Worker>>,
    cores: Mutex<Cores>,
    /// One change at a time.
    changing: Mutex<()>,
    control: OnceLock<Arc<dyn ScopeControl>>,
}

impl Workers {
    /// The workers that were created before. Keys without a worker, left by a crash, are deleted.
    /// A worker whose key is lost, or whose record cannot be read, is logged and left where it is.
    ///
    /// # Errors
    /// A folder or store that cannot be used, or settings of cores that cannot be met.
    pub fn open(
        host: Arc<KeyPair>,
        keys: impl Into<PathBuf>,
        store: Arc<dyn Store>,
        config: &CoresConfig,
    ) -> Result<Self, WorkerError> {
        let keys = KeyFolder::open(keys)?;
        let saved = match store.get(Table::Peer, CORES.as_bytes())? {
            Some(record) => records::decode(&record)
                .inspect_err(|error| tracing::warn!(%error, "the assignment of cores is lost"))
                .ok(),
            None => None,
        };
        let mut cores = Cores::new(config, saved).map_err(WorkerError::CoreSettings)?;
        let mut workers = BTreeMap::new();
        let mut known = Vec::new();
        for (key, record) in store.scan(Table::Workers, b"")? {
            let id = String::from_utf8_lossy(&key).into_owned();
            match restore(&keys, &mut cores, &id, &record) {
                Ok(worker) => {
                    workers.insert(worker.id(), worker);
                }
                Err(reason) => tracing::error!(worker = id, reason, "a worker was not loaded"),
            }
            known.push(id);
        }
        keys.retain(&known)?;
        Ok(Self {
            host,
            keys,
            store,
            workers: RwLock::new(workers),
            cores: Mutex::new(cores),
            changing: Mutex::new(()),
            control: OnceLock::new(),
        })
    }

    /// Connects the workers with the engine that runs their particles; only the first one counts.
    /// Those that are there already are not added to it.
    pub fn attach(&self, control: Arc<dyn ScopeControl>) {
        // A second engine would be a mistake of the program, not of its input.
        let _ = self.control.set(control);
    }

    /// What the workers were attached to.
    #[must_use]
    pub fn control(&self) -> Option<&Arc<dyn ScopeControl>> {
        self.control.get()
    }

    /// The key of a local scope: of the host, or of a worker.
    #[must_use]
    pub fn key(&self, peer_id: PeerId) -> Option<Arc<KeyPair>> {
        if peer_id == self.host.peer_id() {
            return Some(self.host.clone());
        }
        self.get(peer_id).map(|worker| worker.key)
    }

    /// Whether this is the host or one of its workers.
    #[must_use]
    pub fn is_local(&self, peer_id: PeerId) -> bool {
        peer_id == self.host.peer_id() || self.read(|workers| workers.contains_key(&peer_id))
    }

    /// A worker by its id.
    #[must_use]
    pub fn get(&self, id: PeerId) -> Option<Worker> {
        self.read(|workers| workers.get(&id).cloned())
    }

    /// The worker of a deal, however its id is written.
    #[must_use]
    pub fn of_deal(&self, deal_id: &str) -> Option<Worker> {
        let deal_id = normalize_deal_id(deal_id);
        self.read(|workers| {
            let mut workers = workers.values();
            workers.find(|worker| worker.deal_id == deal_id).cloned()
        })
    }

    /// All workers, in the order of their ids.
    #[must_use]
    pub fn list(&self) -> Vec<Worker> {
        self.read(|workers| workers.values().cloned().collect())
    }

    /// Creates the worker of a deal. Blocks.
    ///
    /// # Errors
    /// A deal that has one, too few cores, or a disk that does not take it; then nothing is left.
    pub fn create(
        &self,
        deal_id: &str,
        creator: PeerId,
        unit_ids: Vec<UnitId>,
    ) -> Result<PeerId, WorkerError> {
        let _one = lock(&self.changing);
        let deal_id = normalize_deal_id(deal_id);
        if self.of_deal(&deal_id).is_some() {
            return Err(WorkerError::Exists(deal_id));
        }
        let key = keys::generate()?;
        let id = key.peer_id();
        let processors = {
            let mut cores = lock(&self.cores);
            let acquired = cores.acquire(&unit_ids, WorkType::Deal);
            acquired.map_err(|source| WorkerError::Cores { worker: id, source })?
        };
        let worker = Worker {
            key: Arc::new(key),
            creator,
            deal_id,
            active: true,
            unit_ids,
            processors,
        };
        let kept = self.keep_new(&worker);
        if kept.is_err() {
            lock(&self.cores).release(&worker.unit_ids);
            self.keys.remove(id);
        }
        kept?;
        self.write(|workers| workers.insert(id, worker.clone()));
        if let Some(control) = self.control() {
            control.add_worker(&worker);
        }
        Ok(id)
    }

    /// The key first: a record without one would be a worker that cannot act.
    fn keep_new(&self, worker: &Worker) -> Result<(), WorkerError> {
        self.keys.write(&worker.key)?;
        let changes = [record(worker)?, self.record_of_cores()?];
        Ok(self.store.apply(&changes, Durability::Disk)?)
    }

    /// Removes a worker; `changes` of the store are made together with its removal. Blocks.
    ///
    /// # Errors
    /// No such worker, or a store that does not take it; then the worker stays.
    pub fn remove(&self, id: PeerId, mut changes: Vec<Change>) -> Result<(), WorkerError> {
        let _one = lock(&self.changing);
        let worker = self.get(id).ok_or(WorkerError::NotFound(id))?;
        lock(&self.cores).release(&worker.unit_ids);
        changes.push(Change::delete(Table::Workers, id.to_string()));
        let applied = self.record_of_cores().map_err(WorkerError::from);
        let applied = applied.and_then(|cores| {
            changes.push(cores);
            Ok(self.store.apply(&changes, Durability::Disk)?)
        });
        if applied.is_err() {
            // The cores it had are free, and it prefers them.
            let _ = lock(&self.cores).acquire(&worker.unit_ids, WorkType::Deal);
        }
        applied?;
        self.write(|workers| workers.remove(&id));
        if let Some(control) = self.control() {
            control.remove_worker(id);
        }
        self.keys.remove(id);
        Ok(())
    }

    /// Activates or deactivates a worker. Blocks.
    ///
    /// # Errors
    /// No such worker, one that is so already, or a store that does not take it.
    pub fn set_active(&self, id: PeerId, active: bool) -> Result<(), WorkerError> {
        let _one = lock(&self.changing);
        let mut worker = self.get(id).ok_or(WorkerError::NotFound(id))?;
        match (worker.active, active) {
            (true, true) => return Err(WorkerError::Active),
            (false, false) => return Err(WorkerError::Inactive),
            _ => worker.active = active,
        }
        self.store.apply(&[record(&worker)?], Durability::Disk)?;
        self.write(|workers| workers.insert(id, worker));
        if let Some(control) = self.control() {
            control.set_worker_active(id, active);
        }
        Ok(())
    }

    /// Units whose cores prove their capacity, with these cores.
    #[must_use]
    pub fn capacity_cores(&self) -> BTreeMap<UnitId, u32> {
        lock(&self.cores).of(WorkType::CapacityCommitment)
    }

    /// Gives units cores to prove their capacity with, in this order as long as there are any; those
    /// that work for a deal are left out. Which units have which cores now. Blocks.
    ///
    /// # Errors
    /// A store that does not take it; then nothing has changed.
    pub fn acquire_for_capacity(
        &self,
        units: &[UnitId],
    ) -> Result<BTreeMap<UnitId, u32>, WorkerError> {
        self.change_cores(|cores| {
            for (index, unit) in units.iter().enumerate() {
                if matches!(cores.core(unit), Some((_, WorkType::Deal)))
                    || cores
                        .acquire(&[*unit], WorkType::CapacityCommitment)
                        .is_ok()
                {
                    continue;
                }
                // The core of one that needs it less.
                let later = units.get(index + 1..).unwrap_or_default();
                let Some(other) = later.iter().rev().find(|unit| proves_capacity(cores, unit))
                else {
                    break;
                };
                cores.release(&[*other]);
                // Where cores are shared there may be none all the same.
                let _ = cores.acquire(&[*unit], WorkType::CapacityCommitment);
            }
        })?;
        Ok(self.capacity_cores())
    }

    /// Takes the cores of units back that prove their capacity; those of units that go to a deal are
    /// kept for its worker. Cores that work for a deal already stay there. Blocks.
    ///
    /// # Errors
    /// A store that does not take it; then nothing has changed.
    pub fn release_from_capacity(
        &self,
        units: &[UnitId],
        to_deals: &[UnitId],
    ) -> Result<(), WorkerError> {
        self.change_cores(|cores| {
            for unit in units {
                if proves_capacity(cores, unit) {
                    cores.release(&[*unit]);
                }
            }
            for unit in to_deals {
                if proves_capacity(cores, unit) {
                    // It has a core: this cannot fail.
                    let _ = cores.acquire(&[*unit], WorkType::Deal);
                }
            }
        })
    }

    fn change_cores(&self, change: impl FnOnce(&mut Cores)) -> Result<(), WorkerError> {
        let _one = lock(&self.changing);
        let before = {
            let mut cores = lock(&self.cores);
            let before = cores.clone();
            change(&mut cores);
            before
        };
        let kept = self.record_of_cores().map_err(WorkerError::from);
        let kept = kept.and_then(|cores| Ok(self.store.apply(&[cores], Durability::Disk)?));
        if kept.is_err() {
            *lock(&self.cores) = before;
        }
        kept
    }

    fn record_of_cores(&self) -> Result<Change, RecordError> {
        let saved = records::encode(&lock(&self.cores).save())?;
        Ok(Change::put(Table::Peer, CORES, saved))
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<PeerId, Worker>) -> T) -> T {
        look(&self.workers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<PeerId, Worker>) -> T) -> T {
        change(&mut self.workers.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|workers| formatter.debug_set().entries(workers.keys()).finish())
    }
}

/// The text by which deals are compared: lower case, without `0x` before it.
#[must_use]
pub fn normalize_deal_id(deal_id: &str) -> String {
    deal_id.trim_start_matches("0x").to_ascii_lowercase()
}

fn record(worker: &Worker) -> Result<Change, RecordError> {
    let record = WorkerRecord {
        creator: worker.creator.to_string(),
        deal_id: worker.deal_id.clone(),
        active: worker.active,
        unit_ids: worker.unit_ids.clone(),
    };
    let key = worker.id().to_string();
    Ok(Change::put(Table::Workers, key, records::encode(&record)?))
}

fn restore(keys: &KeyFolder, cores: &mut Cores, id: &str, record: &[u8]) -> Result<Worker, String> {
    let id: PeerId = id.parse().map_err(|error| format!("{error}"))?;
    let record: WorkerRecord = records::decode(record).map_err(|error| error.to_string())?;
    let key = keys.read(id).map_err(|error| error.to_string())?;
    let creator = record.creator.parse();
    let processors = cores.acquire(&record.unit_ids, WorkType::Deal);
    Ok(Worker {
        key: Arc::new(key),
        creator: creator.map_err(|error| format!("its creator: {error}"))?,
        deal_id: record.deal_id,
        active: record.active,
        unit_ids: record.unit_ids,
        // A machine that lost cores still has the worker.
        processors: processors.unwrap_or_else(|error| {
            tracing::error!(worker = %id, %error, "a worker has no cores of its own");
            1
        }),
    })
}

fn proves_capacity(cores: &Cores, unit: &UnitId) -> bool {
    matches!(cores.core(unit), Some((_, WorkType::CapacityCommitment)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is half done when a thread dies with the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! Moves a [`CapacityState`]: between the chain, the cores of the host and a prover.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ccp::{LogicalCore, PhysicalCore, Proof, UnitId, prover::Commitment};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    CapacityConfig, CapacityError, CapacityEvent, CapacityProver, CapacityRules, CapacityState,
    Poll, ProofTracker, tracker,
};
use crate::{
    store::{Durability, Store, StoreError, Table},
    workers::{WorkerError, Workers},
};

/// Events that wait.
const QUEUE: usize = 64;
/// The time that handing on proofs may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time before the first new try of what failed, and before every later one at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Takes proofs, to submit them for example.
#[async_trait]
pub trait ProofReceiver: Send + Sync {
    /// Takes proofs; whether it did. What it does not take within two minutes comes again, and after
    /// a crash the last ones may.
    async fn deliver(&self, proofs: Vec<Proof>) -> bool;
}

/// What a peer proves its capacity with.
pub struct CapacityParts {
    /// The prover.
    pub prover: Arc<dyn CapacityProver>,
    /// Whose cores prove.
    pub workers: Arc<Workers>,
    /// Where the last seen proofs are kept.
    pub store: Arc<dyn Store>,
    /// Where proofs go.
    pub receiver: Arc<dyn ProofReceiver>,
    /// What the chain says once and for all.
    pub rules: CapacityRules,
    /// How the prover is polled.
    pub config: CapacityConfig,
    /// Where the prover's own threads run; nothing leaves them where they are.
    pub utility_cores: Vec<LogicalCore>,
}

/// It ended, which it does only when it is dropped, or when its runtime ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("capacity is not proven any more")]
pub struct CapacityStopped;

/// Proves the capacity of a peer until it is dropped. Then the prover goes on alone: it was not told
/// otherwise.
#[derive(Debug)]
pub struct Capacity {
    events: mpsc::Sender<CapacityEvent>,
    commitment: watch::Receiver<Option<Commitment>>,
    task: JoinHandle<()>,
}

impl Capacity {
    /// Begins. To be called inside a runtime of tokio. Blocks for as long as the store does.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn start(parts: CapacityParts) -> Result<Self, StoreError> {
        let tracker = match parts.store.get(Table::Peer, tracker::KEY.as_bytes())? {
            Some(record) => ProofTracker::read(&record).unwrap_or_else(|error| {
                // Proofs that come twice are refused by the chain.
                tracing::warn!(%error, "it is not known any more which proofs were handed on");
                ProofTracker::default()
            }),
            None => ProofTracker::default(),
        };
        let (events, queue) = mpsc::channel(QUEUE);
        let (acknowledged, commitment) = watch::channel(None);
        let driver = Driver {
            state: CapacityState::new(parts.rules, parts.config).with_tracker(tracker),
            parts,
            acknowledged,
            told: false,
            leaving: BTreeSet::new(),
        };
        Ok(Self {
            events,
            commitment,
            task: tokio::spawn(driver.run(queue)),
        })
    }

    /// Takes in what happened on the chain; waits while too much of it waits already.
    ///
    /// # Errors
    /// It ended.
    pub async fn tell(&self, event: CapacityEvent) -> Result<(), CapacityStopped> {
        self.events.send(event).await.map_err(|_| CapacityStopped)
    }

    /// What the prover has acknowledged last; nothing when it proves nothing.
    #[must_use]
    pub fn commitment(&self) -> watch::Receiver<Option<Commitment>> {
        self.commitment.clone()
    }
}

impl Drop for Capacity {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why the prover and the cores are not as they should be.
#[derive(Debug, Error)]
enum RefreshError {
    #[error(transparent)]
    Prover(#[from] CapacityError),
    #[error("cores: {0}")]
    Cores(#[from] WorkerError),
    #[error("cores: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

struct Driver {
    state: CapacityState,
    parts: CapacityParts,
    acknowledged: watch::Sender<Option<Commitment>>,
    /// The prover proves what was acknowledged.
    told: bool,
    /// Units that went to a deal, whose cores still prove.
    leaving: BTreeSet<UnitId>,
}

impl Driver {
    async fn run(mut self, mut queue: mpsc::Receiver<CapacityEvent>) {
        let mut poll = interval(
            self.parts
                .config
                .proof_poll_period
                .max(Duration::from_millis(1)),
        );
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut placed = self.parts.utility_cores.is_empty();
        let mut pause = FIRST_PAUSE;
        // Before the first event nothing is known: what the prover does may be right.
        let mut due: Option<Instant> = (!placed).then(Instant::now);
        let mut changed = false;
        loop {
            let next = due;
            tokio::select! {
                event = queue.recv() => {
                    let Some(event) = event else { return };
                    changed |= self.take(event);
                    // What came at the same time is one change.
                    for _ in 0..QUEUE {
                        let Ok(event) = queue.try_recv() else { break };
                        changed |= self.take(event);
                    }
                }
                _ = poll.tick() => self.poll().await,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => due = None,
            }
            if due.is_some() || placed && !(changed && self.state.is_known()) {
                continue;
            }
            match self.bring_about(&mut placed, &mut changed).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "capacity is not proven as it should be; tried again");
                    due = Some(Instant::now() + pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn take(&mut self, event: CapacityEvent) -> bool {
        let leaves = match &event {
            CapacityEvent::UnitDeactivated { unit } => Some(*unit),
            CapacityEvent::UnitActivated { unit, .. } => {
                self.leaving.remove(unit);
                None
            }
            _ => None,
        };
        let changed = self.state.handle(event);
        if changed {
            self.leaving.extend(leaves);
        }
        changed
    }

    async fn bring_about(
        &mut self,
        placed: &mut bool,
        changed: &mut bool,
    ) -> Result<(), RefreshError> {
        if !*placed {
            match self
                .parts
                .prover
                .set_utility_cores(&self.parts.utility_cores)
                .await
            {
                // It can prove all the same.
                Err(error @ CapacityError::Refused { .. }) => {
                    tracing::error!(%error, "the prover's own threads stay where they are");
                }
                placed => placed?,
            }
            *placed = true;
        }
        if *changed && self.state.is_known() {
            self.refresh().await?;
            *changed = false;
        }
        Ok(())
    }

    /// Gives cores to the units that need them and tells the prover. A core goes to a deal, or to another
    /// unit, only after the prover has left it.
    async fn refresh(&mut self) -> Result<(), RefreshError> {
        let wanted = self.state.wanted_units();
        let held = self.with_workers(Workers::capacity_cores).await?;
        let stay: BTreeSet<UnitId> = wanted.iter().copied().collect();
        let (staying, going): (BTreeMap<_, _>, BTreeMap<_, _>) = held
            .into_iter()
            .map(|(unit, core)| (UnitId(unit), PhysicalCore(core)))
            .partition(|(unit, _)| stay.contains(unit));
        if !going.is_empty() {
            self.tell(self.state.commitment(&staying)).await?;
            let (to_deals, free): (Vec<UnitId>, Vec<UnitId>) = going
                .into_keys()
                .partition(|unit| self.leaving.contains(unit));
            let [to_deals, free] =
                [to_deals, free].map(|units| units.iter().map(|unit| unit.0).collect::<Vec<_>>());
            self.with_workers(move |workers| workers.release_from_capacity(&free, &to_deals))
                .await??;
        }
        self.leaving.clear();
        let units: Vec<_> = wanted.iter().map(|unit| unit.0).collect();
        let cores = self
            .with_workers(move |workers| workers.acquire_for_capacity(&units))
            .await??;
        let cores = cores
            .into_iter()
            .map(|(unit, core)| (UnitId(unit), PhysicalCore(core)))
            .collect();
        self.tell(self.state.commitment(&cores)).await
    }

    async fn tell(&mut self, commitment: Option<Commitment>) -> Result<(), RefreshError> {
        if self.told && *self.acknowledged.borrow() == commitment {
            return Ok(());
        }
        // Until it answers nobody knows what it proves.
        self.told = false;
        match &commitment {
            Some(commitment) => self.parts.prover.commit(commitment).await?,
            None => self.parts.prover.withdraw().await?,
        }
        self.told = true;
        self.acknowledged.send_replace(commitment);
        Ok(())
    }

    async fn with_workers<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Workers) -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let workers = Arc::clone(&self.parts.workers);
        spawn_blocking(move || work(&workers)).await
    }

    /// Takes proofs from the prover and hands them on.
    async fn poll(&mut self) {
        let prover = &self.parts.prover;
        let answer = match self.state.poll() {
            Poll::Nothing => return,
            Poll::After { known, limit } => prover.proofs_after(&known, limit).await,
            Poll::Batches { requests, min, max } => prover.batches(&requests, min, max).await,
        };
        let proofs = match answer {
            Ok(answer) => self.state.select(answer),
            Err(error) => {
                tracing::warn!(%error, "no proofs this time");
                return;
            }
        };
        if proofs.is_empty() {
            return;
        }
        let delivery = self.parts.receiver.deliver(proofs.clone());
        if !timeout(PATIENCE, delivery).await.unwrap_or(false) {
            tracing::warn!(
                count = proofs.len(),
                "proofs were not taken; they come again"
            );
            return;
        }
        self.state.delivered(&proofs);
        if let Err(error) = self.keep().await {
            tracing::error!(error, "after a restart the last proofs come again");
        }
    }

    /// Writes down which proofs were handed on.
    async fn keep(&self) -> Result<(), String> {
        let change = self
            .state
            .tracker()
            .saved()
            .map_err(|error| error.to_string())?;
        let store = Arc::clone(&self.parts.store);
        match spawn_blocking(move || store.apply(&[change], Durability::Disk)).await {
            Ok(kept) => kept.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

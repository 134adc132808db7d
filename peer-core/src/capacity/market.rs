//! The market on a chain: what happens there moves [`Capacity`], proofs go there (§5.3, §5.5).

mod journal;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ccp::{Difficulty, GlobalNonce, Proof, UnitId};
use deal_types::{
    Bytes32, EpochClock,
    chain::{ActiveCommitment, CapacityMarket, CapacityTerms, CapacityView, ChainError},
};
use thiserror::Error;
use tokio::{sync::Mutex, time::timeout};

use self::journal::Journal;
use super::{Capacity, CapacityEvent, CapacityRules, CapacityStopped, ProofReceiver};
use crate::store::{Store, StoreError};

/// The time before a chain that failed is asked again, and before every later time at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The time that one look at the chain may take, for chains that know no end.
const LONGEST_LOOK: Duration = Duration::from_secs(600);

impl From<CapacityTerms> for CapacityRules {
    fn from(terms: CapacityTerms) -> Self {
        Self {
            epochs: terms.epochs,
            min_proofs: terms.min_proofs,
            max_proofs: terms.max_proofs,
        }
    }
}

/// Takes the proofs of a [`Capacity`] to a chain, and tells it what happens there.
///
/// What the chain says is read anew with every block, so that blocks which are taken back or missed
/// change nothing. Proofs that were taken are sent until they are in a block that stays, or their epoch
/// is over, over restarts too. Deals that are over are left. While the chain is away the prover goes on, and proofs wait in it.
pub struct MarketProofs {
    market: CapacityMarket,
    epochs: EpochClock,
    journal: Mutex<Journal>,
}

/// Why following stopped for now.
#[derive(Debug, Error)]
enum Interruption {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the chain did not answer in {:?}", LONGEST_LOOK)]
    Silence,
    #[error(transparent)]
    Stopped(#[from] CapacityStopped),
}

impl MarketProofs {
    /// Proofs for this market, whose epochs are these (of [`CapacityMarket::terms`]), with those that
    /// were under way before a restart. Blocks for as long as the store does.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn open(
        market: CapacityMarket,
        epochs: EpochClock,
        store: Arc<dyn Store>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            market,
            epochs,
            journal: Mutex::new(Journal::open(store)?),
        })
    }

    /// The market.
    #[must_use]
    pub fn market(&self) -> &CapacityMarket {
        &self.market
    }

    /// Tells `capacity` what happens on the chain, until it ends. A chain that does not answer is
    /// asked again after a pause.
    pub async fn follow(&self, capacity: &Capacity) -> CapacityStopped {
        let mut seen = Seen::default();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.look(&mut seen, capacity).await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.market.changed().await;
                }
                Err(Interruption::Stopped(stopped)) => return stopped,
                Err(error) => {
                    tracing::warn!(%error, "the market is not followed; asked again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Looks at the newest block, and at what became of proofs.
    async fn look(&self, seen: &mut Seen, capacity: &Capacity) -> Result<(), Interruption> {
        let view = in_time(self.market.view()).await?;
        for event in seen.changes(&view, self.epochs.epoch_at(view.head.timestamp)) {
            capacity.tell(event).await?;
        }
        in_time(async { self.journal.lock().await.tend(&self.market, &view).await }).await?;
        in_time(self.market.leave_deals()).await
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, ChainError>>) -> Result<T, Interruption> {
    match timeout(LONGEST_LOOK, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Interruption::Silence),
    }
}

#[async_trait]
impl ProofReceiver for MarketProofs {
    async fn deliver(&self, proofs: Vec<Proof>) -> bool {
        self.journal.lock().await.take(&self.market, &proofs).await
    }
}

/// What was told before.
#[derive(Debug, Default)]
struct Seen {
    timestamp: Option<u64>,
    global_nonce: Option<Bytes32>,
    difficulty: Option<Bytes32>,
    /// Nothing before the first look.
    commitment: Option<Option<ActiveCommitment>>,
}

impl Seen {
    /// What is different now, in this epoch.
    fn changes(&mut self, view: &CapacityView, epoch: Option<u64>) -> Vec<CapacityEvent> {
        let mut events = Vec::new();
        let timestamp = view.head.timestamp;
        let is_later = self.timestamp.replace(timestamp) != Some(timestamp);
        if is_later {
            events.push(CapacityEvent::Block { timestamp });
        }
        if self.global_nonce.replace(view.global_nonce) != Some(view.global_nonce) {
            let nonce = GlobalNonce(view.global_nonce.0);
            events.push(CapacityEvent::GlobalNonce(nonce));
        }
        if self.difficulty.replace(view.difficulty) != Some(view.difficulty) {
            let difficulty = Difficulty(view.difficulty.0);
            events.push(CapacityEvent::Difficulty(difficulty));
        }
        let before = self.commitment.replace(view.commitment.clone());
        let counted = |of: &Option<ActiveCommitment>| of.as_ref().map(|of| of.proofs.clone());
        let is_other = before.as_ref().and_then(counted) != counted(&view.commitment);
        match (before, &view.commitment) {
            (Some(Some(before)), Some(now)) if before.id == now.id => {
                let gone = before
                    .units
                    .keys()
                    .filter(|unit| !now.units.contains_key(*unit));
                events.extend(gone.map(|unit| CapacityEvent::UnitDeactivated {
                    unit: UnitId(unit.0),
                }));
                let new = now.units.iter();
                let new = new.filter(|(unit, start)| before.units.get(*unit) != Some(*start));
                events.extend(new.map(|(unit, start)| CapacityEvent::UnitActivated {
                    unit: UnitId(unit.0),
                    start_epoch: *start,
                }));
            }
            (_, Some(now)) => {
                let units = now.units.iter();
                events.push(CapacityEvent::CommitmentActivated {
                    units: units
                        .map(|(unit, start)| (UnitId(unit.0), *start))
                        .collect(),
                });
            }
            (Some(None), None) => {}
            (_, None) => events.push(CapacityEvent::CommitmentEnded),
        }
        if let (Some(epoch), Some(now)) = (epoch, &view.commitment)
            && (is_later || is_other)
        {
            let proofs = now.proofs.iter();
            let proofs = proofs.map(|(unit, count)| (UnitId(unit.0), *count));
            let proofs = proofs.collect();
            events.push(CapacityEvent::ProofsCounted { epoch, proofs });
        }
        events
    }
}

#[cfg(test)]
mod tests;

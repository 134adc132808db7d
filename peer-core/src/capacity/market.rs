//! The market on a chain: what happens there moves [`Capacity`], proofs go there (§5.3, §5.5).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use ccp::{Difficulty, GlobalNonce, Proof, UnitId};
use deal_types::{
    Bytes32, EpochClock,
    chain::{
        ActiveCommitment, CapacityMarket, CapacityTerms, CapacityView, ChainError, Submission,
        TransactionState, UnitProof,
    },
};
use thiserror::Error;

use super::{Capacity, CapacityEvent, CapacityRules, CapacityStopped, ProofReceiver};

/// The time before a chain that failed is asked again, and before every later time at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Transactions that are asked for; of more, the oldest count as lost.
const MAX_SENT: usize = 1024;

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
/// change nothing. While the chain is away the prover goes on, and proofs wait in it.
pub struct MarketProofs {
    market: CapacityMarket,
    epochs: EpochClock,
    sent: Mutex<Vec<Sent>>,
}

/// Proofs that are under way.
#[derive(Clone)]
struct Sent {
    transaction: Bytes32,
    proofs: BTreeMap<UnitId, u64>,
}

/// Why following stopped for now.
#[derive(Debug, Error)]
enum Interruption {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Stopped(#[from] CapacityStopped),
}

impl MarketProofs {
    /// Proofs for this market, whose epochs are these (of [`CapacityMarket::terms`]).
    #[must_use]
    pub fn new(market: CapacityMarket, epochs: EpochClock) -> Self {
        Self {
            market,
            epochs,
            sent: Mutex::default(),
        }
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
                Err(Interruption::Chain(error)) => {
                    tracing::warn!(%error, "the market is not followed; asked again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Looks at the newest block, and at what became of proofs.
    async fn look(&self, seen: &mut Seen, capacity: &Capacity) -> Result<(), Interruption> {
        let view = self.market.view().await?;
        for event in seen.changes(view) {
            capacity.tell(event).await?;
        }
        let sent = self.sent().clone();
        for Sent {
            transaction,
            proofs,
        } in sent
        {
            let ended = match self.market.state(transaction).await? {
                TransactionState::Pending => continue,
                TransactionState::Failed { .. } => {
                    tracing::warn!(%transaction, "the market refused proofs");
                    None
                }
                TransactionState::Succeeded { block } => {
                    let time = self.market.time_of(block).await?;
                    time.and_then(|time| self.epochs.epoch_at(time))
                }
            };
            self.sent().retain(|sent| sent.transaction != transaction);
            if let Some(epoch) = ended {
                let event = CapacityEvent::ProofsConfirmed { epoch, proofs };
                capacity.tell(event).await?;
            }
        }
        Ok(())
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        // Nothing is half done when a thread dies with the lock.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ProofReceiver for MarketProofs {
    async fn deliver(&self, proofs: Vec<Proof>) -> bool {
        let taken: Vec<UnitProof> = proofs
            .iter()
            .map(|proof| UnitProof {
                unit: Bytes32(proof.cu_id.0),
                local_nonce: Bytes32(proof.local_nonce.0),
                result_hash: Bytes32(proof.result_hash.0),
            })
            .collect();
        match self.market.submit(&taken).await {
            Ok(Submission::Sent(transaction)) => {
                let mut counts = BTreeMap::new();
                for proof in &proofs {
                    *counts.entry(proof.cu_id).or_default() += 1;
                }
                let mut sent = self.sent();
                if sent.len() >= MAX_SENT {
                    sent.remove(0);
                }
                // The same proofs are the same transaction.
                if sent.iter().all(|sent| sent.transaction != transaction) {
                    sent.push(Sent {
                        transaction,
                        proofs: counts,
                    });
                }
                true
            }
            // They will not be worth more later.
            Ok(refused) => {
                tracing::warn!(?refused, count = proofs.len(), "proofs do not count");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "proofs were not submitted");
                false
            }
        }
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
    /// What is different now.
    fn changes(&mut self, view: CapacityView) -> Vec<CapacityEvent> {
        let mut events = Vec::new();
        let timestamp = view.head.timestamp;
        if self.timestamp.replace(timestamp) != Some(timestamp) {
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
        match (self.commitment.take(), &view.commitment) {
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
        self.commitment = Some(view.commitment);
        events
    }
}

#[cfg(test)]
mod tests;

//! Proofs that were taken and may still get lost: on the way to the chain, with a block that is taken
//! back, with a restart.

use std::sync::Arc;

use ccp::Proof;
use deal_types::{
    Bytes32,
    chain::{CapacityMarket, CapacityView, ChainError, Submission, TransactionState, UnitProof},
};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::{
    records::{self, RecordError},
    store::{Change, Durability, Store, StoreError, Table},
};

/// The key of the record in the table of the peer.
const KEY: &str = "proofs-under-way";
/// Transactions under way; with more, proofs stay with the prover.
const MAX_BATCHES: usize = 1024;
/// Blocks after which a transaction is not looked after any more.
const SETTLED: u64 = 32;
/// Looks at the chain before what was sent and is not mined is sent again.
const RESEND: u32 = 4;
/// The same after a restart: a node may still have a transaction that nobody here could send again
/// as the same one.
const RESEND_LATER: u32 = 32;
/// Looks in a row that have to find that proofs are for a nonce of the past.
const BELIEVED: u32 = 8;

/// The proofs under way, on disk before they are sent.
pub(super) struct Journal {
    batches: Vec<Batch>,
    store: Arc<dyn Store>,
    /// What was written last.
    record: Vec<u8>,
}

/// Proofs that go in one transaction, however often it is sent: the same ones together, since they
/// would be others to the chain in other company.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    /// The nonce that they are for.
    nonce: Bytes32,
    proofs: Vec<UnitProof>,
    /// Nothing until the chain has it.
    transaction: Option<Bytes32>,
    /// Looks at the chain before it is sent again.
    rest: u32,
    /// Looks in a row that saw another nonce.
    stale: u32,
}

/// What is to be done with a batch.
enum Step {
    Keep,
    Drop,
    /// One of its proofs is in the way of the others.
    Split,
}

/// The form on disk.
#[derive(Serialize, Deserialize)]
struct Saved {
    nonce: [u8; 32],
    /// Unit, local nonce and hash of each.
    proofs: Vec<[[u8; 32]; 3]>,
    transaction: Option<[u8; 32]>,
}

impl Journal {
    /// What was under way before. Blocks.
    pub(super) fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let record = store.get(Table::Peer, KEY.as_bytes())?.unwrap_or_default();
        let batches = match record.is_empty() {
            true => Vec::new(),
            false => read(&record).unwrap_or_else(|error| {
                tracing::warn!(%error, "it is not known any more which proofs were under way");
                Vec::new()
            }),
        };
        Ok(Self {
            batches,
            store,
            record,
        })
    }

    /// Takes proofs, which are for one nonce, and sends them; whether it did. What it took it sends
    /// until the chain has it.
    pub(super) async fn take(&mut self, market: &CapacityMarket, proofs: &[Proof]) -> bool {
        let Some(first) = proofs.first() else {
            return true;
        };
        let nonce = Bytes32(first.id.global_nonce.0);
        let waits = |batch: &Batch| batch.nonce == nonce && batch.transaction.is_none();
        if self.batches.iter().any(waits) || self.batches.len() >= MAX_BATCHES {
            let batches = self.batches.len();
            tracing::warn!(batches, "earlier proofs have to be sent first");
            return false;
        }
        let proofs = proofs.iter().map(unit_proof);
        let new: Vec<UnitProof> = proofs.filter(|proof| !self.has(nonce, proof)).collect();
        if new.is_empty() {
            return true;
        }
        let place = self.batches.len();
        self.batches.push(Batch {
            nonce,
            proofs: new,
            transaction: None,
            rest: 0,
            stale: 0,
        });
        // Before they are sent: after a crash nobody knows whether they were.
        self.keep().await;
        if let Some(batch) = self.batches.get_mut(place) {
            match batch.send(market).await {
                Ok(step) => {
                    self.apply(place, step);
                }
                Err(error) => tracing::warn!(%error, "proofs were not submitted; tried again"),
            }
        }
        self.keep().await;
        true
    }

    /// Looks what became of proofs, and sends again what got lost.
    pub(super) async fn tend(
        &mut self,
        market: &CapacityMarket,
        view: &CapacityView,
    ) -> Result<(), ChainError> {
        let outcome = self.tend_all(market, view).await;
        self.keep().await;
        outcome
    }

    async fn tend_all(
        &mut self,
        market: &CapacityMarket,
        view: &CapacityView,
    ) -> Result<(), ChainError> {
        let mut place = 0;
        while let Some(batch) = self.batches.get_mut(place) {
            let step = batch.tend(market, view).await?;
            place = self.apply(place, step);
        }
        Ok(())
    }

    /// The place of the next batch.
    fn apply(&mut self, place: usize, step: Step) -> usize {
        match step {
            Step::Keep => return place + 1,
            Step::Drop => drop(self.batches.remove(place)),
            Step::Split => {
                let batch = self.batches.remove(place);
                self.batches.extend(batch.singles());
            }
        }
        place
    }

    fn has(&self, nonce: Bytes32, proof: &UnitProof) -> bool {
        let mut batches = self.batches.iter();
        batches.any(|batch| batch.nonce == nonce && batch.proofs.contains(proof))
    }

    /// Writes down what is under way.
    async fn keep(&mut self) {
        match self.write().await {
            Ok(record) => self.record = record,
            Err(error) => tracing::error!(error, "a restart may lose proofs that are under way"),
        }
    }

    async fn write(&self) -> Result<Vec<u8>, String> {
        let saved: Vec<Saved> = self.batches.iter().map(Batch::saved).collect();
        let record = records::encode(&saved).map_err(|error| error.to_string())?;
        if record == self.record {
            return Ok(record);
        }
        let change = Change::put(Table::Peer, KEY, record.clone());
        let store = Arc::clone(&self.store);
        match spawn_blocking(move || store.apply(&[change], Durability::Disk)).await {
            Ok(kept) => kept.map_err(|error| error.to_string())?,
            Err(error) => return Err(error.to_string()),
        }
        Ok(record)
    }
}

impl Batch {
    async fn tend(
        &mut self,
        market: &CapacityMarket,
        view: &CapacityView,
    ) -> Result<Step, ChainError> {
        if let Some(transaction) = self.transaction {
            match market.state(transaction).await? {
                TransactionState::Pending => {}
                TransactionState::Succeeded { block } => {
                    // Until then the block may be taken back.
                    let settled = block.saturating_add(SETTLED) <= view.head.number;
                    return Ok(if settled { Step::Drop } else { Step::Keep });
                }
                TransactionState::Failed { block } => {
                    return Ok(self.refused(&format!("{transaction} failed in block {block}")));
                }
            }
        }
        if self.nonce != view.global_nonce {
            self.stale += 1;
            if self.stale < BELIEVED {
                return Ok(Step::Keep);
            }
            let count = self.proofs.len();
            tracing::warn!(
                count,
                "proofs are worth nothing any more: their epoch is over"
            );
            return Ok(Step::Drop);
        }
        self.stale = 0;
        if self.rest > 0 {
            self.rest -= 1;
            return Ok(Step::Keep);
        }
        self.send(market).await
    }

    /// Sends the transaction, which stays the same one.
    async fn send(&mut self, market: &CapacityMarket) -> Result<Step, ChainError> {
        match market.submit(&self.proofs).await {
            Ok(Submission::Sent(transaction)) => {
                self.transaction = Some(transaction);
                self.rest = RESEND;
                Ok(Step::Keep)
            }
            Ok(Submission::NotActive(status)) => {
                tracing::warn!(?status, "proofs do not count: the commitment is not active");
                Ok(Step::Drop)
            }
            Ok(refused) => Ok(self.refused(&format!("{refused:?}"))),
            Err(error @ ChainError::Gas { .. }) if self.proofs.len() > 1 => {
                Ok(self.refused(&error.to_string()))
            }
            Err(error) if error.is_transient() => Err(error),
            // Nothing that keeps others from going: an empty account, for example.
            Err(error) => {
                tracing::warn!(%error, "proofs were not submitted; tried again");
                self.rest = RESEND;
                Ok(Step::Keep)
            }
        }
    }

    /// The market takes all proofs of a transaction or none. One that it has already, or whose unit
    /// went to a deal, takes no others with it.
    fn refused(&self, reason: &str) -> Step {
        if self.proofs.len() > 1 {
            tracing::info!(reason, "proofs were refused together; each is sent alone");
            return Step::Split;
        }
        tracing::warn!(reason, "a proof does not count");
        Step::Drop
    }

    fn singles(self) -> impl Iterator<Item = Self> {
        let nonce = self.nonce;
        self.proofs.into_iter().map(move |proof| Self {
            nonce,
            proofs: vec![proof],
            transaction: None,
            rest: 0,
            stale: 0,
        })
    }

    fn saved(&self) -> Saved {
        let words = |proof: &UnitProof| {
            [proof.unit, proof.local_nonce, proof.result_hash].map(|word| word.0)
        };
        Saved {
            nonce: self.nonce.0,
            proofs: self.proofs.iter().map(words).collect(),
            transaction: self.transaction.map(|hash| hash.0),
        }
    }
}

fn unit_proof(proof: &Proof) -> UnitProof {
    UnitProof {
        unit: Bytes32(proof.cu_id.0),
        local_nonce: Bytes32(proof.local_nonce.0),
        result_hash: Bytes32(proof.result_hash.0),
    }
}

fn read(record: &[u8]) -> Result<Vec<Batch>, RecordError> {
    let saved: Vec<Saved> = records::decode(record)?;
    let proof = |[unit, local_nonce, result_hash]: [[u8; 32]; 3]| UnitProof {
        unit: Bytes32(unit),
        local_nonce: Bytes32(local_nonce),
        result_hash: Bytes32(result_hash),
    };
    let batch = |saved: Saved| Batch {
        nonce: Bytes32(saved.nonce),
        proofs: saved.proofs.into_iter().map(proof).collect(),
        rest: saved.transaction.map_or(0, |_| RESEND_LATER),
        transaction: saved.transaction.map(Bytes32),
        stale: 0,
    };
    Ok(saved.into_iter().map(batch).collect())
}

//! A peer's questions, put to any chain.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Chain, ChainError, ChainExt as _, HostDeal, TransactionState};
use crate::{
    Address, Bytes32, Cid, PeerKey,
    peer_chain::{DealWorker, PeerChain, PeerChainError, PeerDeal, PeerDealInfo, TxReceipt},
};

/// Registrations that are remembered.
const MAX_REGISTRATIONS: usize = 1_024;

/// The market on any [`Chain`] as one peer sees it.
///
/// ```
/// use std::sync::Arc;
/// use deal_types::{Address, PeerKey, chain::{PeerMarket, MemoryChain}, peer_chain::PeerChain, sim::Genesis};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let chain = MemoryChain::new(Address([1; 20]), 1_000, Genesis::default())?;
/// let owner = Arc::new(chain.connect(Address([2; 20])));
/// let peer = PeerMarket::new(owner, chain.market(), PeerKey([7; 32]));
/// assert_eq!(peer.deals().await?, []);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct PeerMarket {
    chain: Arc<dyn Chain>,
    market: Address,
    peer: PeerKey,
    /// Registrations by the hash that was told first.
    sent: Mutex<BTreeMap<Bytes32, Registration>>,
}

#[derive(Clone, Copy)]
struct Registration {
    deal: Address,
    worker: PeerKey,
    onchain_worker_id: Bytes32,
    /// The transaction as it was sent last.
    latest: Bytes32,
    /// Counts, to forget the oldest.
    number: u64,
}

impl PeerMarket {
    /// What `peer` asks of the market behind `chain`, whose account owns the peer there.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>, market: Address, peer: PeerKey) -> Self {
        Self {
            chain,
            market,
            peer,
            sent: Mutex::default(),
        }
    }

    fn sent(&self) -> MutexGuard<'_, BTreeMap<Bytes32, Registration>> {
        // Entries are whole whenever the lock is free.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, hash: Bytes32, registration: Registration) {
        let mut sent = self.sent();
        let number = sent.values().map(|sent| sent.number).max().unwrap_or(0) + 1;
        if sent.len() >= MAX_REGISTRATIONS {
            let oldest = sent.iter().min_by_key(|(_, sent)| sent.number);
            if let Some(hash) = oldest.map(|(hash, _)| *hash) {
                sent.remove(&hash);
            }
        }
        let number = sent.get(&hash).map_or(number, |known| known.number);
        sent.insert(
            hash,
            Registration {
                number,
                ..registration
            },
        );
    }

    /// What became of a transaction. One of ours that is not mined is sent again, for more if gas
    /// became dearer, and made anew if the chain has lost it: whoever asks knows the first hash only.
    async fn receipt(&self, hash: Bytes32) -> Result<TransactionState, ChainError> {
        let known = self.sent().get(&hash).copied();
        let Some(known) = known else {
            return self.chain.transaction_state(hash).await;
        };
        let state = self.chain.transaction_state(known.latest).await?;
        if state != TransactionState::Pending {
            return Ok(state);
        }
        let latest = self
            .chain
            .register_worker(known.deal, known.onchain_worker_id, known.worker)
            .await?;
        if latest == known.latest {
            return Ok(state);
        }
        self.remember(hash, Registration { latest, ..known });
        self.chain.transaction_state(latest).await
    }
}

fn refused(error: &ChainError) -> PeerChainError {
    let reason = error.to_string();
    if error.is_transient() {
        PeerChainError::Unreachable { reason }
    } else {
        PeerChainError::Refused { reason }
    }
}

fn describe(deal: HostDeal) -> Result<PeerDealInfo, PeerChainError> {
    let app_cid = Cid::try_from(deal.app_cid).map_err(|error| PeerChainError::Refused {
        reason: error.to_string(),
    })?;
    Ok(PeerDealInfo {
        status: deal.status,
        unit_ids: deal.unit_ids,
        app_cid: app_cid.to_string(),
        onchain_worker_id: deal.onchain_worker_id,
    })
}

#[async_trait]
impl PeerChain for PeerMarket {
    async fn deals(&self) -> Result<Vec<PeerDeal>, PeerChainError> {
        let deals = self.chain.deals_of(self.market, self.peer).await;
        let deals = deals.map_err(|error| refused(&error))?.into_iter();
        Ok(deals
            .map(|(deal, found)| PeerDeal {
                deal,
                info: found.map_err(|error| refused(&error)).and_then(describe),
            })
            .collect())
    }

    async fn register_worker(
        &self,
        deal: Address,
        worker: PeerKey,
        onchain_worker_id: Bytes32,
    ) -> Result<Bytes32, PeerChainError> {
        let hash = self
            .chain
            .register_worker(deal, onchain_worker_id, worker)
            .await
            .map_err(|error| refused(&error))?;
        let registration = Registration {
            deal,
            worker,
            onchain_worker_id,
            latest: hash,
            number: 0,
        };
        self.remember(hash, registration);
        Ok(hash)
    }

    async fn receipts(&self, transactions: &[Bytes32]) -> Result<Vec<TxReceipt>, PeerChainError> {
        let mut receipts = Vec::with_capacity(transactions.len());
        for hash in transactions {
            receipts.push(match self.receipt(*hash).await {
                Ok(TransactionState::Pending) => TxReceipt::Pending,
                Ok(TransactionState::Succeeded { block }) => TxReceipt::Ok {
                    block_number: block,
                },
                Ok(TransactionState::Failed { block }) => TxReceipt::Failed {
                    block_number: block,
                },
                // The others would wait as long for nothing.
                Err(error) if error.is_transient() => return Err(refused(&error)),
                Err(error) => TxReceipt::Unknown {
                    reason: error.to_string(),
                },
            });
        }
        Ok(receipts)
    }

    async fn workers(&self, deal: Address) -> Result<Vec<DealWorker>, PeerChainError> {
        let workers = self.chain.resolve_subnet(deal).await;
        let workers = workers.map_err(|error| refused(&error))?.into_iter();
        Ok(workers
            .map(|worker| DealWorker {
                unit_ids: worker.unit_ids,
                host: worker.host,
                worker: worker.worker,
            })
            .collect())
    }

    async fn block_number(&self) -> Result<u64, PeerChainError> {
        let head = self.chain.head().await;
        Ok(head.map_err(|error| refused(&error))?.number)
    }
}

//! What peers ask a chain for.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{Chain, ChainError, Order};
use crate::{
    Address, Bytes32, DealStatus, OnChainCid, PeerKey,
    contract::{
        ActivateWorker, Call, GetAppCid, GetComputeUnits, GetDealStatus, GetWorkers, RemoveWorker,
        Revert,
    },
    market::Worker,
};

/// A deal that a peer has a worker in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDeal {
    /// The deal.
    pub deal: Address,
    /// Where it stands.
    pub status: DealStatus,
    /// The units of the peer's worker.
    pub unit_ids: Vec<Bytes32>,
    /// What it runs.
    pub app_cid: OnChainCid,
    /// The number of the worker.
    pub onchain_worker_id: Bytes32,
}

/// A worker of a deal and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetWorker {
    /// Its units.
    pub unit_ids: Vec<Bytes32>,
    /// The peer.
    pub host: PeerKey,
    /// Its key; `None` until the peer has registered it.
    pub worker: Option<PeerKey>,
}

/// What is known of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Not mined.
    Pending,
    /// Mined in this block, and did what it should.
    Succeeded {
        /// The number of the block.
        block: u64,
    },
    /// Mined in this block, and was refused.
    Failed {
        /// The number of the block.
        block: u64,
    },
}

/// The least that a call costs a node's patience: workers of a deal, units of a peer.
const MAX_DEALS: usize = 4_096;

/// Questions that take several calls.
#[async_trait]
pub trait ChainExt: Chain {
    /// Calls a function and reads its answer.
    async fn read<C: Call + Send + Sync>(
        &self,
        to: Address,
        call: &C,
    ) -> Result<C::Output, ChainError>
    where
        C::Output: Send,
    {
        let output = self.call(to, call.encode()).await?;
        Ok(C::decode_output(&output)?)
    }

    /// The deals in which a peer has a worker, by address.
    ///
    /// A peer that is not registered has none. Each deal comes with its own result, so that one
    /// whose contract refuses hides no other.
    ///
    /// # Errors
    /// The chain does not answer, or not with what was asked for.
    async fn deals_of(
        &self,
        market: Address,
        peer: PeerKey,
    ) -> Result<Vec<(Address, Result<HostDeal, ChainError>)>, ChainError> {
        let units = match self
            .read(
                market,
                &GetComputeUnits {
                    peer_id: peer.to_word(),
                },
            )
            .await
        {
            Ok((units,)) => units,
            Err(error) if is_unregistered(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut by_deal = BTreeMap::<Address, (BTreeSet<Bytes32>, Vec<Bytes32>)>::new();
        for unit in units
            .into_iter()
            .filter(|unit| !unit.deal.is_zero())
            .take(MAX_DEALS)
        {
            let entry = by_deal.entry(unit.deal).or_default();
            entry.0.insert(unit.onchain_worker_id);
            entry.1.push(unit.id);
        }
        let mut deals = Vec::new();
        for (deal, (workers, unit_ids)) in by_deal {
            let mut ids = workers.iter();
            let (Some(&onchain_worker_id), None) = (ids.next(), ids.next()) else {
                let what = format!("{} workers of one peer in {deal}", workers.len());
                let method = "getComputeUnits";
                deals.push((deal, Err(ChainError::Answer { method, what })));
                continue;
            };
            let found = async {
                let (status,) = self.read(deal, &GetDealStatus {}).await?;
                let (app_cid,) = self.read(deal, &GetAppCid {}).await?;
                Ok(HostDeal {
                    deal,
                    status,
                    unit_ids,
                    app_cid,
                    onchain_worker_id,
                })
            };
            let found = found.await;
            match found {
                // Who answers nonsense about one deal is not believed about the others: peers end
                // what they do not hear of.
                Err(error) if !is_refusal(&error) => return Err(error),
                found => deals.push((deal, found)),
            }
        }
        Ok(deals)
    }

    /// Reports that a worker is installed: tells the hash of the transaction.
    ///
    /// However often it is called for the same worker and key, it makes one transaction.
    async fn register_worker(
        &self,
        deal: Address,
        onchain_worker_id: Bytes32,
        worker: PeerKey,
    ) -> Result<Bytes32, ChainError> {
        let call = ActivateWorker {
            onchain_id: onchain_worker_id,
            offchain_id: worker.to_word(),
        };
        self.submit(&Order::once("aquamarine/register-worker", deal, &call))
            .await
    }

    /// Takes a worker out of a deal, and its units back to the market: tells the hash of the
    /// transaction, which is one however often it is called.
    async fn remove_worker(
        &self,
        deal: Address,
        onchain_worker_id: Bytes32,
    ) -> Result<Bytes32, ChainError> {
        let call = RemoveWorker {
            onchain_id: onchain_worker_id,
        };
        self.submit(&Order::once("aquamarine/remove-worker", deal, &call))
            .await
    }

    /// What is known of a transaction.
    async fn transaction_state(&self, hash: Bytes32) -> Result<TransactionState, ChainError> {
        Ok(match self.receipt(hash).await? {
            None => TransactionState::Pending,
            Some(mined) if mined.succeeded => TransactionState::Succeeded { block: mined.block },
            Some(mined) => TransactionState::Failed { block: mined.block },
        })
    }

    /// The workers of a deal.
    async fn resolve_subnet(&self, deal: Address) -> Result<Vec<SubnetWorker>, ChainError> {
        let (workers,) = self.read(deal, &GetWorkers {}).await?;
        let subnet = |worker: Worker| SubnetWorker {
            unit_ids: worker.compute_unit_ids,
            host: PeerKey::from_word(worker.peer_id),
            worker: (!worker.offchain_id.is_zero()).then(|| PeerKey::from_word(worker.offchain_id)),
        };
        Ok(workers.into_iter().map(subnet).collect())
    }
}

impl<T: Chain + ?Sized> ChainExt for T {}

/// Whether a contract said no.
fn is_refusal(error: &ChainError) -> bool {
    matches!(
        error,
        ChainError::Revert(_) | ChainError::UnknownRevert { .. }
    )
}

/// The market's word for a peer that is in no offer.
pub(super) fn is_unregistered(error: &ChainError) -> bool {
    matches!(error, ChainError::Revert(Revert::Message { message }) if message == "Peer doesn't exist")
}

//! A chain in memory, for tests, simulations and hosts of developers.
//!
//! ```
//! use deal_types::{Address, peer_chain::{PeerChain, PeerChainError, PeerDeal}};
//! use peer_core::chain::MemoryChain;
//!
//! let chain = MemoryChain::default();
//! let info = Err(PeerChainError::Refused { reason: "no such deal".to_owned() });
//! chain.set_deals(vec![PeerDeal { deal: Address([1; 20]), info }]);
//! assert_eq!(futures::executor::block_on(chain.deals()).unwrap().len(), 1);
//! ```

#[cfg(feature = "network")]
mod heads;

#[cfg(feature = "network")]
pub(crate) use self::heads::blocks;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use deal_types::{
    Address, Bytes32, PeerKey,
    peer_chain::{DealWorker, PeerChain, PeerChainError, PeerDeal, TxReceipt},
};
use futures::{Stream, channel::mpsc};

/// Numbers of blocks that wait for a follower; one that is slower hears of the later ones.
const WAITING: usize = 64;

/// A chain that is what its owner says.
#[derive(Debug, Default)]
pub struct MemoryChain {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    deals: Vec<PeerDeal>,
    workers: BTreeMap<Address, Vec<DealWorker>>,
    /// In the order of their hashes, which count.
    registered: Vec<Registration>,
    receipts: BTreeMap<Bytes32, TxReceipt>,
    block: u64,
    followers: Vec<mpsc::Sender<u64>>,
    outage: Option<String>,
}

/// A worker that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The deal.
    pub deal: Address,
    /// The worker.
    pub worker: PeerKey,
    /// Its place in the deal.
    pub onchain_worker_id: Bytes32,
    /// The transaction.
    pub transaction: Bytes32,
}

impl MemoryChain {
    /// Sets the deals of the peer.
    pub fn set_deals(&self, deals: Vec<PeerDeal>) {
        self.lock().deals = deals;
    }

    /// Sets the workers of a deal.
    pub fn set_workers(&self, deal: Address, workers: Vec<DealWorker>) {
        self.lock().workers.insert(deal, workers);
    }

    /// Sets what became of a transaction; those that are not set are pending once they were sent.
    pub fn set_receipt(&self, transaction: Bytes32, receipt: TxReceipt) {
        self.lock().receipts.insert(transaction, receipt);
    }

    /// Mines a block; its number.
    pub fn mine(&self) -> u64 {
        let mut state = self.lock();
        state.block += 1;
        let number = state.block;
        state.followers.retain_mut(|follower| {
            // Who is full hears of the next one.
            !follower
                .try_send(number)
                .is_err_and(|error| error.is_disconnected())
        });
        number
    }

    /// The numbers of blocks as they are mined, from now on.
    pub fn heads(&self) -> impl Stream<Item = u64> + Send + use<> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.lock().followers.push(sender);
        receiver
    }

    /// Lets all questions fail for this reason, or be answered again.
    pub fn set_outage(&self, reason: Option<&str>) {
        self.lock().outage = reason.map(str::to_owned);
    }

    /// The workers that were registered.
    #[must_use]
    pub fn registered(&self) -> Vec<Registration> {
        self.lock().registered.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is half done when a thread dies with the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> Result<MutexGuard<'_, State>, PeerChainError> {
        let state = self.lock();
        match &state.outage {
            Some(reason) => Err(PeerChainError::Unreachable {
                reason: reason.clone(),
            }),
            None => Ok(state),
        }
    }
}

#[async_trait]
impl PeerChain for MemoryChain {
    async fn deals(&self) -> Result<Vec<PeerDeal>, PeerChainError> {
        Ok(self.reach()?.deals.clone())
    }

    async fn register_worker(
        &self,
        deal: Address,
        worker: PeerKey,
        onchain_worker_id: Bytes32,
    ) -> Result<Bytes32, PeerChainError> {
        let mut state = self.reach()?;
        let mut transaction = [0; 32];
        let number = state.registered.len() as u64 + 1;
        for (target, byte) in transaction.iter_mut().rev().zip(number.to_le_bytes()) {
            *target = byte;
        }
        let transaction = Bytes32(transaction);
        state.registered.push(Registration {
            deal,
            worker,
            onchain_worker_id,
            transaction,
        });
        Ok(transaction)
    }

    async fn receipts(&self, transactions: &[Bytes32]) -> Result<Vec<TxReceipt>, PeerChainError> {
        let state = self.reach()?;
        let receipt = |transaction: &Bytes32| {
            let sent = |of: &Registration| of.transaction == *transaction;
            match state.receipts.get(transaction) {
                Some(receipt) => receipt.clone(),
                None if state.registered.iter().any(sent) => TxReceipt::Pending,
                None => TxReceipt::Unknown {
                    reason: format!("there is no transaction {transaction}"),
                },
            }
        };
        Ok(transactions.iter().map(receipt).collect())
    }

    async fn workers(&self, deal: Address) -> Result<Vec<DealWorker>, PeerChainError> {
        let workers = self.reach()?.workers.get(&deal).cloned();
        workers.ok_or_else(|| PeerChainError::Refused {
            reason: format!("there is no deal {deal}"),
        })
    }

    async fn block_number(&self) -> Result<u64, PeerChainError> {
        Ok(self.reach()?.block)
    }
}

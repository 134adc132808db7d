//! What a peer asks of the chain.

use async_trait::async_trait;

use crate::{Address, Bytes32, DealStatus, PeerKey};

/// The chain as a peer sees it: deals that it takes part in, workers that it names there.
///
/// Implementations bound the time and size of what they do; a peer adds no limits of its own.
#[async_trait]
pub trait PeerChain: Send + Sync {
    /// The deals in which units of this peer take part. A deal that cannot be read is in the list
    /// with the reason.
    ///
    /// # Errors
    /// The chain cannot be asked.
    async fn deals(&self) -> Result<Vec<PeerDeal>, PeerChainError>;

    /// Names the worker that this peer has for a place in a deal. Returns the hash of the
    /// transaction, which is still to be mined.
    ///
    /// # Errors
    /// The transaction was not sent.
    async fn register_worker(
        &self,
        deal: Address,
        worker: PeerKey,
        onchain_worker_id: Bytes32,
    ) -> Result<Bytes32, PeerChainError>;

    /// What became of transactions, in their order.
    ///
    /// # Errors
    /// The chain cannot be asked.
    async fn receipts(&self, transactions: &[Bytes32]) -> Result<Vec<TxReceipt>, PeerChainError>;

    /// The workers of any deal.
    ///
    /// # Errors
    /// The chain cannot be asked, or there is no such deal.
    async fn workers(&self, deal: Address) -> Result<Vec<DealWorker>, PeerChainError>;

    /// The number of the newest block.
    ///
    /// # Errors
    /// The chain cannot be asked.
    async fn block_number(&self) -> Result<u64, PeerChainError>;
}

/// Why the chain did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerChainError {
    /// No answer, or one that is none.
    #[error("the chain cannot be reached: {reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// The contracts said no.
    #[error("the contract refused: {reason}")]
    Refused {
        /// What they said.
        reason: String,
    },
}

/// A deal in which units of the peer take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerDeal {
    /// The deal.
    pub deal: Address,
    /// What is known about it, or why nothing is.
    pub info: Result<PeerDealInfo, PeerChainError>,
}

/// What a peer needs to serve a deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerDealInfo {
    /// Where it stands.
    pub status: DealStatus,
    /// The units of this peer that work for it.
    pub unit_ids: Vec<Bytes32>,
    /// The content identifier of the definition of its workers, as text.
    pub app_cid: String,
    /// The place of this peer in the deal.
    pub onchain_worker_id: Bytes32,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxReceipt {
    /// It is not mined yet.
    Pending,
    /// It did what it should.
    Ok {
        /// The block it is in.
        block_number: u64,
    },
    /// It is mined and did nothing.
    Failed {
        /// The block it is in.
        block_number: u64,
    },
    /// Nobody knows.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// A place in a deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealWorker {
    /// The units that work there.
    pub unit_ids: Vec<Bytes32>,
    /// The peer that hosts it.
    pub host: PeerKey,
    /// The worker, once its host has named one.
    pub worker: Option<PeerKey>,
}

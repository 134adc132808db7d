//! A chain with the market on it: what a program needs of it, as a trait with few methods.
//!
//! [`Chain`] is one account's connection. [`MemoryChain`] is a chain inside the process, on
//! [`MarketSim`](crate::sim::MarketSim); `RpcChain` (feature `rpc`) speaks JSON-RPC with a node.
//! [`Follower`] turns any of them into a sequence of events that survives re-organisations, and
//! [`ChainExt`] asks for what peers need; [`PeerMarket`] is the [`PeerChain`](crate::peer_chain::PeerChain)
//! of a peer on any of them, [`CapacityMarket`] what a peer proves there.

mod ask;
mod capacity;
mod follow;
mod memory;
mod peer;
#[cfg(feature = "rpc")]
pub mod rpc;
mod transaction;

pub use ask::{ChainExt, HostDeal, SubnetWorker, TransactionState};
pub use capacity::{
    ActiveCommitment, CapacityMarket, CapacityTerms, CapacityView, Submission, UnitProof,
};
pub use follow::{ChainEvent, FollowError, Follower, FollowerConfig};
pub use memory::{MemoryChain, MemoryConnection};
pub use peer::PeerMarket;
pub use transaction::{SignedTransaction, TransactionError, UnsignedTransaction, Wallet};

use async_trait::async_trait;

use crate::{
    Address, Bytes32, U256,
    contract::{Call, ContractError, LogData, MarketEvent, Revert},
    keccak256_of,
};

/// Why a chain did not answer, or not with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The node cannot be reached or does not answer in time; trying again may help.
    #[error("{endpoint} is not reachable: {reason}")]
    Unreachable {
        /// The node.
        endpoint: String,
        /// What failed.
        reason: String,
    },
    /// The node answers an error of its own.
    #[error("{method} was refused with code {code}: {message}")]
    Node {
        /// The method that was called.
        method: &'static str,
        /// The code of the error.
        code: i64,
        /// The message, cut after 300 characters.
        message: String,
    },
    /// The node's answer is not of the form that the method has.
    #[error("{method} answered {what}")]
    Answer {
        /// The method that was called.
        method: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A contract refused the call.
    #[error("the contract refused: {0:?}")]
    Revert(Revert),
    /// A contract refused the call with data that are no known error.
    #[error("the contract refused with 0x{data}")]
    UnknownRevert {
        /// The data in hex, cut after 128 bytes.
        data: String,
    },
    /// A contract's answer is not of the declared types.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The account cannot pay for the transaction.
    #[error("{account} has {balance} wei where {needed} are needed")]
    Funds {
        /// The account.
        account: Address,
        /// What it has.
        balance: U256,
        /// What the transaction may cost.
        needed: U256,
    },
    /// The transaction needs more gas than is allowed for one.
    #[error("transaction needs {needed} gas where at most {limit} are allowed")]
    Gas {
        /// The estimate.
        needed: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The node is on another chain.
    #[error("chain id is {actual} where {expected} was expected")]
    ChainId {
        /// The chain of the node.
        actual: u64,
        /// The chain that was asked for.
        expected: u64,
    },
    /// The connection has no key to sign with.
    #[error("no wallet to sign transactions with")]
    NoWallet,
    /// Too many transactions wait to be mined.
    #[error("{count} transactions wait already")]
    Busy {
        /// How many.
        count: usize,
    },
}

impl ChainError {
    /// Whether the same request may succeed later without any change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }
}

/// The header of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: Bytes32,
    /// The hash of the block before it.
    pub parent: Bytes32,
    /// Its time in seconds since 1970.
    pub timestamp: u64,
}

/// A log entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLog {
    /// The contract that wrote it.
    pub address: Address,
    /// What it wrote.
    pub log: LogData,
    /// The number of the block.
    pub block: u64,
    /// The hash of the block.
    pub block_hash: Bytes32,
    /// The transaction.
    pub transaction: Bytes32,
    /// The position in the block.
    pub index: u64,
}

impl ChainLog {
    /// The event.
    ///
    /// # Errors
    /// An event that is not listed, or malformed members.
    pub fn event(&self) -> Result<MarketEvent, ContractError> {
        MarketEvent::decode(&self.log.topics, &self.log.data)
    }
}

/// Which log entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Contracts; empty for all.
    pub addresses: Vec<Address>,
    /// For each topic, from the first, the values that it may have; empty for all.
    pub topics: Vec<Vec<Bytes32>>,
}

impl LogFilter {
    /// Whether an entry is wanted.
    #[must_use]
    pub fn matches(&self, address: Address, log: &LogData) -> bool {
        let wanted = |allowed: &Vec<Bytes32>, topic: Option<&Bytes32>| {
            allowed.is_empty() || topic.is_some_and(|topic| allowed.contains(topic))
        };
        (self.addresses.is_empty() || self.addresses.contains(&address))
            && (self.topics.iter().enumerate())
                .all(|(index, allowed)| wanted(allowed, log.topics.get(index)))
    }
}

/// A transaction that shall be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Chosen by the caller: orders with the same key are one transaction however often they are
    /// submitted.
    pub key: Bytes32,
    /// The contract.
    pub to: Address,
    /// Selector and arguments.
    pub input: Vec<u8>,
    /// Native tokens that go with it, in wei.
    pub value: U256,
}

impl Order {
    /// A call without native tokens whose key is made of `purpose` and what is called: the same call
    /// is one transaction.
    fn once(purpose: &str, to: Address, call: &impl Call) -> Self {
        let input = call.encode();
        Self {
            key: keccak256_of(&[purpose.as_bytes(), &to.0, &input]),
            to,
            input,
            value: U256::ZERO,
        }
    }
}

/// What became of a transaction that was mined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinedTransaction {
    /// The transaction.
    pub hash: Bytes32,
    /// The number of the block.
    pub block: u64,
    /// The hash of the block.
    pub block_hash: Bytes32,
    /// Whether it did what it should.
    pub succeeded: bool,
    /// What was logged.
    pub logs: Vec<ChainLog>,
}

/// Log entries that one answer may have.
pub const MAX_LOGS: usize = 10_000;

/// One account's connection to a chain. Implementations bound the time that an answer takes.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The account that submits; zero if it cannot.
    fn account(&self) -> Address;

    /// The latest block.
    async fn head(&self) -> Result<Head, ChainError>;

    /// The block of a number; `None` if the chain is not that long.
    async fn block(&self, number: u64) -> Result<Option<Head>, ChainError>;

    /// The wanted log entries of blocks `from` to `to`, both included, in order.
    async fn logs(
        &self,
        filter: &LogFilter,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, ChainError>;

    /// Calls a function at the latest block without changing anything.
    async fn call(&self, to: Address, input: Vec<u8>) -> Result<Vec<u8>, ChainError>;

    /// Sends a transaction and tells its hash. Whether it is mined, [`Chain::receipt`] tells.
    ///
    /// After an error the same order may be submitted again: it is made at most once.
    async fn submit(&self, order: &Order) -> Result<Bytes32, ChainError>;

    /// What became of a transaction; `None` while it is not mined.
    async fn receipt(&self, transaction: Bytes32) -> Result<Option<MinedTransaction>, ChainError>;

    /// Returns when the chain may have a new block, or after a while.
    async fn changed(&self);
}

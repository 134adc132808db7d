//! What goes into the simulation and what comes out of it.

use super::{Genesis, Refusal};
use crate::{
    Address, Bytes32, U256,
    contract::{LogData, MarketEvent},
};

/// The block in which a transaction is executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Its time in seconds since 1970.
    pub timestamp: u64,
    /// The hash of the block before it.
    pub previous_hash: Bytes32,
}

/// A transaction, without what only a real chain needs: nonce, gas, fees, signature.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Who sends it.
    pub from: Address,
    /// What it does.
    pub target: Target,
    /// Native tokens that go with it, in wei.
    pub value: U256,
}

impl Transaction {
    /// A call without native tokens.
    #[must_use]
    pub fn call(from: Address, to: Address, input: Vec<u8>) -> Self {
        Self {
            from,
            target: Target::Call { to, input },
            value: U256::ZERO,
        }
    }
}

/// What a transaction does.
#[derive(Clone, Debug)]
pub enum Target {
    /// Creates a contract.
    Create(Contract),
    /// Calls a contract or pays an account.
    Call {
        /// The contract or account.
        to: Address,
        /// Selector and arguments.
        input: Vec<u8>,
    },
}

/// A contract that the simulation knows.
#[derive(Clone, Debug)]
pub enum Contract {
    /// Code that other contracts run, without anything to be asked: facets, verifiers.
    Library,
    /// The code behind the deals.
    DealImplementation,
    /// A token that wraps the native one.
    WrappedToken,
    /// The market.
    Market(Box<Genesis>),
}

/// A log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The contract that wrote it.
    pub address: Address,
    /// What it wrote.
    pub event: MarketEvent,
}

impl Log {
    /// Topics and data.
    #[must_use]
    pub fn encode(&self) -> LogData {
        self.event.encode()
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What the call answered, or why it was refused; then nothing was changed.
    pub outcome: Result<Vec<u8>, Refusal>,
    /// What was logged.
    pub logs: Vec<Log>,
    /// The contract that was created.
    pub created: Option<Address>,
}

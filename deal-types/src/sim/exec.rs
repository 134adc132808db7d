//! One transaction at work: what it may change, and how it is refused.

use std::collections::BTreeMap;

use super::{Block, Log, Market, deal::Deal, token::Token};
use crate::{
    Address, U256,
    contract::{MarketEvent, Revert},
    rlp::created_address,
};

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A contract's own error.
    #[error("{0:?}")]
    Revert(Revert),
    /// A contract refused without saying why: malformed arguments, an unknown function of a deal,
    /// tokens that are not there.
    #[error("refused without a reason")]
    Silent,
    /// The sender has fewer native tokens than it sends.
    #[error("{account} has {balance} wei and sends {needed}")]
    Funds {
        /// The sender.
        account: Address,
        /// What it has.
        balance: U256,
        /// What it sends.
        needed: U256,
    },
    /// A function of the contracts that the simulation does not have.
    #[error("the simulation has no {signature}")]
    NotSimulated {
        /// The function.
        signature: &'static str,
    },
}

impl From<Revert> for Refusal {
    fn from(revert: Revert) -> Self {
        Self::Revert(revert)
    }
}

pub(super) fn message(text: &str) -> Refusal {
    Refusal::Revert(Revert::Message {
        message: text.to_owned(),
    })
}

pub(super) fn require(condition: bool, text: &str) -> Result<(), Refusal> {
    if condition {
        Ok(())
    } else {
        Err(message(text))
    }
}

pub(super) fn require_silently(condition: bool) -> Result<(), Refusal> {
    if condition {
        Ok(())
    } else {
        Err(Refusal::Silent)
    }
}

/// The compiler's checks of arithmetic.
pub(super) fn overflow() -> Refusal {
    Refusal::Revert(Revert::Panic {
        code: U256::from(0x11),
    })
}

pub(super) fn add(left: U256, right: U256) -> Result<U256, Refusal> {
    left.checked_add(right).ok_or_else(overflow)
}

pub(super) fn sub(left: U256, right: U256) -> Result<U256, Refusal> {
    left.checked_sub(right).ok_or_else(overflow)
}

pub(super) fn mul(left: U256, right: U256) -> Result<U256, Refusal> {
    left.checked_mul(right).ok_or_else(overflow)
}

/// `amount · numerator / denominator`, rounded down.
pub(super) fn share(amount: U256, numerator: U256, denominator: U256) -> Result<U256, Refusal> {
    mul(amount, numerator)?
        .checked_div(denominator)
        .ok_or_else(|| {
            Refusal::Revert(Revert::Panic {
                code: U256::from(0x12),
            })
        })
}

/// Everything that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) balances: BTreeMap<Address, U256>,
    pub(super) nonces: BTreeMap<Address, u64>,
    pub(super) tokens: BTreeMap<Address, Token>,
    pub(super) market: Option<Market>,
    pub(super) deals: BTreeMap<Address, Deal>,
}

/// A transaction at work on the state.
pub(super) struct Exec<'a> {
    pub(super) state: &'a mut State,
    pub(super) block: Block,
    pub(super) sender: Address,
    pub(super) value: U256,
    pub(super) input: &'a [u8],
    /// The contract that is called.
    pub(super) this: Address,
    pub(super) logs: Vec<Log>,
}

impl Exec<'_> {
    pub(super) fn log(&mut self, address: Address, event: impl Into<MarketEvent>) {
        self.logs.push(Log {
            address,
            event: event.into(),
        });
    }

    pub(super) fn market(&mut self) -> Result<&mut Market, Refusal> {
        self.state.market.as_mut().ok_or(Refusal::Silent)
    }

    /// Writes to the market's log.
    pub(super) fn tell(&mut self, event: impl Into<MarketEvent>) -> Result<(), Refusal> {
        let address = self.market()?.address;
        self.log(address, event);
        Ok(())
    }

    /// The epoch of the block.
    pub(super) fn epoch(&mut self) -> Result<u64, Refusal> {
        let timestamp = self.block.timestamp;
        self.market()?.epoch(timestamp)
    }

    pub(super) fn deal(&mut self, deal: Address) -> Result<&mut Deal, Refusal> {
        self.state.deals.get_mut(&deal).ok_or(Refusal::Silent)
    }

    /// Moves native tokens.
    pub(super) fn move_native(
        &mut self,
        from: Address,
        to: Address,
        amount: U256,
    ) -> Result<(), Refusal> {
        let balance = self.state.balances.entry(from).or_default();
        let rest = balance.checked_sub(amount).ok_or(Refusal::Funds {
            account: from,
            balance: *balance,
            needed: amount,
        })?;
        *balance = rest;
        let balance = self.state.balances.entry(to).or_default();
        *balance = add(*balance, amount)?;
        Ok(())
    }

    /// The address of the next contract that `creator` makes; `first` is its first number.
    pub(super) fn create(&mut self, creator: Address, first: u64) -> Address {
        let nonce = self.state.nonces.entry(creator).or_insert(first);
        let address = created_address(creator, *nonce);
        *nonce += 1;
        address
    }
}

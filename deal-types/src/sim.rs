//! The market as a simulation: what the contracts do, transaction by transaction, without a chain.
//!
//! [`MarketSim`] takes the same transactions as the contracts of generation G2 and answers with the
//! same events, errors and values. It is deterministic and pure: time, block numbers and block hashes
//! come from the caller. Gas and fees are not modelled, and of the owner's functions only those that
//! change tokens, approvals, price and difficulty.
//!
//! ```
//! use deal_types::{Address, U256, contract::{Call, CurrentEpoch}, sim::{Block, Genesis, MarketSim}};
//!
//! let (owner, block) = (Address([1; 20]), Block { number: 1, timestamp: 1_000, ..Block::default() });
//! let (sim, market) = MarketSim::with_market(owner, block, Genesis::default())?;
//! let later = Block { timestamp: 1_031, ..block };
//! let answer = sim.call(later, owner, market, &CurrentEpoch {}.encode())?;
//! assert_eq!(CurrentEpoch::decode_output(&answer)?, (U256::from(3),));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! `commitment`, `staker` and `vesting` are state machines of their own; `capacity`, `proofs`,
//! `offers`, `matching`, `deal` and `token` are the calls that move them; `dispatch` finds the call.

mod capacity;
mod client;
mod commitment;
mod deal;
mod dispatch;
mod env;
mod exec;
mod genesis;
mod market;
mod matching;
mod offers;
mod price;
mod proofs;
mod staker;
mod token;
mod vesting;
mod worker;

pub use commitment::Commitment;
pub use env::{Block, Contract, Log, Receipt, Target, Transaction};
pub use exec::Refusal;
pub use genesis::{Genesis, Params, Verifier};
pub use staker::StakerRewards;
pub use vesting::{Vesting, VestingChange, VestingItem};

use exec::{Exec, State, require_silently};
use market::Market;

use crate::{
    Address, U256,
    contract::{
        DealImplSet, DiamondCut, FacetCut, Initialized, LibraryInitialized, OwnershipTransferred,
    },
};

/// The market, its deals and tokens, and the accounts that use them.
#[derive(Clone, Debug, Default)]
pub struct MarketSim {
    state: State,
}

impl MarketSim {
    /// A chain without contracts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A chain with one market, made by `owner` in `block`; tells its address.
    ///
    /// # Errors
    /// Epochs without length.
    pub fn with_market(
        owner: Address,
        block: Block,
        genesis: Genesis,
    ) -> Result<(Self, Address), Refusal> {
        let mut sim = Self::new();
        let market = Contract::Market(Box::new(genesis));
        let receipt = sim.transact(
            block,
            &Transaction {
                from: owner,
                target: Target::Create(market),
                value: U256::ZERO,
            },
        );
        receipt.outcome?;
        let address = receipt.created.ok_or(Refusal::Silent)?;
        Ok((sim, address))
    }

    /// Gives an account native tokens out of nothing.
    pub fn fund(&mut self, account: Address, amount: U256) {
        let balance = self.state.balances.entry(account).or_default();
        *balance = balance.saturating_add(amount);
    }

    /// Native tokens of an account, in wei.
    #[must_use]
    pub fn balance(&self, account: Address) -> U256 {
        self.state
            .balances
            .get(&account)
            .copied()
            .unwrap_or_default()
    }

    /// Native tokens of all accounts, in wei.
    #[must_use]
    pub fn total_balance(&self) -> U256 {
        let add = |sum: U256, balance| sum.saturating_add(balance);
        self.state.balances.values().copied().fold(U256::ZERO, add)
    }

    /// The market, if it is there.
    #[must_use]
    pub fn market(&self) -> Option<Address> {
        self.state.market.as_ref().map(|market| market.address)
    }

    /// Executes a transaction. One that is refused changes nothing but the number of its sender.
    pub fn transact(&mut self, block: Block, transaction: &Transaction) -> Receipt {
        let mut state = self.state.clone();
        let nonce = state.nonces.entry(transaction.from).or_default();
        *nonce += 1;
        self.state.nonces.insert(transaction.from, *nonce);
        let nonce = *nonce - 1;
        let (input, this): (&[u8], _) = match &transaction.target {
            Target::Create(_) => (&[], crate::rlp::created_address(transaction.from, nonce)),
            Target::Call { to, input } => (input, *to),
        };
        let mut exec = Exec {
            state: &mut state,
            block,
            sender: transaction.from,
            value: transaction.value,
            input,
            this,
            logs: Vec::new(),
        };
        let outcome = exec.run(&transaction.target);
        let logs = exec.logs;
        let created = match (&outcome, &transaction.target) {
            (Ok(_), Target::Create(_)) => Some(this),
            _ => None,
        };
        if outcome.is_ok() {
            self.state = state;
        }
        Receipt {
            logs: if outcome.is_ok() { logs } else { Vec::new() },
            outcome,
            created,
        }
    }

    /// Calls a function without changing anything.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn call(
        &self,
        block: Block,
        from: Address,
        to: Address,
        input: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let mut state = self.state.clone();
        let mut exec = Exec {
            state: &mut state,
            block,
            sender: from,
            value: U256::ZERO,
            input,
            this: to,
            logs: Vec::new(),
        };
        exec.dispatch(input)
    }
}

impl Exec<'_> {
    fn run(&mut self, target: &Target) -> Result<Vec<u8>, Refusal> {
        self.move_native(self.sender, self.this, self.value)?;
        match target {
            Target::Call { input, .. } => self.dispatch(input),
            Target::Create(contract) => {
                require_silently(self.value.is_zero())?;
                self.construct(contract).map(|()| Vec::new())
            }
        }
    }

    fn construct(&mut self, contract: &Contract) -> Result<(), Refusal> {
        let address = self.this;
        match contract {
            Contract::Library => {}
            Contract::DealImplementation => self.log(address, Initialized { version: u64::MAX }),
            Contract::WrappedToken => {
                self.state.tokens.insert(address, token::Token::default());
            }
            Contract::Market(genesis) => {
                let cut = |cuts: Vec<FacetCut>| DiamondCut {
                    diamond_cut: cuts,
                    init: Address::ZERO,
                    calldata: Vec::new(),
                };
                let cut_facet = FacetCut {
                    facet: genesis.cut_facet,
                    action: 0,
                    selectors: vec![crate::abi::selector(DIAMOND_CUT)],
                };
                let ownership = OwnershipTransferred {
                    previous_owner: Address::ZERO,
                    new_owner: self.sender,
                };
                self.log(address, ownership);
                self.log(address, cut(vec![cut_facet]));
                self.log(
                    address,
                    DealImplSet {
                        deal_impl: genesis.deal_implementation,
                    },
                );
                self.log(address, cut(genesis.facets.clone()));
                self.log(address, LibraryInitialized {});
                let (owner, timestamp) = (self.sender, self.block.timestamp);
                let market = Market::new(address, owner, (**genesis).clone(), timestamp)?;
                self.state.market = Some(market);
            }
        }
        Ok(())
    }
}

/// The function that changes functions.
const DIAMOND_CUT: &str = "diamondCut((address,uint8,bytes4[])[],address,bytes)";

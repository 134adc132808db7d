//! The chain in memory with its accounts.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ccp::{LocalNonce, PortablePuzzle, Prepared, Puzzle as _, PuzzleKey};
use deal_types::{
    Address, Bytes32, U256,
    chain::{Chain as _, ChainExt as _, Head, MemoryChain, MemoryConnection, Order},
    contract::{
        ActiveUnitCount, AddPaymentTokenToWhitelist, Call, CurrentEpoch, DiamondReceive,
        MarketEvent, token,
    },
    sim::{Block, Contract, Genesis, Params, Target, Transaction, Verifier},
};

use crate::failure::{Failure, Result};

/// The owner of the market.
pub const OWNER: Address = Address([0x10; 20]);
/// Who pays the providers' collateral for a part of their rewards.
pub const STAKER: Address = Address([0x30; 20]);
/// Who needs computing power.
pub const DEVELOPER: Address = Address([0x40; 20]);

/// The id that tickets carry; local chains have it.
pub const CHAIN_ID: u64 = 31_337;
/// Seconds of an epoch: longer than the example runs, so that one epoch holds all calls.
const EPOCH_SECONDS: u64 = 600;
/// The epoch in which the clock of the chain meets that of the machine.
pub const CALL_EPOCH: u64 = 4;

/// Digits behind the point of the network's token.
pub const TOKEN_DIGITS: u32 = 18;
/// Those of the payment token: the market takes it for dollars with six digits.
pub const PAYMENT_DIGITS: u32 = 6;

/// So many whole payment tokens, in their least unit.
pub fn payments(whole: u64) -> U256 {
    U256::from(whole).saturating_mul(U256::from(1_000_000_u64))
}

/// So many whole tokens of the network, in wei.
pub fn tokens(whole: u64) -> U256 {
    U256::from(whole).saturating_mul(U256::from(1_000_000_000_000_000_000_u64))
}

/// The constants of this market: short vesting, and proofs that a laptop finds in seconds.
fn params() -> Params {
    let mut difficulty = Bytes32([0xff; 32]);
    difficulty.0[0] = 0x3f;
    Params {
        epoch_duration: EPOCH_SECONDS,
        flt_price_update_period: EPOCH_SECONDS,
        difficulty,
        min_proofs_per_epoch: 2,
        max_proofs_per_epoch: 2,
        vesting_period_duration: 1,
        vesting_period_count: 2,
        init_reward_pool: tokens(100),
        ..Params::default()
    }
}

/// Proofs are computed again, with one cache for all of a unit's.
fn verifier() -> Verifier {
    type Kept = Option<(Bytes32, Arc<dyn Prepared>)>;
    let (puzzle, kept) = (PortablePuzzle::new(), Mutex::<Kept>::default());
    Verifier::new(move |key, nonce| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = match &*kept {
            Some((known, prepared)) if *known == key => prepared.clone(),
            _ => match puzzle.prepare(&PuzzleKey(key.0)) {
                Ok(prepared) => kept.insert((key, prepared)).1.clone(),
                // A hash that no difficulty allows: the proof is refused.
                Err(_) => return Bytes32([0xff; 32]),
            },
        };
        let hash = prepared
            .solver()
            .and_then(|mut solver| solver.hash(&LocalNonce(nonce.0)));
        hash.map_or(Bytes32([0xff; 32]), |hash| Bytes32(hash.0))
    })
}

/// An epoch as it was left.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct EpochRecord {
    /// The epoch.
    pub epoch: u64,
    /// Units that proved their capacity.
    pub proving: u64,
    /// Units that worked for a deal.
    pub in_deals: u64,
}

/// The chain.
pub struct Ledger {
    chain: MemoryChain,
    token: Address,
    orders: AtomicU64,
    start: u64,
}

impl Ledger {
    /// A chain with a market, a payment token, and accounts that have something.
    ///
    /// # Errors
    /// The market refuses its own parameters.
    pub async fn new(accounts: &[Address]) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_err(Failure::new)?.as_secs();
        let start = now.saturating_sub((CALL_EPOCH - 1) * EPOCH_SECONDS);
        let genesis = Genesis {
            params: params(),
            oracle: OWNER,
            owner_view: OWNER,
            verifier: verifier(),
            ..Genesis::default()
        };
        let chain = MemoryChain::new(OWNER, start, genesis).map_err(Failure::new)?;
        let token = chain.with_sim(|sim| {
            for account in [OWNER, STAKER, DEVELOPER].iter().chain(accounts) {
                sim.fund(*account, tokens(10_000));
            }
            let block = Block {
                number: 1,
                timestamp: start,
                previous_hash: Bytes32::ZERO,
            };
            let create = Transaction {
                from: OWNER,
                target: Target::Create(Contract::WrappedToken),
                value: U256::ZERO,
            };
            sim.transact(block, &create).created
        });
        let token = token.ok_or_else(|| Failure::new("the payment token was not made"))?;
        let ledger = Self {
            chain,
            token,
            orders: AtomicU64::new(0),
            start,
        };
        let market = ledger.market();
        let allow = AddPaymentTokenToWhitelist { token };
        ledger.send(OWNER, market, &allow, U256::ZERO).await?;
        // What rewards for capacity are paid from.
        let fund = DiamondReceive {};
        ledger.send(OWNER, market, &fund, tokens(1_000)).await?;
        Ok(ledger)
    }

    /// The market.
    pub fn market(&self) -> Address {
        self.chain.market()
    }

    /// What deals are paid in.
    pub fn token(&self) -> Address {
        self.token
    }

    /// A connection of an account.
    pub fn connect(&self, account: Address) -> MemoryConnection {
        self.chain.connect(account)
    }

    /// Sends a transaction in a block of its own; what it logged.
    ///
    /// # Errors
    /// The contract refuses.
    pub async fn send<C: Call + Send + Sync>(
        &self,
        from: Address,
        to: Address,
        call: &C,
        value: U256,
    ) -> Result<Vec<MarketEvent>> {
        let failed =
            |reason: &dyn std::fmt::Display| Failure::new(format_args!("{}: {reason}", C::NAME));
        let number = self.orders.fetch_add(1, Ordering::Relaxed);
        let order = Order {
            key: Bytes32::from_uint(U256::from(number)),
            to,
            input: call.encode(),
            value,
        };
        let account = self.connect(from);
        // Calls without payment tell why they would be refused.
        if value.is_zero() {
            let asked = account.call(to, order.input.clone()).await;
            asked.map_err(|error| failed(&error))?;
        }
        let hash = account
            .submit(&order)
            .await
            .map_err(|error| failed(&error))?;
        self.mine();
        let mined = account
            .receipt(hash)
            .await
            .map_err(|error| failed(&error))?;
        let mined = mined.ok_or_else(|| failed(&"not mined"))?;
        if !mined.succeeded {
            return Err(failed(&"refused"));
        }
        let events = mined.logs.iter().map(|log| log.event());
        events
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| failed(&error))
    }

    /// Asks a contract.
    ///
    /// # Errors
    /// It refuses.
    pub async fn read<C: Call + Send + Sync>(&self, to: Address, call: &C) -> Result<C::Output>
    where
        C::Output: Send,
    {
        let answer = self.connect(OWNER).read(to, call).await;
        answer.map_err(|error| Failure::new(format_args!("{}: {error}", C::NAME)))
    }

    /// Makes a block of what was submitted.
    pub fn mine(&self) -> Head {
        self.chain.mine(0)
    }

    /// The current epoch.
    ///
    /// # Errors
    /// The market does not answer.
    pub async fn epoch(&self) -> Result<u64> {
        let (epoch,) = self.read(self.market(), &CurrentEpoch {}).await?;
        u64::try_from(epoch).map_err(Failure::new)
    }

    /// The first and the last millisecond of an epoch, the last one excluded.
    pub fn epoch_ms(&self, epoch: u64) -> (u64, u64) {
        let begin = |epoch: u64| (self.start + epoch.saturating_sub(1) * EPOCH_SECONDS) * 1_000;
        (begin(epoch), begin(epoch + 1))
    }

    /// Moves on to the first block of the next epoch; what the one before was like.
    ///
    /// # Errors
    /// The market does not answer.
    pub async fn next_epoch(&self, in_deals: u64) -> Result<(EpochRecord, Head)> {
        let epoch = self.epoch().await?;
        let (proving,) = self.read(self.market(), &ActiveUnitCount {}).await?;
        let record = EpochRecord {
            epoch,
            proving: u64::try_from(proving).map_err(Failure::new)?,
            in_deals,
        };
        let head = self.connect(OWNER).head().await.map_err(Failure::new)?;
        let next = self.epoch_ms(epoch).1 / 1_000;
        let head = self.chain.mine(next.saturating_sub(head.timestamp));
        Ok((record, head))
    }

    /// Native tokens of an account, in wei.
    pub fn native(&self, account: Address) -> U256 {
        self.chain.with_sim(|sim| sim.balance(account))
    }

    /// Payment tokens of an account.
    ///
    /// # Errors
    /// The token does not answer.
    pub async fn payment(&self, account: Address) -> Result<U256> {
        let (balance,) = self.read(self.token, &token::BalanceOf { account }).await?;
        Ok(balance)
    }
}

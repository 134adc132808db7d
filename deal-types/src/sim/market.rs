//! What the market keeps, and what its owner can change.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Commitment, Exec, Genesis, Params, Refusal, StakerRewards, Vesting,
    exec::{message, mul, overflow, require},
    price::PriceHistory,
};
use crate::{
    Address, Bytes32, EpochClock, OnChainCid, PRECISION, U256,
    contract::{
        AddPaymentTokenToWhitelist, DifficultyUpdated, FltPriceUpdated, GrantAccess,
        PaymentTokenAddedToWhitelist, PaymentTokenRemovedFromWhitelist,
        RemovePaymentTokenFromWhitelist, RevokeAccess, SetDifficulty, SetFltPrice,
        WhitelistAccessGranted, WhitelistAccessRevoked,
    },
    flt_collateral_per_unit,
};

/// A provider.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) metadata: OnChainCid,
    pub(super) unit_count: u64,
}

/// An offer.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) provider: Address,
    pub(super) min_price: U256,
    pub(super) payment_token: Address,
    pub(super) effectors: Vec<OnChainCid>,
    pub(super) peer_count: u64,
    pub(super) min_protocol_version: U256,
    pub(super) max_protocol_version: U256,
}

/// A peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) offer: Bytes32,
    pub(super) owner: Address,
    /// Zero for none.
    pub(super) commitment: Bytes32,
    pub(super) units: Vec<Bytes32>,
}

/// A unit.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) peer: Bytes32,
    /// Zero for none.
    pub(super) deal: Address,
    /// Zero until it returned from a deal.
    pub(super) start_epoch: u64,
    pub(super) worker: Bytes32,
    /// Its last epoch that is granted: proofs of the one after it are granted next, of no other.
    pub(super) granted: u64,
    /// The epoch of its last proof.
    pub(super) proof_epoch: u64,
    /// Proofs of that epoch.
    pub(super) proofs: u64,
    /// Taken out of the current commitment.
    pub(super) exited: bool,
}

impl Unit {
    /// Proofs of an epoch, if it is that of the last one.
    pub(super) fn proofs_of(&self, epoch: u64) -> u64 {
        if self.proof_epoch == epoch {
            self.proofs
        } else {
            0
        }
    }
}

/// A commitment with what was earned in it.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) commitment: Commitment,
    pub(super) vesting: Vesting,
    pub(super) withdrawn: U256,
    /// `None` until a unit went to a deal.
    pub(super) staker: Option<StakerRewards>,
    pub(super) staker_withdrawn: U256,
    pub(super) collateral_returned: bool,
}

/// The market.
#[derive(Clone, Debug)]
pub(super) struct Market {
    pub(super) address: Address,
    pub(super) genesis: Genesis,
    pub(super) owner: Address,
    pub(super) init_timestamp: u64,
    clock: EpochClock,
    pub(super) payment_tokens: BTreeSet<Address>,
    pub(super) approved: BTreeSet<Address>,
    difficulty: (Bytes32, Bytes32, u64),
    nonce: (Bytes32, Bytes32, u64),
    pub(super) prices: PriceHistory,
    /// The reward pool from an epoch on.
    pools: Vec<(u64, U256)>,
    /// Proofs that share the pool of an epoch.
    pub(super) counted_proofs: BTreeMap<u64, u64>,
    /// Units that have to prove, of all commitments.
    pub(super) active_units: u64,
    pub(super) providers: BTreeMap<Address, Provider>,
    pub(super) offers: BTreeMap<Bytes32, Offer>,
    pub(super) peers: BTreeMap<Bytes32, Peer>,
    pub(super) units: BTreeMap<Bytes32, Unit>,
    pub(super) commitments: BTreeMap<Bytes32, Ledger>,
    /// Key and nonce of every accepted proof.
    pub(super) proofs: BTreeSet<(Bytes32, Bytes32)>,
    /// Workers that deals ever had.
    pub(super) workers: u64,
    /// When a deal was matched last.
    pub(super) matched: BTreeMap<Address, u64>,
    /// Native tokens that are somebody's collateral.
    pub(super) collateral: U256,
}

impl Market {
    pub(super) fn new(
        address: Address,
        owner: Address,
        genesis: Genesis,
        timestamp: u64,
    ) -> Result<Self, Refusal> {
        let params = &genesis.params;
        let clock = EpochClock::new(timestamp, params.epoch_duration).ok_or(Refusal::Silent)?;
        Ok(Self {
            address,
            owner,
            init_timestamp: timestamp,
            clock,
            payment_tokens: BTreeSet::new(),
            approved: BTreeSet::new(),
            difficulty: (params.difficulty, params.difficulty, 1),
            nonce: (params.init_global_nonce, Bytes32::ZERO, 1),
            prices: PriceHistory::new(timestamp, params.flt_price_update_period, params.flt_price),
            pools: vec![(1, params.init_reward_pool)],
            counted_proofs: BTreeMap::new(),
            active_units: 0,
            providers: BTreeMap::new(),
            offers: BTreeMap::new(),
            peers: BTreeMap::new(),
            units: BTreeMap::new(),
            commitments: BTreeMap::new(),
            proofs: BTreeSet::new(),
            workers: 0,
            matched: BTreeMap::new(),
            collateral: U256::ZERO,
            genesis,
        })
    }

    pub(super) fn params(&self) -> &Params {
        &self.genesis.params
    }

    pub(super) fn epoch(&self, timestamp: u64) -> Result<u64, Refusal> {
        self.clock.epoch_at(timestamp).ok_or_else(overflow)
    }

    /// The threshold of proofs in an epoch.
    pub(super) fn difficulty(&self, epoch: u64) -> Bytes32 {
        let (current, next, changed) = self.difficulty;
        if epoch > changed { next } else { current }
    }

    /// The nonce of an epoch: what the last proof before it left, or of an earlier epoch.
    pub(super) fn global_nonce(&self, epoch: u64) -> Bytes32 {
        let (current, next, changed) = self.nonce;
        if epoch == changed { current } else { next }
    }

    /// Takes the nonce of the next epoch.
    pub(super) fn set_next_nonce(&mut self, epoch: u64, next: Bytes32) {
        self.nonce = (self.global_nonce(epoch), next, epoch);
    }

    /// The reward pool of an epoch.
    pub(super) fn pool(&self, epoch: u64) -> Option<U256> {
        let at = self.pools.partition_point(|pool| pool.0 <= epoch);
        let last = at.checked_sub(1).and_then(|at| self.pools.get(at));
        last.map(|pool| pool.1)
    }

    /// Adapts the pool of an epoch to the units that prove and the price, starting from the epoch
    /// before.
    pub(super) fn adapt_pool(&mut self, epoch: u64) -> Result<(), Refusal> {
        let Some(last) = epoch.checked_sub(1).and_then(|before| self.pool(before)) else {
            return Ok(());
        };
        if self.active_units == 0 {
            return Ok(());
        }
        let params = self.params();
        let revenue = mul(last, self.prices.current())?.checked_div(U256::from(self.active_units));
        // In units of 10⁻⁷ USD for whole tokens.
        let revenue = revenue.map(|wei| wei / U256::from(1_000_000_000_000_000_000_u64));
        let tenths = |tenths: u64| mul(last, U256::from(tenths)).map(|pool| pool / U256::from(10));
        let pool = match revenue {
            Some(revenue) if revenue > params.usd_target_revenue_per_epoch => {
                params.min_reward_per_epoch.max(tenths(9)?)
            }
            _ => params.max_reward_per_epoch.min(tenths(11)?),
        };
        match self.pools.last_mut() {
            Some(current) if current.0 == epoch => current.1 = pool,
            _ => self.pools.push((epoch, pool)),
        }
        Ok(())
    }

    pub(super) fn collateral_per_unit(&self) -> Result<U256, Refusal> {
        let usd = self.params().usd_collateral_per_unit;
        flt_collateral_per_unit(usd, self.prices.current()).ok_or_else(overflow)
    }

    pub(super) fn provider_of(&self, peer: &Peer) -> Address {
        let offer = self.offers.get(&peer.offer);
        offer.map(|offer| offer.provider).unwrap_or_default()
    }

    pub(super) fn peer(&self, peer: Bytes32) -> Result<&Peer, Refusal> {
        self.peers
            .get(&peer)
            .ok_or_else(|| message("Peer doesn't exist"))
    }

    pub(super) fn unit(&self, unit: Bytes32) -> Result<&Unit, Refusal> {
        self.units
            .get(&unit)
            .ok_or_else(|| message("Compute unit doesn't exist"))
    }

    pub(super) fn unit_mut(&mut self, unit: Bytes32) -> Result<&mut Unit, Refusal> {
        self.units
            .get_mut(&unit)
            .ok_or_else(|| message("Compute unit doesn't exist"))
    }

    pub(super) fn ledger(&self, commitment: Bytes32) -> Result<&Ledger, Refusal> {
        self.commitments.get(&commitment).ok_or_else(no_commitment)
    }

    pub(super) fn ledger_mut(&mut self, commitment: Bytes32) -> Result<&mut Ledger, Refusal> {
        self.commitments
            .get_mut(&commitment)
            .ok_or_else(no_commitment)
    }

    /// Advances a staker's rewards to an epoch, with the mean price of the epochs between.
    pub(super) fn advance(&self, staker: &mut StakerRewards, epoch: u64) {
        let from = self.clock.start_of(staker.epoch()).unwrap_or(u64::MAX);
        let to = self.clock.start_of(epoch).unwrap_or(u64::MAX);
        staker.advance(epoch, self.prices.mean_reverse(from, to));
    }

    /// The first epoch in which a unit has to prove.
    pub(super) fn start_epoch(&self, unit: &Unit) -> u64 {
        if unit.start_epoch != 0 {
            return unit.start_epoch;
        }
        let commitment = self.peers.get(&unit.peer).map(|peer| peer.commitment);
        let ledger = commitment.and_then(|id| self.commitments.get(&id));
        ledger.map_or(0, |ledger| ledger.commitment.start)
    }

    /// Parts in which rewards from deals unlock.
    pub(super) fn staker_slots(&self) -> u64 {
        let params = self.params();
        params
            .vesting_period_duration
            .saturating_mul(params.vesting_period_count)
    }

    /// Native tokens that are there for rewards.
    pub(super) fn reward_balance(&self, balance: U256) -> U256 {
        balance.saturating_sub(self.collateral)
    }
}

fn no_commitment() -> Refusal {
    message("Capacity commitment doesn't exist")
}

/// Part of an amount by a ratio in 10⁻⁷.
pub(super) fn ratio(amount: U256, rate: U256) -> Result<U256, Refusal> {
    super::exec::share(amount, rate, U256::from(PRECISION))
}

impl Exec<'_> {
    fn only_owner(&mut self) -> Result<(), Refusal> {
        let sender = self.sender;
        require(
            self.market()?.owner == sender,
            "LibDiamond: Must be contract owner",
        )
    }

    pub(super) fn add_payment_token(
        &mut self,
        call: &AddPaymentTokenToWhitelist,
    ) -> Result<(), Refusal> {
        self.only_owner()?;
        require(!call.token.is_zero(), "Zero token address is not allowed")?;
        self.market()?.payment_tokens.insert(call.token);
        self.tell(PaymentTokenAddedToWhitelist {
            payment_token: call.token,
        })
    }

    pub(super) fn remove_payment_token(
        &mut self,
        call: &RemovePaymentTokenFromWhitelist,
    ) -> Result<(), Refusal> {
        self.only_owner()?;
        self.market()?.payment_tokens.remove(&call.token);
        self.tell(PaymentTokenRemovedFromWhitelist {
            payment_token: call.token,
        })
    }

    pub(super) fn grant_access(&mut self, call: &GrantAccess) -> Result<(), Refusal> {
        self.only_owner()?;
        self.market()?.approved.insert(call.account);
        self.tell(WhitelistAccessGranted {
            account: call.account,
        })
    }

    pub(super) fn revoke_access(&mut self, call: &RevokeAccess) -> Result<(), Refusal> {
        self.only_owner()?;
        self.market()?.approved.remove(&call.account);
        self.tell(WhitelistAccessRevoked {
            account: call.account,
        })
    }

    pub(super) fn set_difficulty(&mut self, call: &SetDifficulty) -> Result<(), Refusal> {
        self.only_owner()?;
        let epoch = self.epoch()?;
        let market = self.market()?;
        market.difficulty = (market.difficulty(epoch), call.difficulty, epoch);
        self.tell(DifficultyUpdated {
            difficulty: call.difficulty,
        })
    }

    pub(super) fn set_flt_price(&mut self, call: &SetFltPrice) -> Result<(), Refusal> {
        let (sender, timestamp) = (self.sender, self.block.timestamp);
        let epoch = self.epoch()?;
        let market = self.market()?;
        require(
            market.genesis.oracle == sender,
            "Only oracle can set FLT price",
        )?;
        require(!call.flt_price.is_zero(), "FLT price should be positive")?;
        // The pool takes the price that was, and the new one when it changes next.
        market.adapt_pool(epoch)?;
        market.prices.set(timestamp, call.flt_price);
        self.tell(FltPriceUpdated {
            new_value: call.flt_price,
        })
    }

    /// One unit more or less that has to prove.
    pub(super) fn change_active(&mut self, more: u64, less: u64) -> Result<(), Refusal> {
        let epoch = self.epoch()?;
        let market = self.market()?;
        market.active_units = market
            .active_units
            .saturating_add(more)
            .saturating_sub(less);
        market.adapt_pool(epoch)
    }

    /// Takes native tokens in for rewards: they have moved already.
    pub(super) fn receive(&mut self) -> Result<(), Refusal> {
        self.market().map(|_| ())
    }
}

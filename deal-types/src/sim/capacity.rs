//! Commitments: collateral, failure, rewards.

use super::{
    Commitment, Exec, Refusal, StakerRewards, Vesting,
    exec::{add, message, mul, require, sub},
    market::{Ledger, ratio},
};
use crate::{
    Address, Bytes32, CommitmentStatus, PRECISION, U256, commitment_id,
    contract::{
        CollateralDeposited, CollateralWithdrawn, CommitmentActivated, CommitmentCreated,
        CommitmentFailed, CommitmentFinished, CommitmentRemoved, CommitmentStatsUpdated,
        CreateCommitment, DepositCollateral, FinishCommitment, RemoveCommitment,
        RemoveUnitsFromCommitment, Revert, RewardWithdrawn, StateUpdated, VestingScheduleItem,
        VestingUpdateItem, WithdrawCollateral, WithdrawReward,
    },
    market::{CommitmentView, Rewards},
};

impl Exec<'_> {
    pub(super) fn create_commitment(
        &mut self,
        call: &CreateCommitment,
    ) -> Result<Bytes32, Refusal> {
        let (sender, block) = (self.sender, self.block);
        let market = self.market()?;
        let params = market.params();
        let between = |value: U256, least: u64, greatest: u64| {
            (value >= U256::from(least), value <= U256::from(greatest))
        };
        require(
            !params.whitelist || market.approved.contains(&sender),
            "Whitelist: provider is not approved",
        )?;
        let peer = market.peer(call.peer_id)?;
        let provider = market.provider_of(peer);
        require(peer.commitment.is_zero(), "Peer already has commitment")?;
        let (long, short) = between(call.duration, params.min_duration, params.max_duration);
        require(
            long,
            "Duration should be greater or equal than min capacity commitment duration",
        )?;
        require(
            short,
            "Duration should be lower or equal than max capacity commitment duration",
        )?;
        let units = peer.units.len() as u64;
        require(
            units >= params.min_units_per_commitment,
            "Number of units in peer should be greater or equal than min number of units in commitment",
        )?;
        require(
            units <= params.max_units_per_commitment,
            "Number of units in peer should be lower or equal than max number of units in commitment",
        )?;
        require(
            call.reward_delegation_rate <= U256::from(PRECISION),
            "Reward delegation rate should be less or equal 1",
        )?;
        require(
            !call.reward_delegation_rate.is_zero(),
            "Reward delegation rate should be greater than 0",
        )?;
        require(
            provider == sender,
            "Only provider can create capacity commitment",
        )?;
        let collateral_per_unit = market.collateral_per_unit()?;
        let id = commitment_id(
            block.number,
            call.peer_id,
            call.duration,
            call.delegator,
            call.reward_delegation_rate,
        );
        let commitment = Commitment {
            peer: call.peer_id,
            duration: u64::try_from(call.duration).map_err(|_| super::exec::overflow())?,
            rate: call.reward_delegation_rate,
            staker: call.delegator,
            collateral_per_unit,
            unit_count: units,
            start: 0,
            stored: CommitmentStatus::WaitDelegation,
            accounted: 0,
            successes: 0,
            active: 0,
            additional: 0,
            fails: 0,
            failed_epoch: 0,
            exited: 0,
        };
        market.commitments.insert(
            id,
            Ledger {
                commitment,
                vesting: Vesting::default(),
                withdrawn: U256::ZERO,
                staker: None,
                staker_withdrawn: U256::ZERO,
                collateral_returned: false,
            },
        );
        if let Some(peer) = market.peers.get_mut(&call.peer_id) {
            peer.commitment = id;
        }
        self.tell(CommitmentCreated {
            peer_id: call.peer_id,
            commitment_id: id,
            duration: call.duration,
            delegator: call.delegator,
            reward_delegation_rate: call.reward_delegation_rate,
            flt_collateral_per_unit: collateral_per_unit,
        })?;
        Ok(id)
    }

    pub(super) fn deposit_collateral(&mut self, call: &DepositCollateral) -> Result<(), Refusal> {
        let sender = self.sender;
        let epoch = self.epoch()?;
        let mut rest = self.value;
        for id in &call.commitment_ids {
            let market = self.market()?;
            let commitment = &mut market.ledger_mut(*id)?.commitment;
            require(
                commitment.start == 0 && commitment.stored == CommitmentStatus::WaitDelegation,
                "Capacity commitment is not in WaitDelegation status",
            )?;
            if commitment.staker.is_zero() {
                commitment.staker = sender;
            }
            require(
                commitment.staker == sender,
                "Only delegator can lock collateral",
            )?;
            let collateral = commitment.collateral();
            commitment.start = epoch + 1;
            commitment.accounted = epoch;
            commitment.active = commitment.unit_count;
            commitment.stored = CommitmentStatus::Active;
            let (peer_id, units) = (commitment.peer, commitment.unit_count);
            let (start, end) = (commitment.start, commitment.end());
            rest = sub(rest, collateral)?;
            market.collateral = add(market.collateral, collateral)?;
            let unit_ids = market.peer(peer_id)?.units.clone();
            self.change_active(units, 0)?;
            self.tell(CollateralDeposited {
                commitment_id: *id,
                staker_address: sender,
                total_collateral: collateral,
            })?;
            self.tell(CommitmentActivated {
                peer_id,
                commitment_id: *id,
                start_epoch: U256::from(start),
                end_epoch: U256::from(end),
                unit_ids,
            })?;
        }
        require(rest.is_zero(), "Excessive value")
    }

    pub(super) fn remove_commitment(&mut self, call: &RemoveCommitment) -> Result<(), Refusal> {
        let sender = self.sender;
        let market = self.market()?;
        let commitment = market.ledger(call.commitment_id)?.commitment.clone();
        require(
            commitment.stored == CommitmentStatus::WaitDelegation,
            "Capacity commitment is not in WaitDelegation status",
        )?;
        let provider = market.provider_of(market.peer(commitment.peer)?);
        require(
            provider == sender,
            "Only provider can remove capacity commitment",
        )?;
        market.commitments.remove(&call.commitment_id);
        if let Some(peer) = market.peers.get_mut(&commitment.peer) {
            peer.commitment = Bytes32::ZERO;
        }
        self.tell(CommitmentRemoved {
            commitment_id: call.commitment_id,
        })
    }

    /// Accounts for the epochs before this one.
    pub(super) fn account(&mut self, id: Bytes32) -> Result<CommitmentStatus, Refusal> {
        let epoch = self.epoch()?;
        let market = self.market()?;
        let max_failed_ratio = market.params().max_failed_ratio;
        let commitment = &mut market.ledger_mut(id)?.commitment;
        let (before, units) = (commitment.stored, commitment.active + commitment.additional);
        let status = commitment.account(epoch, max_failed_ratio);
        let failed_epoch = U256::from(commitment.failed_epoch);
        if before == CommitmentStatus::Active && commitment.stored != before {
            self.change_active(0, units)?;
            if status == CommitmentStatus::Failed {
                self.tell(CommitmentFailed {
                    commitment_id: id,
                    failed_epoch,
                })?;
            }
        }
        Ok(status)
    }

    pub(super) fn tell_stats(&mut self, id: Bytes32, changed_epoch: u64) -> Result<(), Refusal> {
        let commitment = &self.market()?.ledger(id)?.commitment;
        let event = CommitmentStatsUpdated {
            commitment_id: id,
            total_fail_count: U256::from(commitment.fails),
            exited_unit_count: U256::from(commitment.exited),
            active_unit_count: U256::from(commitment.active),
            next_additional_active_unit_count: U256::from(commitment.additional),
            changed_epoch: U256::from(changed_epoch),
        };
        self.tell(event)
    }

    /// Grants a unit what it earned in the epoch after the last one that was granted.
    pub(super) fn grant(&mut self, id: Bytes32, unit: Bytes32) -> Result<(), Refusal> {
        let epoch = self.epoch()?;
        let market = self.market()?;
        let params = market.params();
        let (minimum, period, count) = (
            params.min_proofs_per_epoch,
            params.vesting_period_duration,
            params.vesting_period_count,
        );
        let commitment = &market.ledger(id)?.commitment;
        let last = match commitment.failed_epoch {
            0 => commitment.end().min(epoch) - 1,
            failed => failed.min(epoch - 1),
        };
        let record = market.unit_mut(unit)?;
        if record.granted >= last {
            return Ok(());
        }
        let earned = record.granted + 1;
        record.granted = last;
        let proofs = record.proofs_of(earned);
        let total = market
            .counted_proofs
            .get(&earned)
            .copied()
            .unwrap_or_default();
        if proofs < minimum || total == 0 {
            return Ok(());
        }
        let pool = market.pool(earned).unwrap_or_default();
        let reward = super::exec::share(pool, U256::from(proofs), U256::from(total))?;
        let vesting = &mut market.ledger_mut(id)?.vesting;
        for change in vesting.add(reward, last, period, count) {
            let (index, cumulative_amount) = (U256::from(change.index), change.item.cumulative);
            if change.is_new {
                self.tell(VestingScheduleItem {
                    commitment_id: id,
                    id: index,
                    epoch: U256::from(change.item.epoch),
                    cumulative_amount,
                })?;
            } else {
                self.tell(VestingUpdateItem {
                    commitment_id: id,
                    id: index,
                    cumulative_amount,
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_units(&mut self, call: &RemoveUnitsFromCommitment) -> Result<(), Refusal> {
        let (sender, id) = (self.sender, call.commitment_id);
        let epoch = self.epoch()?;
        let market = self.market()?;
        let peer_id = market.ledger(id)?.commitment.peer;
        let provider = market.provider_of(market.peer(peer_id)?);
        require(
            provider == sender,
            "Only provider can remove capacity commitment",
        )?;
        ended(self.account(id)?)?;
        for unit_id in &call.unit_ids {
            let unit = self.market()?.unit(*unit_id)?;
            require(
                unit.peer == peer_id,
                "Compute unit doesn't belong to capacity commitment",
            )?;
            require(!unit.exited, "Compute unit is exited")?;
            require(unit.deal.is_zero(), "Compute unit is in deal")?;
            self.grant(id, *unit_id)?;
            let market = self.market()?;
            market.unit_mut(*unit_id)?.exited = true;
            market.ledger_mut(id)?.commitment.exited += 1;
        }
        self.tell_stats(id, epoch - 1)
    }

    /// Returns what is left of the collateral, once.
    fn return_collateral(&mut self, id: Bytes32) -> Result<(), Refusal> {
        let market = self.market()?;
        let slashing_rate = market.params().slashing_rate;
        let (address, owner) = (market.address, market.owner);
        let ledger = market.ledger_mut(id)?;
        if std::mem::replace(&mut ledger.collateral_returned, true) {
            return Ok(());
        }
        let commitment = &ledger.commitment;
        let collateral = commitment.collateral();
        let missed = mul(commitment.collateral_per_unit, U256::from(commitment.fails))?;
        let slashed = ratio(missed, slashing_rate)?.min(collateral);
        let (staker, rest) = (commitment.staker, sub(collateral, slashed)?);
        market.collateral = sub(market.collateral, collateral)?;
        self.move_native(address, staker, rest)?;
        self.move_native(address, owner, slashed)?;
        self.tell(CollateralWithdrawn {
            commitment_id: id,
            amount_withdrawn: rest,
            amount_slashed: slashed,
        })
    }

    /// A failed commitment pays its collateral back only after a while.
    fn waited(&mut self, id: Bytes32, status: CommitmentStatus) -> Result<(), Refusal> {
        let epoch = self.epoch()?;
        let market = self.market()?;
        let wait = market.params().withdraw_epochs_after_failed;
        let failed = market.ledger(id)?.commitment.failed_epoch;
        require(
            status != CommitmentStatus::Failed || epoch >= failed.saturating_add(wait),
            "Capacity commitment is failed and not enough epochs passed to withdraw collateral",
        )
    }

    pub(super) fn withdraw_collateral(&mut self, call: &WithdrawCollateral) -> Result<(), Refusal> {
        let (sender, id) = (self.sender, call.commitment_id);
        let epoch = self.epoch()?;
        let market = self.market()?;
        let commitment = &market.ledger(id)?.commitment;
        let staker = commitment.staker;
        let provider = market.provider_of(market.peer(commitment.peer)?);
        require(
            sender == provider || sender == staker,
            "Only provider or staker can initiate collateral withdraw from capacity commitment",
        )?;
        let status = self.account(id)?;
        ended(status)?;
        self.waited(id, status)?;
        self.return_collateral(id)?;
        self.tell_stats(id, epoch - 1)
    }

    pub(super) fn finish_commitment(&mut self, call: &FinishCommitment) -> Result<(), Refusal> {
        let id = call.commitment_id;
        let status = self.account(id)?;
        ended(status)?;
        self.waited(id, status)?;
        let commitment = &self.market()?.ledger(id)?.commitment;
        let (peer_id, all_exited) = (commitment.peer, commitment.exited == commitment.unit_count);
        require(
            all_exited,
            "For finish commitment all units should be exited",
        )?;
        self.return_collateral(id)?;
        let market = self.market()?;
        market.ledger_mut(id)?.commitment.stored = CommitmentStatus::Removed;
        let units = match market.peers.get_mut(&peer_id) {
            Some(peer) => {
                peer.commitment = Bytes32::ZERO;
                peer.units.clone()
            }
            None => Vec::new(),
        };
        for unit in units {
            let unit = market.unit_mut(unit)?;
            unit.exited = false;
            (unit.granted, unit.proof_epoch, unit.proofs) = (0, 0, 0);
        }
        self.tell(CommitmentFinished { commitment_id: id })
    }

    /// The epoch up to which rewards count: a failed commitment earns nothing after its failure.
    fn reward_epoch(ledger: &Ledger, epoch: u64) -> u64 {
        match ledger.commitment.failed_epoch {
            0 => epoch,
            failed => failed.min(epoch),
        }
    }

    pub(super) fn withdraw_reward(&mut self, call: &WithdrawReward) -> Result<(), Refusal> {
        let (sender, id) = (self.sender, call.commitment_id);
        let market = self.market()?;
        let ledger = market.commitments.get(&id);
        let commitment = &ledger
            .ok_or_else(|| message("Peer doesn't exist"))?
            .commitment;
        let staker_account = commitment.staker;
        let provider = market.provider_of(market.peer(commitment.peer)?);
        require(
            sender == provider || sender == staker_account,
            "Only provider or delegator can withdraw reward",
        )?;
        self.account(id)?;
        let now = self.epoch()?;
        let market = self.market()?;
        let address = market.address;
        let mut ledger = market.ledger(id)?.clone();
        let epoch = Self::reward_epoch(&ledger, now);
        let mut staker = ledger
            .staker
            .take()
            .unwrap_or_else(|| StakerRewards::new(market.staker_slots(), epoch));
        market.advance(&mut staker, epoch);
        let state = staker.state();
        let earned = sub(ledger.vesting.unlocked(epoch), ledger.withdrawn)?;
        let from_deals = sub(staker.unlocked(), ledger.staker_withdrawn)?;
        let amount = add(earned, from_deals)?;
        require(!amount.is_zero(), "No rewards available for withdraw.")?;
        let part = ratio(earned, ledger.commitment.rate)?;
        let (to_provider, to_staker) = (sub(earned, part)?, add(part, from_deals)?);
        ledger.withdrawn = add(ledger.withdrawn, earned)?;
        ledger.staker_withdrawn = add(ledger.staker_withdrawn, from_deals)?;
        ledger.staker = Some(staker);
        let balance = self
            .state
            .balances
            .get(&address)
            .copied()
            .unwrap_or_default();
        let market = self.market()?;
        require(
            market.reward_balance(balance) >= amount,
            "Not enough reward balance pool on the contract. Wait when DAO will refill it.",
        )?;
        *market.ledger_mut(id)? = ledger;
        self.move_native(address, provider, to_provider)?;
        self.move_native(address, staker_account, to_staker)?;
        self.tell(StateUpdated {
            commitment_id: id,
            state,
        })?;
        self.tell_stats(id, epoch - 1)?;
        self.tell(RewardWithdrawn {
            commitment_id: id,
            provider_reward: to_provider,
            deal_staker_rewards_amount: to_staker,
        })
    }

    /// A commitment after its snapshot of this epoch, without writing anything.
    fn snapshot(&mut self, id: Bytes32) -> Result<(Ledger, CommitmentStatus), Refusal> {
        let epoch = self.epoch()?;
        let market = self.market()?;
        let max_failed_ratio = market.params().max_failed_ratio;
        let mut ledger = market.ledger(id)?.clone();
        let status = ledger.commitment.account(epoch, max_failed_ratio);
        if let Some(mut staker) = ledger.staker.take() {
            market.advance(&mut staker, Self::reward_epoch(&ledger, epoch));
            ledger.staker = Some(staker);
        }
        Ok((ledger, status))
    }

    /// The last epoch that counts for those who work under a commitment; `None` without one.
    pub(super) fn last_reward_epoch(&mut self, id: Bytes32) -> Result<Option<u64>, Refusal> {
        if id.is_zero() {
            return Ok(None);
        }
        let (ledger, _) = self.snapshot(id)?;
        Ok(Some(match ledger.commitment.failed_epoch {
            0 => ledger.commitment.end().saturating_sub(1),
            failed => failed,
        }))
    }

    pub(super) fn commitment_status(&mut self, id: Bytes32) -> Result<CommitmentStatus, Refusal> {
        Ok(self.snapshot(id)?.1)
    }

    pub(super) fn commitment_view(&mut self, id: Bytes32) -> Result<CommitmentView, Refusal> {
        let (ledger, status) = self.snapshot(id)?;
        let commitment = ledger.commitment;
        Ok(CommitmentView {
            status,
            peer_id: commitment.peer,
            collateral_per_unit: commitment.collateral_per_unit,
            unit_count: U256::from(commitment.unit_count),
            start_epoch: U256::from(commitment.start),
            end_epoch: U256::from(commitment.end()),
            reward_delegator_rate: commitment.rate,
            delegator: commitment.staker,
            total_fail_count: U256::from(commitment.fails),
            failed_epoch: U256::from(commitment.failed_epoch),
            exited_unit_count: U256::from(commitment.exited),
        })
    }

    /// Rewards that are not withdrawn: all of them, or those that are unlocked.
    pub(super) fn rewards(&mut self, id: Bytes32, only_unlocked: bool) -> Result<Rewards, Refusal> {
        let epoch = self.epoch()?;
        let (ledger, _) = self.snapshot(id)?;
        let only_unlocked = only_unlocked || ledger.commitment.failed_epoch != 0;
        let (earned, staker) = if only_unlocked {
            let unlocked = ledger.vesting.unlocked(Self::reward_epoch(&ledger, epoch));
            (unlocked, ledger.staker.map(|staker| staker.unlocked()))
        } else {
            (
                ledger.vesting.total(),
                ledger.staker.map(|staker| staker.total()),
            )
        };
        Ok(Rewards {
            provider: sub(earned, ledger.withdrawn)?,
            staker: staker
                .unwrap_or_default()
                .saturating_sub(ledger.staker_withdrawn),
        })
    }

    pub(super) fn withdrawn_rewards(&mut self, id: Bytes32) -> Result<Rewards, Refusal> {
        let ledger = self.market()?.ledger(id)?;
        Ok(Rewards {
            provider: ledger.withdrawn,
            staker: ledger.staker_withdrawn,
        })
    }

    /// Who gets the staker's part of a deal's payments: what the market says its owner is.
    pub(super) fn reward_receiver(&mut self) -> Result<Address, Refusal> {
        Ok(self.market()?.genesis.owner_view)
    }
}

fn ended(status: CommitmentStatus) -> Result<(), Refusal> {
    match status {
        CommitmentStatus::Inactive | CommitmentStatus::Failed => Ok(()),
        status => Err(Revert::InvalidCommitmentStatus { status }.into()),
    }
}

/// Text of a refusal that several calls share.
pub(super) fn no_commitment_on_unit() -> Refusal {
    message("Compute unit doesn't have commitment")
}

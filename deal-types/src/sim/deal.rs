//! Deals: their money, their workers, their statuses.

use super::{
    Exec, Refusal,
    exec::{add, message, mul, require, share, sub},
};
use crate::{
    AccessType, Address, Bytes32, DealStatus, OnChainCid, PRECISION, U256,
    contract::{
        ActivateWorker, AddProviderToAccessList, AppCidChanged, ChangeProvidersAccessType,
        DealCreated, DealEnded, DeployDeal, DepositToDeal, Deposited, Initialized,
        MaxPaidEpochUpdated, OwnershipTransferred, ProviderAddedToAccessList,
        ProviderRemovedFromAccessList, ProvidersAccessTypeChanged, RemoveProviderFromAccessList,
        RemoveWorker, Revert, SetAppCid, WithdrawFromDeal, WithdrawRewards, Withdrawn,
        WorkerActivated, WorkerIdUpdated, WorkerRemoved, WorkerRewardWithdrawn,
    },
    market::{Rewards, Worker},
};

/// What a deal was made with.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) payment_token: Address,
    pub(super) min_workers: U256,
    pub(super) target_workers: U256,
    pub(super) units_per_worker: U256,
    pub(super) max_workers_per_provider: U256,
    pub(super) price: U256,
    pub(super) effectors: Vec<OnChainCid>,
    pub(super) protocol_version: U256,
}

/// A worker of a deal.
#[derive(Clone, Debug)]
pub(super) struct WorkerState {
    pub(super) offchain_id: Bytes32,
    pub(super) peer: Bytes32,
    pub(super) provider: Address,
    pub(super) joined: u64,
    pub(super) units: Vec<Bytes32>,
    /// The commitment of its peer when it joined; zero for none.
    pub(super) commitment: Bytes32,
    /// The staker's part of what it earns, in 10⁻⁷.
    pub(super) rate: U256,
    /// Paid epochs of the deal when it was paid last.
    paid: u64,
}

impl WorkerState {
    /// A worker that is not activated.
    pub(super) fn new(
        peer: Bytes32,
        provider: Address,
        joined: u64,
        units: Vec<Bytes32>,
        commitment: Bytes32,
        rate: U256,
    ) -> Self {
        Self {
            offchain_id: Bytes32::ZERO,
            peer,
            provider,
            joined,
            units,
            commitment,
            rate,
            paid: 0,
        }
    }
}

/// A deal. Workers are paid for every epoch in which enough of them are activated and money is left.
#[derive(Clone, Debug)]
pub(super) struct Deal {
    pub(super) owner: Address,
    pub(super) app_cid: OnChainCid,
    pub(super) terms: Terms,
    pub(super) access_type: AccessType,
    pub(super) access_list: Vec<Address>,
    /// Money that is not owed to workers.
    pub(super) balance: U256,
    /// The last epoch that is accounted for.
    accounted: u64,
    /// Epochs that were paid so far.
    paid: u64,
    /// The last epoch that there is money for; zero while too few workers are activated.
    pub(super) max_paid: u64,
    pub(super) activated: u64,
    pub(super) ended: Option<u64>,
    /// By number; one that leaves is replaced by the last.
    pub(super) workers: Vec<(u64, WorkerState)>,
}

impl Deal {
    fn price_per_worker(&self) -> Result<U256, Refusal> {
        mul(self.terms.price, self.terms.units_per_worker)
    }

    fn price_per_epoch(&self) -> Result<U256, Refusal> {
        mul(self.price_per_worker()?, U256::from(self.activated))
    }

    /// What has to stay so that the deal counts as paid.
    fn reserve(&self, epochs: u64) -> Result<U256, Refusal> {
        let workers = mul(self.price_per_worker()?, self.terms.target_workers)?;
        mul(workers, U256::from(epochs))
    }

    fn is_running(&self) -> bool {
        U256::from(self.activated) >= self.terms.min_workers
    }

    /// Accounts for all epochs up to `last`.
    fn account(&mut self, last: u64) -> Result<(), Refusal> {
        if last <= self.accounted {
            return Ok(());
        }
        if self.max_paid != 0 && self.ended.is_none() {
            let paid = last.min(self.max_paid).saturating_sub(self.accounted);
            let cost = mul(self.price_per_epoch()?, U256::from(paid))?;
            self.balance = sub(self.balance, cost)?;
            self.paid += paid;
        }
        self.accounted = last;
        Ok(())
    }

    /// The last epoch that the money lasts for.
    fn affordable(&self) -> Result<u64, Refusal> {
        let epochs = self.balance.checked_div(self.price_per_epoch()?);
        let epochs = epochs
            .and_then(|epochs| u64::try_from(epochs).ok())
            .unwrap_or(u64::MAX);
        Ok(self.accounted.saturating_add(epochs))
    }

    fn status(&self, epoch: u64, deposited_epochs: u64) -> Result<DealStatus, Refusal> {
        Ok(if self.ended.is_some() {
            DealStatus::Ended
        } else if self.max_paid != 0 && epoch > self.max_paid {
            DealStatus::InsufficientFunds
        } else if !self.is_running() {
            // Whatever its balance: nothing is paid from it.
            DealStatus::NotEnoughWorkers
        } else if self.balance < self.reserve(deposited_epochs)? {
            DealStatus::SmallBalance
        } else {
            DealStatus::Active
        })
    }

    /// What a worker has earned since it was paid. It earns nothing after `last`, the last epoch of
    /// its commitment; but whoever waits pays for it: every epoch after that takes one off again that
    /// the deal did not pay.
    fn reward(&self, worker: &WorkerState, last: Option<u64>) -> Result<Rewards, Refusal> {
        if worker.offchain_id.is_zero() {
            return Ok(Rewards {
                provider: U256::ZERO,
                staker: U256::ZERO,
            });
        }
        let now = self.ended.unwrap_or(self.accounted);
        let over = last.map_or(0, |last| now.saturating_sub(last));
        let paid = self.paid.saturating_sub(worker.paid);
        let epochs = U256::from(paid.saturating_sub(over));
        let total = mul(self.price_per_worker()?, epochs)?;
        let staker = share(total, worker.rate, U256::from(PRECISION))?;
        Ok(Rewards {
            provider: sub(total, staker)?,
            staker,
        })
    }

    pub(super) fn allows(&self, provider: Address) -> bool {
        let listed = self.access_list.contains(&provider);
        match self.access_type {
            AccessType::None => true,
            AccessType::Whitelist => listed,
            AccessType::Blacklist => !listed,
        }
    }

    pub(super) fn worker(&self, id: Bytes32) -> Result<(u64, &WorkerState), Refusal> {
        let number = u64::try_from(id.to_uint()).ok();
        let found = number.and_then(|number| {
            let found = self.workers.iter().find(|worker| worker.0 == number)?;
            Some((found.0, &found.1))
        });
        found.ok_or_else(|| message("Worker not found"))
    }

    fn worker_mut(&mut self, number: u64) -> Option<&mut WorkerState> {
        let found = self.workers.iter_mut().find(|worker| worker.0 == number);
        found.map(|worker| &mut worker.1)
    }

    pub(super) fn view(&self, number: u64, worker: &WorkerState) -> Worker {
        Worker {
            offchain_id: worker.offchain_id,
            onchain_id: onchain_id(number),
            peer_id: worker.peer,
            provider: worker.provider,
            joined_epoch: U256::from(worker.joined),
            compute_unit_ids: worker.units.clone(),
        }
    }
}

pub(super) fn onchain_id(number: u64) -> Bytes32 {
    Bytes32::from_uint(U256::from(number))
}

impl Exec<'_> {
    pub(super) fn deploy_deal(&mut self, call: &DeployDeal) -> Result<Address, Refusal> {
        let sender = self.sender;
        let epoch = self.epoch()?;
        let market = self.market()?;
        let address = market.address;
        let deposited_epochs = market.params().min_deal_deposited_epochs;
        let allowed = market.payment_tokens.contains(&call.payment_token);
        require(allowed, "Payment token is not allowed")?;
        let deal_address = self.create(address, 1);
        let nobody = Address::ZERO;
        let deal = Deal {
            owner: sender,
            app_cid: call.app_cid,
            terms: Terms {
                payment_token: call.payment_token,
                min_workers: call.min_workers,
                target_workers: call.target_workers,
                units_per_worker: call.cu_count_per_worker,
                max_workers_per_provider: call.max_workers_per_provider,
                price: call.price_per_cu_per_epoch,
                effectors: call.effectors.clone(),
                protocol_version: call.protocol_version,
            },
            access_type: call.access_type,
            access_list: call.access_list.clone(),
            balance: call.deposit_amount,
            accounted: epoch - 1,
            paid: 0,
            max_paid: 0,
            activated: 0,
            ended: None,
            workers: Vec::new(),
        };
        let reserve = deal.reserve(deposited_epochs)?;
        require(
            call.deposit_amount >= reserve,
            "Deposit amount is less than minimum required",
        )?;
        self.log(
            deal_address,
            OwnershipTransferred {
                previous_owner: nobody,
                new_owner: address,
            },
        );
        require(
            !call.min_workers.is_zero(),
            "Config: minWorkers should be greater than 0",
        )?;
        require(
            call.min_workers <= call.target_workers,
            "Config: minWorkers should be less or equal to targetWorkers",
        )?;
        require(
            !call.cu_count_per_worker.is_zero(),
            "Config: cuCountPerWorker should be greater than 0",
        )?;
        self.state.deals.insert(deal_address, deal);
        self.log(
            deal_address,
            AppCidChanged {
                new_app_cid: call.app_cid,
            },
        );
        self.log(deal_address, Initialized { version: 1 });
        let (token, amount) = (call.payment_token, call.deposit_amount);
        self.transfer_by(token, address, sender, address, amount)?;
        self.approve(token, address, deal_address, amount)?;
        self.transfer_by(token, deal_address, address, deal_address, amount)?;
        self.log(deal_address, Deposited { amount });
        self.log(
            deal_address,
            OwnershipTransferred {
                previous_owner: address,
                new_owner: sender,
            },
        );
        self.market()?.matched.insert(deal_address, 0);
        self.tell(DealCreated {
            owner: sender,
            deal: deal_address,
            created_at_epoch: U256::from(epoch),
            payment_token: token,
            min_workers: call.min_workers,
            target_workers: call.target_workers,
            cu_count_per_worker: call.cu_count_per_worker,
            max_workers_per_provider: call.max_workers_per_provider,
            price_per_cu_per_epoch: call.price_per_cu_per_epoch,
            effectors: call.effectors.clone(),
            app_cid: call.app_cid,
            providers_access_type: call.access_type,
            providers_access_list: call.access_list.clone(),
            protocol_version: call.protocol_version,
        })?;
        Ok(deal_address)
    }

    fn list_provider(&mut self, address: Address, provider: Address) -> Result<(), Refusal> {
        let deal = self.deal(address)?;
        if !deal.access_list.contains(&provider) {
            deal.access_list.push(provider);
        }
        self.log(address, ProviderAddedToAccessList { provider });
        Ok(())
    }

    /// The deal that is called, with everything before this epoch accounted for.
    fn current_deal(&mut self) -> Result<&mut Deal, Refusal> {
        let (address, epoch) = (self.this, self.epoch()?);
        let deal = self.deal(address)?;
        deal.account(epoch - 1)?;
        Ok(deal)
    }

    fn only_deal_owner(&mut self) -> Result<(), Refusal> {
        let (address, sender) = (self.this, self.sender);
        if self.deal(address)?.owner == sender {
            Ok(())
        } else {
            Err(Revert::OwnableUnauthorizedAccount { account: sender }.into())
        }
    }

    /// Computes how long the money lasts, and tells it while enough workers are activated.
    fn update_max_paid(&mut self) -> Result<(), Refusal> {
        let address = self.this;
        let deal = self.deal(address)?;
        let before = deal.max_paid;
        deal.max_paid = if deal.is_running() && deal.ended.is_none() {
            deal.affordable()?
        } else if deal.ended.is_some() {
            before
        } else {
            0
        };
        let max_paid = deal.max_paid;
        if (max_paid != 0 || before != 0) && deal.ended.is_none() {
            self.log(
                address,
                MaxPaidEpochUpdated {
                    max_paid_epoch: U256::from(max_paid),
                },
            );
        }
        Ok(())
    }

    /// Fails unless the sender is the provider or the owner of a worker's peer.
    fn may_act_for(&mut self, worker: &WorkerState) -> Result<bool, Refusal> {
        let sender = self.sender;
        let owner = self
            .market()?
            .peers
            .get(&worker.peer)
            .map(|peer| peer.owner);
        Ok(worker.provider == sender || owner == Some(sender))
    }

    pub(super) fn activate_worker(&mut self, call: &ActivateWorker) -> Result<(), Refusal> {
        let address = self.this;
        let (number, worker) = {
            let (number, worker) = self.current_deal()?.worker(call.onchain_id)?;
            (number, worker.clone())
        };
        require(
            self.may_act_for(&worker)?,
            "Only provider or peer owner can call this method",
        )?;
        let epoch = self.epoch()?;
        let deal = self.deal(address)?;
        require(deal.ended.is_none(), "Deal is ended")?;
        let paid = deal.max_paid == 0 || epoch <= deal.max_paid;
        require(paid, "Deal is not active")?;
        require(
            !call.offchain_id.is_zero(),
            "Offchain worker id can't be empty",
        )?;
        let first = worker.offchain_id.is_zero();
        let deal = self.deal(address)?;
        if first {
            deal.activated += 1;
        }
        let paid = deal.paid;
        if let Some(worker) = deal.worker_mut(number) {
            worker.offchain_id = call.offchain_id;
            if first {
                worker.paid = paid;
            }
        }
        self.log(
            address,
            WorkerIdUpdated {
                onchain_worker_id: call.onchain_id,
                offchain_worker_id: call.offchain_id,
            },
        );
        self.update_max_paid()?;
        if !first {
            return Ok(());
        }
        self.tell(WorkerActivated {
            peer_id: worker.peer,
            deal: address,
            onchain_worker_id: call.onchain_id,
            offchain_worker_id: call.offchain_id,
        })
    }

    /// Pays a worker what it has earned.
    fn pay_worker(&mut self, number: u64) -> Result<(), Refusal> {
        let (address, receiver) = (self.this, self.reward_receiver()?);
        let worker = self.current_deal()?.worker(onchain_id(number))?.1.clone();
        let last = self.last_reward_epoch(worker.commitment)?;
        let deal = self.deal(address)?;
        let rewards = deal.reward(&worker, last)?;
        let (token, paid) = (deal.terms.payment_token, deal.paid);
        if let Some(worker) = deal.worker_mut(number) {
            worker.paid = paid;
        }
        if add(rewards.provider, rewards.staker)?.is_zero() {
            return Ok(());
        }
        let parts = [
            (worker.provider, rewards.provider),
            (receiver, rewards.staker),
        ];
        for (to, part) in parts.into_iter().filter(|(_, part)| !part.is_zero()) {
            self.transfer(token, address, to, part)?;
        }
        self.log(
            address,
            WorkerRewardWithdrawn {
                onchain_worker_id: onchain_id(number),
                provider_reward: rewards.provider,
                staker_reward: rewards.staker,
            },
        );
        Ok(())
    }

    pub(super) fn withdraw_rewards(&mut self, call: &WithdrawRewards) -> Result<(), Refusal> {
        let (number, worker) = {
            let (number, worker) = self.current_deal()?.worker(call.onchain_id)?;
            (number, worker.clone())
        };
        require(
            self.may_act_for(&worker)?,
            "Only provider or peer owner can call this method",
        )?;
        self.pay_worker(number)?;
        self.update_max_paid()
    }

    pub(super) fn remove_worker(&mut self, call: &RemoveWorker) -> Result<(), Refusal> {
        let (address, sender) = (self.this, self.sender);
        let deal = self.current_deal()?;
        let (number, worker) = {
            let (number, worker) = deal.worker(call.onchain_id)?;
            (number, worker.clone())
        };
        let is_owner = deal.owner == sender;
        require(
            is_owner || self.may_act_for(&worker)?,
            "Only provider, peer owner or deal owner can call this method",
        )?;
        self.pay_worker(number)?;
        let deal = self.deal(address)?;
        if let Some(at) = deal.workers.iter().position(|worker| worker.0 == number) {
            deal.workers.swap_remove(at);
        }
        if !worker.offchain_id.is_zero() {
            deal.activated -= 1;
        }
        self.log(
            address,
            WorkerRemoved {
                peer_id: worker.peer,
                onchain_id: call.onchain_id,
            },
        );
        self.update_max_paid()?;
        self.release(address, call.onchain_id, &worker)
    }

    pub(super) fn deposit(&mut self, call: &DepositToDeal) -> Result<(), Refusal> {
        self.only_deal_owner()?;
        let (address, sender) = (self.this, self.sender);
        let deal = self.current_deal()?;
        require(deal.ended.is_none(), "Deal is ended")?;
        deal.balance = add(deal.balance, call.amount)?;
        let token = deal.terms.payment_token;
        self.update_max_paid()?;
        self.transfer_by(token, address, sender, address, call.amount)?;
        self.log(
            address,
            Deposited {
                amount: call.amount,
            },
        );
        Ok(())
    }

    pub(super) fn withdraw(&mut self, call: &WithdrawFromDeal) -> Result<(), Refusal> {
        self.only_deal_owner()?;
        let (address, sender, epoch) = (self.this, self.sender, self.epoch()?);
        let deposited_epochs = self.market()?.params().min_deal_deposited_epochs;
        let deal = self.current_deal()?;
        deal.balance = sub(deal.balance, call.amount)?;
        let is_over = deal
            .ended
            .is_some_and(|ended| epoch > ended.saturating_add(deposited_epochs));
        let covered = deal.balance >= deal.reserve(deposited_epochs)?;
        require(
            is_over || covered,
            "Free balance needs to cover minDealDepositedEpochs",
        )?;
        let token = deal.terms.payment_token;
        self.update_max_paid()?;
        self.transfer(token, address, sender, call.amount)?;
        self.log(
            address,
            Withdrawn {
                amount: call.amount,
            },
        );
        Ok(())
    }

    /// Ends the deal; the epoch in which it ends is paid still.
    pub(super) fn stop_deal(&mut self) -> Result<(), Refusal> {
        self.only_deal_owner()?;
        let (address, epoch) = (self.this, self.epoch()?);
        let deal = self.current_deal()?;
        require(deal.ended.is_none(), "Deal is not active")?;
        self.update_max_paid()?;
        let deal = self.deal(address)?;
        if deal.max_paid >= epoch {
            deal.account(epoch)?;
            deal.max_paid = epoch;
            self.log(
                address,
                MaxPaidEpochUpdated {
                    max_paid_epoch: U256::from(epoch),
                },
            );
        }
        self.deal(address)?.ended = Some(epoch);
        self.log(
            address,
            DealEnded {
                ended_epoch: U256::from(epoch),
            },
        );
        Ok(())
    }

    pub(super) fn set_app_cid(&mut self, call: &SetAppCid) -> Result<(), Refusal> {
        self.only_deal_owner()?;
        let address = self.this;
        self.deal(address)?.app_cid = call.app_cid;
        self.log(
            address,
            AppCidChanged {
                new_app_cid: call.app_cid,
            },
        );
        Ok(())
    }

    pub(super) fn add_provider(&mut self, call: &AddProviderToAccessList) -> Result<(), Refusal> {
        self.only_deal_owner()?;
        let address = self.this;
        let access = self.deal(address)?.access_type;
        require(access != AccessType::None, "Config: access type is NONE")?;
        self.list_provider(address, call.provider)
    }

    pub(super) fn remove_provider(
        &mut self,
        call: &RemoveProviderFromAccessList,
    ) -> Result<(), Refusal> {
        self.only_deal_owner()?;
        let address = self.this;
        let deal = self.deal(address)?;
        require(
            deal.access_type != AccessType::None,
            "Config: access type is NONE",
        )?;
        deal.access_list.retain(|listed| *listed != call.provider);
        self.log(
            address,
            ProviderRemovedFromAccessList {
                provider: call.provider,
            },
        );
        Ok(())
    }

    pub(super) fn change_access(
        &mut self,
        call: &ChangeProvidersAccessType,
    ) -> Result<(), Refusal> {
        self.only_deal_owner()?;
        let address = self.this;
        let deal = self.deal(address)?;
        require(
            deal.access_type != call.access_type,
            "Config: access type is already set",
        )?;
        deal.access_type = call.access_type;
        deal.access_list.clear();
        self.log(
            address,
            ProvidersAccessTypeChanged {
                new_access_type: call.access_type,
            },
        );
        Ok(())
    }

    /// The deal that is asked, as it stands now.
    pub(super) fn deal_now(&mut self) -> Result<Deal, Refusal> {
        Ok(self.current_deal()?.clone())
    }

    pub(super) fn deal_status(&mut self, address: Address) -> Result<DealStatus, Refusal> {
        let epoch = self.epoch()?;
        let deposited_epochs = self.market()?.params().min_deal_deposited_epochs;
        let mut deal = self.deal(address)?.clone();
        deal.account(epoch - 1)?;
        deal.status(epoch, deposited_epochs)
    }

    pub(super) fn worker_reward(&mut self, id: Bytes32) -> Result<Rewards, Refusal> {
        let deal = self.deal_now()?;
        let (_, worker) = deal.worker(id)?;
        let last = self.last_reward_epoch(worker.commitment)?;
        deal.reward(worker, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deal() -> Deal {
        Deal {
            owner: Address::ZERO,
            app_cid: OnChainCid {
                prefixes: [0; 4],
                hash: Bytes32::ZERO,
            },
            terms: Terms {
                payment_token: Address::ZERO,
                min_workers: U256::ONE,
                target_workers: U256::from(2),
                units_per_worker: U256::from(2),
                max_workers_per_provider: U256::from(2),
                price: U256::from(10),
                effectors: vec![],
                protocol_version: U256::ONE,
            },
            access_type: AccessType::None,
            access_list: vec![],
            balance: U256::from(100),
            accounted: 4,
            paid: 0,
            max_paid: 0,
            activated: 1,
            ended: None,
            workers: Vec::new(),
        }
    }

    #[test]
    fn money_lasts_and_ends() {
        let mut deal = deal();
        deal.max_paid = deal.affordable().unwrap();
        assert_eq!(deal.max_paid, 9);
        let status = |deal: &Deal, epoch: u64| {
            let mut deal = deal.clone();
            deal.account(epoch - 1).unwrap();
            (deal.status(epoch, 2).unwrap(), deal.balance)
        };
        assert_eq!(status(&deal, 5), (DealStatus::Active, U256::from(100)));
        assert_eq!(status(&deal, 7), (DealStatus::SmallBalance, U256::from(60)));
        assert_eq!(
            status(&deal, 10),
            (DealStatus::InsufficientFunds, U256::ZERO)
        );
        assert_eq!(
            status(&deal, 1_000),
            (DealStatus::InsufficientFunds, U256::ZERO)
        );
        deal.account(20).unwrap();
        assert_eq!(deal.paid, 5);
    }
    /// As the contracts answer for a commitment that ends before epoch 12 and money until epoch 14.
    #[test]
    fn a_worker_earns_until_its_commitment_ends() {
        let worker = WorkerState {
            offchain_id: Bytes32([1; 32]),
            ..WorkerState::new(
                Bytes32::ZERO,
                Address::ZERO,
                3,
                vec![],
                Bytes32([2; 32]),
                U256::ZERO,
            )
        };
        let mut deal = deal();
        deal.paid = 12;
        let epochs = |deal: &Deal, last| {
            let rewards = deal.reward(&worker, last).unwrap();
            rewards.provider / U256::from(20)
        };
        deal.accounted = 14;
        assert_eq!(epochs(&deal, None), U256::from(12));
        assert_eq!(epochs(&deal, Some(11)), U256::from(9));
        // Epochs that are not paid take it off again, until the deal ends.
        deal.accounted = 16;
        assert_eq!(epochs(&deal, Some(11)), U256::from(7));
        deal.accounted = 40;
        assert_eq!(epochs(&deal, Some(11)), U256::ZERO);
        deal.ended = Some(17);
        assert_eq!(epochs(&deal, Some(11)), U256::from(6));
    }

    #[test]
    fn a_deal_without_enough_workers_is_that_first() {
        let mut deal = deal();
        deal.balance = U256::ONE;
        assert_eq!(deal.status(5, 2).unwrap(), DealStatus::SmallBalance);
        deal.activated = 0;
        assert_eq!(deal.status(5, 2).unwrap(), DealStatus::NotEnoughWorkers);
    }
}

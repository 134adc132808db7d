//! Deals: their money, their workers, their statuses.

use super::{
    Exec, Refusal,
    exec::{message, mul, share, sub},
};
use crate::{
    AccessType, Address, Bytes32, DealStatus, OnChainCid, PRECISION, U256,
    contract::MaxPaidEpochUpdated,
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
    pub(super) paid: u64,
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
    pub(super) accounted: u64,
    /// Epochs that were paid so far.
    pub(super) paid: u64,
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
    pub(super) fn reserve(&self, epochs: u64) -> Result<U256, Refusal> {
        let workers = mul(self.price_per_worker()?, self.terms.target_workers)?;
        mul(workers, U256::from(epochs))
    }

    pub(super) fn is_running(&self) -> bool {
        U256::from(self.activated) >= self.terms.min_workers
    }

    /// Accounts for all epochs up to `last`.
    pub(super) fn account(&mut self, last: u64) -> Result<(), Refusal> {
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
    pub(super) fn reward(
        &self,
        worker: &WorkerState,
        last: Option<u64>,
    ) -> Result<Rewards, Refusal> {
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

    pub(super) fn worker_mut(&mut self, number: u64) -> Option<&mut WorkerState> {
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
    /// The deal that is called, with everything before this epoch accounted for.
    pub(super) fn current_deal(&mut self) -> Result<&mut Deal, Refusal> {
        let (address, epoch) = (self.this, self.epoch()?);
        let deal = self.deal(address)?;
        deal.account(epoch - 1)?;
        Ok(deal)
    }

    /// Computes how long the money lasts, and tells it while enough workers are activated.
    pub(super) fn update_max_paid(&mut self) -> Result<(), Refusal> {
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

//! What becomes of the workers of a deal: they are activated, paid, removed.

use super::{
    Exec, Refusal,
    deal::{WorkerState, onchain_id},
    exec::{add, require},
};
use crate::{
    Bytes32,
    contract::{
        ActivateWorker, RemoveWorker, WithdrawRewards, WorkerActivated, WorkerIdUpdated,
        WorkerRemoved, WorkerRewardWithdrawn,
    },
};

impl Exec<'_> {
    /// Whether the sender is the provider or the owner of a worker's peer.
    fn may_act_for(&mut self, worker: &WorkerState) -> Result<bool, Refusal> {
        let sender = self.sender;
        let owner = self
            .market()?
            .peers
            .get(&worker.peer)
            .map(|peer| peer.owner);
        Ok(worker.provider == sender || owner == Some(sender))
    }

    /// A worker of the deal, for which the sender may act.
    fn worker_of_sender(&mut self, id: Bytes32) -> Result<(u64, WorkerState), Refusal> {
        let (number, worker) = self.current_deal()?.worker(id)?;
        let worker = worker.clone();
        require(
            self.may_act_for(&worker)?,
            "Only provider or peer owner can call this method",
        )?;
        Ok((number, worker))
    }

    pub(super) fn activate_worker(&mut self, call: &ActivateWorker) -> Result<(), Refusal> {
        let address = self.this;
        let (number, worker) = self.worker_of_sender(call.onchain_id)?;
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
        let (number, _) = self.worker_of_sender(call.onchain_id)?;
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
}

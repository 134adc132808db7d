//! What the owner of a deal does with it: makes it, pays for it, ends it.

use super::{
    Exec, Refusal,
    deal::{Deal, Terms},
    exec::{add, message, require, sub},
};
use crate::{
    AccessType, Address, U256,
    contract::{
        AddProviderToAccessList, AppCidChanged, ChangeProvidersAccessType, DealCreated, DealEnded,
        DeployDeal, DepositToDeal, Deposited, Initialized, MaxPaidEpochUpdated,
        OwnershipTransferred, ProviderAddedToAccessList, ProviderRemovedFromAccessList,
        ProvidersAccessTypeChanged, RemoveProviderFromAccessList, Revert, SetAppCid,
        WithdrawFromDeal, Withdrawn,
    },
};

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

    fn only_deal_owner(&mut self) -> Result<(), Refusal> {
        let (address, sender) = (self.this, self.sender);
        if self.deal(address)?.owner == sender {
            Ok(())
        } else {
            Err(Revert::OwnableUnauthorizedAccount { account: sender }.into())
        }
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
        let covered = deal.balance >= deal.reserve(deposited_epochs)?;
        let waited = match deal.ended {
            _ if covered => Ok(()),
            None => Err("Free balance needs to cover minDealDepositedEpochs"),
            Some(ended) if epoch > ended.saturating_add(deposited_epochs) => Ok(()),
            Some(_) => Err("Can't withdraw before minDealDepositedEpochs after deal end"),
        };
        waited.map_err(message)?;
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

    fn list_provider(&mut self, address: Address, provider: Address) -> Result<(), Refusal> {
        let deal = self.deal(address)?;
        if !deal.access_list.contains(&provider) {
            deal.access_list.push(provider);
        }
        self.log(address, ProviderAddedToAccessList { provider });
        Ok(())
    }
}

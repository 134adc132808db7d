//! Which units become workers of a deal, and how they come back.

use super::{
    Exec, Refusal, StakerRewards,
    deal::{WorkerState, onchain_id},
    exec::{message, require, sub},
    market::ratio,
};
use crate::{
    AccessType, Address, Bytes32, CommitmentStatus, DealStatus, U256,
    contract::{
        ComputeUnitsMatched, ComputeUnitsRemovedFromDeal, EntityAdded, EntityRemoved, MatchDeal,
        Revert, StateUpdated, UnitActivated, UnitDeactivated, WorkerJoined,
    },
};

impl Exec<'_> {
    pub(super) fn match_deal(&mut self, call: &MatchDeal) -> Result<(), Refusal> {
        let (sender, epoch) = (self.sender, self.epoch()?);
        let address = call.deal;
        let market = self.market()?;
        let wait = market.params().min_deal_rematching_epochs;
        let last = market.matched.get(&address).copied();
        require(last.is_some(), "Matcher: deal is not registered")?;
        require(
            self.deal(address)?.owner == sender,
            "Matcher: sender is not deal owner",
        )?;
        let status = self.deal_status(address)?;
        let open = matches!(status, DealStatus::Active | DealStatus::NotEnoughWorkers);
        require(open, "Matcher: deal is not active")?;
        let last = last.unwrap_or_default();
        require(
            last == 0 || epoch > last.saturating_add(wait),
            "Matcher: too early to rematch",
        )?;
        let mut matched = false;
        for (offer, groups) in call.offers.iter().zip(&call.compute_units) {
            if !self.is_suitable(address, *offer)? {
                continue;
            }
            for group in groups {
                let deal = self.deal(address)?;
                if U256::from(deal.workers.len()) >= deal.terms.target_workers {
                    break;
                }
                let Some(candidate) = self.candidate(address, *offer, group)? else {
                    continue;
                };
                let deal = self.deal(address)?;
                let provider = candidate.provider;
                let of_provider = deal
                    .workers
                    .iter()
                    .map(|(_, worker)| worker)
                    .filter(|worker| worker.provider == provider);
                if U256::from(of_provider.count()) >= deal.terms.max_workers_per_provider {
                    break;
                }
                self.join(address, &candidate)?;
                matched = true;
            }
        }
        let deal = self.deal(address)?;
        let workers = U256::from(deal.workers.len());
        if workers < deal.terms.min_workers {
            return Err(Revert::MinWorkersNotMatched {
                matched: deal.terms.min_workers,
            }
            .into());
        }
        if matched {
            self.market()?.matched.insert(address, epoch);
        }
        Ok(())
    }

    /// Whether an offer has what a deal needs.
    fn is_suitable(&mut self, deal: Address, offer: Bytes32) -> Result<bool, Refusal> {
        let offer = self.market()?.offers.get(&offer).cloned();
        let offer = offer.ok_or_else(|| message("Offer doesn't exist"))?;
        let deal = self.deal(deal)?;
        let terms = &deal.terms;
        let versions = offer.min_protocol_version..=offer.max_protocol_version;
        Ok(deal.allows(offer.provider)
            && terms.price >= offer.min_price
            && terms.payment_token == offer.payment_token
            && terms
                .effectors
                .iter()
                .all(|effector| offer.effectors.contains(effector))
            && versions.contains(&terms.protocol_version))
    }

    /// The peer of a group of units, if it can become a worker.
    fn candidate(
        &mut self,
        address: Address,
        offer: Bytes32,
        group: &[Bytes32],
    ) -> Result<Option<Candidate>, Refusal> {
        let deal = self.deal(address)?;
        let committed_only = deal.access_type != AccessType::Whitelist;
        let wanted = usize::try_from(deal.terms.units_per_worker).unwrap_or(usize::MAX);
        let market = self.market()?;
        // Units in deals are passed over, and of more than a worker has the first are taken.
        let mut units = Vec::new();
        for id in group {
            if units.len() == wanted {
                break;
            }
            if market.unit(*id)?.deal.is_zero() {
                units.push(*id);
            }
        }
        let first = units.first().and_then(|id| market.units.get(id));
        let Some(peer_id) = first.map(|unit| unit.peer) else {
            return Ok(None);
        };
        let mut seen = std::collections::BTreeSet::new();
        let is_of_peer = |id: &Bytes32| {
            let unit = market.units.get(id);
            unit.is_some_and(|unit| unit.peer == peer_id)
        };
        let fit = units.iter().all(|id| is_of_peer(id) && seen.insert(*id));
        if units.len() < wanted || !fit {
            return Ok(None);
        }
        let peer = market.peer(peer_id)?;
        if peer.offer != offer {
            return Ok(None);
        }
        let candidate = Candidate {
            peer: peer_id,
            provider: market.provider_of(peer),
            commitment: peer.commitment,
            units,
        };
        if self
            .deal(address)?
            .workers
            .iter()
            .any(|(_, worker)| worker.peer == peer_id)
        {
            return Ok(None);
        }
        let active = !candidate.commitment.is_zero()
            && self.commitment_status(candidate.commitment)? == CommitmentStatus::Active;
        Ok((active || !committed_only).then_some(candidate))
    }

    fn join(&mut self, address: Address, candidate: &Candidate) -> Result<(), Refusal> {
        let epoch = self.epoch()?;
        let mut rate = U256::ZERO;
        let committed = !candidate.commitment.is_zero();
        for unit in &candidate.units {
            if committed {
                rate = self.move_to_deal(address, candidate.commitment, *unit)?;
            }
        }
        // Numbers are given by the market, so no two deals have the same.
        let market = self.market()?;
        market.workers += 1;
        let number = market.workers;
        let worker = onchain_id(number);
        let state = WorkerState::new(
            candidate.peer,
            candidate.provider,
            epoch,
            candidate.units.clone(),
            candidate.commitment,
            rate,
        );
        let deal = self.deal(address)?;
        let app_cid = deal.app_cid;
        deal.workers.push((number, state));
        for unit in &candidate.units {
            let unit = self.market()?.unit_mut(*unit)?;
            (unit.deal, unit.worker) = (address, worker);
        }
        self.log(
            address,
            WorkerJoined {
                peer_id: candidate.peer,
                onchain_id: worker,
            },
        );
        self.tell(ComputeUnitsMatched {
            peer_id: candidate.peer,
            deal: address,
            onchain_worker_id: worker,
            cu_ids: candidate.units.clone(),
            app_cid,
        })
    }

    /// A staker's rewards, advanced to this epoch and told.
    fn staker(&mut self, id: Bytes32) -> Result<StakerRewards, Refusal> {
        let epoch = self.epoch()?;
        let market = self.market()?;
        let slots = market.staker_slots();
        let kept = market.ledger_mut(id)?.staker.take();
        let mut staker = kept.unwrap_or_else(|| StakerRewards::new(slots, epoch));
        market.advance(&mut staker, epoch);
        let state = staker.state();
        self.tell(StateUpdated {
            commitment_id: id,
            state,
        })?;
        Ok(staker)
    }

    /// Takes a unit out of its commitment for a deal; tells the staker's part.
    fn move_to_deal(
        &mut self,
        address: Address,
        id: Bytes32,
        unit: Bytes32,
    ) -> Result<U256, Refusal> {
        let epoch = self.epoch()?;
        let price = self.deal(address)?.terms.price;
        let status = self.account(id)?;
        if status != CommitmentStatus::Active {
            return Err(Revert::CapacityCommitmentIsNotActive { status }.into());
        }
        self.grant(id, unit)?;
        // One that came back in this epoch is not active yet, and stays counted as one that proves.
        let is_back = self.market()?.unit(unit)?.granted == epoch;
        let rate = self.market()?.ledger(id)?.commitment.rate;
        let mut staker = self.staker(id)?;
        let reward_per_epoch = ratio(price, rate)?;
        staker.set_rate(staker.rate().saturating_add(reward_per_epoch));
        let ledger = self.market()?.ledger_mut(id)?;
        ledger.staker = Some(staker);
        let commitment = &mut ledger.commitment;
        if is_back {
            commitment.additional = commitment.additional.saturating_sub(1);
        } else {
            commitment.active = commitment.active.saturating_sub(1);
        }
        self.tell(EntityAdded {
            commitment_id: id,
            entity_id: unit,
            reward_per_epoch,
            current_epoch: U256::from(epoch),
        })?;
        if !is_back {
            self.change_active(0, 1)?;
        }
        self.tell_stats(id, epoch - 1)?;
        self.tell(UnitDeactivated {
            commitment_id: id,
            unit_id: unit,
        })?;
        Ok(rate)
    }

    /// Returns the units of a worker that was removed.
    pub(super) fn release(
        &mut self,
        address: Address,
        onchain: Bytes32,
        worker: &WorkerState,
    ) -> Result<(), Refusal> {
        for unit_id in &worker.units {
            let unit = self.market()?.unit_mut(*unit_id)?;
            (unit.deal, unit.worker) = (Address::ZERO, Bytes32::ZERO);
            let peer = unit.peer;
            let commitment = self.market()?.peer(peer)?.commitment;
            if !commitment.is_zero() {
                let moved = worker.commitment == commitment;
                self.return_unit(address, commitment, *unit_id, moved)?;
            }
        }
        self.tell(ComputeUnitsRemovedFromDeal {
            peer_id: worker.peer,
            deal: address,
            cu_ids: worker.units.clone(),
            onchain_worker_id: onchain,
        })
    }

    /// Gives a unit back to the commitment of its peer, from which it was `moved`, or which is newer
    /// than the worker. One that is over only hears of it: the unit has nothing to prove, and its
    /// staker's rewards go on.
    ///
    /// Proofs of the epoch in which it went to the deal, and of the one in which it comes back, are
    /// never granted: none is granted before its epoch is over, and this epoch counts as granted.
    fn return_unit(
        &mut self,
        address: Address,
        id: Bytes32,
        unit_id: Bytes32,
        moved: bool,
    ) -> Result<(), Refusal> {
        let epoch = self.epoch()?;
        let price = self.deal(address)?.terms.price;
        let start = epoch + 1;
        let active = self.account(id)? == CommitmentStatus::Active;
        self.market()?.unit_mut(unit_id)?.granted = epoch;
        if active {
            self.market()?.unit_mut(unit_id)?.start_epoch = start;
            self.market()?.ledger_mut(id)?.commitment.additional += 1;
            self.change_active(1, 0)?;
        }
        self.tell(UnitActivated {
            commitment_id: id,
            unit_id,
            start_epoch: U256::from(start),
        })?;
        if !active {
            return Ok(());
        }
        let rate = self.market()?.ledger(id)?.commitment.rate;
        let mut staker = self.staker(id)?;
        if moved {
            let part = ratio(price, rate)?;
            staker.set_rate(sub(staker.rate(), part).unwrap_or_default());
        }
        self.market()?.ledger_mut(id)?.staker = Some(staker);
        self.tell(EntityRemoved {
            commitment_id: id,
            entity_id: unit_id,
            current_epoch: U256::from(epoch),
        })?;
        self.tell_stats(id, epoch - 1)
    }
}

/// Who would become a worker.
struct Candidate {
    peer: Bytes32,
    provider: Address,
    commitment: Bytes32,
    /// As many as a worker has.
    units: Vec<Bytes32>,
}

//! Providers, offers, peers and units.

use super::{
    Exec, Refusal,
    exec::{message, require},
    market::{Offer, Peer, Provider, Unit},
};
use crate::{
    Address, Bytes32, OnChainCid, U256,
    contract::{
        AddComputePeers, AddComputeUnits, AddEffector, ChangeMinPricePerCuPerEpoch,
        ChangePaymentToken, ComputeUnitCreated, ComputeUnitRemoved, EffectorAdded, EffectorRemoved,
        MarketOfferRegistered, MarketOfferRemoved, MinPricePerCuPerEpochUpdated,
        PaymentTokenUpdated, PeerCreated, PeerRemoved, ProviderInfoUpdated, RegisterMarketOffer,
        RemoveComputePeer, RemoveComputeUnit, RemoveEffector, RemoveOffer, SetProviderInfo,
    },
    market::RegisterComputePeer,
    offer_id,
};

impl Exec<'_> {
    pub(super) fn set_provider_info(&mut self, call: &SetProviderInfo) -> Result<(), Refusal> {
        require(!call.name.is_empty(), "Name should be not empty")?;
        let sender = self.sender;
        let providers = &mut self.market()?.providers;
        let unit_count = providers
            .get(&sender)
            .map_or(0, |provider| provider.unit_count);
        providers.insert(
            sender,
            Provider {
                name: call.name.clone(),
                metadata: call.metadata,
                unit_count,
            },
        );
        self.tell(ProviderInfoUpdated {
            provider: sender,
            name: call.name.clone(),
            metadata: call.metadata,
        })
    }

    fn check_token(&mut self, token: Address) -> Result<(), Refusal> {
        require(!token.is_zero(), "Payment token should be not zero address")?;
        let allowed = self.market()?.payment_tokens.contains(&token);
        require(allowed, "Payment token is not allowed")
    }

    pub(super) fn register_offer(
        &mut self,
        call: &RegisterMarketOffer,
    ) -> Result<Bytes32, Refusal> {
        let (sender, block) = (self.sender, self.block);
        let id = offer_id(sender, block.number, self.input);
        let market = self.market()?;
        require(
            market.providers.contains_key(&sender),
            "Provider doesn't exist",
        )?;
        let params = market.params();
        let versions = (
            U256::from(params.min_protocol_version),
            U256::from(params.max_protocol_version),
        );
        require(
            !call.min_price_per_cu_per_epoch.is_zero(),
            "Min price per cu per epoch should be greater than 0",
        )?;
        self.check_token(call.payment_token)?;
        require(
            call.min_protocol_version >= versions.0,
            "Min protocol version too small",
        )?;
        require(
            call.max_protocol_version <= versions.1,
            "Max protocol version too big",
        )?;
        require(
            call.min_protocol_version <= call.max_protocol_version,
            "Wrong protocol versions",
        )?;
        let market = self.market()?;
        require(!market.offers.contains_key(&id), "Offer already exists")?;
        let mut effectors = Vec::<OnChainCid>::new();
        for effector in &call.effectors {
            if !effectors.contains(effector) {
                effectors.push(*effector);
            }
        }
        market.offers.insert(
            id,
            Offer {
                provider: sender,
                min_price: call.min_price_per_cu_per_epoch,
                payment_token: call.payment_token,
                effectors,
                peer_count: 0,
                min_protocol_version: call.min_protocol_version,
                max_protocol_version: call.max_protocol_version,
            },
        );
        self.tell(MarketOfferRegistered {
            provider: sender,
            offer_id: id,
            min_price_per_cu_per_epoch: call.min_price_per_cu_per_epoch,
            payment_token: call.payment_token,
            effectors: call.effectors.clone(),
            min_protocol_version: call.min_protocol_version,
            max_protocol_version: call.max_protocol_version,
        })?;
        self.add_peers(id, &call.peers)?;
        Ok(id)
    }

    fn add_peers(&mut self, offer: Bytes32, peers: &[RegisterComputePeer]) -> Result<(), Refusal> {
        for peer in peers {
            let market = self.market()?;
            require(!peer.unit_ids.is_empty(), "Units should be greater than 0")?;
            require(!peer.peer_id.is_zero(), "Peer id should be not empty")?;
            require(
                !market.peers.contains_key(&peer.peer_id),
                "Peer already exists in another offer",
            )?;
            market.peers.insert(
                peer.peer_id,
                Peer {
                    offer,
                    owner: peer.owner,
                    commitment: Bytes32::ZERO,
                    units: Vec::new(),
                },
            );
            if let Some(offer) = market.offers.get_mut(&offer) {
                offer.peer_count += 1;
            }
            self.tell(PeerCreated {
                offer_id: offer,
                peer_id: peer.peer_id,
                owner: peer.owner,
            })?;
            self.add_units(peer.peer_id, &peer.unit_ids)?;
        }
        Ok(())
    }

    fn add_units(&mut self, peer_id: Bytes32, units: &[Bytes32]) -> Result<(), Refusal> {
        let market = self.market()?;
        let limit = market.params().max_units_per_provider;
        let provider = market.provider_of(market.peer(peer_id)?);
        if let Some(provider) = market.providers.get_mut(&provider) {
            provider.unit_count = provider.unit_count.saturating_add(units.len() as u64);
            require(
                provider.unit_count <= limit,
                "Exceeded max CU number per Provider",
            )?;
        }
        for unit_id in units {
            require(!unit_id.is_zero(), "Unit id should be not empty")?;
            let market = self.market()?;
            let unit = Unit {
                peer: peer_id,
                deal: Address::ZERO,
                start_epoch: 0,
                worker: Bytes32::ZERO,
                granted: 0,
                proof_epoch: 0,
                proofs: 0,
                exited: false,
            };
            require(
                market.units.insert(*unit_id, unit).is_none(),
                "Compute unit already exists",
            )?;
            if let Some(peer) = market.peers.get_mut(&peer_id) {
                peer.units.push(*unit_id);
            }
            self.tell(ComputeUnitCreated {
                peer_id,
                unit_id: *unit_id,
            })?;
        }
        Ok(())
    }

    /// The offer, if the sender made it.
    fn own_offer(&mut self, id: Bytes32) -> Result<&mut Offer, Refusal> {
        let sender = self.sender;
        let offer = self.market()?.offers.get_mut(&id);
        let offer = offer.ok_or_else(|| message("Offer doesn't exist"))?;
        require(offer.provider == sender, "Only owner can change offer")?;
        Ok(offer)
    }

    /// Fails unless the sender made the offer of a peer that is not committed.
    fn own_free_peer(&mut self, id: Bytes32, refusal: &str) -> Result<Bytes32, Refusal> {
        let sender = self.sender;
        let market = self.market()?;
        let peer = market.peer(id)?;
        require(market.provider_of(peer) == sender, refusal)?;
        require(peer.commitment.is_zero(), "Peer has commitment")?;
        Ok(peer.offer)
    }

    pub(super) fn add_compute_peers(&mut self, call: &AddComputePeers) -> Result<(), Refusal> {
        self.own_offer(call.offer_id)?;
        require(!call.peers.is_empty(), "Peers should not be empty")?;
        self.add_peers(call.offer_id, &call.peers)
    }

    pub(super) fn add_compute_units(&mut self, call: &AddComputeUnits) -> Result<(), Refusal> {
        self.own_free_peer(call.peer_id, "Only owner can change offer")?;
        require(!call.unit_ids.is_empty(), "Units should be greater than 0")?;
        self.add_units(call.peer_id, &call.unit_ids)
    }

    pub(super) fn remove_compute_unit(&mut self, call: &RemoveComputeUnit) -> Result<(), Refusal> {
        let unit = self.market()?.unit(call.unit_id)?.clone();
        self.own_free_peer(unit.peer, "Only owner can remove compute unit")?;
        require(unit.deal.is_zero(), "Compute unit is in deal")?;
        let market = self.market()?;
        let provider = market.provider_of(market.peer(unit.peer)?);
        if let Some(provider) = market.providers.get_mut(&provider) {
            provider.unit_count = provider.unit_count.saturating_sub(1);
        }
        if let Some(peer) = market.peers.get_mut(&unit.peer) {
            // The last one takes the place of the one that leaves.
            if let Some(at) = peer.units.iter().position(|id| *id == call.unit_id) {
                peer.units.swap_remove(at);
            }
        }
        market.units.remove(&call.unit_id);
        self.tell(ComputeUnitRemoved {
            peer_id: unit.peer,
            unit_id: call.unit_id,
        })
    }

    pub(super) fn remove_compute_peer(&mut self, call: &RemoveComputePeer) -> Result<(), Refusal> {
        let offer_id = self.own_free_peer(call.peer_id, "Only owner can change offer")?;
        let market = self.market()?;
        require(
            market.peer(call.peer_id)?.units.is_empty(),
            "Peer has compute units",
        )?;
        market.peers.remove(&call.peer_id);
        if let Some(offer) = market.offers.get_mut(&offer_id) {
            offer.peer_count = offer.peer_count.saturating_sub(1);
        }
        self.tell(PeerRemoved {
            offer_id,
            peer_id: call.peer_id,
        })
    }

    pub(super) fn remove_offer(&mut self, call: &RemoveOffer) -> Result<(), Refusal> {
        let peers = self.own_offer(call.offer_id)?.peer_count;
        require(peers == 0, "Offer has compute peers")?;
        self.market()?.offers.remove(&call.offer_id);
        self.tell(MarketOfferRemoved {
            offer_id: call.offer_id,
        })
    }

    pub(super) fn change_price(
        &mut self,
        call: &ChangeMinPricePerCuPerEpoch,
    ) -> Result<(), Refusal> {
        let price = call.min_price_per_cu_per_epoch;
        let offer = self.own_offer(call.offer_id)?;
        require(
            !price.is_zero(),
            "Min price per CU per epoch should be greater than 0",
        )?;
        offer.min_price = price;
        self.tell(MinPricePerCuPerEpochUpdated {
            offer_id: call.offer_id,
            min_price_per_cu_per_epoch: price,
        })
    }

    pub(super) fn change_payment_token(
        &mut self,
        call: &ChangePaymentToken,
    ) -> Result<(), Refusal> {
        self.own_offer(call.offer_id)?;
        self.check_token(call.payment_token)?;
        self.own_offer(call.offer_id)?.payment_token = call.payment_token;
        self.tell(PaymentTokenUpdated {
            offer_id: call.offer_id,
            payment_token: call.payment_token,
        })
    }

    pub(super) fn add_effectors(&mut self, call: &AddEffector) -> Result<(), Refusal> {
        for effector in &call.effectors {
            let offer = self.own_offer(call.offer_id)?;
            require(
                !offer.effectors.contains(effector),
                "Effector already exists",
            )?;
            offer.effectors.push(*effector);
            self.tell(EffectorAdded {
                offer_id: call.offer_id,
                effector: *effector,
            })?;
        }
        Ok(())
    }

    pub(super) fn remove_effectors(&mut self, call: &RemoveEffector) -> Result<(), Refusal> {
        for effector in &call.effectors {
            let offer = self.own_offer(call.offer_id)?;
            let at = offer.effectors.iter().position(|known| known == effector);
            let at = at.ok_or_else(|| message("Effector doesn't exist"))?;
            offer.effectors.swap_remove(at);
            self.tell(EffectorRemoved {
                offer_id: call.offer_id,
                effector: *effector,
            })?;
        }
        Ok(())
    }
}

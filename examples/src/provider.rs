//! What a provider does at the market for a peer: one transaction for each step, on any chain.

use std::fmt;
use std::time::Duration;

use deal_types::{
    Address, Bytes32, Cid, OnChainCid, PeerKey, U256,
    chain::{Chain, ChainError, ChainExt as _, Order},
    contract::{
        Call, CreateCommitment, CurrentEpoch, DepositCollateral, FltCollateralPerUnit,
        GetComputePeer, GetComputeUnits, GetOffer, GetStatus, MarketEvent, RegisterMarketOffer,
        SetProviderInfo, UnlockedRewards, WithdrawReward,
    },
    keccak256_of,
    market::RegisterComputePeer,
    unixfs,
};

use crate::failure::{Failure, Result};

/// How long a transaction may take until it is in a block.
const PATIENCE: Duration = Duration::from_secs(180);
/// Most units of one peer.
const MAX_UNITS: u32 = 1_024;

/// An account at a market, and the peer that it offers.
pub struct Provider<'a> {
    chain: &'a dyn Chain,
    market: Address,
    peer: PeerKey,
}

/// What is offered.
#[derive(Clone, Debug)]
pub struct OfferTerms {
    /// What the provider is called.
    pub name: String,
    /// Units of the peer, one for each core that it gives.
    pub units: u32,
    /// The least price of a unit for an epoch, in the least unit of the token.
    pub price: U256,
    /// The token of payment, which the market has to know.
    pub token: Address,
    /// The versions of the protocol that the peer speaks.
    pub protocol: u64,
}

/// Where a peer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The epoch of the market.
    pub epoch: U256,
    /// The offer with the peer, and its least price.
    pub offer: Option<(Bytes32, U256)>,
    /// The commitment of its capacity, and where that stands.
    pub commitment: Option<(Bytes32, String)>,
    /// Units, with the deals they work for.
    pub units: Vec<(Bytes32, Option<Address>)>,
    /// What can be taken of the rewards for capacity: the provider's part, and the staker's.
    pub unlocked: Option<(U256, U256)>,
}

impl<'a> Provider<'a> {
    /// The account of the connection, which offers this peer.
    #[must_use]
    pub fn new(chain: &'a dyn Chain, market: Address, peer: PeerKey) -> Self {
        Self {
            chain,
            market,
            peer,
        }
    }

    /// Says who the provider is, and offers the peer; the identifier of the offer.
    ///
    /// # Errors
    /// Terms that no market takes, or the market refuses.
    pub async fn offer(&self, terms: &OfferTerms) -> Result<Bytes32> {
        if terms.units == 0 || terms.units > MAX_UNITS {
            let message = format_args!("{} units, expected 1 to {MAX_UNITS}", terms.units);
            return Err(Failure::input(message));
        }
        let metadata: Cid = unixfs::cid_of(terms.name.as_bytes());
        let info = SetProviderInfo {
            name: terms.name.clone(),
            metadata: OnChainCid::try_from(metadata).map_err(Failure::new)?,
        };
        self.send(&info, U256::ZERO).await?;
        let peer_id = self.peer.to_word();
        let unit = |number: u32| keccak256_of(&[b"unit", &peer_id.0, &number.to_be_bytes()]);
        let register = RegisterMarketOffer {
            min_price_per_cu_per_epoch: terms.price,
            payment_token: terms.token,
            effectors: Vec::new(),
            peers: vec![RegisterComputePeer {
                peer_id,
                owner: self.chain.account(),
                unit_ids: (0..terms.units).map(unit).collect(),
            }],
            min_protocol_version: U256::from(terms.protocol),
            max_protocol_version: U256::from(terms.protocol),
        };
        let events = self.send(&register, U256::ZERO).await?;
        let offer = events.iter().find_map(|event| match event {
            MarketEvent::MarketOfferRegistered(event) => Some(event.offer_id),
            _ => None,
        });
        offer.ok_or_else(|| Failure::new("the market logged no offer"))
    }

    /// Commits the capacity of the peer for so many epochs. A staker who pays the collateral gets
    /// `share` of the rewards, in parts of ten million.
    ///
    /// # Errors
    /// The market refuses.
    pub async fn commit(&self, epochs: u64, staker: Address, share: u64) -> Result<Bytes32> {
        let commit = CreateCommitment {
            peer_id: self.peer.to_word(),
            duration: U256::from(epochs),
            delegator: staker,
            reward_delegation_rate: U256::from(share),
        };
        let events = self.send(&commit, U256::ZERO).await?;
        let commitment = events.iter().find_map(|event| match event {
            MarketEvent::CommitmentCreated(event) => Some(event.commitment_id),
            _ => None,
        });
        commitment.ok_or_else(|| Failure::new("the market logged no commitment"))
    }

    /// Pays the collateral of the peer's commitment, and tells how much it was, in wei. The account
    /// has to be the staker of the commitment.
    ///
    /// # Errors
    /// There is no commitment, or the market refuses.
    pub async fn deposit(&self) -> Result<U256> {
        let peer = self.peer().await?;
        let peer = peer.filter(|peer| !peer.commitment_id.is_zero());
        let peer = peer.ok_or_else(|| Failure::input("the peer has no commitment to pay for"))?;
        let (each,) = self.read(&FltCollateralPerUnit {}).await?;
        let collateral = each.saturating_mul(peer.unit_count);
        let deposit = DepositCollateral {
            commitment_ids: vec![peer.commitment_id],
        };
        self.send(&deposit, collateral).await?;
        Ok(collateral)
    }

    /// Takes what is unlocked of the rewards for capacity: the provider's and the staker's part go
    /// to their accounts.
    ///
    /// # Errors
    /// There is no commitment, or the market refuses.
    pub async fn withdraw(&self) -> Result<()> {
        let peer = self.peer().await?;
        let peer = peer.filter(|peer| !peer.commitment_id.is_zero());
        let peer = peer.ok_or_else(|| Failure::input("the peer has no commitment"))?;
        let withdraw = WithdrawReward {
            commitment_id: peer.commitment_id,
        };
        self.send(&withdraw, U256::ZERO).await?;
        Ok(())
    }

    /// Where the peer stands.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn standing(&self) -> Result<Standing> {
        let (epoch,) = self.read(&CurrentEpoch {}).await?;
        let mut standing = Standing {
            epoch,
            offer: None,
            commitment: None,
            units: Vec::new(),
            unlocked: None,
        };
        let Some(peer) = self.peer().await? else {
            return Ok(standing);
        };
        let get = GetOffer {
            offer_id: peer.offer_id,
        };
        let (offer,) = self.read(&get).await?;
        standing.offer = Some((peer.offer_id, offer.min_price_per_cu_per_epoch));
        let get = GetComputeUnits {
            peer_id: self.peer.to_word(),
        };
        let (units,) = self.read(&get).await?;
        standing.units = units
            .into_iter()
            .map(|unit| (unit.id, (!unit.deal.is_zero()).then_some(unit.deal)))
            .collect();
        let commitment_id = peer.commitment_id;
        if !commitment_id.is_zero() {
            let (status,) = self.read(&GetStatus { commitment_id }).await?;
            let (unlocked,) = self.read(&UnlockedRewards { commitment_id }).await?;
            standing.commitment = Some((commitment_id, format!("{status:?}")));
            standing.unlocked = Some((unlocked.provider, unlocked.staker));
        }
        Ok(standing)
    }

    /// The peer as the market knows it.
    async fn peer(&self) -> Result<Option<deal_types::market::ComputePeer>> {
        let get = GetComputePeer {
            peer_id: self.peer.to_word(),
        };
        match self.chain.read(self.market, &get).await {
            Ok((peer,)) => Ok(Some(peer).filter(|peer| !peer.offer_id.is_zero())),
            Err(ChainError::Revert(_)) => Ok(None),
            Err(error) => Err(failed::<GetComputePeer>(&error)),
        }
    }

    async fn read<C: Call + Send + Sync>(&self, call: &C) -> Result<C::Output>
    where
        C::Output: Send,
    {
        let answer = self.chain.read(self.market, call).await;
        answer.map_err(|error| failed::<C>(&error))
    }

    /// Makes a transaction, and waits until it is in a block; what it logged.
    async fn send<C: Call + Send + Sync>(&self, call: &C, value: U256) -> Result<Vec<MarketEvent>> {
        let input = call.encode();
        // Calls without payment tell why they would be refused.
        if value.is_zero() {
            let asked = self.chain.call(self.market, input.clone()).await;
            asked.map_err(|error| failed::<C>(&error))?;
        }
        let order = Order {
            key: keccak256_of(&[b"aquamarine/provider", &input]),
            to: self.market,
            input,
            value,
        };
        let hash = self.chain.submit(&order).await;
        let hash = hash.map_err(|error| failed::<C>(&error))?;
        let mined = async {
            loop {
                let receipt = self.chain.receipt(hash).await;
                match receipt.map_err(|error| failed::<C>(&error))? {
                    Some(mined) => return Ok(mined),
                    None => self.chain.changed().await,
                }
            }
        };
        let mined = match tokio::time::timeout(PATIENCE, mined).await {
            Ok(mined) => mined?,
            Err(_) => {
                let waits = format_args!("{hash} is in no block after {PATIENCE:?}");
                return Err(failed::<C>(&waits));
            }
        };
        if !mined.succeeded {
            return Err(failed::<C>(&format_args!("{hash} was refused")));
        }
        // Tokens log what is none of the market's.
        let of_market = mined.logs.iter().filter(|log| log.address == self.market);
        let events = of_market.map(deal_types::chain::ChainLog::event);
        let events: std::result::Result<_, _> = events.collect();
        events.map_err(|error| failed::<C>(&error))
    }
}

fn failed<C: Call>(reason: &dyn fmt::Display) -> Failure {
    Failure::new(format_args!("{}: {reason}", C::NAME))
}

impl fmt::Display for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "epoch {}", self.epoch)?;
        match &self.offer {
            Some((offer, price)) => writeln!(formatter, "offer {offer} at {price} or more")?,
            None => writeln!(formatter, "no offer")?,
        }
        match &self.commitment {
            Some((commitment, status)) => writeln!(formatter, "commitment {commitment}: {status}")?,
            None => writeln!(formatter, "no commitment")?,
        }
        for (unit, deal) in &self.units {
            match deal {
                Some(deal) => writeln!(formatter, "unit {unit}: deal {deal}")?,
                None => writeln!(formatter, "unit {unit}: free")?,
            }
        }
        if let Some((provider, staker)) = &self.unlocked {
            writeln!(
                formatter,
                "unlocked rewards: {provider} wei, and {staker} wei of the staker"
            )?;
        }
        Ok(())
    }
}

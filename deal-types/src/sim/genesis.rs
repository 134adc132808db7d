//! What the market starts with.

use std::{fmt, sync::Arc};

use crate::{Address, Bytes32, U256, contract::FacetCut, keccak256};

/// Constants of the market; ratios and amounts in USD are in 10⁻⁷, amounts of tokens in wei.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// Length of an epoch in seconds.
    pub epoch_duration: u64,
    /// Whether only approved accounts may commit capacity.
    pub whitelist: bool,
    /// The price of the network's token in USD.
    pub flt_price: U256,
    /// Seconds over which the price is averaged.
    pub flt_price_update_period: u64,
    /// Collateral for a unit in USD.
    pub usd_collateral_per_unit: U256,
    /// Revenue in USD that a unit shall have in an epoch.
    pub usd_target_revenue_per_epoch: U256,
    /// Least length of a commitment in epochs.
    pub min_duration: u64,
    /// Greatest length of a commitment in epochs.
    pub max_duration: u64,
    /// Least number of units of a commitment.
    pub min_units_per_commitment: u64,
    /// Greatest number of units of a commitment.
    pub max_units_per_commitment: u64,
    /// Least reward pool of an epoch.
    pub min_reward_per_epoch: U256,
    /// Greatest reward pool of an epoch.
    pub max_reward_per_epoch: U256,
    /// Epochs between two unlocked parts of a reward.
    pub vesting_period_duration: u64,
    /// Parts of a reward.
    pub vesting_period_count: u64,
    /// Part of the collateral lost for each missed epoch.
    pub slashing_rate: U256,
    /// Proofs that a unit needs in an epoch.
    pub min_proofs_per_epoch: u64,
    /// Proofs that count for a unit in an epoch.
    pub max_proofs_per_epoch: u64,
    /// Epochs between failure and withdrawal.
    pub withdraw_epochs_after_failed: u64,
    /// Missed epochs for each unit at which a commitment fails.
    pub max_failed_ratio: u64,
    /// Threshold of proofs.
    pub difficulty: Bytes32,
    /// The reward pool of the first epoch.
    pub init_reward_pool: U256,
    /// The nonce of the first epoch.
    pub init_global_nonce: Bytes32,
    /// Epochs that a deposit has to cover.
    pub min_deal_deposited_epochs: u64,
    /// Epochs between two matches of a deal.
    pub min_deal_rematching_epochs: u64,
    /// The lowest protocol version.
    pub min_protocol_version: u64,
    /// The highest protocol version.
    pub max_protocol_version: u64,
    /// Units that one provider may offer.
    pub max_units_per_provider: u64,
}

impl Default for Params {
    /// Those of a local chain.
    fn default() -> Self {
        let flt = |amount: u64| {
            U256::from(amount).saturating_mul(U256::from(1_000_000_000_000_000_000_u64))
        };
        let mut difficulty = Bytes32([0xff; 32]);
        if let Some(head) = difficulty.0.first_chunk_mut::<4>() {
            *head = [0; 4];
        }
        Self {
            epoch_duration: 15,
            whitelist: false,
            flt_price: U256::from(10_000_000),
            flt_price_update_period: 15,
            usd_collateral_per_unit: U256::from(1_000_000),
            usd_target_revenue_per_epoch: U256::from(3_000_000),
            min_duration: 10,
            max_duration: 1_000,
            min_units_per_commitment: 1,
            max_units_per_commitment: 1_000,
            min_reward_per_epoch: flt(100),
            max_reward_per_epoch: flt(200),
            vesting_period_duration: 3,
            vesting_period_count: 6,
            slashing_rate: U256::from(100_000),
            min_proofs_per_epoch: 2,
            max_proofs_per_epoch: 5,
            withdraw_epochs_after_failed: 2,
            max_failed_ratio: 10,
            difficulty,
            init_reward_pool: flt(10),
            init_global_nonce: keccak256(b"init_global_nonce"),
            min_deal_deposited_epochs: 2,
            min_deal_rematching_epochs: 2,
            min_protocol_version: 1,
            max_protocol_version: 1,
            max_units_per_provider: 1_000,
        }
    }
}

/// Computes the hash of a proof from the key of the unit and epoch and the nonce that was found.
#[derive(Clone)]
pub struct Verifier(Arc<dyn Fn(Bytes32, Bytes32) -> Bytes32 + Send + Sync>);

impl Verifier {
    /// A verifier that computes.
    pub fn new(hash: impl Fn(Bytes32, Bytes32) -> Bytes32 + Send + Sync + 'static) -> Self {
        Self(Arc::new(hash))
    }

    /// The verifier of local chains, for which every nonce has this hash.
    #[must_use]
    pub fn constant(hash: Bytes32) -> Self {
        Self::new(move |_, _| hash)
    }

    /// The hash.
    #[must_use]
    pub fn hash(&self, key: Bytes32, nonce: Bytes32) -> Bytes32 {
        (self.0)(key, nonce)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// What a market is created with.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// The constants.
    pub params: Params,
    /// The code behind the deals.
    pub deal_implementation: Address,
    /// Who may set the price of the network's token, and remove stale workers.
    pub oracle: Address,
    /// What the market answers to `owner()`, which is who gets the stakers' part of what deals pay.
    /// Zero where the function of the core facet is in use, which reads another place.
    pub owner_view: Address,
    /// Who checks proofs.
    pub verifier: Verifier,
    /// The contract that changes the functions of the market.
    pub cut_facet: Address,
    /// The contracts that have the functions of the market.
    pub facets: Vec<FacetCut>,
}

impl Default for Genesis {
    /// A local chain whose verifier takes every proof.
    fn default() -> Self {
        let params = Params::default();
        Self {
            verifier: Verifier::constant(params.difficulty),
            params,
            deal_implementation: Address::ZERO,
            oracle: Address::ZERO,
            owner_view: Address::ZERO,
            cut_facet: Address::ZERO,
            facets: Vec::new(),
        }
    }
}

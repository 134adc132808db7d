//! The events, as tables.

use std::{collections::BTreeMap, sync::LazyLock};

use super::{ContractError, Event, LogData};
use crate::{
    AccessType, Address, Bytes32, OnChainCid, U256,
    abi::{self, Value},
};

abi::structs! {
    /// What a staker earned in the deals of a commitment.
    RewardState {
        /// Sums that unlock one after another.
        schedule "schedule": Vec<U256>,
        /// The part that is unlocked.
        unlocked "unlocked": U256,
    }
    /// A change of the functions behind a contract's address.
    FacetCut {
        /// The contract that has the functions.
        facet "facetAddress": Address,
        /// 0 add, 1 replace, 2 remove.
        action "action": u8,
        /// The functions.
        selectors "functionSelectors": Vec<[u8; 4]>,
    }
}

macro_rules! events {
    ($($(#[$meta:meta])* $name:ident $abi_name:literal $indexed:literal {
        $( $(#[$field_meta:meta])* $field:ident $field_name:literal : $type:ty, )*
    })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

            abi::fields!($name { $($field $field_name : $type,)* });

            impl Event for $name {
                const NAME: &'static str = $abi_name;
                const INDEXED: usize = $indexed;
            }

            impl From<$name> for MarketEvent {
                fn from(event: $name) -> Self {
                    Self::$name(event)
                }
            }
        )*

        /// Any event of the marketplace.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum MarketEvent {
            $( $(#[$meta])* $name($name), )*
        }

        impl MarketEvent {
            /// Name and types.
            #[must_use]
            pub fn signature(&self) -> String {
                match self { $(Self::$name(_) => $name::signature(),)* }
            }

            /// All members, indexed ones first.
            #[must_use]
            pub fn values(&self) -> Vec<Value> {
                match self { $(Self::$name(event) => abi::List::to_values(event),)* }
            }

            /// The log entry.
            #[must_use]
            pub fn encode(&self) -> LogData {
                match self { $(Self::$name(event) => event.encode(),)* }
            }
        }

        /// Readers by first topic and number of indexed members.
        static READERS: LazyLock<BTreeMap<(Bytes32, usize), Reader>> = LazyLock::new(|| {
            BTreeMap::from([
                $((($name::topic(), $name::INDEXED), read::<$name> as Reader),)*
            ])
        });
    };
}

type Reader = fn(&[Bytes32], &[u8]) -> Result<MarketEvent, ContractError>;

fn read<E: Event + Into<MarketEvent>>(
    topics: &[Bytes32],
    data: &[u8],
) -> Result<MarketEvent, ContractError> {
    E::decode(topics, data).map(Into::into)
}

impl MarketEvent {
    /// Reads a log entry.
    ///
    /// # Errors
    /// An event that is not listed, or malformed members.
    pub fn decode(topics: &[Bytes32], data: &[u8]) -> Result<Self, ContractError> {
        let (topic, indexed) = topics.split_first().ok_or(ContractError::Anonymous)?;
        let reader = READERS
            .get(&(*topic, indexed.len()))
            .ok_or(ContractError::UnknownEvent {
                topic: *topic,
                topics: topics.len(),
            })?;
        reader(topics, data)
    }
}

events! {
    /// The collateral of a commitment was paid.
    CollateralDeposited "CollateralDeposited" 2 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// Who paid.
        staker_address "stakerAddress": Address,
        /// What was paid, in wei.
        total_collateral "totalCollateral": U256,
    }
    /// The collateral of a finished commitment was paid back.
    CollateralWithdrawn "CollateralWithdrawn" 0 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// What was paid back, in wei.
        amount_withdrawn "amountWithdrawn": U256,
        /// What was kept, in wei.
        amount_slashed "amountSlashed": U256,
    }
    /// A commitment will be active from `start_epoch` on.
    CommitmentActivated "CommitmentActivated" 2 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// The first epoch.
        start_epoch "startEpoch": U256,
        /// The epoch after the last.
        end_epoch "endEpoch": U256,
        /// The units.
        unit_ids "unitIds": Vec<Bytes32>,
    }
    /// A provider committed a peer's capacity.
    CommitmentCreated "CommitmentCreated" 1 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// Length in epochs.
        duration "duration": U256,
        /// Who pays the collateral; zero for anyone.
        delegator "delegator": Address,
        /// The delegator's part of the reward, in 10⁻⁷.
        reward_delegation_rate "rewardDelegationRate": U256,
        /// Collateral for a unit, in wei.
        flt_collateral_per_unit "fltCollateralPerUnit": U256,
    }
    /// A commitment missed too many proofs.
    CommitmentFailed "CommitmentFailed" 1 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// The epoch in which it failed.
        failed_epoch "failedEpoch": U256,
    }
    /// A commitment came to its end.
    CommitmentFinished "CommitmentFinished" 1 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
    }
    /// A commitment was withdrawn before it was paid.
    CommitmentRemoved "CommitmentRemoved" 1 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
    }
    /// The counts of a commitment changed.
    CommitmentStatsUpdated "CommitmentStatsUpdated" 0 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// Epochs missed by units so far.
        total_fail_count "totalFailCount": U256,
        /// Units taken out.
        exited_unit_count "exitedUnitCount": U256,
        /// Units that have to prove.
        active_unit_count "activeUnitCount": U256,
        /// Units that have to prove from the next epoch on.
        next_additional_active_unit_count "nextAdditionalActiveUnitCount": U256,
        /// The last epoch that is accounted for.
        changed_epoch "changedEpoch": U256,
    }
    /// A proof was accepted.
    ProofSubmitted "ProofSubmitted" 2 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// The unit.
        unit_id "unitId": Bytes32,
        /// The nonce that the prover found.
        local_unit_nonce "localUnitNonce": Bytes32,
    }
    /// Rewards of a commitment were paid.
    RewardWithdrawn "RewardWithdrawn" 1 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// Paid to the provider.
        provider_reward "providerReward": U256,
        /// Paid to the staker.
        deal_staker_rewards_amount "dealStakerRewardsAmount": U256,
    }
    /// The staker's rewards of a commitment changed.
    StateUpdated "StateUpdated" 1 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// The new state.
        state "state": RewardState,
    }
    /// A unit has to prove its capacity (again).
    UnitActivated "UnitActivated" 2 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// The unit.
        unit_id "unitId": Bytes32,
        /// The first epoch.
        start_epoch "startEpoch": U256,
    }
    /// A unit went to a deal.
    UnitDeactivated "UnitDeactivated" 2 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// The unit.
        unit_id "unitId": Bytes32,
    }
    /// A reward was scheduled.
    VestingScheduleItem "VestingScheduleItem" 3 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// Number of the item.
        id "id": U256,
        /// When it unlocks.
        epoch "epoch": U256,
        /// Sum of this item and those before it, in wei.
        cumulative_amount "cumulativeAmount": U256,
    }
    /// A scheduled reward grew.
    VestingUpdateItem "VestingUpdateItem" 2 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// Number of the item.
        id "id": U256,
        /// Sum of this item and those before it, in wei.
        cumulative_amount "cumulativeAmount": U256,
    }
    /// A unit was offered.
    ComputeUnitCreated "ComputeUnitCreated" 1 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// The unit.
        unit_id "unitId": Bytes32,
    }
    /// A unit is no longer offered.
    ComputeUnitRemoved "ComputeUnitRemoved" 2 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// The unit.
        unit_id "unitId": Bytes32,
    }
    /// Units became a worker of a deal.
    ComputeUnitsMatched "ComputeUnitsMatched" 1 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// The deal.
        deal "deal": Address,
        /// Number of the worker in its deal.
        onchain_worker_id "onchainWorkerId": Bytes32,
        /// The units of the worker.
        cu_ids "cuIds": Vec<Bytes32>,
        /// What the deal runs.
        app_cid "appCID": OnChainCid,
    }
    /// The units of a worker left their deal.
    ComputeUnitsRemovedFromDeal "ComputeUnitsRemovedFromDeal" 2 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// The deal.
        deal "deal": Address,
        /// The units of the worker.
        cu_ids "cuIds": Vec<Bytes32>,
        /// Number of the worker in its deal.
        onchain_worker_id "onchainWorkerId": Bytes32,
    }
    /// An offer got an effector.
    EffectorAdded "EffectorAdded" 1 {
        /// The offer.
        offer_id "offerId": Bytes32,
        /// The effector.
        effector "effector": OnChainCid,
    }
    /// An effector is no longer described.
    EffectorInfoRemoved "EffectorInfoRemoved" 0 {
        /// The effector.
        id "id": OnChainCid,
    }
    /// An effector was described.
    EffectorInfoSet "EffectorInfoSet" 0 {
        /// The effector.
        id "id": OnChainCid,
        /// What it is, for people.
        description "description": String,
        /// More about it.
        metadata "metadata": OnChainCid,
    }
    /// An offer lost an effector.
    EffectorRemoved "EffectorRemoved" 1 {
        /// The offer.
        offer_id "offerId": Bytes32,
        /// The effector.
        effector "effector": OnChainCid,
    }
    /// A unit earns for its staker in a deal.
    EntityAdded "EntityAdded" 1 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// The unit.
        entity_id "entityId": Bytes32,
        /// The staker's part for an epoch.
        reward_per_epoch "rewardPerEpoch": U256,
        /// The epoch of the change.
        current_epoch "currentEpoch": U256,
    }
    /// A unit no longer earns for its staker in a deal.
    EntityRemoved "EntityRemoved" 1 {
        /// The commitment.
        commitment_id "commitmentId": Bytes32,
        /// The unit.
        entity_id "entityId": Bytes32,
        /// The epoch of the change.
        current_epoch "currentEpoch": U256,
    }
    /// A provider made an offer.
    MarketOfferRegistered "MarketOfferRegistered" 1 {
        /// The provider.
        provider "provider": Address,
        /// The offer.
        offer_id "offerId": Bytes32,
        /// The least price of a unit for an epoch.
        min_price_per_cu_per_epoch "minPricePerCuPerEpoch": U256,
        /// The token of payment.
        payment_token "paymentToken": Address,
        /// Effectors that are offered.
        effectors "effectors": Vec<OnChainCid>,
        /// The lowest protocol version.
        min_protocol_version "minProtocolVersion": U256,
        /// The highest protocol version.
        max_protocol_version "maxProtocolVersion": U256,
    }
    /// An offer was withdrawn.
    MarketOfferRemoved "MarketOfferRemoved" 1 {
        /// The offer.
        offer_id "offerId": Bytes32,
    }
    /// The price of an offer changed.
    MinPricePerCuPerEpochUpdated "MinPricePerCuPerEpochUpdated" 1 {
        /// The offer.
        offer_id "offerId": Bytes32,
        /// The least price of a unit for an epoch.
        min_price_per_cu_per_epoch "minPricePerCuPerEpoch": U256,
    }
    /// The token of an offer changed.
    PaymentTokenUpdated "PaymentTokenUpdated" 1 {
        /// The offer.
        offer_id "offerId": Bytes32,
        /// The token of payment.
        payment_token "paymentToken": Address,
    }
    /// A peer was offered.
    PeerCreated "PeerCreated" 1 {
        /// The offer.
        offer_id "offerId": Bytes32,
        /// The peer.
        peer_id "peerId": Bytes32,
        /// Who may act for it.
        owner "owner": Address,
    }
    /// A peer is no longer offered.
    PeerRemoved "PeerRemoved" 2 {
        /// The offer.
        offer_id "offerId": Bytes32,
        /// The peer.
        peer_id "peerId": Bytes32,
    }
    /// A provider described himself.
    ProviderInfoUpdated "ProviderInfoUpdated" 1 {
        /// The provider.
        provider "provider": Address,
        /// The name, for people.
        name "name": String,
        /// More about it.
        metadata "metadata": OnChainCid,
    }
    /// A peer reported that a worker is installed.
    WorkerActivated "WorkerActivated" 2 {
        /// The peer.
        peer_id "peer_id": Bytes32,
        /// The deal.
        deal "deal": Address,
        /// Number of the worker in its deal.
        onchain_worker_id "onchain_worker_id": Bytes32,
        /// The worker's key.
        offchain_worker_id "offchain_worker_id": Bytes32,
    }
    /// A deal was made.
    DealCreated "DealCreated" 1 {
        /// Who pays and decides.
        owner "owner": Address,
        /// The deal.
        deal "deal": Address,
        /// The epoch of creation.
        created_at_epoch "createdAtEpoch": U256,
        /// The token of payment.
        payment_token "paymentToken": Address,
        /// Workers it needs.
        min_workers "minWorkers": U256,
        /// Workers it wants.
        target_workers "targetWorkers": U256,
        /// Units of a worker.
        cu_count_per_worker "cuCountPerWorker": U256,
        /// Workers that one provider may have.
        max_workers_per_provider "maxWorkersPerProvider": U256,
        /// The price of a unit for an epoch.
        price_per_cu_per_epoch "pricePerCuPerEpoch": U256,
        /// Effectors that it needs.
        effectors "effectors": Vec<OnChainCid>,
        /// What the deal runs.
        app_cid "appCID": OnChainCid,
        /// How providers are chosen.
        providers_access_type "providersAccessType_": AccessType,
        /// The providers listed.
        providers_access_list "providersAccessList_": Vec<Address>,
        /// The protocol version of the deal.
        protocol_version "protocolVersion_": U256,
    }
    /// A constant of capacity changed.
    CapacityConstantUpdated "CapacityConstantUpdated" 0 {
        /// The number of the constant.
        constant_type "constantType": u8,
        /// Its value from now on.
        new_value "newValue": U256,
    }
    /// A constant of deals changed.
    ConstantUpdated "ConstantUpdated" 0 {
        /// The number of the constant.
        constant_type "constantType": u8,
        /// Its value from now on.
        new_value "newValue": U256,
    }
    /// The contract behind deals changed.
    DealImplSet "DealImplSet" 0 {
        /// The contract that deals delegate to.
        deal_impl "dealImpl": Address,
    }
    /// The difficulty changed.
    DifficultyUpdated "DifficultyUpdated" 0 {
        /// The threshold from the next epoch on.
        difficulty "difficulty": Bytes32,
    }
    /// The price of the network's token changed, in 10⁻⁷ USD.
    FltPriceUpdated "FLTPriceUpdated" 0 {
        /// Its value from now on.
        new_value "newValue": U256,
    }
    /// A contract was set up.
    Initialized "Initialized" 0 {
        /// The version of the storage.
        version "version": u64,
    }
    /// The price oracle changed.
    OracleSet "OracleSet" 0 {
        /// The account that sets prices.
        oracle "oracle": Address,
    }
    /// A contract has a new owner.
    OwnershipTransferred "OwnershipTransferred" 2 {
        /// Who had it.
        previous_owner "previousOwner": Address,
        /// Who has it now.
        new_owner "newOwner": Address,
    }
    /// A token may be paid with.
    PaymentTokenAddedToWhitelist "PaymentTokenAddedToWhitelist" 1 {
        /// The token of payment.
        payment_token "paymentToken": Address,
    }
    /// A token may no longer be paid with.
    PaymentTokenRemovedFromWhitelist "PaymentTokenRemovedFromWhitelist" 1 {
        /// The token of payment.
        payment_token "paymentToken": Address,
    }
    /// An account may be a provider.
    WhitelistAccessGranted "WhitelistAccessGranted" 0 {
        /// The account.
        account "account": Address,
    }
    /// An account may no longer be a provider.
    WhitelistAccessRevoked "WhitelistAccessRevoked" 0 {
        /// The account.
        account "account": Address,
    }
    /// A deal runs something else.
    AppCidChanged "AppCIDChanged" 0 {
        /// What the deal runs from now on.
        new_app_cid "newAppCID": OnChainCid,
    }
    /// A deal was stopped.
    DealEnded "DealEnded" 0 {
        /// The epoch of the end.
        ended_epoch "endedEpoch": U256,
    }
    /// Money was paid into a deal.
    Deposited "Deposited" 0 {
        /// The amount.
        amount "amount": U256,
    }
    /// How long a deal is paid for changed.
    MaxPaidEpochUpdated "MaxPaidEpochUpdated" 0 {
        /// The last epoch that is paid for; zero when nothing is paid.
        max_paid_epoch "maxPaidEpoch": U256,
    }
    /// A provider was listed.
    ProviderAddedToAccessList "ProviderAddedToAccessList" 0 {
        /// The provider.
        provider "provider": Address,
    }
    /// A provider is no longer listed.
    ProviderRemovedFromAccessList "ProviderRemovedFromAccessList" 0 {
        /// The provider.
        provider "provider": Address,
    }
    /// How a deal chooses providers changed.
    ProvidersAccessTypeChanged "ProvidersAccessTypeChanged" 0 {
        /// How providers are chosen from now on.
        new_access_type "newAccessType": AccessType,
    }
    /// Rewards of a worker were paid.
    WorkerRewardWithdrawn "RewardWithdrawn" 0 {
        /// Number of the worker in its deal.
        onchain_worker_id "onchainWorkerId": Bytes32,
        /// Paid to the provider.
        provider_reward "providerReward": U256,
        /// Paid to the staker.
        staker_reward "stakerReward": U256,
    }
    /// Money was taken out of a deal.
    Withdrawn "Withdrawn" 0 {
        /// The amount.
        amount "amount": U256,
    }
    /// A worker has a key.
    WorkerIdUpdated "WorkerIdUpdated" 0 {
        /// Number of the worker in its deal.
        onchain_worker_id "onchainWorkerId": Bytes32,
        /// The worker's key.
        offchain_worker_id "offchainWorkerId": Bytes32,
    }
    /// A deal has one more worker.
    WorkerJoined "WorkerJoined" 1 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// Number of the worker in its deal.
        onchain_id "onchainId": Bytes32,
    }
    /// A deal has one worker less.
    WorkerRemoved "WorkerRemoved" 1 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// Number of the worker in its deal.
        onchain_id "onchainId": Bytes32,
    }
    /// One unit became a worker of a deal (generation G1).
    ComputeUnitMatched "ComputeUnitMatched" 1 {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// The deal.
        deal "deal": Address,
        /// The unit.
        unit_id "unitId": Bytes32,
        /// The block in which the deal was made.
        deal_creation_block "dealCreationBlock": U256,
        /// What the deal runs.
        app_cid "appCID": OnChainCid,
    }
    /// The functions behind the contract's address changed.
    DiamondCut "DiamondCut" 0 {
        /// What was added, replaced or removed.
        diamond_cut "_diamondCut": Vec<FacetCut>,
        /// The contract that was called once for it.
        init "_init": Address,
        /// With which input.
        calldata "_calldata": Vec<u8>,
    }
    /// A library was set up.
    LibraryInitialized "Initialized" 0 {
    }
    /// Tokens changed hands.
    Transfer "Transfer" 2 {
        /// Who paid; zero for new tokens.
        from "from": Address,
        /// Who got them; zero for tokens that are no more.
        to "to": Address,
        /// How many.
        value "value": U256,
    }
    /// An account may move tokens of another.
    Approval "Approval" 2 {
        /// Whose tokens.
        owner "owner": Address,
        /// Who may move them.
        spender "spender": Address,
        /// How many.
        value "value": U256,
    }
    /// Native tokens were wrapped.
    Deposit "Deposit" 1 {
        /// Who got the wrapped tokens.
        dst "dst": Address,
        /// How many.
        wad "wad": U256,
    }
    /// Wrapped tokens were turned back.
    Withdrawal "Withdrawal" 1 {
        /// Whose tokens.
        src "src": Address,
        /// How many.
        wad "wad": U256,
    }
}

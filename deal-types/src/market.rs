//! What the contracts keep: offers, peers, units, commitments, workers.

use crate::{Address, Bytes32, CommitmentStatus, OnChainCid, U256, abi};

abi::structs! {
    /// Who a provider is.
    ProviderInfo {
        /// The name, for people; never empty.
        name "name": String,
        /// More about him.
        metadata "metadata": OnChainCid,
        /// How many units he offers.
        unit_count "unitCount": U256,
    }
    /// What a provider asks for his peers.
    Offer {
        /// The provider.
        provider "provider": Address,
        /// The least price of a unit for an epoch.
        min_price_per_cu_per_epoch "minPricePerCuPerEpoch": U256,
        /// The token of payment.
        payment_token "paymentToken": Address,
        /// How many peers are offered.
        peer_count "peerCount": U256,
        /// The lowest protocol version.
        min_protocol_version "minProtocolVersion": U256,
        /// The highest protocol version.
        max_protocol_version "maxProtocolVersion": U256,
    }
    /// A peer as it is added to an offer.
    RegisterComputePeer {
        /// The peer.
        peer_id "peerId": Bytes32,
        /// Who may submit proofs and activate workers for it.
        owner "owner": Address,
        /// Its units, which the provider chooses at random.
        unit_ids "unitIds": Vec<Bytes32>,
    }
    /// A peer.
    ComputePeer {
        /// Its only offer.
        offer_id "offerId": Bytes32,
        /// Its commitment; zero for none.
        commitment_id "commitmentId": Bytes32,
        /// How many units it has.
        unit_count "unitCount": U256,
        /// Who may act for it.
        owner "owner": Address,
    }
    /// A unit of a known id.
    ComputeUnit {
        /// Its deal; zero for none.
        deal "deal": Address,
        /// Its peer.
        peer_id "peerId": Bytes32,
        /// The first epoch in which it has to prove; zero means that of the commitment.
        start_epoch "startEpoch": U256,
        /// The worker that it is part of; zero for none.
        onchain_worker_id "onchainWorkerId": Bytes32,
    }
    /// A unit among those of a peer.
    ComputeUnitView {
        /// The unit.
        id "id": Bytes32,
        /// Its deal; zero for none.
        deal "deal": Address,
        /// The first epoch in which it has to prove.
        start_epoch "startEpoch": U256,
        /// The worker that it is part of; zero for none.
        onchain_worker_id "onchainWorkerId": Bytes32,
    }
    /// A commitment of a peer's capacity.
    CommitmentView {
        /// Where it stands.
        status "status": CommitmentStatus,
        /// The peer.
        peer_id "peerId": Bytes32,
        /// Collateral for a unit, in wei.
        collateral_per_unit "collateralPerUnit": U256,
        /// Units when it was created.
        unit_count "unitCount": U256,
        /// The first epoch.
        start_epoch "startEpoch": U256,
        /// The epoch after the last.
        end_epoch "endEpoch": U256,
        /// The delegator's part of the reward, in 10⁻⁷.
        reward_delegator_rate "rewardDelegatorRate": U256,
        /// Who paid the collateral.
        delegator "delegator": Address,
        /// Epochs missed by units so far.
        total_fail_count "totalFailCount": U256,
        /// The epoch in which it failed; zero if it did not.
        failed_epoch "failedEpoch": U256,
        /// Units taken out.
        exited_unit_count "exitedUnitCount": U256,
    }
    /// A worker of a deal.
    Worker {
        /// Its key; zero until it is activated.
        offchain_id "offchainId": Bytes32,
        /// Its number, which the market gives: from 1, never the same in two deals.
        onchain_id "onchainId": Bytes32,
        /// Its peer.
        peer_id "peerId": Bytes32,
        /// The provider.
        provider "provider": Address,
        /// The epoch in which it was matched.
        joined_epoch "joinedEpoch": U256,
        /// Its units.
        compute_unit_ids "computeUnitIds": Vec<Bytes32>,
    }
    /// What an effector is.
    EffectorInfo {
        /// For people.
        description "description": String,
        /// More about it.
        metadata "metadata": OnChainCid,
    }
    /// A pair of rewards.
    Rewards {
        /// The provider's part.
        provider "provider": U256,
        /// The staker's part.
        staker "staker": U256,
    }
}

//! The functions that providers, developers and peers call, as tables.

use super::Call;
use crate::{
    AccessType, Address, Bytes32, CommitmentStatus, DealStatus, OnChainCid, U256, abi,
    market::{
        CommitmentView, ComputePeer, ComputeUnit, ComputeUnitView, EffectorInfo, Offer,
        ProviderInfo, RegisterComputePeer, Rewards, Worker,
    },
};

macro_rules! calls {
    ($($(#[$meta:meta])* $name:ident $abi_name:literal {
        $( $(#[$field_meta:meta])* $field:ident : $type:ty, )*
    } -> $output:ty;)*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

            // Parameters have no names in the published interface; ours serve messages only.
            abi::named_fields!($name { $($field : $type,)* });

            impl Call for $name {
                const NAME: &'static str = $abi_name;
                type Output = $output;
            }
        )*

        /// Signature and output of each typed call.
        #[cfg(test)]
        pub(crate) fn typed_calls() -> Vec<(String, String)> {
            vec![$((
                $name::signature(),
                abi::Type::Tuple(<$output as abi::List>::types()).to_string(),
            )),*]
        }
    };
}

calls! {
    /// Commits the capacity of a peer.
    CreateCommitment "createCommitment" {
        /// The peer.
        peer_id: Bytes32,
        /// Length in epochs.
        duration: U256,
        /// Who shall pay the collateral; zero for anyone.
        delegator: Address,
        /// The delegator's part of the reward, in 10⁻⁷.
        reward_delegation_rate: U256,
    } -> (Bytes32,);
    /// Pays the collateral of commitments, exactly.
    DepositCollateral "depositCollateral" {
        /// The commitments.
        commitment_ids: Vec<Bytes32>,
    } -> ();
    /// Ends a commitment whose time has passed or that has failed.
    FinishCommitment "finishCommitment" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> ();
    /// Withdraws a commitment that is not paid.
    RemoveCommitment "removeCommitment" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> ();
    /// Takes units out of an ended commitment.
    RemoveUnitsFromCommitment "removeCUFromCC" {
        /// The commitment.
        commitment_id: Bytes32,
        /// The units.
        unit_ids: Vec<Bytes32>,
    } -> ();
    /// Takes back the collateral of a finished commitment.
    WithdrawCollateral "withdrawCollateral" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> ();
    /// Takes the unlocked rewards of a commitment.
    WithdrawReward "withdrawReward" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> ();
    /// Submits a proof.
    SubmitProof "submitProof" {
        /// The unit.
        unit_id: Bytes32,
        /// The nonce that the prover found.
        local_unit_nonce: Bytes32,
        /// The hash of it.
        result_hash: Bytes32,
    } -> ();
    /// Submits proofs; the lists are of one length.
    SubmitProofs "submitProofs" {
        /// The units.
        unit_ids: Vec<Bytes32>,
        /// The nonces that the prover found.
        local_unit_nonces: Vec<Bytes32>,
        /// The hashes of them.
        result_hashes: Vec<Bytes32>,
    } -> ();
    /// Reads a commitment.
    GetCommitment "getCommitment" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> (CommitmentView,);
    /// Reads where a commitment stands.
    GetStatus "getStatus" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> (CommitmentStatus,);
    /// Reads where commitments stand.
    GetCommitmentStatuses "getCommitmentStatuses" {
        /// The commitments.
        commitment_ids: Vec<Bytes32>,
    } -> (Vec<CommitmentStatus>,);
    /// Reads the nonce that proofs of this epoch are for.
    GetGlobalNonce "getGlobalNonce" {} -> (Bytes32,);
    /// Reads the units that sent proofs in this epoch and how many.
    GetProofCounts "getProofCounts" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> (Vec<Bytes32>, Vec<U256>);
    /// Reads which units were taken out.
    GetUnitExitStatuses "getUnitExitStatuses" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> (Vec<Bytes32>, Vec<bool>);
    /// Reads all rewards of a commitment.
    TotalRewards "totalRewards" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> (Rewards,);
    /// Reads the rewards that can be taken.
    UnlockedRewards "unlockedRewards" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> (Rewards,);
    /// Reads the rewards that were taken.
    WithdrawnRewards "withdrawnRewards" {
        /// The commitment.
        commitment_id: Bytes32,
    } -> (Rewards,);

    /// Describes the caller as a provider.
    SetProviderInfo "setProviderInfo" {
        /// The name, not empty.
        name: String,
        /// More about him.
        metadata: OnChainCid,
    } -> ();
    /// Makes an offer.
    RegisterMarketOffer "registerMarketOffer" {
        /// The least price of a unit for an epoch.
        min_price_per_cu_per_epoch: U256,
        /// The token of payment.
        payment_token: Address,
        /// Effectors that are offered.
        effectors: Vec<OnChainCid>,
        /// Peers that are offered.
        peers: Vec<RegisterComputePeer>,
        /// The lowest protocol version.
        min_protocol_version: U256,
        /// The highest protocol version.
        max_protocol_version: U256,
    } -> (Bytes32,);
    /// Adds peers to an offer.
    AddComputePeers "addComputePeers" {
        /// The offer.
        offer_id: Bytes32,
        /// The peers.
        peers: Vec<RegisterComputePeer>,
    } -> ();
    /// Adds units to a peer.
    AddComputeUnits "addComputeUnits" {
        /// The peer.
        peer_id: Bytes32,
        /// The units.
        unit_ids: Vec<Bytes32>,
    } -> ();
    /// Adds effectors to an offer.
    AddEffector "addEffector" {
        /// The offer.
        offer_id: Bytes32,
        /// The effectors.
        effectors: Vec<OnChainCid>,
    } -> ();
    /// Takes effectors out of an offer.
    RemoveEffector "removeEffector" {
        /// The offer.
        offer_id: Bytes32,
        /// The effectors.
        effectors: Vec<OnChainCid>,
    } -> ();
    /// Changes the price of an offer.
    ChangeMinPricePerCuPerEpoch "changeMinPricePerCuPerEpoch" {
        /// The offer.
        offer_id: Bytes32,
        /// The least price of a unit for an epoch.
        min_price_per_cu_per_epoch: U256,
    } -> ();
    /// Changes the token of an offer.
    ChangePaymentToken "changePaymentToken" {
        /// The offer.
        offer_id: Bytes32,
        /// The token.
        payment_token: Address,
    } -> ();
    /// Withdraws an offer without peers.
    RemoveOffer "removeOffer" {
        /// The offer.
        offer_id: Bytes32,
    } -> ();
    /// Takes a peer without units out of its offer.
    RemoveComputePeer "removeComputePeer" {
        /// The peer.
        peer_id: Bytes32,
    } -> ();
    /// Takes a unit away from its peer.
    RemoveComputeUnit "removeComputeUnit" {
        /// The unit.
        unit_id: Bytes32,
    } -> ();
    /// Makes units workers of a deal.
    MatchDeal "matchDeal" {
        /// The deal.
        deal: Address,
        /// Offers, in the order in which they are tried.
        offers: Vec<Bytes32>,
        /// For each offer the groups of units, one group for each worker.
        compute_units: Vec<Vec<Vec<Bytes32>>>,
    } -> ();
    /// Returns units from a deal to a commitment.
    MoveResourcesFromDeal "moveResourcesFromDeal" {
        /// The units.
        unit_ids: Vec<Bytes32>,
        /// The commitment.
        commitment_id: Bytes32,
    } -> ();
    /// Reads a peer.
    GetComputePeer "getComputePeer" {
        /// The peer.
        peer_id: Bytes32,
    } -> (ComputePeer,);
    /// Reads a unit.
    GetComputeUnit "getComputeUnit" {
        /// The unit.
        unit_id: Bytes32,
    } -> (ComputeUnit,);
    /// Reads the units of a peer.
    GetComputeUnits "getComputeUnits" {
        /// The peer.
        peer_id: Bytes32,
    } -> (Vec<ComputeUnitView>,);
    /// Reads the ids of a peer's units.
    GetComputeUnitIds "getComputeUnitIds" {
        /// The peer.
        peer_id: Bytes32,
    } -> (Vec<Bytes32>,);
    /// Reads an offer.
    GetOffer "getOffer" {
        /// The offer.
        offer_id: Bytes32,
    } -> (Offer,);
    /// Reads who a provider is.
    GetProviderInfo "getProviderInfo" {
        /// The provider.
        provider: Address,
    } -> (ProviderInfo,);
    /// Reads what an effector is.
    GetEffectorInfo "getEffectorInfo" {
        /// The effector.
        id: OnChainCid,
    } -> (EffectorInfo,);

    /// Makes a deal; the deposit must have been approved.
    DeployDeal "deployDeal" {
        /// What it runs.
        app_cid: OnChainCid,
        /// The token of payment.
        payment_token: Address,
        /// What is paid at once.
        deposit_amount: U256,
        /// Workers it needs.
        min_workers: U256,
        /// Workers it wants.
        target_workers: U256,
        /// Units of a worker.
        cu_count_per_worker: U256,
        /// Workers that one provider may have.
        max_workers_per_provider: U256,
        /// The price of a unit for an epoch.
        price_per_cu_per_epoch: U256,
        /// Effectors that it needs.
        effectors: Vec<OnChainCid>,
        /// How providers are chosen.
        access_type: AccessType,
        /// The providers listed.
        access_list: Vec<Address>,
        /// The protocol version.
        protocol_version: U256,
    } -> (Address,);
    /// Reads whether an address is a deal of this market.
    HasDeal "hasDeal" {
        /// The address.
        deal: Address,
    } -> (bool,);

    /// Reads the epoch of the latest block.
    CurrentEpoch "currentEpoch" {} -> (U256,);
    /// Reads the threshold of proofs.
    GetDifficulty "difficulty" {} -> (Bytes32,);
    /// Reads the length of an epoch in seconds.
    EpochDuration "epochDuration" {} -> (U256,);
    /// Reads when epoch 1 began, in seconds since 1970.
    InitTimestamp "initTimestamp" {} -> (U256,);
    /// Reads how many proofs a unit needs in an epoch.
    MinProofsPerEpoch "minProofsPerEpoch" {} -> (U256,);
    /// Reads how many proofs count for a unit in an epoch.
    MaxProofsPerEpoch "maxProofsPerEpoch" {} -> (U256,);
    /// Reads the collateral for a unit, in wei.
    FltCollateralPerUnit "fltCollateralPerUnit" {} -> (U256,);
    /// Reads the reward pool of an epoch, in wei.
    GetRewardPool "getRewardPool" {
        /// The epoch.
        epoch: U256,
    } -> (U256,);
    /// Reads how many units have to prove.
    ActiveUnitCount "activeUnitCount" {} -> (U256,);
    /// Reads what there is for rewards, in wei.
    GetRewardBalance "getRewardBalance" {} -> (U256,);
    /// Pays native tokens in for rewards.
    DiamondReceive "diamondReceive" {} -> ();
    /// Sets the price of the network's token, in 10⁻⁷ USD.
    SetFltPrice "setFLTPrice" {
        /// The price.
        flt_price: U256,
    } -> ();
    /// Takes the right to be a provider away.
    RevokeAccess "revokeAccess" {
        /// The account.
        account: Address,
    } -> ();
    /// Stops a token from being paid with.
    RemovePaymentTokenFromWhitelist "removePaymentTokenFromWhitelist" {
        /// The token.
        token: Address,
    } -> ();
    /// Lets an account be a provider.
    GrantAccess "grantAccess" {
        /// The account.
        account: Address,
    } -> ();
    /// Changes the threshold of proofs from the next epoch on.
    SetDifficulty "setDifficulty" {
        /// The threshold.
        difficulty: Bytes32,
    } -> ();
    /// Lets a token be paid with.
    AddPaymentTokenToWhitelist "addPaymentTokenToWhitelist" {
        /// The token.
        token: Address,
    } -> ();

    /// Reports that a worker is installed (of a deal).
    ActivateWorker "activateWorker" {
        /// Number of the worker.
        onchain_id: Bytes32,
        /// Its key.
        offchain_id: Bytes32,
    } -> ();
    /// Ends a worker (of a deal).
    RemoveWorker "removeWorker" {
        /// Number of the worker.
        onchain_id: Bytes32,
    } -> ();
    /// Takes what a worker has earned (of a deal).
    WithdrawRewards "withdrawRewards" {
        /// Number of the worker.
        onchain_id: Bytes32,
    } -> ();
    /// Reads where a deal stands.
    GetDealStatus "getStatus" {} -> (DealStatus,);
    /// Reads what a deal runs.
    GetAppCid "appCID" {} -> (OnChainCid,);
    /// Reads the workers of a deal.
    GetWorkers "getWorkers" {} -> (Vec<Worker>,);
    /// Reads a worker of a deal.
    GetWorker "getWorker" {
        /// Number of the worker.
        onchain_id: Bytes32,
    } -> (Worker,);
    /// Reads what a worker has earned.
    GetRewardAmount "getRewardAmount" {
        /// Number of the worker.
        onchain_id: Bytes32,
    } -> (Rewards,);
    /// Changes what a deal runs.
    SetAppCid "setAppCID" {
        /// What it runs from now on.
        app_cid: OnChainCid,
    } -> ();
    /// Pays into a deal.
    DepositToDeal "deposit" {
        /// The amount.
        amount: U256,
    } -> ();
    /// Takes money out of a deal.
    WithdrawFromDeal "withdraw" {
        /// The amount.
        amount: U256,
    } -> ();
    /// Lists a provider.
    AddProviderToAccessList "addProviderToAccessList" {
        /// The provider.
        provider: Address,
    } -> ();
    /// Strikes a provider off the list.
    RemoveProviderFromAccessList "removeProviderFromAccessList" {
        /// The provider.
        provider: Address,
    } -> ();
    /// Changes how providers are chosen, and empties the list.
    ChangeProvidersAccessType "changeProvidersAccessType" {
        /// How they are chosen from now on.
        access_type: AccessType,
    } -> ();
    /// Stops a deal.
    StopDeal "stop" {} -> ();
    /// Reads what is not yet owed to workers.
    GetFreeBalance "getFreeBalance" {} -> (U256,);
    /// Reads the last epoch that a deal is paid for.
    GetMaxPaidEpoch "getMaxPaidEpoch" {} -> (U256,);
}

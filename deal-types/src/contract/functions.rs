//! Every function of generation G2.

use std::{collections::BTreeMap, sync::LazyLock};

use crate::abi;

/// What a function may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// Only reads.
    View,
    /// Changes the state.
    Write,
    /// Changes the state and takes native tokens.
    Payable,
}

/// A function as its contract declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The facet of the market's contract that has it, or `Deal`.
    pub contract: &'static str,
    /// Name and types.
    pub signature: &'static str,
    /// Types of the answer, in parentheses.
    pub outputs: &'static str,
    /// What it may do.
    pub kind: FunctionKind,
}

/// The function that a selector names; functions that several contracts share are listed once.
#[must_use]
pub fn function(selector: [u8; 4]) -> Option<&'static Function> {
    static BY_SELECTOR: LazyLock<BTreeMap<[u8; 4], &'static Function>> = LazyLock::new(|| {
        FUNCTIONS
            .iter()
            .rev()
            .map(|function| (abi::selector(function.signature), function))
            .collect()
    });
    BY_SELECTOR.get(&selector).copied()
}

/// All functions, contract by contract.
#[rustfmt::skip]
pub const FUNCTIONS: &[Function] = &[
    Function { contract: "CapacityFacet", signature: "createCommitment(bytes32,uint256,address,uint256)", outputs: "(bytes32)", kind: FunctionKind::Write },
    Function { contract: "CapacityFacet", signature: "depositCollateral(bytes32[])", outputs: "()", kind: FunctionKind::Payable },
    Function { contract: "CapacityFacet", signature: "diamondReceive()", outputs: "()", kind: FunctionKind::Payable },
    Function { contract: "CapacityFacet", signature: "finishCommitment(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CapacityFacet", signature: "getCommitment(bytes32)", outputs: "((uint8,bytes32,uint256,uint256,uint256,uint256,uint256,address,uint256,uint256,uint256))", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "getGlobalNonce()", outputs: "(bytes32)", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "getProofCounts(bytes32)", outputs: "(bytes32[],uint256[])", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "getRewardBalance()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "getRewardInfo(uint256)", outputs: "((uint256,uint256,uint256))", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "getStatus(bytes32)", outputs: "(uint8)", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "getUnitExitStatuses(bytes32)", outputs: "(bytes32[],bool[])", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "removeCUFromCC(bytes32,bytes32[])", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CapacityFacet", signature: "removeCommitment(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CapacityFacet", signature: "submitProof(bytes32,bytes32,bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CapacityFacet", signature: "submitProofs(bytes32[],bytes32[],bytes32[])", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CapacityFacet", signature: "totalRewards(bytes32)", outputs: "((uint256,uint256))", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "unlockedRewards(bytes32)", outputs: "((uint256,uint256))", kind: FunctionKind::View },
    Function { contract: "CapacityFacet", signature: "withdrawCollateral(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CapacityFacet", signature: "withdrawReward(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CapacityFacet", signature: "withdrawnRewards(bytes32)", outputs: "((uint256,uint256))", kind: FunctionKind::View },
    Function { contract: "MarketFacet", signature: "addComputePeers(bytes32,(bytes32,address,bytes32[])[])", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "addComputeUnits(bytes32,bytes32[])", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "addEffector(bytes32,(bytes4,bytes32)[])", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "changeMinPricePerCuPerEpoch(bytes32,uint256)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "changePaymentToken(bytes32,address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "getComputePeer(bytes32)", outputs: "((bytes32,bytes32,uint256,address))", kind: FunctionKind::View },
    Function { contract: "MarketFacet", signature: "getComputeUnit(bytes32)", outputs: "((address,bytes32,uint256,bytes32))", kind: FunctionKind::View },
    Function { contract: "MarketFacet", signature: "getComputeUnitIds(bytes32)", outputs: "(bytes32[])", kind: FunctionKind::View },
    Function { contract: "MarketFacet", signature: "getComputeUnits(bytes32)", outputs: "((bytes32,address,uint256,bytes32)[])", kind: FunctionKind::View },
    Function { contract: "MarketFacet", signature: "getEffectorInfo((bytes4,bytes32))", outputs: "((string,(bytes4,bytes32)))", kind: FunctionKind::View },
    Function { contract: "MarketFacet", signature: "getOffer(bytes32)", outputs: "((address,uint256,address,uint256,uint256,uint256))", kind: FunctionKind::View },
    Function { contract: "MarketFacet", signature: "getProviderInfo(address)", outputs: "((string,(bytes4,bytes32),uint256))", kind: FunctionKind::View },
    Function { contract: "MarketFacet", signature: "matchDeal(address,bytes32[],bytes32[][][])", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "moveResourcesFromDeal(bytes32[],bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "registerMarketOffer(uint256,address,(bytes4,bytes32)[],(bytes32,address,bytes32[])[],uint256,uint256)", outputs: "(bytes32)", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "removeComputePeer(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "removeComputeUnit(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "removeEffector(bytes32,(bytes4,bytes32)[])", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "removeEffectorInfo((bytes4,bytes32))", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "removeOffer(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "reportWorkerActivated(bytes32,bytes32,bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "setEffectorInfo((bytes4,bytes32),string,(bytes4,bytes32))", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "MarketFacet", signature: "setProviderInfo(string,(bytes4,bytes32))", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "DealFactoryFacet", signature: "deployDeal((bytes4,bytes32),address,uint256,uint256,uint256,uint256,uint256,uint256,(bytes4,bytes32)[],uint8,address[],uint256)", outputs: "(address)", kind: FunctionKind::Write },
    Function { contract: "DealFactoryFacet", signature: "hasDeal(address)", outputs: "(bool)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "activeUnitCount()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "addPaymentTokenToWhitelist(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "currentEpoch()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "dealImpl()", outputs: "(address)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "difficulty()", outputs: "(bytes32)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "epochDuration()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "epochTimestamp(uint256)", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "fltCollateralPerUnit()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "fltPrice()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "fltPriceAtEpoch(uint256)", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "getAllConstants()", outputs: "(((uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256),(uint256,uint256,uint256,uint256,uint256,uint256,uint256,bytes32)))", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "getRewardPool(uint256)", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "grantAccess(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "initTimestamp()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "isApproved(address)", outputs: "(bool)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "isPaymentTokenAllowed(address)", outputs: "(bool)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "lastPriceSetting()", outputs: "(uint256,uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "maxCUPerCommitment()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "maxDuration()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "maxFailedRatio()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "maxProofsPerEpoch()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "maxProtocolVersion()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "maxRewardPerEpoch()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "maxUnitCountPerProvider()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "minCUPerCommitment()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "minDealDepositedEpochs()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "minDealRematchingEpochs()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "minDuration()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "minProofsPerEpoch()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "minProtocolVersion()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "minRewardPerEpoch()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "oracle()", outputs: "(address)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "owner()", outputs: "(address)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "precision()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "randomXProxy()", outputs: "(address)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "removePaymentTokenFromWhitelist(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "renounceOwnership()", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "revokeAccess(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "setCapacityConstant(uint8,uint256)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "setConstant(uint8,uint256)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "setDealImpl(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "setDifficulty(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "setFLTPrice(uint256)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "setOracle(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "slashingRate()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "transferOwnership(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "CoreFacet", signature: "usdCollateralPerUnit()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "usdTargetRevenuePerEpoch()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "vestingPeriodCount()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "vestingPeriodDuration()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "CoreFacet", signature: "withdrawEpochsAfterFailed()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "activateWorker(bytes32,bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "addProviderToAccessList(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "addWorker(address,(bytes32,bytes32[]),bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "appCID()", outputs: "((bytes4,bytes32))", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "changeProvidersAccessType(uint8)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "computePeerUsed(bytes32)", outputs: "(bool)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "creationBlock()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "cuCountPerWorker()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "deposit(uint256)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "effectors()", outputs: "((bytes4,bytes32)[])", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getActivatedWorkerCount()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getFreeBalance()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getMaxPaidEpoch()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getProtocolVersion()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getRewardAmount(bytes32)", outputs: "((uint256,uint256))", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getStatus()", outputs: "(uint8)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getWorker(bytes32)", outputs: "((bytes32,bytes32,bytes32,address,uint256,bytes32[]))", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getWorkerCount()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getWorkerCount(address)", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "getWorkers()", outputs: "((bytes32,bytes32,bytes32,address,uint256,bytes32[])[])", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "initialize(address,(bytes4,bytes32),address,uint256,uint256,uint256,uint256,uint256,(bytes4,bytes32)[],uint8,address[],uint256)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "isProviderAllowed(address)", outputs: "(bool)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "maxWorkersPerProvider()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "minWorkers()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "multicall(bytes[])", outputs: "(bytes[])", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "owner()", outputs: "(address)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "paymentToken()", outputs: "(address)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "pricePerCuPerEpoch()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "providersAccessType()", outputs: "(uint8)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "removeProviderFromAccessList(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "removeStaleWorkers(bytes32[])", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "removeWorker(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "renounceOwnership()", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "setAppCID((bytes4,bytes32))", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "stop()", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "targetWorkers()", outputs: "(uint256)", kind: FunctionKind::View },
    Function { contract: "Deal", signature: "transferOwnership(address)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "withdraw(uint256)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "Deal", signature: "withdrawRewards(bytes32)", outputs: "()", kind: FunctionKind::Write },
    Function { contract: "ViewerFacet", signature: "getCommitmentStatuses(bytes32[])", outputs: "(uint8[])", kind: FunctionKind::View },
];

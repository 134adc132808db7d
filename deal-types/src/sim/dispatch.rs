//! From the input of a call to the rule that it names.

use std::{collections::BTreeMap, sync::LazyLock};

use super::{Exec, Refusal};
use crate::{
    U256, abi,
    abi::List,
    contract::{self, Call, token},
    market::{ComputePeer, ComputeUnit, ComputeUnitView, Offer, ProviderInfo},
};

type Handler = fn(&mut Exec<'_>, &[u8]) -> Result<Vec<u8>, Refusal>;
type Table = BTreeMap<[u8; 4], Handler>;

/// A table of functions: the call, and what it does with it.
macro_rules! table {
    ($($call:ty => |$exec:ident, $value:ident| $body:expr;)*) => {
        BTreeMap::from([$((
            abi::selector(&<$call as Call>::signature()),
            (|$exec, input| {
                // The compiler's decoder refuses malformed arguments without a word.
                let $value = <$call>::decode(input).map_err(|_| Refusal::Silent)?;
                let output: <$call as Call>::Output = $body;
                Ok(output.to_abi_bytes())
            }) as Handler,
        )),*])
    };
}

static MARKET: LazyLock<Table> = LazyLock::new(|| {
    use contract::*;
    let mut table: Table = table! {
        AddPaymentTokenToWhitelist => |exec, call| exec.add_payment_token(&call)?;
        RemovePaymentTokenFromWhitelist => |exec, call| exec.remove_payment_token(&call)?;
        GrantAccess => |exec, call| exec.grant_access(&call)?;
        RevokeAccess => |exec, call| exec.revoke_access(&call)?;
        SetDifficulty => |exec, call| exec.set_difficulty(&call)?;
        SetFltPrice => |exec, call| exec.set_flt_price(&call)?;
        DiamondReceive => |exec, _call| exec.receive()?;
        CreateCommitment => |exec, call| (exec.create_commitment(&call)?,);
        DepositCollateral => |exec, call| exec.deposit_collateral(&call)?;
        RemoveCommitment => |exec, call| exec.remove_commitment(&call)?;
        RemoveUnitsFromCommitment => |exec, call| exec.remove_units(&call)?;
        FinishCommitment => |exec, call| exec.finish_commitment(&call)?;
        WithdrawCollateral => |exec, call| exec.withdraw_collateral(&call)?;
        WithdrawReward => |exec, call| exec.withdraw_reward(&call)?;
        SubmitProof => |exec, call| exec.submit_proof(&call)?;
        SubmitProofs => |exec, call| exec.submit_proofs(&call)?;
        SetProviderInfo => |exec, call| exec.set_provider_info(&call)?;
        RegisterMarketOffer => |exec, call| (exec.register_offer(&call)?,);
        AddComputePeers => |exec, call| exec.add_compute_peers(&call)?;
        AddComputeUnits => |exec, call| exec.add_compute_units(&call)?;
        RemoveComputeUnit => |exec, call| exec.remove_compute_unit(&call)?;
        RemoveComputePeer => |exec, call| exec.remove_compute_peer(&call)?;
        RemoveOffer => |exec, call| exec.remove_offer(&call)?;
        AddEffector => |exec, call| exec.add_effectors(&call)?;
        RemoveEffector => |exec, call| exec.remove_effectors(&call)?;
        ChangeMinPricePerCuPerEpoch => |exec, call| exec.change_price(&call)?;
        ChangePaymentToken => |exec, call| exec.change_payment_token(&call)?;
        DeployDeal => |exec, call| (exec.deploy_deal(&call)?,);
        MatchDeal => |exec, call| exec.match_deal(&call)?;
    };
    table.append(&mut market_views());
    table
});

fn market_views() -> Table {
    use contract::*;
    table! {
        GetStatus => |exec, call| (exec.commitment_status(call.commitment_id)?,);
        GetCommitmentStatuses => |exec, call| {
            let status = |id: &_| exec.commitment_status(*id);
            (call.commitment_ids.iter().map(status).collect::<Result<Vec<_>, _>>()?,)
        };
        GetCommitment => |exec, call| (exec.commitment_view(call.commitment_id)?,);
        GetGlobalNonce => |exec, _call| {
            let epoch = exec.epoch()?;
            (exec.market()?.global_nonce(epoch),)
        };
        GetDifficulty => |exec, _call| {
            let epoch = exec.epoch()?;
            (exec.market()?.difficulty(epoch),)
        };
        GetProofCounts => |exec, call| {
            let counts = exec.proof_counts(call.commitment_id)?;
            counts.into_iter().map(|(unit, count)| (unit, U256::from(count))).unzip()
        };
        GetUnitExitStatuses => |exec, call| {
            let market = exec.market()?;
            let peer = market.ledger(call.commitment_id)?.commitment.peer;
            let units = market.peer(peer)?.units.clone();
            let exited = units.iter().map(|id| market.unit(*id).map(|unit| unit.exited));
            let exited = exited.collect::<Result<Vec<_>, _>>()?;
            (units, exited)
        };
        TotalRewards => |exec, call| (exec.rewards(call.commitment_id, false)?,);
        UnlockedRewards => |exec, call| (exec.rewards(call.commitment_id, true)?,);
        WithdrawnRewards => |exec, call| (exec.withdrawn_rewards(call.commitment_id)?,);
        CurrentEpoch => |exec, _call| (U256::from(exec.epoch()?),);
        EpochDuration => |exec, _call| (U256::from(exec.market()?.params().epoch_duration),);
        InitTimestamp => |exec, _call| (U256::from(exec.market()?.init_timestamp),);
        MinProofsPerEpoch => |exec, _call| (U256::from(exec.market()?.params().min_proofs_per_epoch),);
        MaxProofsPerEpoch => |exec, _call| (U256::from(exec.market()?.params().max_proofs_per_epoch),);
        FltCollateralPerUnit => |exec, _call| (exec.market()?.collateral_per_unit()?,);
        ActiveUnitCount => |exec, _call| (U256::from(exec.market()?.active_units),);
        GetRewardPool => |exec, call| {
            let epoch = u64::try_from(call.epoch).unwrap_or(u64::MAX);
            (exec.market()?.pool(epoch).ok_or_else(super::exec::overflow)?,)
        };
        GetRewardBalance => |exec, _call| {
            let address = exec.market()?.address;
            let balance = exec.state.balances.get(&address).copied().unwrap_or_default();
            (exec.market()?.reward_balance(balance),)
        };
        HasDeal => |exec, call| (exec.market()?.matched.contains_key(&call.deal),);
        GetOffer => |exec, call| {
            let offer = exec.market()?.offers.get(&call.offer_id);
            let offer = offer.ok_or_else(|| super::exec::message("Offer doesn't exist"))?;
            (Offer {
                provider: offer.provider,
                min_price_per_cu_per_epoch: offer.min_price,
                payment_token: offer.payment_token,
                peer_count: U256::from(offer.peer_count),
                min_protocol_version: offer.min_protocol_version,
                max_protocol_version: offer.max_protocol_version,
            },)
        };
        GetProviderInfo => |exec, call| {
            let provider = exec.market()?.providers.get(&call.provider);
            let info = |provider: &super::market::Provider| ProviderInfo {
                name: provider.name.clone(),
                metadata: provider.metadata,
                unit_count: U256::from(provider.unit_count),
            };
            let nobody = || ProviderInfo {
                name: String::new(),
                metadata: crate::OnChainCid { prefixes: [0; 4], hash: crate::Bytes32::ZERO },
                unit_count: U256::ZERO,
            };
            (provider.map_or_else(nobody, info),)
        };
        GetComputePeer => |exec, call| {
            let peer = exec.market()?.peer(call.peer_id)?;
            (ComputePeer {
                offer_id: peer.offer,
                commitment_id: peer.commitment,
                unit_count: U256::from(peer.units.len()),
                owner: peer.owner,
            },)
        };
        GetComputeUnit => |exec, call| {
            let market = exec.market()?;
            let unit = market.unit(call.unit_id)?;
            (ComputeUnit {
                deal: unit.deal,
                peer_id: unit.peer,
                start_epoch: U256::from(market.start_epoch(unit)),
                onchain_worker_id: unit.worker,
            },)
        };
        GetComputeUnits => |exec, call| {
            let market = exec.market()?;
            let view = |id: &crate::Bytes32| {
                let unit = market.unit(*id)?;
                Ok(ComputeUnitView {
                    id: *id,
                    deal: unit.deal,
                    start_epoch: U256::from(market.start_epoch(unit)),
                    onchain_worker_id: unit.worker,
                })
            };
            let units = market.peers.get(&call.peer_id).map(|peer| peer.units.as_slice());
            let views = units.unwrap_or_default().iter().map(view);
            (views.collect::<Result<Vec<_>, Refusal>>()?,)
        };
        GetComputeUnitIds => |exec, call| (exec.market()?.peer(call.peer_id)?.units.clone(),);
    }
}

static DEAL: LazyLock<Table> = LazyLock::new(|| {
    use contract::*;
    table! {
        ActivateWorker => |exec, call| exec.activate_worker(&call)?;
        RemoveWorker => |exec, call| exec.remove_worker(&call)?;
        WithdrawRewards => |exec, call| exec.withdraw_rewards(&call)?;
        SetAppCid => |exec, call| exec.set_app_cid(&call)?;
        DepositToDeal => |exec, call| exec.deposit(&call)?;
        WithdrawFromDeal => |exec, call| exec.withdraw(&call)?;
        AddProviderToAccessList => |exec, call| exec.add_provider(&call)?;
        RemoveProviderFromAccessList => |exec, call| exec.remove_provider(&call)?;
        ChangeProvidersAccessType => |exec, call| exec.change_access(&call)?;
        StopDeal => |exec, _call| exec.stop_deal()?;
        GetDealStatus => |exec, _call| (exec.deal_status(exec.this)?,);
        GetAppCid => |exec, _call| (exec.deal_now()?.app_cid,);
        GetWorkers => |exec, _call| {
            let deal = exec.deal_now()?;
            (deal.workers.iter().map(|(number, worker)| deal.view(*number, worker)).collect(),)
        };
        GetWorker => |exec, call| {
            let deal = exec.deal_now()?;
            let (number, worker) = deal.worker(call.onchain_id)?;
            (deal.view(number, worker),)
        };
        GetRewardAmount => |exec, call| (exec.worker_reward(call.onchain_id)?,);
        GetFreeBalance => |exec, _call| (exec.deal_now()?.balance,);
        GetMaxPaidEpoch => |exec, _call| (U256::from(exec.deal_now()?.max_paid),);
    }
});

static TOKEN: LazyLock<Table> = LazyLock::new(|| {
    use token::*;
    table! {
        Approve => |exec, call| {
            exec.approve(exec.this, exec.sender, call.spender, call.value)?;
            (true,)
        };
        TransferTokens => |exec, call| {
            exec.transfer(exec.this, exec.sender, call.to, call.value)?;
            (true,)
        };
        TransferFrom => |exec, call| {
            exec.transfer_by(exec.this, exec.sender, call.from, call.to, call.value)?;
            (true,)
        };
        Wrap => |exec, _call| exec.wrap(exec.this, exec.sender, exec.value)?;
        Unwrap => |exec, call| exec.unwrap(exec.this, exec.sender, call.value)?;
        BalanceOf => |exec, call| (exec.token(exec.this)?.balance(call.account),);
        Allowance => |exec, call| (exec.token(exec.this)?.allowance(call.owner, call.spender),);
        TotalSupply => |exec, _call| (exec.token(exec.this)?.supply(),);
    }
});

/// Functions that take native tokens.
fn is_payable(selector: [u8; 4]) -> bool {
    use contract::{DepositCollateral, DiamondReceive};
    [
        DepositCollateral::signature(),
        DiamondReceive::signature(),
        token::Wrap::signature(),
    ]
    .iter()
    .any(|signature| abi::selector(signature) == selector)
}

impl Exec<'_> {
    /// Runs a call of [`Exec::this`].
    pub(super) fn dispatch(&mut self, input: &[u8]) -> Result<Vec<u8>, Refusal> {
        let is_market = self
            .state
            .market
            .as_ref()
            .is_some_and(|market| market.address == self.this);
        let (table, unknown) = if is_market {
            if input.is_empty() {
                return Ok(Vec::new());
            }
            (
                &MARKET,
                super::exec::message("Diamond: Function does not exist"),
            )
        } else if self.state.deals.contains_key(&self.this) {
            (&DEAL, Refusal::Silent)
        } else if self.state.tokens.contains_key(&self.this) {
            if input.is_empty() {
                self.wrap(self.this, self.sender, self.value)?;
                return Ok(Vec::new());
            }
            (&TOKEN, Refusal::Silent)
        } else {
            // A payment.
            return Ok(Vec::new());
        };
        let Some(selector) = input.first_chunk::<4>().copied() else {
            return Err(unknown);
        };
        if !self.value.is_zero() && !is_payable(selector) {
            return Err(Refusal::Silent);
        }
        match (table.get(&selector), contract::function(selector)) {
            (Some(handler), _) => handler(self, input),
            (None, Some(listed)) => Err(Refusal::NotSimulated {
                signature: listed.signature,
            }),
            (None, None) => Err(unknown),
        }
    }
}

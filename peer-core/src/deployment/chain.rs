//! `connector` and `subnet`: the marketplace as scripts see it (§3.15). Hosts without a chain have
//! neither.

use deal_types::{
    Address, Bytes32, PeerKey,
    peer_chain::{DealWorker, PeerDeal, TxReceipt},
};
use serde_json::{Value, json};

use super::Inner;
use crate::{
    builtins::{Answer, value},
    host::{FunctionCall, FunctionOutcome},
    workers::normalize_deal_id,
};

/// Most transactions that are asked for at a time.
const MAX_TRANSACTIONS: usize = 1_024;

pub(super) async fn connector(inner: &Inner, call: &FunctionCall) -> Answer {
    let Some(chain) = &inner.chain else {
        return Ok(FunctionOutcome::NotDefined);
    };
    let mut arguments = call.arguments();
    let check = |function: &str| match call.particle.init_peer_id == call.host_id {
        true => Ok(()),
        false => Err(format!(
            "Only the root worker can call connector.{function}"
        )),
    };
    match call.function_name.as_str() {
        "get_deals" => {
            check("get_deals")?;
            let deals = chain.deals().await;
            let deals = deals.map_err(|error| format!("Failed to get deals: {error}"))?;
            let described: Vec<Value> = deals.iter().map(describe_deal).collect();
            value(&described)
        }
        "register_worker" => {
            check("register_worker")?;
            let deal_id: String = arguments.next("deal_id")?;
            let worker_id: String = arguments.next("worker_id")?;
            let place: Vec<u8> = arguments.next("onchain_worker_id")?;
            let failed = |reason: String| format!("Failed to register worker: {reason}");
            if place.is_empty() {
                return Err("Invalid onchain_worker_id: empty".into());
            }
            let length = place.len();
            let place = <[u8; 32]>::try_from(place);
            let place = place
                .map_err(|_| format!("Invalid onchain_worker_id: {length} bytes, expected 32"))?;
            let deal: Address = normalize_deal_id(&deal_id)
                .parse()
                .map_err(|error| failed(format!("{error}")))?;
            let worker: PeerKey = worker_id
                .parse()
                .map_err(|error| failed(format!("{error}")))?;
            let sent = chain.register_worker(deal, worker, Bytes32(place)).await;
            value(&sent.map_err(|error| failed(error.to_string()))?.to_string())
        }
        "get_tx_receipts" => {
            check("get_tx_receipt")?;
            let texts: Vec<String> = arguments.next("tx_hashes")?;
            let failed = |reason: String| format!("Failed to get tx receipts: {reason}");
            if texts.len() > MAX_TRANSACTIONS {
                let count = texts.len();
                return Err(failed(format!(
                    "{count} transactions, expected at most {MAX_TRANSACTIONS}"
                ))
                .into());
            }
            let hashes: Vec<_> = texts.iter().map(|text| text.parse::<Bytes32>()).collect();
            let known: Vec<Bytes32> = hashes.iter().flatten().copied().collect();
            let receipts = chain.receipts(&known).await;
            let mut receipts = receipts
                .map_err(|error| failed(error.to_string()))?
                .into_iter();
            let described: Vec<Value> = hashes
                .iter()
                .map(|hash| match hash {
                    Ok(hash) => describe_receipt(*hash, receipts.next()),
                    Err(error) => no_receipt(&error.to_string()),
                })
                .collect();
            value(&described)
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

pub(super) async fn subnet(inner: &Inner, call: &FunctionCall) -> Answer {
    let Some(chain) = &inner.chain else {
        return Ok(FunctionOutcome::NotDefined);
    };
    if call.function_name != "resolve" {
        return Ok(FunctionOutcome::NotDefined);
    }
    let deal_id: String = call.arguments().next("deal_id")?;
    let deal_id = normalize_deal_id(&deal_id);
    let failed =
        |reason: String| value(&json!({ "success": false, "workers": [], "error": [reason] }));
    if deal_id.len() != DEAL_ID_LENGTH {
        return failed(format!("Invalid deal id '{deal_id}': invalid length"));
    }
    let deal: Address = match deal_id.parse() {
        Ok(deal) => deal,
        Err(error) => return failed(format!("Invalid deal id '{deal_id}': {error}")),
    };
    match chain.workers(deal).await {
        Ok(workers) => {
            let workers: Vec<Value> = workers.iter().map(describe_worker).collect();
            value(&json!({ "success": true, "workers": workers, "error": [] }))
        }
        Err(error) => failed(error.to_string()),
    }
}

/// Digits of the id of a deal.
const DEAL_ID_LENGTH: usize = 40;

fn describe_deal(deal: &PeerDeal) -> Value {
    let deal_id = normalize_deal_id(&deal.deal.to_deal_id());
    match &deal.info {
        Ok(info) => {
            let unit_ids: Vec<&[u8; 32]> = info.unit_ids.iter().map(|id| &id.0).collect();
            let info = json!({
                "status": info.status.to_string(),
                "cu_ids": unit_ids,
                "app_cid": info.app_cid,
                "onchain_worker_id": info.onchain_worker_id.0,
            });
            json!({ "success": true, "error": [], "deal_id": deal_id, "deal_info": [info] })
        }
        Err(error) => json!({
            "success": false,
            "error": [error.to_string()],
            "deal_id": deal_id,
            "deal_info": [],
        }),
    }
}

fn describe_receipt(hash: Bytes32, receipt: Option<TxReceipt>) -> Value {
    let (status, block_number) = match receipt {
        Some(TxReceipt::Pending) => ("pending", None),
        Some(TxReceipt::Ok { block_number }) => ("ok", Some(block_number)),
        Some(TxReceipt::Failed { block_number }) => ("failed", Some(block_number)),
        Some(TxReceipt::Unknown { reason }) => return no_receipt(&reason),
        None => return no_receipt("the chain did not say"),
    };
    let receipt = block_number
        .map(|block_number| json!({ "block_number": block_number, "tx_hash": hash.to_string() }));
    json!({
        "success": true,
        "error": [],
        "status": status,
        "receipt": Vec::from_iter(receipt),
    })
}

fn no_receipt(reason: &str) -> Value {
    json!({ "success": false, "error": [reason], "status": "", "receipt": [] })
}

/// With `pat_id`, the name that the published declaration has for the first unit.
fn describe_worker(worker: &DealWorker) -> Value {
    let unit_ids: Vec<String> = worker.unit_ids.iter().map(Bytes32::to_string).collect();
    json!({
        "cu_ids": unit_ids,
        "pat_id": unit_ids.first().cloned().unwrap_or_default(),
        "host_id": worker.host.to_string(),
        "worker_id": Vec::from_iter(worker.worker.map(|worker| worker.to_string())),
    })
}

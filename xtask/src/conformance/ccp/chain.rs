//! Interfaces of contracts, and transactions with their logs.

use std::collections::BTreeMap;

use deal_types::{
    Bytes32,
    abi::{self, Value},
    contract::{FUNCTIONS, FunctionKind, MarketEvent, Revert, function},
};
use serde::Deserialize;

use super::{Report, expect};

/// Generation, contract, interface.
type Interfaces = BTreeMap<String, BTreeMap<String, Interface>>;

#[derive(Deserialize)]
pub(super) struct Interface {
    events: Vec<EventRecord>,
    functions: Vec<FunctionRecord>,
    errors: Vec<ErrorRecord>,
}

#[derive(Deserialize)]
struct EventRecord {
    name: String,
    topic0: Bytes32,
    signature: String,
    params: Vec<Parameter>,
}

#[derive(Deserialize)]
struct Parameter {
    #[serde(rename = "type")]
    kind: String,
    indexed: bool,
}

#[derive(Deserialize)]
struct FunctionRecord {
    selector: String,
    signature: String,
    outputs: Vec<String>,
    mutability: String,
}

#[derive(Deserialize)]
struct ErrorRecord {
    selector: String,
    signature: String,
}

/// The generation that is implemented; of the others only names and types are checked.
const IMPLEMENTED: &str = "g2";

pub(super) fn replay_interfaces(records: &Interfaces, report: &mut Report) -> Result<(), String> {
    for (generation, contracts) in records {
        let implemented = generation == IMPLEMENTED;
        for (contract, interface) in contracts {
            let place = format!("chain-abi.json: {generation} {contract}");
            for event in &interface.events {
                let name = format!("{place} event {}", event.signature);
                report.record(name, check_event(event, implemented));
            }
            for record in &interface.functions {
                let name = format!("{place} function {}", record.signature);
                report.record(name, check_function(contract, record, implemented));
            }
            for error in &interface.errors {
                let name = format!("{place} error {}", error.signature);
                report.record(name, check_error(error, implemented));
            }
        }
    }
    Ok(())
}

fn check_event(event: &EventRecord, implemented: bool) -> Result<(), String> {
    let (name, types) = abi::parse_signature(&event.signature).map_err(|e| e.to_string())?;
    expect("name", name, &event.name)?;
    expect(
        "signature",
        abi::signature(name, &types),
        event.signature.clone(),
    )?;
    expect("topic", abi::topic(&event.signature), event.topic0)?;
    let kinds: Vec<String> = types.iter().map(ToString::to_string).collect();
    let listed: Vec<String> = event
        .params
        .iter()
        .map(|param| param.kind.clone())
        .collect();
    expect("types", kinds, listed)?;
    if !implemented {
        return Ok(());
    }
    // Zero words are a value of every type that topics have; the data are zero values.
    let indexed: Vec<bool> = event.params.iter().map(|param| param.indexed).collect();
    let mut topics = vec![event.topic0];
    topics.extend(
        indexed
            .iter()
            .filter(|indexed| **indexed)
            .map(|_| Bytes32::ZERO),
    );
    let plain: Vec<abi::Type> = types
        .into_iter()
        .zip(&indexed)
        .filter(|(_, indexed)| !**indexed)
        .map(|(part, _)| part)
        .collect();
    let values: Vec<Value> = plain.iter().map(zero).collect();
    let data = abi::encode(&plain, &values).map_err(|error| error.to_string())?;
    let decoded = MarketEvent::decode(&topics, &data).map_err(|error| error.to_string())?;
    expect("signature", decoded.signature(), event.signature.clone())?;
    let log = decoded.encode();
    expect("topics", log.topics, topics)?;
    expect("data", log.data, data)
}

/// The value of a type that has no bit set.
fn zero(part: &abi::Type) -> Value {
    match part {
        abi::Type::Uint(_) => Value::Uint(deal_types::U256::ZERO),
        abi::Type::Bool => Value::Bool(false),
        abi::Type::Address => Value::Address(deal_types::Address::ZERO),
        abi::Type::FixedBytes(length) => Value::FixedBytes(vec![0; usize::from(*length)]),
        abi::Type::Bytes => Value::Bytes(Vec::new()),
        abi::Type::String => Value::String(String::new()),
        abi::Type::List(_) => Value::List(Vec::new()),
        abi::Type::Array(element, length) => Value::List(vec![zero(element); *length]),
        abi::Type::Tuple(types) => Value::Tuple(types.iter().map(zero).collect()),
    }
}

fn check_function(
    contract: &str,
    record: &FunctionRecord,
    implemented: bool,
) -> Result<(), String> {
    let (name, types) = abi::parse_signature(&record.signature).map_err(|e| e.to_string())?;
    expect(
        "signature",
        abi::signature(name, &types),
        record.signature.clone(),
    )?;
    expect(
        "selector",
        hex(&abi::selector(&record.signature)),
        record.selector.clone(),
    )?;
    for output in &record.outputs {
        let parsed: abi::Type = output
            .parse()
            .map_err(|error: abi::AbiError| error.to_string())?;
        expect("output", parsed.to_string(), output.clone())?;
    }
    if !implemented {
        return Ok(());
    }
    let listed = FUNCTIONS
        .iter()
        .find(|function| function.contract == contract && function.signature == record.signature)
        .ok_or("not listed")?;
    expect(
        "outputs",
        listed.outputs.to_owned(),
        format!("({})", record.outputs.join(",")),
    )?;
    let kind = match record.mutability.as_str() {
        "view" | "pure" => FunctionKind::View,
        "payable" => FunctionKind::Payable,
        _ => FunctionKind::Write,
    };
    expect("kind", listed.kind, kind)
}

fn check_error(record: &ErrorRecord, implemented: bool) -> Result<(), String> {
    let (name, types) = abi::parse_signature(&record.signature).map_err(|e| e.to_string())?;
    expect(
        "signature",
        abi::signature(name, &types),
        record.signature.clone(),
    )?;
    let selector = abi::selector(&record.signature);
    expect("selector", hex(&selector), record.selector.clone())?;
    if !implemented {
        return Ok(());
    }
    let values: Vec<Value> = types.iter().map(zero).collect();
    let members = abi::encode(&types, &values).map_err(|error| error.to_string())?;
    let data = [selector.as_slice(), &members].concat();
    let revert = Revert::decode(&data).map_err(|error| error.to_string())?;
    expect("signature", revert.signature(), record.signature.clone())?;
    expect("data", revert.encode(), data)
}

#[derive(Deserialize)]
pub(super) struct Recording {
    pub(super) genesis_hash: Bytes32,
    pub(super) params: RecordedParams,
    pub(super) transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordedParams {
    pub(super) epoch_duration: u64,
    pub(super) difficulty: Bytes32,
    pub(super) min_proofs_per_epoch: u64,
    pub(super) max_proofs_per_epoch: u64,
    pub(super) max_failed_ratio: u64,
    /// Duration and count of periods.
    pub(super) vesting: (u64, u64),
    pub(super) slashing_rate: u64,
    pub(super) flt_price: u64,
    pub(super) usd_collateral_per_unit: u64,
    pub(super) min_duration: u64,
    pub(super) min_deal_deposited_epochs: u64,
    pub(super) min_deal_rematching_epochs: u64,
    pub(super) init_reward_pool: String,
}

#[derive(Deserialize)]
pub(super) struct Transaction {
    pub(super) block: u64,
    pub(super) timestamp: u64,
    pub(super) block_hash: Bytes32,
    pub(super) from: String,
    pub(super) to: Option<String>,
    pub(super) value: String,
    pub(super) status: String,
    pub(super) creates: Option<String>,
    pub(super) input: Option<String>,
    call: Option<String>,
    pub(super) logs: Vec<Log>,
}

#[derive(Deserialize)]
pub(super) struct Log {
    pub(super) address: String,
    pub(super) topics: Vec<Bytes32>,
    pub(super) data: String,
    event: Decoded,
}

#[derive(Deserialize)]
struct Decoded {
    signature: String,
    args: serde_json::Value,
}

pub(super) fn replay_logs(recording: &Recording, report: &mut Report) -> Result<(), String> {
    for transaction in &recording.transactions {
        let place = format!("chain-g2-logs.json: block {}", transaction.block);
        for (index, log) in transaction.logs.iter().enumerate() {
            report.record(
                format!("{place} log {index} {}", log.event.signature),
                check_log(log),
            );
        }
        if let (Some(input), Some(call)) = (&transaction.input, &transaction.call) {
            report.record(format!("{place} call {call}"), check_call(input, call));
        }
    }
    super::market::replay(recording, report)
}

fn check_log(log: &Log) -> Result<(), String> {
    let data = unhex(&log.data)?;
    let event = MarketEvent::decode(&log.topics, &data).map_err(|error| error.to_string())?;
    expect("signature", event.signature(), log.event.signature.clone())?;
    let values: Vec<serde_json::Value> = event.values().iter().map(to_json).collect();
    expect(
        "members",
        serde_json::Value::Array(values),
        log.event.args.clone(),
    )?;
    let encoded = event.encode();
    expect("topics", encoded.topics, log.topics.clone())?;
    expect("data", encoded.data, data)
}

/// Values as the recording writes them.
fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(values) | Value::Tuple(values) => values.iter().map(to_json).collect(),
        other => other.to_string().into(),
    }
}

/// Input is decoded and encoded again without a difference.
fn check_call(input: &str, call: &str) -> Result<(), String> {
    let input = unhex(input)?;
    let (selector, arguments) = input
        .split_at_checked(4)
        .ok_or("input is shorter than a selector")?;
    let selector: [u8; 4] = selector.try_into().map_err(|_| "selector")?;
    expect("selector", selector, abi::selector(call))?;
    if let Some(listed) = function(selector) {
        expect("function", listed.signature, call)?;
    }
    let (_, types) = abi::parse_signature(call).map_err(|error| error.to_string())?;
    let values = abi::decode(&types, arguments).map_err(|error| error.to_string())?;
    let encoded = abi::encode(&types, &values).map_err(|error| error.to_string())?;
    expect("arguments", encoded.as_slice(), arguments)
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

pub(super) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode(digits).map_err(|error| error.to_string())
}

//! The node's JSON.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Address, Bytes32, U256,
    chain::{ChainError, ChainLog, Head, LogFilter, MinedTransaction},
    contract::{LogData, Revert},
};

pub(super) fn wrong(method: &'static str, what: &str) -> ChainError {
    ChainError::Answer {
        method,
        what: crate::primitives::shorten(what),
    }
}

pub(super) fn parse<T: DeserializeOwned>(
    method: &'static str,
    answer: Value,
) -> Result<T, ChainError> {
    serde_json::from_value(answer).map_err(|error| wrong(method, &error.to_string()))
}

/// What a node answers to a request.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

/// The result of a request, or the node's error; the refusal of a contract is told apart.
pub(super) fn result(method: &'static str, answer: Value) -> Result<Value, ChainError> {
    let answer: Answer = parse(method, answer)?;
    let Some(error) = answer.error else {
        return Ok(answer.result);
    };
    // Some nodes wrap the data once more.
    let data = match &error.data {
        Value::Object(members) => members.get("data").unwrap_or(&Value::Null),
        data => data,
    };
    if let Some(data) = data
        .as_str()
        .and_then(unhex)
        .filter(|data| !data.is_empty())
    {
        return Err(match Revert::decode(&data) {
            Ok(revert) => ChainError::Revert(revert),
            Err(_) => ChainError::UnknownRevert {
                data: hex::encode(data.get(..128).unwrap_or(&data)),
            },
        });
    }
    Err(ChainError::Node {
        method,
        code: error.code,
        message: error.message.chars().take(300).collect(),
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x")?).ok()
}

pub(super) fn bytes(method: &'static str, value: &Value) -> Result<Vec<u8>, ChainError> {
    let bytes = value.as_str().and_then(unhex);
    bytes.ok_or_else(|| wrong(method, &format!("{value} instead of bytes in hex")))
}

/// A quantity: `0x` and digits, at most 256 bits.
pub(super) fn uint(method: &'static str, value: &Value) -> Result<U256, ChainError> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let digits = digits.filter(|digits| (1..=64).contains(&digits.len()));
    let number = digits.and_then(|digits| U256::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| {
        wrong(
            method,
            &format!("{value} instead of a number of at most 256 bits"),
        )
    })
}

fn small(method: &'static str, value: &Value) -> Result<u64, ChainError> {
    let number = uint(method, value)?;
    u64::try_from(number)
        .map_err(|_| wrong(method, &format!("{value} instead of a number of 64 bits")))
}

pub(super) fn word(method: &'static str, value: &Value) -> Result<Bytes32, ChainError> {
    let text = value.as_str().filter(|text| text.starts_with("0x"));
    let word = text.and_then(|text| text.parse().ok());
    word.ok_or_else(|| wrong(method, &format!("{value} instead of a word")))
}

pub(super) fn hex_number(number: u64) -> String {
    format!("{number:#x}")
}

pub(super) fn hex_uint(number: U256) -> String {
    format!("{number:#x}")
}

pub(super) fn hex_bytes(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

pub(super) fn call(from: Address, to: Address, input: &[u8], value: U256) -> Value {
    let mut call = json!({ "to": to.to_deal_id(), "data": hex_bytes(input) });
    if let Some(members) = call.as_object_mut() {
        if !from.is_zero() {
            members.insert("from".into(), json!(from.to_deal_id()));
        }
        if !value.is_zero() {
            members.insert("value".into(), json!(hex_uint(value)));
        }
    }
    call
}

pub(super) fn filter(filter: &LogFilter, from: u64, to: u64) -> Value {
    let addresses: Vec<String> = filter.addresses.iter().map(|a| a.to_deal_id()).collect();
    let topic = |allowed: &Vec<Bytes32>| match allowed.as_slice() {
        [] => Value::Null,
        allowed => allowed.iter().map(|word| json!(word.to_string())).collect(),
    };
    let topics: Vec<Value> = filter.topics.iter().map(topic).collect();
    let mut object =
        json!({ "fromBlock": hex_number(from), "toBlock": hex_number(to), "topics": topics });
    if let Some(members) = object.as_object_mut().filter(|_| !addresses.is_empty()) {
        members.insert("address".into(), json!(addresses));
    }
    object
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockAnswer {
    number: Value,
    hash: Value,
    parent_hash: Value,
    timestamp: Value,
    #[serde(default)]
    base_fee_per_gas: Value,
}

impl BlockAnswer {
    pub(super) fn head(&self) -> Result<Head, ChainError> {
        const METHOD: &str = "eth_getBlockByNumber";
        Ok(Head {
            number: small(METHOD, &self.number)?,
            hash: word(METHOD, &self.hash)?,
            parent: word(METHOD, &self.parent_hash)?,
            timestamp: small(METHOD, &self.timestamp)?,
        })
    }

    /// What a unit of gas costs; zero on chains without a base fee.
    pub(super) fn base_fee(&self) -> Result<U256, ChainError> {
        match &self.base_fee_per_gas {
            Value::Null => Ok(U256::ZERO),
            fee => uint("eth_getBlockByNumber", fee),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogAnswer {
    address: String,
    topics: Vec<Value>,
    data: Value,
    block_number: Value,
    block_hash: Value,
    transaction_hash: Value,
    log_index: Value,
}

impl LogAnswer {
    pub(super) fn read(self, method: &'static str) -> Result<ChainLog, ChainError> {
        let address = self.address.parse();
        let topics = self.topics.iter().map(|topic| word(method, topic));
        Ok(ChainLog {
            address: address.map_err(|_| wrong(method, "a log entry of no address"))?,
            log: LogData {
                topics: topics.collect::<Result<_, _>>()?,
                data: bytes(method, &self.data)?,
            },
            block: small(method, &self.block_number)?,
            block_hash: word(method, &self.block_hash)?,
            transaction: word(method, &self.transaction_hash)?,
            index: small(method, &self.log_index)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiptAnswer {
    transaction_hash: Value,
    block_number: Value,
    block_hash: Value,
    status: Value,
    logs: Vec<LogAnswer>,
}

impl ReceiptAnswer {
    pub(super) fn read(self, method: &'static str) -> Result<MinedTransaction, ChainError> {
        let logs = self.logs.into_iter().map(|log| log.read(method));
        Ok(MinedTransaction {
            hash: word(method, &self.transaction_hash)?,
            block: small(method, &self.block_number)?,
            block_hash: word(method, &self.block_hash)?,
            succeeded: small(method, &self.status)? == 1,
            logs: logs.collect::<Result<_, _>>()?,
        })
    }
}

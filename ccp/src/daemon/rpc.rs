//! JSON-RPC 2.0: bytes of a request to bytes of the answer, whatever carries them.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, value::RawValue};

use crate::{
    Allocation, BatchRequest, BatchResponse, Difficulty, EpochParameters, GlobalNonce, LogicalCore,
    PhysicalCore, ProofIndex, UnitId,
    prover::Commitment,
    service::{Service, ServiceError},
};

/// Calls in one request.
const MAX_BATCH: usize = 64;

/// Codes of errors.
pub(super) const EXECUTION_FAILED: i64 = 1;
const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const UNKNOWN_METHOD: i64 = -32_601;
const INVALID_PARAMETERS: i64 = -32_602;

#[derive(Debug, Serialize)]
struct ErrorObject {
    code: i64,
    message: String,
}

fn error(code: i64, message: impl Into<String>) -> ErrorObject {
    ErrorObject {
        code,
        message: message.into(),
    }
}

impl From<ServiceError> for ErrorObject {
    fn from(failure: ServiceError) -> Self {
        error(EXECUTION_FAILED, failure.to_string())
    }
}

#[derive(Deserialize)]
struct Request<'a> {
    jsonrpc: Value,
    method: String,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    /// Present and null is an id too.
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct Response {
    jsonrpc: &'static str,
    id: Value,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Value),
    Error(ErrorObject),
}

/// The answer to a request; nothing when nobody waits for one.
pub(super) fn answer(service: &Service, request: &[u8]) -> Option<String> {
    let text = |response: &Response| serde_json::to_string(response).unwrap_or_default();
    let Ok(request) = serde_json::from_slice::<&RawValue>(request) else {
        let failure = error(PARSE_ERROR, "the request is not JSON");
        return Some(text(&failed(Value::Null, failure)));
    };
    if !request.get().starts_with('[') {
        return call(service, request).as_ref().map(text);
    }
    let calls: Vec<&RawValue> = serde_json::from_str(request.get()).unwrap_or_default();
    if calls.is_empty() || calls.len() > MAX_BATCH {
        let count = calls.len();
        let reason = format!("{count} calls in a request, expected 1 to {MAX_BATCH}");
        return Some(text(&failed(Value::Null, error(INVALID_REQUEST, reason))));
    }
    let answers: Vec<String> = calls
        .into_iter()
        .filter_map(|request| call(service, request).as_ref().map(text))
        .collect();
    (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
}

/// The answer where a request was refused before it was read.
pub(super) fn refused(reason: &str) -> String {
    let response = failed(Value::Null, error(EXECUTION_FAILED, reason));
    serde_json::to_string(&response).unwrap_or_default()
}

fn failed(id: Value, error: ErrorObject) -> Response {
    Response {
        jsonrpc: "2.0",
        id,
        outcome: Outcome::Error(error),
    }
}

fn call(service: &Service, request: &RawValue) -> Option<Response> {
    let request: Request<'_> = match serde_json::from_str(request.get()) {
        Ok(request) => request,
        Err(reason) => {
            let failure = error(INVALID_REQUEST, format!("no request: {reason}"));
            return Some(failed(Value::Null, failure));
        }
    };
    let well_formed = request.jsonrpc == "2.0"
        && matches!(
            request.id,
            None | Some(Value::Null | Value::Number(_) | Value::String(_))
        );
    if !well_formed {
        let failure = error(
            INVALID_REQUEST,
            "expected `jsonrpc` 2.0 and an id that is no list",
        );
        return Some(failed(Value::Null, failure));
    }
    let outcome = match method(service, &request.method, request.params) {
        Ok(result) => Outcome::Result(result),
        Err(failure) => Outcome::Error(failure),
    };
    request.id.map(|id| Response {
        jsonrpc: "2.0",
        id,
        outcome,
    })
}

fn method(service: &Service, name: &str, params: Option<&RawValue>) -> Result<Value, ErrorObject> {
    match name {
        "ccp_on_active_commitment" => {
            let [nonce, difficulty, allocation] =
                bind(params, ["global_nonce", "difficulty", "cu_allocation"])?;
            let global_nonce: GlobalNonce = read("global_nonce", nonce)?;
            let difficulty: Difficulty = read("difficulty", difficulty)?;
            let pairs: Pairs<PhysicalCore, UnitId> = read("cu_allocation", allocation)?;
            let allocation: Allocation = pairs.into_map("cu_allocation")?;
            let epoch = EpochParameters {
                global_nonce,
                difficulty,
            };
            service.commit(Commitment { epoch, allocation })?;
            Ok(Value::Null)
        }
        "ccp_on_no_active_commitment" => {
            let [] = bind(params, [])?;
            service.withdraw()?;
            Ok(Value::Null)
        }
        "ccp_get_proofs_after" => {
            let [known, limit] = bind(params, ["last_known_proofs", "limit"])?;
            let known: Pairs<UnitId, ProofIndex> = read("last_known_proofs", known)?;
            let known = known.into_map("last_known_proofs")?;
            Ok(proofs(&service.proofs_after(&known, read("limit", limit)?)))
        }
        "ccp_get_batch_proofs_after" => {
            let [requests, min, max] =
                bind(params, ["reqs", "min_batch_count", "max_batch_count"])?;
            let requests: Pairs<UnitId, BatchRequest> = read("reqs", requests)?;
            let requests: BTreeMap<UnitId, BatchRequest> = requests.into_map("reqs")?;
            let empty = requests
                .iter()
                .find(|(_, request)| request.proof_batch_size == 0);
            if let Some((unit, _)) = empty {
                let reason = format!("proof_batch_size of unit {unit} is 0, expected at least 1");
                return Err(error(INVALID_PARAMETERS, reason));
            }
            let (min, max) = (read("min_batch_count", min)?, read("max_batch_count", max)?);
            Ok(proofs(&service.batches(&requests, min, max)))
        }
        "ccp_realloc_utility_cores" => {
            let [cores] = bind(params, ["utility_core_ids"])?;
            let cores: Vec<LogicalCore> = read("utility_core_ids", cores)?;
            service.set_utility_cores(cores)?;
            Ok(Value::Null)
        }
        _ => {
            let name: String = name.chars().take(80).collect();
            Err(error(
                UNKNOWN_METHOD,
                format!("there is no method `{name}`"),
            ))
        }
    }
}

fn proofs(responses: &[BatchResponse]) -> Value {
    serde_json::to_value(responses).unwrap_or_default()
}

/// The parameters with these names, given by name or by position.
fn bind<'a, const N: usize>(
    params: Option<&'a RawValue>,
    names: [&str; N],
) -> Result<[&'a RawValue; N], ErrorObject> {
    let invalid = |reason: String| error(INVALID_PARAMETERS, reason);
    let text = params.map_or("[]", RawValue::get);
    let mut values = [None; N];
    if text.starts_with('[') {
        let given: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if given.len() > N {
            return Err(invalid(format!("{} parameters, expected {N}", given.len())));
        }
        for (slot, value) in values.iter_mut().zip(given) {
            *slot = Some(value);
        }
    } else {
        let given: Pairs<String, &RawValue> = serde_json::from_str(text)
            .map_err(|_| invalid("parameters are neither a list nor an object".to_owned()))?;
        for (name, value) in given.0 {
            let slot = names
                .iter()
                .zip(&mut values)
                .find(|(known, _)| **known == name);
            match slot {
                Some((_, slot @ None)) => *slot = Some(value),
                Some(_) => return Err(invalid(format!("parameter `{name}` is given twice"))),
                None => {
                    let name: String = name.chars().take(80).collect();
                    return Err(invalid(format!("there is no parameter `{name}`")));
                }
            }
        }
    }
    let mut missing = None;
    let bound = std::array::from_fn(|index| {
        values.get(index).copied().flatten().unwrap_or_else(|| {
            missing = missing.or(names.get(index));
            RawValue::NULL
        })
    });
    match missing {
        Some(name) => Err(invalid(format!("parameter `{name}` is missing"))),
        None => Ok(bound),
    }
}

fn read<'a, T: Deserialize<'a>>(name: &str, value: &'a RawValue) -> Result<T, ErrorObject> {
    serde_json::from_str(value.get())
        .map_err(|reason| error(INVALID_PARAMETERS, format!("parameter `{name}`: {reason}")))
}

/// The pairs of an object; a map would hide a key that is there twice.
struct Pairs<K, V>(Vec<(K, V)>);

impl<K: Ord + fmt::Display, V> Pairs<K, V> {
    fn into_map(self, name: &str) -> Result<BTreeMap<K, V>, ErrorObject> {
        let mut map = BTreeMap::new();
        for (key, value) in self.0 {
            if map.contains_key(&key) {
                let reason = format!("parameter `{name}` has {key} twice");
                return Err(error(INVALID_PARAMETERS, reason));
            }
            map.insert(key, value);
        }
        Ok(map)
    }
}

impl<'de, K: std::str::FromStr<Err: fmt::Display>, V: Deserialize<'de>> Deserialize<'de>
    for Pairs<K, V>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: std::str::FromStr<Err: fmt::Display>, V: Deserialize<'de>> de::Visitor<'de>
    for PairsVisitor<K, V>
{
    type Value = Pairs<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let parsed = key.parse().map_err(|reason: K::Err| {
                let key: String = key.chars().take(80).collect();
                de::Error::custom(format!("key {key:?}: {reason}"))
            })?;
            pairs.push((parsed, map.next_value()?));
        }
        Ok(Pairs(pairs))
    }
}

#[cfg(test)]
mod tests;

//! What the replays of runs share: the inputs of a run, its outcome as the records show it, and
//! comparisons that can be read.

use aquavm::{Key, Outcome, RunParameters};
use particle::data::{CallState, Data, Envelope, Provenance, State};
use serde_json::{Value, json};

/// The inputs of one call of the interpreter.
#[derive(Debug)]
pub struct Call {
    /// The script.
    pub script: String,
    /// What this peer had.
    pub previous: Vec<u8>,
    /// What came.
    pub current: Vec<u8>,
    /// Everything that has no bytes of its own.
    pub parameters: RunParameters,
    /// Results of calls, encoded.
    pub results: Vec<u8>,
}

impl Call {
    /// The parameters as the published interpreter takes them.
    ///
    /// # Errors
    /// A key that is no raw one: it takes no other.
    pub(crate) fn published_parameters(&self) -> Result<Value, String> {
        let parameters = &self.parameters;
        let Key::Raw { format, secret } = &parameters.key else {
            return Err("the published interpreter needs the raw key".to_owned());
        };
        Ok(json!({
            "init_peer_id": parameters.init_peer_id,
            "current_peer_id": parameters.current_peer_id,
            "timestamp": parameters.timestamp,
            "ttl": parameters.ttl,
            "key_format": format,
            "secret_key_bytes": secret,
            "particle_id": parameters.particle_id,
            "air_size_limit": parameters.limits.script,
            "particle_size_limit": parameters.limits.particle,
            "call_result_size_limit": parameters.limits.call_result,
            "hard_limit_enabled": parameters.limits.hard,
        }))
    }

    /// Runs the call natively.
    #[must_use]
    pub fn invoke(&self) -> Outcome<Vec<u8>> {
        aquavm::invoke(
            &self.script,
            &self.previous,
            &self.current,
            &self.parameters,
            &self.results,
        )
    }
}

/// Requests as the records show them.
pub(crate) fn requests(bytes: &[u8]) -> Result<Value, String> {
    let requests = aquavm::decode_call_requests(bytes)?;
    let requests = requests.into_iter().map(|(id, request)| {
        let arguments: Value = serde_json::from_str(&request.arguments)
            .map_err(|error| format!("arguments {}: {error}", request.arguments))?;
        let request = json!({
            "service_id": request.service_id,
            "function_name": request.function_name,
            "arguments": arguments,
            "tetraplets": request.tetraplets,
        });
        Ok((id.to_string(), request))
    });
    Ok(Value::Object(requests.collect::<Result<_, String>>()?))
}

/// Data as the records show them.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
    let data = envelope.data().map_err(|error| error.to_string())?;
    let mut decoded = serde_json::to_value(&data).map_err(|error| error.to_string())?;
    if let Some(object) = decoded.as_object_mut() {
        let versions = &envelope.versions;
        object.insert("version".to_owned(), json!(versions.data.to_string()));
        object.insert(
            "interpreter_version".to_owned(),
            json!(versions.interpreter.to_string()),
        );
    }
    Ok(decoded)
}

/// Compares part by part, so that a difference can be read.
pub(crate) fn same_data(ours: &Value, expected: &Value) -> Result<(), String> {
    let (Some(left), Some(right)) = (ours.as_object(), expected.as_object()) else {
        return same("data", ours, expected);
    };
    if let (Some(left), Some(right)) = (ours["trace"].as_array(), expected["trace"].as_array()) {
        for (index, (left, right)) in left.iter().zip(right).enumerate() {
            same(&format!("state {index}"), left, right)?;
        }
    }
    for (name, right) in right {
        same(name, left.get(name).unwrap_or(&Value::Null), right)?;
    }
    same("data", ours, expected)
}

/// Compares two values; an error shows both.
pub(crate) fn same(what: &str, ours: &Value, expected: &Value) -> Result<(), String> {
    if ours == expected {
        return Ok(());
    }
    Err(format!(
        "{what}: {}\nexpected: {}",
        shortened(&ours.to_string()),
        shortened(&expected.to_string())
    ))
}

/// At most some hundred characters.
fn shortened(text: &str) -> String {
    text.chars().take(700).collect()
}

/// The trace with what its CIDs stand for.
pub(crate) fn readable(data: &Data<'_>) -> Result<Value, String> {
    let plain = serde_json::to_value(&data.trace).map_err(|error| error.to_string())?;
    let plain = plain.as_array().cloned().unwrap_or_default();
    let states = data
        .trace
        .iter()
        .zip(plain)
        .map(|(state, plain)| {
            Ok(match state {
                State::Call(CallState::Scalar(cid)) => {
                    json!({"call": {"scalar": service_result(data, cid)?}})
                }
                State::Call(CallState::Stream { cid, generation }) => json!({"call": {
                    "stream": service_result(data, cid)?,
                    "generation": generation,
                }}),
                State::Call(CallState::Failed(cid)) => {
                    json!({"call": {"failed": service_result(data, cid)?}})
                }
                State::Call(CallState::Unused(cid)) => {
                    json!({"call": "unused", "value_cid": {"unused": cid}})
                }
                State::Canon(cid) => canon_result(data, cid)?,
                _ => plain,
            })
        })
        .collect::<Result<Vec<Value>, String>>()?;
    Ok(Value::Array(states))
}

fn service_result(data: &Data<'_>, cid: &str) -> Result<Value, String> {
    let result = data.cid_info.service_results.get(cid);
    let result = result.ok_or_else(|| format!("no service result {cid}"))?;
    Ok(json!({
        "argument_hash": result.argument_hash,
        "tetraplet": tetraplet(data, result.tetraplet_cid)?,
        "value": value(data, result.value_cid)?,
    }))
}

fn canon_result(data: &Data<'_>, cid: &str) -> Result<Value, String> {
    let result = data.cid_info.canon_results.get(cid);
    let result = result.ok_or_else(|| format!("no canon result {cid}"))?;
    let values = result
        .values
        .iter()
        .map(|cid| {
            let element = data.cid_info.canon_elements.get(cid);
            let element = element.ok_or_else(|| format!("no canon element {cid}"))?;
            Ok(json!({
                "value": value(data, element.value)?,
                "tetraplet": tetraplet(data, element.tetraplet)?,
                "provenance": match element.provenance {
                    Provenance::Literal => json!({"type": "literal"}),
                    Provenance::ServiceResult(cid) => {
                        json!({"type": "service_result", "cid": cid})
                    }
                    Provenance::Canon(cid) => json!({"type": "canon", "cid": cid}),
                },
            }))
        })
        .collect::<Result<Vec<Value>, String>>()?;
    Ok(json!({"canon": {"tetraplet": tetraplet(data, result.tetraplet)?, "values": values}}))
}

fn tetraplet(data: &Data<'_>, cid: &str) -> Result<Value, String> {
    let tetraplet = data.cid_info.tetraplets.get(cid);
    let tetraplet = tetraplet.ok_or_else(|| format!("no tetraplet {cid}"))?;
    serde_json::to_value(tetraplet).map_err(|error| error.to_string())
}

fn value(data: &Data<'_>, cid: &str) -> Result<Value, String> {
    let text = data.cid_info.values.get(cid);
    let text = text.ok_or_else(|| format!("no value {cid}"))?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

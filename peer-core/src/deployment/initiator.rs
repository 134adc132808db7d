//! What scripts of spells ask of the peer that started them: `getDataSrv`, `errorHandlingSrv`,
//! `callbackSrv` (§3.14).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Inner, instances::spell_id};
use crate::{
    builtins::{Answer, Failure, value},
    host::{FunctionCall, FunctionOutcome},
    services::spell_of_particle,
    spells::SpellId,
};

/// An error as the state machine describes it; what it leaves out is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LastError {
    error_code: u32,
    instruction: String,
    message: String,
    peer_id: String,
}

pub(super) async fn call(inner: &Arc<Inner>, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    match (call.service_id.as_str(), call.function_name.as_str()) {
        ("getDataSrv", "-relay-") => value(&call.host_id.to_string()),
        ("getDataSrv", "spell_id") => value(&of(call)?.id),
        ("getDataSrv", key) => {
            let spell = of(call)?;
            let id = &spell.id;
            let failed =
                |reason: String| format!("Failed to get argument {key} for spell {id}: {reason}");
            let text = inner.spells.service(&spell).get_string(call, key).await;
            let text = text.map_err(|error| failed(error.to_string()))?;
            let text = text.ok_or_else(|| failed("value not found".to_owned()))?;
            let parsed: Value = serde_json::from_str(&text).map_err(|error| {
                format!("Failed to parse argument `{key} -> {text}` for spell {id}: {error}")
            })?;
            value(&parsed)
        }
        ("errorHandlingSrv", "error") => {
            let spell = of(call)?;
            let error: LastError = arguments.next("error")?;
            let index: u32 = arguments.next("index")?;
            let last = json!({
                "error_code": error.error_code,
                "instruction": error.instruction,
                "message": error.message,
                "peer_id": error.peer_id,
            });
            let values = [last, json!(index), json!(call.particle.timestamp)];
            let stored = inner.spells.service(&spell);
            let stored = stored.write(call, "store_error", &values).await;
            stored.map_err(|failure| {
                let id = &spell.id;
                format!("Failed to store error {values:?} for spell {id}: {failure}")
            })?;
            Ok(FunctionOutcome::Empty)
        }
        ("callbackSrv", "response") => {
            let spell = of(call)?;
            let Some(response) = arguments.next_raw() else {
                return Ok(FunctionOutcome::Empty);
            };
            let response = response.get();
            let stored = inner.spells.service(&spell);
            let values = [json!(response)];
            let stored = stored.write(call, "set_json_fields", &values).await;
            stored.map_err(|error| {
                let id = &spell.id;
                format!("Failed to store response {response} for spell {id}: {error}")
            })?;
            Ok(FunctionOutcome::Empty)
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

/// The spell of the call's particle, in the scope of the call.
fn of(call: &FunctionCall) -> Result<SpellId, Failure> {
    let particle_id = &call.particle.id;
    match spell_of_particle(particle_id) {
        Some(id) => Ok(spell_id(call.peer_id, id)),
        None => Err(format!(
            "Invalid particle id: expected 'spell_{{SPELL_ID}}_{{COUNTER}}', got {particle_id}"
        )
        .into()),
    }
}

//! `stat`: memory and calls of services (§3.8).

use serde_json::{Value, json};

use super::Inner;
use crate::{
    builtins::{Answer, value},
    host::{FunctionCall, FunctionOutcome},
};

pub(super) async fn call(inner: &Inner, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    let scope = call.peer_id;
    match call.function_name.as_str() {
        "service_memory" => {
            let name: String = arguments.next("service_id")?;
            let Some(memory) = inner.services.memory(scope, &name, &call.particle.id).await else {
                return Err(inner.no_service(scope, &name).into());
            };
            // The published declaration has a limit that is that of the service.
            let limit = inner.config.memory_limit.unwrap_or(MAX_MEMORY);
            let modules: Vec<Value> = memory
                .into_iter()
                .map(|(name, size)| {
                    json!({
                        "name": name,
                        "memory_size_bytes": size,
                        "max_memory_size_bytes": limit,
                    })
                })
                .collect();
            value(&modules)
        }
        "service_stat" => {
            let name: String = arguments.next("service_id_or_alias")?;
            value(
                &match inner.services.stats(scope, &name, &call.particle.id) {
                    Some(stats) => json!({ "status": true, "error": "", "result": [stats] }),
                    None => json!({
                        "status": false,
                        "error": format!("No stats were collected for the `{name}` service"),
                        "result": [],
                    }),
                },
            )
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

/// What a 32-bit module can address.
const MAX_MEMORY: u64 = 1 << 32;

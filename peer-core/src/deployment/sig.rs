//! `sig`: signatures by the host or a worker, whichever executes the call (§3.9).

use std::sync::Arc;

use particle::{KeyPair, Signer as _, Verifier as _};
use serde_json::json;

use super::Inner;
use crate::{
    builtins::{Answer, value},
    host::{FunctionCall, FunctionOutcome, OwnedTetraplet},
};

/// Functions of `registry` whose results are signed.
const SIGNED: [&str; 2] = ["get_record_bytes", "get_record_metadata_bytes"];

pub(super) fn call(inner: &Inner, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    match call.function_name.as_str() {
        "sign" => {
            let user = call.particle.init_peer_id;
            let on_host = call.peer_id == call.host_id;
            if user != call.peer_id && !(on_host && inner.guard.is_manager(user)) {
                let here = call.peer_id;
                return Err(
                    format!("peer '{user}' is not allowed to sign data on '{here}'").into(),
                );
            }
            let data: Vec<u8> = match arguments.next("data") {
                Ok(data) => data,
                Err(error) => {
                    let error = [error.to_string()];
                    return value(&json!({ "success": false, "error": error, "signature": [] }));
                }
            };
            check_origin(inner, call)?;
            let signature = key(inner, call)?.sign(&data);
            let signature = [signature.as_bytes()];
            value(&json!({ "success": true, "error": [], "signature": signature }))
        }
        "verify" => {
            let signature: Vec<u8> = arguments.next("signature")?;
            let data: Vec<u8> = arguments.next("data")?;
            value(
                &key(inner, call)?
                    .public_key()
                    .verify(&data, &signature)
                    .is_ok(),
            )
        }
        "get_peer_id" => value(&call.peer_id.to_string()),
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

/// The key of the scope.
fn key(inner: &Inner, call: &FunctionCall) -> Result<Arc<KeyPair>, String> {
    let key = inner.workers.key(call.peer_id);
    key.ok_or_else(|| format!("Worker {} not found", call.peer_id))
}

/// Nothing is signed but records of the registry here.
fn check_origin(inner: &Inner, call: &FunctionCall) -> Result<(), String> {
    let tetraplets = call.tetraplets.first().map_or(&[][..], Vec::as_slice);
    let [origin] = tetraplets else {
        return Err(format!(
            "expected tetraplet for a scalar argument, got tetraplet for an array: \
             {tetraplets:?}, tetraplets"
        ));
    };
    let OwnedTetraplet {
        peer_pk,
        service_id,
        function_name,
        lens,
    } = origin;
    let is_local = peer_pk
        .parse()
        .is_ok_and(|peer| inner.workers.is_local(peer));
    if !is_local {
        let host = call.host_id;
        return Err(format!(
            "data is expected to be produced by service 'registry' on peer '{host}', was from \
             peer '{peer_pk}'"
        ));
    }
    if service_id != "registry" || !SIGNED.contains(&function_name.as_str()) {
        return Err(format!(
            "data is expected to result from a call to 'registry.get_record_bytes' or \
             'registry.get_record_metadata_bytes', was from '{service_id}.{function_name}'"
        ));
    }
    if !lens.is_empty() {
        return Err("lens for data tetraplet is expected to be empty".to_owned());
    }
    Ok(())
}

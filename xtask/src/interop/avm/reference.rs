//! The published interpreter as an external program, driven by `xtask/harness/avm/drive.mjs`.

use std::path::Path;

use aquavm::{LimitFlags, Outcome};
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::{conformance::run::Call, interop::driver::Driver};

/// How a call of the published interpreter ended.
#[derive(Debug)]
pub(in crate::interop) enum Ended {
    /// With an outcome.
    Outcome(Outcome<Vec<u8>>),
    /// With a Wasm trap.
    Trapped(String),
}

/// A running interpreter.
pub(in crate::interop) struct Reference {
    driver: Driver,
    /// Version of the interpreter, or its file.
    pub(in crate::interop) version: String,
}

impl Reference {
    /// Starts the published interpreter, or another module in its place.
    pub(in crate::interop) fn start(module: Option<&Path>) -> Result<Self, String> {
        let mut driver = Driver::start("drive.mjs", module)?;
        let ready = driver.receive()?;
        let version = ready
            .get("interpreter")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("the driver is not ready: {ready}"))?
            .to_owned();
        Ok(Self { driver, version })
    }

    /// One call.
    ///
    /// # Errors
    /// A driver that does not answer, or answers something else.
    pub(in crate::interop) fn call(&mut self, call: &Call) -> Result<Ended, String> {
        let request = json!({
            "air": call.script,
            "prev_data": BASE64.encode(&call.previous),
            "data": BASE64.encode(&call.current),
            "call_results": BASE64.encode(&call.results),
            "params": call.published_parameters()?,
        });
        let response = self.driver.ask(&request)?;
        if let Some(trap) = response.get("trap").and_then(Value::as_str) {
            return Ok(Ended::Trapped(trap.to_owned()));
        }
        outcome(response.get("outcome").unwrap_or(&Value::Null))
            .map(Ended::Outcome)
            .map_err(|error| format!("driver: {error}: {response}"))
    }
}

fn outcome(record: &Value) -> Result<Outcome<Vec<u8>>, String> {
    let bytes = |name: &str| {
        let text = record[name].as_str().ok_or_else(|| format!("no {name}"))?;
        BASE64
            .decode(text.as_bytes())
            .map_err(|error| error.to_string())
    };
    let flag = |name: &str| record[name].as_bool().ok_or_else(|| format!("no {name}"));
    let mut next_peers = record["next_peer_pks"]
        .as_array()
        .ok_or("no next peers")?
        .iter()
        .map(|peer| peer.as_str().map(str::to_owned).ok_or("no peer"))
        .collect::<Result<Vec<_>, _>>()?;
    next_peers.sort_unstable();
    Ok(Outcome {
        ret_code: record["ret_code"].as_i64().ok_or("no ret_code")?,
        error_message: record["error_message"]
            .as_str()
            .ok_or("no error_message")?
            .to_owned(),
        data: bytes("data")?,
        next_peers,
        call_requests: bytes("call_requests")?,
        flags: LimitFlags {
            script: flag("air_size_limit_exceeded")?,
            particle: flag("particle_size_limit_exceeded")?,
            call_result: flag("call_result_size_limit_exceeded")?,
        },
    })
}

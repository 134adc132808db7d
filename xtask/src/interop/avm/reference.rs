//! The published interpreter as an external program: fetched with npm into a scratch folder,
//! driven by `xtask/harness/avm/drive.mjs`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use aquavm::{LimitFlags, Outcome};
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::conformance::run::Call;

/// What npm reads: names, versions and integrity hashes.
const PINS: [&str; 2] = ["package.json", "package-lock.json"];

/// How a call of the published interpreter ended.
pub(super) enum Ended {
    /// With an outcome.
    Outcome(Outcome<Vec<u8>>),
    /// With a Wasm trap.
    Trapped(String),
}

/// A running driver.
pub(super) struct Reference {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Version of the interpreter.
    pub(super) version: String,
}

impl Reference {
    /// Fetches the packages unless they are there, and starts the driver.
    pub(super) fn start(root: &Path) -> Result<Self, String> {
        let harness = root.join("xtask/harness/avm");
        let scratch = root.join("target/interop/avm");
        fetch(&harness, &scratch)?;
        let mut process = Command::new("node")
            .arg(harness.join("drive.mjs"))
            .arg(&scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("node: {error}"))?;
        let input = process.stdin.take().ok_or("the driver has no stdin")?;
        let output = process.stdout.take().ok_or("the driver has no stdout")?;
        let mut reference = Self {
            process,
            input,
            output: BufReader::new(output),
            version: String::new(),
        };
        let ready = reference.receive()?;
        reference.version = ready
            .get("interpreter")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("the driver is not ready: {ready}"))?
            .to_owned();
        Ok(reference)
    }

    /// One call.
    ///
    /// # Errors
    /// A driver that does not answer, or answers something else.
    pub(super) fn call(&mut self, call: &Call) -> Result<Ended, String> {
        let request = json!({
            "air": call.script,
            "prev_data": BASE64.encode(&call.previous),
            "data": BASE64.encode(&call.current),
            "call_results": BASE64.encode(&call.results),
            "params": call.published_parameters()?,
        });
        writeln!(self.input, "{request}").map_err(|error| format!("driver: {error}"))?;
        let response = self.receive()?;
        if let Some(trap) = response.get("trap").and_then(Value::as_str) {
            return Ok(Ended::Trapped(trap.to_owned()));
        }
        outcome(response.get("outcome").unwrap_or(&Value::Null))
            .map(Ended::Outcome)
            .map_err(|error| format!("driver: {error}: {response}"))
    }

    fn receive(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        match read.map_err(|error| format!("driver: {error}"))? {
            0 => Err("the driver ended".to_owned()),
            _ => serde_json::from_str(&line).map_err(|error| format!("driver: {error}: {line}")),
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
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

/// Installs the pinned packages into `scratch`; npm checks their integrity. What was installed
/// with the same pins stays.
fn fetch(harness: &Path, scratch: &Path) -> Result<(), String> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut done = String::new();
    for name in PINS {
        done.push_str(&read(&harness.join(name))?);
    }
    let marker = scratch.join("installed");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == done) {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", scratch.display());
    fs::create_dir_all(scratch).map_err(failed)?;
    for name in PINS {
        fs::copy(harness.join(name), scratch.join(name)).map_err(failed)?;
    }
    println!("fetching the published interpreter");
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(scratch)
        .output()
        .map_err(|error| format!("npm: {error}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("npm ci: {}", error.trim()));
    }
    fs::write(&marker, done).map_err(failed)
}

//! `cargo xtask interpreter`: builds `aquavm/marine`, the state machine as a Marine module that takes the place of
//! the published interpreter.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use aquavm::{LimitFlags, Outcome};
use marine_runtime::{
    CallParameters, Engine, ModuleConfig, Service, ServiceConfig, build::Target, embed,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    conformance::Call,
    embedded::{self, Package},
};

/// The module's name.
pub const NAME: &str = "avm";
/// The most bytes that the module may have.
pub const MAX_SIZE: usize = 1 << 20;
/// Longest that one call or start may take: generous, since debug builds run it too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where to put the module.
#[derive(clap::Args)]
pub struct Arguments {
    /// The file to write.
    #[arg(long, default_value = "target/avm.wasm")]
    out: PathBuf,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    match build().and_then(|built| embedded::write(&arguments.out, built, MAX_SIZE)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the module, its interface section included; nothing when no toolchain can.
///
/// # Errors
/// A build that fails.
pub fn build() -> Result<Option<Vec<u8>>, String> {
    // The standard library is built with the same flags as for other guests, so once.
    let built = embedded::compile(&Package {
        target: Target::Wasi,
        folder: "aquavm/marine",
        file: "avm.wasm",
        flags: &[],
        target_folder: "target/guest",
    })?;
    let embedded = built.map(|wasm| embed::embed(NAME, &wasm));
    embedded.transpose().map_err(|error| error.to_string())
}

/// An interpreter that runs as a service of one module.
pub struct Interpreter(Service);

impl Interpreter {
    /// Starts the module.
    ///
    /// # Errors
    /// A module that does not start.
    pub fn start(engine: &Engine, wasm: Vec<u8>) -> Result<Self, String> {
        let config = ServiceConfig::new(vec![ModuleConfig::from_bytes(NAME, wasm)]);
        Service::with_deadline(config, engine, Some(Instant::now() + PATIENCE))
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// One run.
    ///
    /// # Errors
    /// A key that is no raw one, a module that traps or answers something else.
    pub fn invoke(&mut self, call: &Call) -> Result<Outcome<Vec<u8>>, String> {
        invoke(&mut self.0, call)
    }

    /// Calls a function that returns a text.
    ///
    /// # Errors
    /// A module that traps or answers something else.
    pub fn text(&mut self, function: &str, arguments: &Value) -> Result<String, String> {
        let returned = call(&mut self.0, function, arguments)?;
        serde_json::from_str(&returned).map_err(|error| format!("{function}: {error}"))
    }
}

/// What `invoke` returns.
#[derive(Deserialize)]
struct Returned {
    ret_code: i64,
    error_message: String,
    data: Vec<u8>,
    next_peer_pks: Vec<String>,
    call_requests: Vec<u8>,
    air_size_limit_exceeded: bool,
    particle_size_limit_exceeded: bool,
    call_result_size_limit_exceeded: bool,
}

/// One run of an interpreter, ours or the published one.
pub(crate) fn invoke(service: &mut Service, run: &Call) -> Result<Outcome<Vec<u8>>, String> {
    let arguments = json!([
        run.script,
        run.previous,
        run.current,
        run.published_parameters()?,
        run.results,
    ]);
    let returned = call(service, "invoke", &arguments)?;
    let returned: Returned =
        serde_json::from_str(&returned).map_err(|error| format!("invoke: {error}"))?;
    Ok(Outcome {
        ret_code: returned.ret_code,
        error_message: returned.error_message,
        data: returned.data,
        next_peers: returned.next_peer_pks,
        call_requests: returned.call_requests,
        flags: LimitFlags {
            script: returned.air_size_limit_exceeded,
            particle: returned.particle_size_limit_exceeded,
            call_result: returned.call_result_size_limit_exceeded,
        },
    })
}

fn call(service: &mut Service, function: &str, arguments: &Value) -> Result<String, String> {
    let deadline = Some(Instant::now() + PATIENCE);
    let parameters = CallParameters::default();
    service
        .call(function, &arguments.to_string(), &parameters, deadline)
        .map_err(|error| format!("{function}: {error}"))
}

//! The published interpreter: the native crate, and the Wasm module in the host that peers run.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
};

use air_interpreter_interface::{CallResultsRepr, CallServiceResult, InterpreterOutcome};
use air_interpreter_sede::ToSerialized as _;
use avm_interface::raw_outcome::RawAVMOutcome;
use avm_server::{AVMRuntimeLimits, avm_runner::AVMRunner};
use fluence_keypair::{KeyFormat, KeyPair};
use marine_wasmtime_backend::{WasmtimeConfig, WasmtimeWasmBackend};

use crate::{
    clock::timed,
    input::{Input, Parameters},
};

/// Runs the native crate: what it returns, and the time from bytes to bytes.
pub fn native(input: &Input) -> Result<(InterpreterOutcome, u64), String> {
    let parameters = &input.parameters;
    let run = air::RunParameters::new(
        parameters.init_peer_id.clone(),
        parameters.current_peer_id.clone(),
        parameters.timestamp,
        parameters.ttl,
        0,
        input.seed()?.to_vec(),
        parameters.particle_id.clone(),
        parameters.air_size_limit,
        parameters.particle_size_limit,
        parameters.call_result_size_limit,
        parameters.hard_limit_enabled,
    );
    let results: air_interpreter_interface::CallResults = input
        .results
        .iter()
        .map(|(id, result)| {
            let result = CallServiceResult {
                ret_code: result.ret_code,
                result: result.result.clone(),
            };
            (id.to_string(), result)
        })
        .collect();
    let results = CallResultsRepr
        .serialize(&results)
        .map_err(|error| error.to_string())?;
    // The interface takes what it is given by value; making the copies is not its time.
    let (script, previous, current) = (
        input.script.clone(),
        input.previous.clone(),
        input.current.clone(),
    );
    Ok(timed(|| {
        air::execute_air(script, previous, current, run, results)
    }))
}

/// The Wasm module, compiled and instantiated once.
pub struct Wasm {
    runner: AVMRunner<WasmtimeWasmBackend>,
    limits: [u64; 3],
}

impl Wasm {
    /// Compiles the module for the limits of `parameters`. The module is written to `scratch`,
    /// because its host takes a path.
    pub fn new(scratch: &Path, parameters: &Parameters) -> Result<Self, String> {
        let module = scratch.join("air_interpreter_server.wasm");
        if !module.exists() {
            fs::write(&module, air_interpreter_wasm::INTERPRETER_WASM)
                .map_err(|error| format!("{}: {error}", module.display()))?;
        }
        let backend = WasmtimeWasmBackend::new(WasmtimeConfig::default())
            .map_err(|error| error.to_string())?;
        let limits = AVMRuntimeLimits::new(
            Some(parameters.air_size_limit),
            Some(parameters.particle_size_limit),
            Some(parameters.call_result_size_limit),
            parameters.hard_limit_enabled,
        );
        let runner = block_on(AVMRunner::new(module, None, limits, 0, backend))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            runner,
            limits: limits_of(parameters),
        })
    }

    /// Whether the instance was made for these limits.
    pub fn fits(&self, parameters: &Parameters) -> bool {
        self.limits == limits_of(parameters)
    }

    /// Runs it the way peers do: the host encodes the results and decodes the requests.
    pub fn run(&mut self, input: &Input) -> Result<(RawAVMOutcome, u64), String> {
        let parameters = &input.parameters;
        let key = KeyPair::from_secret_key(input.seed()?.to_vec(), KeyFormat::Ed25519)
            .map_err(|error| error.to_string())?;
        let mut results = HashMap::new();
        for (id, result) in &input.results {
            let value = serde_json::from_str(&result.result).map_err(|error| error.to_string())?;
            let result = avm_interface::CallServiceResult {
                ret_code: result.ret_code,
                result: value,
            };
            results.insert(*id, result);
        }
        let (script, previous, current) = (
            input.script.clone(),
            input.previous.clone(),
            input.current.clone(),
        );
        let (init_peer, current_peer, particle_id) = (
            parameters.init_peer_id.clone(),
            parameters.current_peer_id.clone(),
            parameters.particle_id.clone(),
        );
        let (outcome, time) = timed(|| {
            block_on(self.runner.call(
                script,
                previous,
                current,
                init_peer,
                parameters.timestamp,
                parameters.ttl,
                current_peer,
                results,
                &key,
                particle_id,
            ))
        });
        Ok((outcome.map_err(|error| error.to_string())?, time))
    }

    /// Bytes of its linear memory, which never shrinks.
    pub fn memory(&self) -> usize {
        self.runner.memory_stats().memory_size
    }
}

fn limits_of(parameters: &Parameters) -> [u64; 3] {
    [
        parameters.air_size_limit,
        parameters.particle_size_limit,
        parameters.call_result_size_limit,
    ]
}

/// Waits for a future that waits for nothing itself: the module has no host calls that block.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

//! Services in our runtime: `ours wasmer|wasmtime [CACHE]`.

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use marine_bench_harness::{ServiceSpec, Worker, described, serve};
use marine_runtime::{CallParameters, Engine, IValue, ModuleConfig, Service, ServiceConfig};
use serde_json::Value;

/// Longest that a call may take: a deadline is part of what is measured.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most memory of a service, as for the other.
const MEMORY: u64 = (4 << 30) - 1;

struct Ours {
    engine: Engine,
    parameters: CallParameters,
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let engine = match arguments.next().as_deref() {
        Some("wasmer") => Engine::wasmer(),
        Some("wasmtime") => match Engine::wasmtime() {
            Ok(engine) => engine,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        },
        other => {
            eprintln!("error: no engine {other:?}");
            return ExitCode::FAILURE;
        }
    };
    let engine = match arguments.next() {
        Some(cache) => engine.with_cache_folder(cache),
        None => engine,
    };
    let mut parameters = CallParameters {
        service_id: "sid".to_owned(),
        service_creator_peer_id: "W".to_owned(),
        host_id: "H".to_owned(),
        worker_id: "W".to_owned(),
        ..CallParameters::default()
    };
    "W".clone_into(&mut parameters.particle.init_peer_id);
    "spell_sid_1".clone_into(&mut parameters.particle.id);
    serve(Ours { engine, parameters });
    ExitCode::SUCCESS
}

impl Worker for Ours {
    type Service = Service;
    /// Peers have the text, and need the text of the result.
    type Arguments = String;
    type Answer = String;

    fn load(&mut self, spec: &ServiceSpec) -> Result<Service, String> {
        let modules = spec.modules.iter().map(|module| {
            let mut config = ModuleConfig::from_file(&*module.name, &module.path);
            for (guest, host) in [("/storage", "storage"), ("/tmp", "tmp")] {
                config
                    .mapped_dirs
                    .insert(guest.to_owned(), spec.folder.join(host));
            }
            config
        });
        let mut config = ServiceConfig::new(modules.collect());
        config.total_memory_limit = Some(MEMORY);
        config.service_id = Some("sid".to_owned());
        Service::with_deadline(config, &self.engine, Some(Instant::now() + PATIENCE))
            .map_err(described)
    }

    fn arguments(&self, arguments: &Value) -> String {
        arguments.to_string()
    }

    fn call(
        &mut self,
        service: &mut Service,
        function: &str,
        arguments: String,
    ) -> Result<String, String> {
        let deadline = Some(Instant::now() + PATIENCE);
        service
            .call(function, &arguments, &self.parameters, deadline)
            .map_err(described)
    }

    fn value(answer: String) -> Result<Value, String> {
        serde_json::from_str(&answer).map_err(described)
    }

    fn call_bytes(
        &mut self,
        service: &mut Service,
        function: &str,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let deadline = Some(Instant::now() + PATIENCE);
        let arguments = [IValue::ByteArray(bytes)];
        let result = service
            .call_values(function, &arguments, &self.parameters, deadline)
            .map_err(described)?;
        match <[IValue; 1]>::try_from(result) {
            Ok([IValue::ByteArray(bytes)]) => Ok(bytes),
            other => Err(format!("no bytes: {other:?}")),
        }
    }
}

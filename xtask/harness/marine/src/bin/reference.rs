//! Services in the published runtime, the way its peer runs them.

use std::{
    collections::HashMap,
    fs,
    pin::pin,
    process::ExitCode,
    task::{Context, Poll, Waker},
};

use marine_bench_harness::{ServiceSpec, Worker, described, serve};
use marine_wasmtime_backend::{WasmtimeConfig, WasmtimeWasmBackend};
use reference::{
    CallParameters, IValue, MarineWASIConfig,
    generic::{Marine, MarineConfig, MarineModuleConfig, ModuleDescriptor},
};
use serde_json::{Value, json};

/// Most memory of a service, as for the other.
const MEMORY: u64 = (4 << 30) - 1;
/// Stacks as the peer configures them.
const STACK: usize = 2 << 20;
const ASYNC_STACK: usize = 4 << 20;

struct Reference {
    backend: WasmtimeWasmBackend,
    parameters: CallParameters,
}

struct Running {
    marine: Marine<WasmtimeWasmBackend>,
    facade: String,
}

fn main() -> ExitCode {
    let mut config = WasmtimeConfig::default();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .async_wasm_stack(ASYNC_STACK);
    let backend = match WasmtimeWasmBackend::new(config) {
        Ok(backend) => backend,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let parameters = serde_json::from_value(json!({
        "particle": {
            "id": "spell_sid_1", "init_peer_id": "W", "timestamp": 0, "ttl": 0,
            "script": "", "signature": [], "token": "",
        },
        "service_id": "sid",
        "service_creator_peer_id": "W",
        "host_id": "H",
        "worker_id": "W",
        "tetraplets": [],
    }));
    match parameters {
        Ok(parameters) => {
            serve(Reference {
                backend,
                parameters,
            });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Worker for Reference {
    type Service = Running;
    type Arguments = Value;
    type Answer = Value;

    fn load(&mut self, spec: &ServiceSpec) -> Result<Running, String> {
        let mut files = HashMap::new();
        let mut modules_config = Vec::new();
        let mut facade = String::new();
        for module in &spec.modules {
            let bytes = fs::read(&module.path)
                .map_err(|error| format!("{}: {error}", module.path.display()))?;
            files.insert(module.name.clone(), bytes);
            facade.clone_from(&module.name);
            let mut mapped_dirs = HashMap::new();
            for (guest, host) in [("/storage", "storage"), ("/tmp", "tmp")] {
                let folder = spec.folder.join(host);
                fs::create_dir_all(&folder).map_err(described)?;
                mapped_dirs.insert(guest.to_owned(), folder);
            }
            let envs = HashMap::from([("service_id".to_owned(), "sid".to_owned())]);
            modules_config.push(ModuleDescriptor {
                load_from: None,
                file_name: format!("{}.wasm", module.name),
                import_name: module.name.clone(),
                config: MarineModuleConfig {
                    logger_enabled: true,
                    host_imports: HashMap::new(),
                    wasi: Some(MarineWASIConfig { envs, mapped_dirs }),
                    logging_mask: i32::MAX,
                },
            });
        }
        let config = MarineConfig {
            modules_dir: None,
            total_memory_limit: Some(MEMORY),
            modules_config,
            default_modules_config: None,
        };
        let marine = block_on(Marine::with_modules::<MarineConfig<_>>(
            self.backend.clone(),
            files,
            config,
        ))
        .map_err(described)?;
        Ok(Running { marine, facade })
    }

    fn arguments(&self, arguments: &Value) -> Value {
        arguments.clone()
    }

    fn call(
        &mut self,
        service: &mut Running,
        function: &str,
        arguments: Value,
    ) -> Result<Value, String> {
        block_on(service.marine.call_with_json_async(
            &service.facade,
            function,
            arguments,
            self.parameters.clone(),
        ))
        .map_err(described)
    }

    fn value(answer: Value) -> Result<Value, String> {
        Ok(answer)
    }

    fn call_bytes(
        &mut self,
        service: &mut Running,
        function: &str,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let result = block_on(service.marine.call_with_ivalues_async(
            &service.facade,
            function,
            &[IValue::ByteArray(bytes)],
            self.parameters.clone(),
        ))
        .map_err(described)?;
        match <[IValue; 1]>::try_from(result) {
            Ok([IValue::ByteArray(bytes)]) => Ok(bytes),
            other => Err(format!("no bytes: {other:?}")),
        }
    }
}

/// Waits for a future that waits for nothing itself: the modules have no host calls that block.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

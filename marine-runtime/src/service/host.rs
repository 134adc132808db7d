//! Functions that the host offers to every module: call parameters, logger, mounted binaries.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, PoisonError, mpsc},
    thread,
    time::Duration,
};

use super::{SharedParameters, config::ModuleConfig, link::Own};
use crate::{
    HostApi,
    adapter::LinkedModule,
    backend::{CoreSignature, CoreType, HostFunction, Store, Trap},
    control::Control,
    itypes::{
        IType, IValue,
        memory::{GuestMemory, Lift, MemoryError, lower_bytes},
    },
    limits::{MAX_BINARY_OUTPUT, MAX_BINARY_TIME},
    log,
};

/// Writes call parameters.
pub(super) const GET_CALL_PARAMETERS: &str = "get_call_parameters";
/// Logs a message.
const LOG: &str = "log_utf8_string";
/// Names that no mounted binary may have.
pub(super) const RESERVED: [&str; 2] = [GET_CALL_PARAMETERS, LOG];

const KILLED: i32 = 100_000;
const NOT_STARTED: i32 = 100_001;
const NO_ARRAY: i32 = 100_003;

/// The host functions that a module imports, as far as its configuration grants them.
pub(super) fn imports(
    config: &ModuleConfig,
    wanted: &[(HostApi, String)],
    own: &Own,
    parameters: &SharedParameters,
    control: &Arc<Control>,
) -> Vec<HostFunction> {
    let mut functions = Vec::new();
    for (api, name) in wanted {
        let function = match name.as_str() {
            GET_CALL_PARAMETERS => Some(call_parameters(*api, own, parameters)),
            LOG => config.logger_enabled.then(|| logger(*api, config, own)),
            name => config
                .mounted_binaries
                .get(name)
                .map(|path| mounted_binary(*api, name, path, config, own, control)),
        };
        functions.extend(function);
    }
    functions
}

fn call_parameters(api: HostApi, own: &Own, parameters: &SharedParameters) -> HostFunction {
    let own = Arc::clone(own);
    let parameters = Arc::clone(parameters);
    host_function(api, GET_CALL_PARAMETERS, &[], move |store, _| {
        let module = linked(&own, GET_CALL_PARAMETERS)?;
        let current = Arc::clone(&parameters.lock().unwrap_or_else(PoisonError::into_inner));
        let mut guest = ByName { module, store };
        let pointer = current.lower(api, &mut guest).map_err(memory_trap)?;
        set_result(module, store, "set_result_ptr", pointer)
    })
}

fn logger(api: HostApi, config: &ModuleConfig, own: &Own) -> HostFunction {
    let own = Arc::clone(own);
    let name = config.name.clone();
    let mask = config.logging_mask;
    host_function(api, LOG, &[CoreType::I32; 4], move |store, values| {
        let [level, target, pointer, length] = values else {
            return Err(Trap::host("log_utf8_string takes four values"));
        };
        let module = linked(&own, LOG)?;
        let (level, target) = (*level as u32 as i32, *target as u32 as i32);
        if target != 0 && target & mask == 0 {
            return Ok(());
        }
        let memory = module
            .memory
            .map_or(&mut [][..], |memory| store.memory(memory));
        match Lift::new(memory, &()).string(*pointer as u32, *length as u32) {
            Ok(message) => log::guest(&name, level, message),
            Err(MemoryError::NotUtf8 { .. }) => {
                log::host(
                    &name,
                    "logger: incorrect UTF8 string's been supplied to logger",
                );
            }
            Err(error) => log::host(&name, &format!("logger: {error}")),
        }
        Ok(())
    })
}

fn mounted_binary(
    api: HostApi,
    name: &str,
    path: &Path,
    config: &ModuleConfig,
    own: &Own,
    control: &Arc<Control>,
) -> HostFunction {
    let own = Arc::clone(own);
    let control = Arc::clone(control);
    let path = path.to_owned();
    let folder = config.working_dir.clone();
    let import = name.to_owned();
    host_function(api, name, &[CoreType::I32; 2], move |store, values| {
        let [pointer, count] = values else {
            return Err(Trap::host(format!("{import} takes two values")));
        };
        let module = linked(&own, &import)?;
        let memory = module
            .memory
            .map_or(&mut [][..], |memory| store.memory(memory));
        let arguments =
            Lift::new(memory, &()).array(&IType::String, *pointer as u32, *count as u32);
        let outcome = match arguments {
            Ok(IValue::Array(arguments)) => {
                let arguments = arguments.into_iter().filter_map(|argument| match argument {
                    IValue::String(text) => Some(text),
                    _ => None,
                });
                run(
                    &path,
                    &arguments.collect::<Vec<_>>(),
                    folder.as_deref(),
                    &control,
                )
            }
            Ok(_) => Outcome::failed(NO_ARRAY, "the arguments are not an array"),
            Err(error) => return Err(memory_trap(error)),
        };
        control.check()?;
        let mut guest = ByName { module, store };
        let pointer = outcome.lower(&mut guest).map_err(memory_trap)?;
        set_result(module, store, "set_result_ptr", pointer)
    })
}

/// What a mounted binary did.
struct Outcome {
    code: i32,
    error: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Outcome {
    fn failed(code: i32, error: impl Into<String>) -> Self {
        Self {
            code,
            error: error.into(),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    fn lower(&self, guest: &mut impl GuestMemory) -> Result<u32, MemoryError> {
        let mut body = Vec::with_capacity(28);
        body.extend_from_slice(&self.code.to_le_bytes());
        for bytes in [self.error.as_bytes(), &self.stdout, &self.stderr] {
            let (pointer, length) = lower_bytes(guest, bytes)?;
            body.extend_from_slice(&pointer.to_le_bytes());
            body.extend_from_slice(&length.to_le_bytes());
        }
        lower_bytes(guest, &body).map(|(pointer, _)| pointer)
    }
}

/// Runs a program without the host's environment, until it ends or the call must.
fn run(path: &Path, arguments: &[String], folder: Option<&Path>, control: &Control) -> Outcome {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for variable in ["PATH", "HOME", "LANG"] {
        if let Some(value) = std::env::var_os(variable) {
            command.env(variable, value);
        }
    }
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!(path = %path.display(), ?arguments, %error, "a mounted binary failed");
            return Outcome::failed(NOT_STARTED, error.to_string());
        }
    };
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let started = std::time::Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if control.check().is_err() || started.elapsed() > MAX_BINARY_TIME => {
                break Err("it took too long".to_owned());
            }
            Ok(None) => thread::sleep(control.remaining(Duration::from_millis(2))),
            Err(error) => break Err(error.to_string()),
        }
    };
    if status.is_err() {
        // It may have ended by itself in the meantime.
        let _ = child.kill();
        let _ = child.wait();
    }
    // A program that it left behind may hold the pipes open: that is not waited for.
    let wait = Duration::from_millis(100);
    let output = |receiver: Option<mpsc::Receiver<Option<Vec<u8>>>>| {
        receiver
            .and_then(|receiver| receiver.recv_timeout(wait).ok())
            .unwrap_or(Some(Vec::new()))
    };
    match (status, output(stdout), output(stderr)) {
        (Err(error), ..) => Outcome::failed(NOT_STARTED, error),
        (Ok(status), Some(stdout), Some(stderr)) => Outcome {
            code: status.code().unwrap_or(KILLED),
            error: String::new(),
            stdout,
            stderr,
        },
        _ => Outcome::failed(
            NOT_STARTED,
            format!("it wrote more than {MAX_BINARY_OUTPUT} bytes"),
        ),
    }
}

/// Reads a pipe to its end in a thread; `None` if there is too much in it.
fn collect(pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<Option<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let read = move || {
        let mut bytes = Vec::new();
        let limit = MAX_BINARY_OUTPUT as u64 + 1;
        let fits = pipe.take(limit).read_to_end(&mut bytes).is_ok() && bytes.len() < limit as usize;
        // The receiver may have given up.
        let _ = sender.send(fits.then_some(bytes));
    };
    if let Err(error) = thread::Builder::new()
        .name("marine-pipe".to_owned())
        .spawn(read)
    {
        tracing::warn!(%error, "no thread to read the output of a mounted binary");
    }
    receiver
}

/// A module whose allocator is found by name: the host's functions do not know its adapters.
struct ByName<'a> {
    module: &'a LinkedModule,
    store: &'a mut dyn Store,
}

impl GuestMemory for ByName<'_> {
    fn memory(&mut self) -> &mut [u8] {
        match self.module.memory {
            Some(memory) => self.store.memory(memory),
            None => &mut [],
        }
    }

    fn allocate(&mut self, size: u32, tag: u32) -> Result<u32, MemoryError> {
        self.module.guest(self.store).allocate(size, tag)
    }
}

fn set_result(
    module: &LinkedModule,
    store: &mut dyn Store,
    name: &str,
    value: u32,
) -> Result<(), Trap> {
    let function = module
        .core
        .iter()
        .find(|function| function.name == name)
        .ok_or_else(|| Trap::host(format!("module '{}' has no function {name}", module.name)))?;
    if function.signature.parameters != [CoreType::I32] || !function.signature.results.is_empty() {
        return Err(Trap::host(format!(
            "{name} of module '{}' has another type",
            module.name
        )));
    }
    store.call(function.id, &mut [u64::from(value)])
}

fn linked<'a>(own: &'a Own, function: &str) -> Result<&'a Arc<LinkedModule>, Trap> {
    own.get().ok_or_else(|| {
        Trap::host(format!(
            "{function} was called before the module was linked"
        ))
    })
}

fn memory_trap(error: MemoryError) -> Trap {
    match error {
        MemoryError::Allocate {
            trap: Some(trap), ..
        } if trap.is_interruption() => trap,
        other => Trap::host(other.to_string()),
    }
}

fn host_function(
    api: HostApi,
    name: &str,
    parameters: &[CoreType],
    body: impl Fn(&mut dyn Store, &[u64]) -> Result<(), Trap> + Send + Sync + 'static,
) -> HostFunction {
    HostFunction {
        namespace: api.namespace().to_owned(),
        name: name.to_owned(),
        signature: CoreSignature {
            parameters: parameters.to_vec(),
            results: Vec::new(),
        },
        body: Arc::new(move |store: &mut dyn Store, raw: &[u64], _: &mut [u64]| body(store, raw)),
    }
}

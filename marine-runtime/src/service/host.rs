//! Functions that the host offers to a module: call parameters, logger, mounted binaries, functions
//! of the embedding program.

mod binary;
mod import;

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

pub use self::import::{HostCall, HostImport};
use super::{SharedParameters, config::ModuleConfig, link::Own};
use crate::{
    HostApi,
    adapter::LinkedModule,
    backend::{CoreSignature, CoreType, HostFunction, Store, Trap},
    control::Control,
    itypes::memory::{GuestMemory, Lift, MemoryError},
    limits::MAX_LOG_MESSAGE,
    log,
};

/// Writes call parameters.
pub(super) const GET_CALL_PARAMETERS: &str = "get_call_parameters";
/// Logs a message.
const LOG: &str = "log_utf8_string";
/// Names that no mounted binary may have.
pub(super) const RESERVED: [&str; 2] = [GET_CALL_PARAMETERS, LOG];

/// The host functions that a module imports, as far as its configuration grants them.
pub(super) fn imports(
    config: &ModuleConfig,
    wanted: &BTreeSet<(HostApi, String)>,
    own: &Own,
    parameters: &SharedParameters,
    control: &Arc<Control>,
) -> Vec<HostFunction> {
    let mut functions = Vec::new();
    for (api, name) in wanted {
        let function = match name.as_str() {
            GET_CALL_PARAMETERS => Some(call_parameters(*api, own, parameters, control)),
            LOG => config
                .logger_enabled
                .then(|| logger(*api, config, own, control)),
            name => match (
                config.mounted_binaries.get(name),
                config.host_functions.get(name),
            ) {
                (Some(binary), _) => Some(binary::import(*api, name, binary, config, own, control)),
                (None, Some(function)) => {
                    Some(function.import(*api, name, own, parameters, control))
                }
                (None, None) => None,
            },
        };
        functions.extend(function);
    }
    functions
}

fn call_parameters(
    api: HostApi,
    own: &Own,
    parameters: &SharedParameters,
    control: &Arc<Control>,
) -> HostFunction {
    let own = Arc::clone(own);
    let parameters = Arc::clone(parameters);
    host_function(api, GET_CALL_PARAMETERS, &[], control, move |store, _| {
        let module = linked(&own, GET_CALL_PARAMETERS)?;
        let current = Arc::clone(&parameters.lock().unwrap_or_else(PoisonError::into_inner));
        let mut guest = ByName { module, store };
        let pointer = current.lower(api, &mut guest).map_err(memory_trap)?;
        set_result(module, store, "set_result_ptr", pointer)
    })
}

fn logger(api: HostApi, config: &ModuleConfig, own: &Own, control: &Arc<Control>) -> HostFunction {
    let own = Arc::clone(own);
    let name = config.name.clone();
    let mask = config.logging_mask;
    host_function(
        api,
        LOG,
        &[CoreType::I32; 4],
        control,
        move |store, values| {
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
            let (pointer, length) = (*pointer as u32, *length as u32);
            let shown = length.min(MAX_LOG_MESSAGE);
            match Lift::new(memory, &(), module.value_size).bytes(pointer, shown) {
                Ok(bytes) => match std::str::from_utf8(bytes) {
                    Ok(message) if shown == length => log::guest(&name, level, message),
                    // The cut may be within a letter.
                    _ if shown < length => {
                        let message = String::from_utf8_lossy(bytes);
                        log::guest(&name, level, &format!("{message}… ({length} bytes in all)"));
                    }
                    _ => log::host(
                        &name,
                        "logger: incorrect UTF8 string's been supplied to logger",
                    ),
                },
                Err(error) => log::host(&name, &format!("logger: {error}")),
            }
            Ok(())
        },
    )
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
    control: &Arc<Control>,
    body: impl Fn(&mut dyn Store, &[u64]) -> Result<(), Trap> + Send + Sync + 'static,
) -> HostFunction {
    // Engines count what a module does, not what its host does for it.
    let control = Arc::clone(control);
    HostFunction {
        namespace: api.namespace().to_owned(),
        name: name.to_owned(),
        signature: CoreSignature {
            parameters: parameters.to_vec(),
            results: Vec::new(),
        },
        body: Arc::new(move |store: &mut dyn Store, raw: &[u64], _: &mut [u64]| {
            control.check()?;
            body(store, raw)
        }),
    }
}

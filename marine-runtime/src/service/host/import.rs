//! Functions of the embedding program that modules may import.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    CallParameters, HostApi, IType, IValue,
    adapter::{self, ExecutionError},
    backend::{HostFunction, Store, Trap},
    control::Control,
    service::{SharedParameters, link::Own},
};

type Body = dyn Fn(&HostCall<'_>, Vec<IValue>) -> Result<Option<IValue>, String> + Send + Sync;

/// A function of the embedding program, with interface types, that a module may import from any of
/// the namespaces of the host.
///
/// ```
/// use marine_runtime::{HostImport, IType, IValue, ModuleConfig};
///
/// let shout = HostImport::new(vec![IType::String], Some(IType::String), |_, arguments| {
///     match &arguments[..] {
///         [IValue::String(text)] => Ok(Some(IValue::String(text.to_uppercase()))),
///         other => Err(format!("expected one string, got {other:?}")),
///     }
/// });
/// let mut module = ModuleConfig::from_file("speaker", "speaker.wasm");
/// module.host_functions.insert("shout".to_owned(), shout);
/// ```
#[derive(Clone)]
pub struct HostImport {
    arguments: Vec<IType>,
    output: Option<IType>,
    body: Arc<Body>,
}

/// The call that a [`HostImport`] serves.
#[derive(Clone, Copy, Debug)]
pub struct HostCall<'a> {
    /// Name of the module that calls.
    pub module: &'a str,
    /// Parameters of the call that the service serves.
    pub parameters: &'a CallParameters,
    control: &'a Control,
}

impl HostCall<'_> {
    /// How long the call may still take, at most `longest`. A function that waits must not wait
    /// longer, and ask again: zero when the call was cancelled.
    #[must_use]
    pub fn remaining(&self, longest: Duration) -> Duration {
        match self.control.check() {
            Ok(()) => self.control.remaining(longest),
            Err(_) => Duration::ZERO,
        }
    }
}

impl HostImport {
    /// A function with arguments of these types and at most one output. Records are those of the
    /// calling module, by their id in it. An `Err` of `body` traps the module with that text.
    pub fn new(
        arguments: Vec<IType>,
        output: Option<IType>,
        body: impl Fn(&HostCall<'_>, Vec<IValue>) -> Result<Option<IValue>, String>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            arguments,
            output,
            body: Arc::new(body),
        }
    }

    pub(super) fn import(
        &self,
        api: HostApi,
        name: &str,
        own: &Own,
        parameters: &SharedParameters,
        control: &Arc<Control>,
    ) -> HostFunction {
        let function = self.clone();
        let own = Arc::clone(own);
        let parameters = Arc::clone(parameters);
        let control = Arc::clone(control);
        let import = name.to_owned();
        let body = move |store: &mut dyn Store, raw: &[u64], results: &mut [u64]| {
            control.check()?;
            let module = super::linked(&own, &import)?;
            if !adapter::has_service_functions(&module.core) {
                return Err(Trap::host(format!(
                    "module '{}' lacks the functions that {import} returns its result through",
                    module.name
                )));
            }
            let arguments = adapter::lift_arguments(&function.arguments, module, store, raw)
                .map_err(ExecutionError::into_trap)?;
            let current = Arc::clone(&parameters.lock().unwrap_or_else(PoisonError::into_inner));
            let call = HostCall {
                module: &module.name,
                parameters: &current,
                control: &control,
            };
            let output = (function.body)(&call, arguments)
                .map_err(|error| Trap::host(format!("host function {import}: {error}")))?;
            control.check()?;
            match (&function.output, output) {
                (None, None) => Ok(()),
                (Some(ty), Some(value)) => {
                    adapter::lower_output(ty, module, store, &value, results)
                        .map_err(ExecutionError::into_trap)
                }
                (expected, found) => Err(Trap::host(format!(
                    "host function {import} returned {found:?}, expected {expected:?}"
                ))),
            }
        };
        HostFunction {
            namespace: api.namespace().to_owned(),
            name: name.to_owned(),
            signature: adapter::flatten(&self.arguments, self.output.as_ref()),
            body: Arc::new(body),
        }
    }
}

impl fmt::Debug for HostImport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "HostImport({:?} -> {:?})",
            self.arguments, self.output
        )
    }
}

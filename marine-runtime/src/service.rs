//! A service: modules that are linked and called through the last of them.

pub mod config;
mod host;
mod link;
mod shapes;
mod survey;
mod trampolines;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::Value;

pub use self::{
    host::{HostCall, HostImport},
    survey::AdapterSurvey,
};

use self::config::{ConfigError, ModuleConfig, ServiceConfig};
use self::link::{Blueprint, Linked};
use crate::{
    CallParameters,
    adapter::{ExecutionError, ExportedFunction, LinkedModule, Returned},
    backend::{BackendError, Trap},
    control::{CancelHandle, Control},
    engine::Engine,
    interface::Interface,
    itypes::{
        IValue,
        json::{self, ArgumentsError, ResultError},
        memory::MemoryError,
    },
    module::ModuleError,
};

/// A service that cannot be created, or a call that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file.
    #[error("IOError: {action} {path:?}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A module is malformed.
    #[error("engine error: {0}")]
    Module(#[from] ModuleError),
    /// The engine refused a module.
    #[error("engine error: module '{module}': {source}")]
    Backend {
        /// The module.
        module: String,
        /// Why.
        source: BackendError,
    },
    /// Modules that do not fit together.
    #[error("engine error: {reason}")]
    Link {
        /// What does not fit.
        reason: String,
    },
    /// The initialisation of a module failed.
    #[error("engine error: module '{module}' failed in {function}: {trap}")]
    Start {
        /// The module.
        module: String,
        /// `_initialize` or `_start`.
        function: &'static str,
        /// Why.
        trap: Trap,
    },
    /// There is no such module.
    #[error("module with name \"{module}\" is missing")]
    NoModule {
        /// The name.
        module: String,
    },
    /// There is no such function.
    #[error("function with name `{function}` is missing")]
    NoFunction {
        /// The name.
        function: String,
    },
    /// Arguments that do not fit.
    #[error(
        "arguments from json deserialization error in module \"{module}\", function \"{function}\": {source}"
    )]
    Arguments {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// What does not fit.
        source: ArgumentsError,
    },
    /// A result that does not fit.
    #[error(
        "output to json serialization error in module \"{module}\", function \"{function}\": {source}"
    )]
    Result {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// What does not fit.
        source: ResultError,
    },
    /// The call failed.
    #[error("engine error: {source}")]
    Execution {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// Why.
        source: Box<ExecutionError>,
    },
    /// The call was stopped; the service is created anew before the next one.
    #[error("call of function \"{function}\" of module \"{module}\" was stopped: {trap}")]
    Interrupted {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// Deadline or cancellation.
        trap: Trap,
    },
    /// It failed, and before that requests for memory were refused.
    #[error(
        "Engine error when OOM suspected ({rejected} failed allocations), original error: {source}"
    )]
    OutOfMemory {
        /// How many requests.
        rejected: u32,
        /// The error.
        source: Box<ServiceError>,
    },
}

impl ServiceError {
    /// Whether guests were stopped from outside: by a deadline or a [`CancelHandle`].
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted { trap, .. }
            | Self::Start { trap, .. }
            | Self::Backend {
                source: BackendError::Trap(trap),
                ..
            } => trap.is_interruption(),
            Self::OutOfMemory { source, .. } => source.is_interruption(),
            _ => false,
        }
    }
}

/// How much memory a service takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryStats {
    /// Bytes of linear memory of each module.
    pub modules: Vec<(String, u64)>,
    /// Refused requests for memory since the last successful call.
    pub allocation_rejects: u32,
}

impl fmt::Display for MemoryStats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, size) in &self.modules {
            writeln!(formatter, "{name} - {:.1} KiB", *size as f64 / 1024.0)?;
        }
        write!(
            formatter,
            "Allocation rejects - {}",
            self.allocation_rejects
        )
    }
}

/// Modules that are linked and called through the last of them, the facade.
///
/// A service is one thread's at a time; calls block. Give each call a deadline: a call that is
/// stopped by it, or by a [`CancelHandle`], leaves the service to be created anew by the next call.
pub struct Service {
    blueprint: Blueprint,
    control: Arc<Control>,
    parameters: SharedParameters,
    linked: Option<Linked>,
}

/// Arguments of a call, or why there are none.
type Arguments<'a> = Result<Cow<'a, [IValue]>, ServiceError>;

/// A result; the outer error is that of reading it from memory.
type Outcome<T> = Result<Result<T, ResultError>, MemoryError>;

/// The parameters of the call that runs, as host functions see them.
type SharedParameters = Arc<Mutex<Arc<CallParameters>>>;

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Service")
            .field("modules", &self.blueprint.names())
            .finish()
    }
}

impl Service {
    /// Loads, compiles, links and starts the modules of `config`.
    ///
    /// # Errors
    /// A configuration without modules, files that cannot be read, modules that are malformed or do
    /// not fit together, a module that fails when it starts.
    pub fn new(config: ServiceConfig, engine: &Engine) -> Result<Self, ServiceError> {
        Self::with_deadline(config, engine, None)
    }

    /// The same, done by `deadline`.
    ///
    /// # Errors
    /// See [`Service::new`]; modules that do not start in time.
    pub fn with_deadline(
        config: ServiceConfig,
        engine: &Engine,
        deadline: Option<Instant>,
    ) -> Result<Self, ServiceError> {
        let control = Arc::new(Control::new(config.total_memory_limit.unwrap_or(u64::MAX)));
        let blueprint = Blueprint::prepare(config, engine)?;
        let parameters = SharedParameters::default();
        let mut service = Self {
            blueprint,
            control,
            parameters,
            linked: None,
        };
        service.control.begin(deadline);
        let started = service.start();
        service.control.end();
        started?;
        Ok(service)
    }

    /// Calls a function of the facade: JSON arguments in, JSON result out, with the fields of
    /// records in order of declaration.
    ///
    /// # Errors
    /// A function that does not exist, arguments that do not fit, a trap, a deadline that passed.
    pub fn call(
        &mut self,
        function: &str,
        arguments: &str,
        parameters: &CallParameters,
        deadline: Option<Instant>,
    ) -> Result<String, ServiceError> {
        self.run_text(None, function, arguments, parameters, deadline)
    }

    /// Calls a function of the facade with JSON documents. The result has lost the order of the
    /// fields of records.
    ///
    /// # Errors
    /// See [`Service::call`].
    pub fn call_value(
        &mut self,
        function: &str,
        arguments: &Value,
        parameters: &CallParameters,
        deadline: Option<Instant>,
    ) -> Result<Value, ServiceError> {
        self.run(
            None,
            function,
            parameters,
            deadline,
            |module, exported| {
                let fail = |source| arguments_error(module, function, source);
                json::arguments_from_value(arguments, &exported.function, &*module.section)
                    .map(Cow::Owned)
                    .map_err(fail)
            },
            |module, exported, returned| {
                let values = returned.into_values()?;
                Ok(json::result_to_value(
                    &values,
                    &exported.function,
                    &*module.section,
                ))
            },
        )
    }

    /// Calls a function of the facade with interface values.
    ///
    /// # Errors
    /// See [`Service::call`].
    pub fn call_values(
        &mut self,
        function: &str,
        arguments: &[IValue],
        parameters: &CallParameters,
        deadline: Option<Instant>,
    ) -> Result<Vec<IValue>, ServiceError> {
        self.run_values(None, function, arguments, parameters, deadline)
    }

    /// Calls a function of any module of the service: for tools and tests.
    ///
    /// # Errors
    /// See [`Service::call`].
    pub fn call_module(
        &mut self,
        module: &str,
        function: &str,
        arguments: &str,
        parameters: &CallParameters,
        deadline: Option<Instant>,
    ) -> Result<String, ServiceError> {
        self.run_text(Some(module), function, arguments, parameters, deadline)
    }

    /// The same with interface values.
    ///
    /// # Errors
    /// See [`Service::call`].
    pub fn call_module_values(
        &mut self,
        module: &str,
        function: &str,
        arguments: &[IValue],
        parameters: &CallParameters,
        deadline: Option<Instant>,
    ) -> Result<Vec<IValue>, ServiceError> {
        self.run_values(Some(module), function, arguments, parameters, deadline)
    }

    /// Loads one more module behind the others, which makes it the facade: for tools.
    ///
    /// # Errors
    /// See [`Service::new`]. The service stays as it was; if the start of the module was stopped, it
    /// is created anew, without the module, by the next call.
    pub fn load_module(
        &mut self,
        module: ModuleConfig,
        deadline: Option<Instant>,
    ) -> Result<(), ServiceError> {
        self.control.begin(deadline);
        let linked = self.linked.as_mut();
        let loaded = self
            .blueprint
            .load(module, linked, &self.control, &self.parameters);
        self.control.end();
        loaded.map_err(|error| {
            // The module may have been stopped within a call of another one.
            if error.is_interruption() {
                self.linked = None;
            }
            self.suspect_memory(error)
        })
    }

    /// Forgets a module. Its memory is given back when the service is created anew.
    ///
    /// # Errors
    /// A module that is not there, or that another imports from.
    pub fn unload_module(&mut self, name: &str) -> Result<(), ServiceError> {
        self.blueprint.unload(name, self.linked.as_mut())
    }

    /// Whether a module can ask for [`CallParameters`]: if none can, it does not matter what a call says
    /// there.
    #[must_use]
    pub fn asks_for_parameters(&self) -> bool {
        self.blueprint.asks_for_parameters()
    }

    /// Whether a module, or a program that it may start, can see what is in a mapped directory. A host
    /// that fills directories for a call need not do so for others.
    #[must_use]
    pub fn reaches_directories(&self) -> bool {
        self.blueprint.reaches_directories()
    }

    /// The environment of a module as it sees it. `None`: there is no such module.
    #[must_use]
    pub fn envs(&self, module: &str) -> Option<&BTreeMap<String, String>> {
        self.blueprint.envs(module)
    }

    /// The interface of the facade.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.blueprint
            .facade()
            .map(Interface::of)
            .unwrap_or_default()
    }

    /// The interface of each module, in order of configuration.
    #[must_use]
    pub fn interfaces(&self) -> Vec<(String, Interface)> {
        self.blueprint.interfaces()
    }

    /// How much memory the modules take.
    pub fn memory_stats(&mut self) -> MemoryStats {
        let modules = match &mut self.linked {
            Some(linked) => linked.memory_sizes(),
            None => Vec::new(),
        };
        MemoryStats {
            modules,
            allocation_rejects: self.control.rejected(),
        }
    }

    /// Stops calls from another thread.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::new(Arc::clone(&self.control))
    }

    /// Whether the next call creates the service anew, since the last one was stopped.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.linked.is_none()
    }

    fn start(&mut self) -> Result<(), ServiceError> {
        self.control.reset_memory();
        let linked = self.blueprint.link(&self.control, &self.parameters);
        self.linked = Some(linked.map_err(|error| self.suspect_memory(error))?);
        Ok(())
    }

    /// A call with JSON text, of the facade if `module` is `None`.
    fn run_text(
        &mut self,
        module: Option<&str>,
        function: &str,
        arguments: &str,
        parameters: &CallParameters,
        deadline: Option<Instant>,
    ) -> Result<String, ServiceError> {
        self.run(
            module,
            function,
            parameters,
            deadline,
            |module, exported| {
                let fail = |source| arguments_error(module, function, source);
                json::arguments_from_text(arguments, &exported.function, &*module.section)
                    .map(Cow::Owned)
                    .map_err(fail)
            },
            |module, exported, returned| match returned {
                Returned::Lifted(lifted) => {
                    let mut text = json::Text::default();
                    lifted.make(&mut text)?;
                    Ok(Ok(text.finish()))
                }
                Returned::Values(values) => Ok(json::result_to_text(
                    &values,
                    &exported.function,
                    &*module.section,
                )),
            },
        )
    }

    /// A call with interface values, of the facade if `module` is `None`.
    fn run_values(
        &mut self,
        module: Option<&str>,
        function: &str,
        arguments: &[IValue],
        parameters: &CallParameters,
        deadline: Option<Instant>,
    ) -> Result<Vec<IValue>, ServiceError> {
        self.run(
            module,
            function,
            parameters,
            deadline,
            |_, _| Ok(Cow::Borrowed(arguments)),
            |_, _, returned| returned.into_values().map(Ok),
        )
    }

    fn run<'a, T>(
        &mut self,
        module: Option<&str>,
        function: &str,
        parameters: &CallParameters,
        deadline: Option<Instant>,
        arguments: impl FnOnce(&LinkedModule, &ExportedFunction) -> Arguments<'a>,
        result: impl FnOnce(&LinkedModule, &ExportedFunction, Returned<'_>) -> Outcome<T>,
    ) -> Result<T, ServiceError> {
        let longest = self.blueprint.call_time();
        let latest = longest.and_then(|longest| Instant::now().checked_add(longest));
        let deadline = match (deadline, latest) {
            (Some(deadline), Some(latest)) => Some(deadline.min(latest)),
            (deadline, latest) => deadline.or(latest),
        };
        self.control.begin(deadline);
        let outcome = self.run_within(module, function, parameters, arguments, result);
        self.control.end();
        match outcome {
            Ok(value) => {
                self.control.forget_rejected();
                Ok(value)
            }
            Err(error) => Err(self.suspect_memory(error)),
        }
    }

    fn run_within<'a, T>(
        &mut self,
        module: Option<&str>,
        function: &str,
        parameters: &CallParameters,
        arguments: impl FnOnce(&LinkedModule, &ExportedFunction) -> Arguments<'a>,
        result: impl FnOnce(&LinkedModule, &ExportedFunction, Returned<'_>) -> Outcome<T>,
    ) -> Result<T, ServiceError> {
        if self.linked.is_none() {
            self.start()?;
        }
        let missing = || ServiceError::NoModule {
            module: module.unwrap_or_default().to_owned(),
        };
        let linked = self.linked.as_mut().ok_or_else(missing)?;
        let callee = linked.module(module).ok_or_else(missing)?;
        let exported = callee
            .functions
            .get(function)
            .ok_or_else(|| ServiceError::NoFunction {
                function: function.to_owned(),
            })?;
        let values = arguments(&callee, exported)?;
        if self.blueprint.asks_for_parameters() {
            *self
                .parameters
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Arc::new(parameters.clone());
        }
        let outcome = callee.call_with(&mut *linked.store, exported, &values, |returned| {
            result(&callee, exported, returned)
        });
        linked.flush();
        match outcome {
            Ok(result) => result.map_err(|source| ServiceError::Result {
                module: callee.name.clone(),
                function: function.to_owned(),
                source,
            }),
            Err(source) => {
                let interruption = source.trap.as_ref().filter(|trap| trap.is_interruption());
                let error = match interruption {
                    Some(trap) => ServiceError::Interrupted {
                        module: callee.name.clone(),
                        function: function.to_owned(),
                        trap: trap.clone(),
                    },
                    None => ServiceError::Execution {
                        module: callee.name.clone(),
                        function: function.to_owned(),
                        source: Box::new(source),
                    },
                };
                let stopped = matches!(error, ServiceError::Interrupted { .. });
                if stopped || self.blueprint.recreate_after_trap() {
                    self.linked = None;
                }
                Err(error)
            }
        }
    }

    fn suspect_memory(&self, error: ServiceError) -> ServiceError {
        let fits = matches!(
            error,
            ServiceError::Execution { .. }
                | ServiceError::Backend { .. }
                | ServiceError::Start { .. }
        );
        match self.control.rejected() {
            rejected if rejected > 0 && fits => ServiceError::OutOfMemory {
                rejected,
                source: Box::new(error),
            },
            _ => error,
        }
    }
}

fn arguments_error(module: &LinkedModule, function: &str, source: ArgumentsError) -> ServiceError {
    ServiceError::Arguments {
        module: module.name.clone(),
        function: function.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;

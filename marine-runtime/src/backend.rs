//! The seam between the runtime and a Wasm engine.
//!
//! An engine compiles modules and runs them in stores. A store belongs to one service and holds
//! all its modules; functions and memories in it are referred to by small numbers, values cross
//! the border as raw bits, so the trait is object-safe and a call costs one virtual dispatch.

#[cfg(feature = "wasmer")]
mod meter;
#[cfg(feature = "wasmer")]
mod wasmer;
#[cfg(feature = "wasmtime")]
mod wasmtime;

#[cfg(feature = "wasmer")]
pub use self::wasmer::WasmerBackend;
#[cfg(feature = "wasmtime")]
pub use self::wasmtime::WasmtimeBackend;

use std::{any::Any, fmt, path::Path, sync::Arc};

#[cfg(any(feature = "wasmer", feature = "wasmtime"))]
use crate::call_parameters::HostApi;
use crate::{control::Control, engine::DEFAULT_STACK_SIZE};

/// A Wasm engine.
pub trait WasmBackend: fmt::Debug + Send + Sync {
    /// Short name: `wasmer`, `wasmtime`.
    fn name(&self) -> &'static str;

    /// Everything that decides whether code compiled elsewhere can be used here: version,
    /// processor, options.
    fn fingerprint(&self, options: &CompileOptions) -> String;

    /// Whether it keeps the machine code of a module as long as there is anything of its group
    /// ([`CompileOptions::group`]). Other engines have no use for groups.
    fn keeps_code(&self) -> bool {
        false
    }

    /// Compiles a module.
    ///
    /// # Errors
    /// Code that is invalid or uses what is not allowed.
    fn compile(
        &self,
        wasm: &[u8],
        options: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError>;

    /// Loads a module that [`CompiledModule::serialize`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read or does not fit this engine.
    ///
    /// # Safety
    /// The file holds what an engine with the same [`fingerprint`](Self::fingerprint) wrote, and
    /// stays as it is: it is machine code.
    #[expect(unsafe_code, reason = "machine code cannot be checked")]
    unsafe fn load(
        &self,
        file: &Path,
        options: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError>;

    /// A store for the modules of one service, which were compiled with `options` except for
    /// [`simd`](CompileOptions::simd).
    fn store(&self, control: Arc<Control>, options: &CompileOptions) -> Box<dyn Store + Send>;
}

/// What a module may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompileOptions {
    /// 128-bit SIMD.
    pub simd: bool,
    /// Bytes of stack.
    pub stack_size: usize,
    /// What modules of one store have in common: any number.
    pub group: u64,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            simd: false,
            stack_size: DEFAULT_STACK_SIZE,
            group: 0,
        }
    }
}

/// A compiled module; it can be instantiated in any store of its engine.
pub trait CompiledModule: Any + Send + Sync {
    /// Its machine code, to be loaded again.
    ///
    /// # Errors
    /// An engine that cannot.
    fn serialize(&self) -> Result<Vec<u8>, BackendError>;

    /// For the engine that made it.
    fn as_any(&self) -> &dyn Any;
}

/// A function in a store, by the number that the store gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId(pub u32);

/// A memory in a store, by the number that the store gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryId(pub u32);

/// An instance in a store, by the number that the store gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceId(pub u32);

/// A type of core Wasm; vectors and references never cross the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum CoreType {
    I32,
    I64,
    F32,
    F64,
}

/// The type of a core function.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CoreSignature {
    /// Types of the parameters.
    pub parameters: Vec<CoreType>,
    /// Types of the results.
    pub results: Vec<CoreType>,
}

/// What a host function does: raw parameters in, raw results out.
pub type HostBody =
    dyn Fn(&mut dyn Store, &[u64], &mut [u64]) -> Result<(), Trap> + Send + Sync + 'static;

/// A function that a module imports.
#[derive(Clone)]
pub struct HostFunction {
    /// Import namespace.
    pub namespace: String,
    /// Import name.
    pub name: String,
    /// Its type.
    pub signature: CoreSignature,
    /// What it does.
    pub body: Arc<HostBody>,
}

/// Why nothing is there for an import: for those of the host, what would put it there.
#[cfg(any(feature = "wasmer", feature = "wasmtime"))]
fn absent(namespace: &str) -> &'static str {
    match HostApi::from_namespace(namespace) {
        Some(_) => {
            "nothing of this name exists (the logger is there with `logger_enabled`, a program \
             with `mounted_binaries`)"
        }
        None => "nothing of this name exists",
    }
}

/// Functions by namespace and name; of several the first.
#[cfg(any(feature = "wasmer", feature = "wasmtime"))]
fn by_name(functions: &[HostFunction]) -> std::collections::HashMap<(&str, &str), &HostFunction> {
    let functions = functions.iter().rev();
    functions
        .map(|function| ((&*function.namespace, &*function.name), function))
        .collect()
}

/// Modules that run together. Host functions see the store of their caller.
pub trait Store {
    /// Instantiates a module; runs its start section.
    ///
    /// # Errors
    /// Missing imports or imports of another type, memory beyond the limits, a trap.
    fn instantiate(
        &mut self,
        module: &dyn CompiledModule,
        imports: &[HostFunction],
    ) -> Result<InstanceId, BackendError>;

    /// An exported function. `None`: there is none of this name.
    ///
    /// # Errors
    /// A function with vectors or references in its type.
    fn function(
        &mut self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<(FunctionId, CoreSignature)>, BackendError>;

    /// The first exported memory.
    fn memory_of(&mut self, instance: InstanceId) -> Option<MemoryId>;

    /// The bytes of a memory.
    fn memory(&mut self, memory: MemoryId) -> &mut [u8];

    /// Calls a function. `values` holds the parameters, and the results afterwards: as many slots
    /// as the larger of both.
    ///
    /// # Errors
    /// A trap.
    fn call(&mut self, function: FunctionId, values: &mut [u64]) -> Result<(), Trap>;
}

/// Why a guest stopped.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trap {
    /// The guest did something that traps.
    #[error("Trap occurred: {message}")]
    Wasm {
        /// What, in the engine's words.
        message: String,
    },
    /// The deadline of the call has passed.
    #[error("the deadline of the call has passed")]
    Deadline,
    /// The call was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
    /// The guest ended itself.
    #[error("Trap occurred: the module exited with code {code}")]
    Exit {
        /// Its exit code.
        code: i32,
    },
    /// A host function failed.
    #[error("{message}")]
    Host {
        /// Why.
        message: String,
    },
}

impl Trap {
    /// A host function that failed.
    pub fn host(message: impl Into<String>) -> Self {
        Self::Host {
            message: message.into(),
        }
    }

    /// Whether the guest was stopped from outside, so that its state is that of no moment.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Deadline | Self::Cancelled)
    }
}

/// An engine that refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Code that cannot be compiled.
    #[error("Wasm backend error: module can't be compiled: {reason}")]
    Compile {
        /// Why, in the engine's words.
        reason: String,
    },
    /// An import that nobody supplies.
    #[error("Wasm backend error: import {namespace:?} {name:?} isn't provided: {reason}")]
    Import {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is there instead.
        reason: String,
    },
    /// A module that cannot be instantiated.
    #[error("Wasm backend error: module can't be instantiated: {reason}")]
    Instantiate {
        /// Why, in the engine's words.
        reason: String,
    },
    /// A type that cannot cross the border.
    #[error("Wasm backend error: Unsupported type encountered: {ty} in function {function:?}")]
    Type {
        /// The function.
        function: String,
        /// The type.
        ty: String,
    },
    /// The guest trapped while it was instantiated.
    #[error("Wasm backend error: {0}")]
    Trap(#[from] Trap),
    /// Machine code that cannot be stored or loaded.
    #[error("Wasm backend error: compiled module can't be {action}: {reason}")]
    Cache {
        /// `stored` or `loaded`.
        action: &'static str,
        /// Why.
        reason: String,
    },
}

impl fmt::Debug for HostFunction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}.{}{:?}",
            self.namespace, self.name, self.signature
        )
    }
}

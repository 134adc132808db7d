//! Runs Marine modules: WebAssembly with interface types, linked without shared memory.
//!
//! A service is one or more modules. Each has its own memory; they call each other, and are called,
//! with values of interface types (strings, bytes, arrays, records), which adapters in the module
//! turn into core values and memory. The last module of a service is its facade: only its functions
//! are called from outside, with JSON.
//!
//! ```no_run
//! use marine_runtime::{CallParameters, Engine, ModuleConfig, Service, ServiceConfig};
//! use std::time::{Duration, Instant};
//!
//! # #[cfg(feature = "wasmer")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::wasmer();
//! let module = ModuleConfig::from_file("greeting", "greeting.wasm");
//! let mut service = Service::new(ServiceConfig::new(vec![module]), &engine)?;
//! let deadline = Some(Instant::now() + Duration::from_secs(5));
//! let result = service.call("greeting", r#"["Ada"]"#, &CallParameters::default(), deadline)?;
//! assert_eq!(result, r#""Hi, Ada""#);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "wasmer"))]
//! # fn main() {}
//! ```
//!
//! # Layout
//!
//! - [`module`]: custom sections of a module, both ways; [`Interface`]: what it offers.
//! - [`itypes`]: interface types and values, their JSON form, their layout in memory.
//! - [`embed`]: the interface section of a module that was just built.
//! - `build` (feature): modules from their sources, with cargo.
//! - [`backend`]: the seam to Wasm engines, and the two of them; [`Engine`]: with compiled modules.
//! - [`service`]: configuration, linking, calls.
//! - [`typed`]: Rust values instead of JSON, for callers that know the interface.
//! - [`limits`]: bounds on what comes from modules and callers.
//!
//! # Invariants
//!
//! - Nothing that a module or a caller supplies panics the host, fills its memory, or keeps it busy
//!   beyond the deadline of a call.
//! - A guest sees only the directories, variables, programs and modules that its configuration
//!   names.
//! - The same call gives the same result on both engines.

mod adapter;
pub mod backend;
#[cfg(feature = "build")]
pub mod build;
mod call_parameters;
mod control;
pub mod embed;
mod engine;
mod interface;
pub mod itypes;
pub mod limits;
mod log;
pub mod module;
pub mod service;
#[cfg(all(feature = "build", any(feature = "wasmer", feature = "wasmtime")))]
pub mod testing;
pub mod typed;
mod wasi;

pub use adapter::ExecutionError;
pub use call_parameters::{CallParameters, HostApi, ParticleParameters, SecurityTetraplet};
pub use control::{CancelHandle, Control};
pub use engine::{DEFAULT_CACHE_SIZE, DEFAULT_STACK_SIZE, Engine};
pub use interface::{
    FieldSignature, FunctionSignature, Interface, InterfaceFunction, RecordSignature, functions,
};
pub use itypes::{
    IType, IValue, RecordType, Records,
    memory::{GuestMemory, MemoryError},
};
pub use module::{Manifest, ManifestError, ModuleError, ModuleInfo};
pub use service::{
    AdapterSurvey, HostCall, HostImport, MemoryStats, Service, ServiceError,
    config::{
        AllowedBinary, ConfigError, ModuleConfig, ModuleSource, MountedBinary, ServiceConfig,
        ServiceLimits,
    },
};

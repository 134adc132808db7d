//! An engine with the modules it has compiled.

mod cache;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use wasmparser::{Validator, WasmFeatures};

use self::cache::CodeCache;
use crate::backend::{BackendError, CompileOptions, CompiledModule, WasmBackend};

/// Stack of a guest in bytes: what a thread with 2 MiB of stack can give.
pub const DEFAULT_STACK_SIZE: usize = 1 << 20;

/// Most bytes of machine code in a cache folder.
pub const DEFAULT_CACHE_SIZE: u64 = 2 << 30;

/// A Wasm engine and the modules it has compiled; cheap to clone, shared by services.
#[derive(Clone, Debug)]
pub struct Engine {
    backend: Arc<dyn WasmBackend>,
    cache: Arc<ModuleCache>,
}

type Key = (blake3::Hash, CompileOptions);

/// Compiled modules by content: those in use, and machine code on disk.
#[derive(Default)]
struct ModuleCache {
    disk: Option<CodeCache>,
    modules: Mutex<HashMap<Key, Weak<dyn CompiledModule>>>,
}

impl std::fmt::Debug for ModuleCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ModuleCache({:?})", self.disk)
    }
}

impl Engine {
    /// An engine of your own.
    #[must_use]
    pub fn new(backend: Arc<dyn WasmBackend>) -> Self {
        Self {
            backend,
            cache: Arc::default(),
        }
    }

    /// Wasmer: the default.
    #[cfg(feature = "wasmer")]
    #[must_use]
    pub fn wasmer() -> Self {
        Self::new(Arc::new(crate::backend::WasmerBackend::new()))
    }

    /// Wasmtime.
    ///
    /// # Errors
    /// A machine that the engine does not know.
    #[cfg(feature = "wasmtime")]
    pub fn wasmtime() -> Result<Self, BackendError> {
        let backend = crate::backend::WasmtimeBackend::new(DEFAULT_STACK_SIZE)?;
        Ok(Self::new(Arc::new(backend)))
    }

    /// Keeps machine code in `folder`, for the next start: at most [`DEFAULT_CACHE_SIZE`] bytes.
    ///
    /// The folder must belong to the host alone: what is in it is executed. Each file carries the
    /// hash of its machine code; one that does not agree is compiled again.
    #[must_use]
    pub fn with_cache_folder(self, folder: impl Into<PathBuf>) -> Self {
        self.with_cache(folder, DEFAULT_CACHE_SIZE)
    }

    /// The same with at most `max_size` bytes: what was not used for longest is forgotten first.
    #[must_use]
    pub fn with_cache(self, folder: impl Into<PathBuf>, max_size: u64) -> Self {
        let cache = ModuleCache {
            disk: Some(CodeCache::new(folder.into(), max_size)),
            modules: Mutex::default(),
        };
        Self {
            backend: self.backend,
            cache: Arc::new(cache),
        }
    }

    /// The engine itself.
    #[must_use]
    pub fn backend(&self) -> &dyn WasmBackend {
        &*self.backend
    }

    /// Compiles a module, or finds it: in memory while some service uses it, then on disk.
    ///
    /// # Errors
    /// Code that is invalid or uses what it may not.
    pub fn compile(
        &self,
        wasm: &[u8],
        options: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        let hash = blake3::hash(wasm);
        let options = &CompileOptions {
            group: if self.backend.keeps_code() {
                options.group
            } else {
                0
            },
            ..*options
        };
        let key = (hash, *options);
        {
            let modules = self
                .cache
                .modules
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(module) = modules.get(&key).and_then(Weak::upgrade) {
                return Ok(module);
            }
        }
        let module = match &self.cache.disk {
            None => self.compile_now(wasm, options)?,
            Some(disk) => {
                let name = self.name(hash, options);
                let found = disk.find(&name);
                match found.and_then(|file| self.load(&file, options)) {
                    Some(module) => module,
                    None => {
                        let module = self.compile_now(wasm, options)?;
                        if let Err(error) = keep(disk, &name, &*module) {
                            tracing::warn!(name, %error, "compiled module not kept");
                        }
                        module
                    }
                }
            }
        };
        let mut modules = self
            .cache
            .modules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(key, Arc::downgrade(&module));
        Ok(module)
    }

    fn compile_now(
        &self,
        wasm: &[u8],
        options: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        validate(wasm, options)?;
        self.backend.compile(wasm, options)
    }

    /// The name of a module's code: different for all that makes the code different.
    fn name(&self, hash: blake3::Hash, options: &CompileOptions) -> String {
        let engine = blake3::hash(self.backend.fingerprint(options).as_bytes()).to_hex();
        let short = engine.get(..16).unwrap_or_default();
        format!("{}-{short}-{}", self.backend.name(), hash.to_hex())
    }

    #[expect(unsafe_code, reason = "machine code cannot be checked")]
    fn load(&self, file: &Path, options: &CompileOptions) -> Option<Arc<dyn CompiledModule>> {
        // SAFETY: the name of the file has the fingerprint of this engine, its content is what was
        // written under that name, and the folder belongs to the host.
        match unsafe { self.backend.load(file, options) } {
            Ok(module) => Some(module),
            Err(error) => {
                tracing::debug!(file = %file.display(), %error, "a compiled module is of no use");
                None
            }
        }
    }
}

fn keep(
    disk: &CodeCache,
    name: &str,
    module: &dyn CompiledModule,
) -> Result<(), Box<dyn std::error::Error>> {
    disk.store(name, &module.serialize()?)?;
    Ok(())
}

/// Checks a module against what all engines here support and its options allow.
fn validate(wasm: &[u8], options: &CompileOptions) -> Result<(), BackendError> {
    let mut features = WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::FLOATS
        | WasmFeatures::GC_TYPES;
    features.set(WasmFeatures::SIMD, options.simd);
    match Validator::new_with_features(features).validate_all(wasm) {
        Ok(_) => Ok(()),
        Err(error) => {
            let hint = if !options.simd && error.to_string().contains("SIMD") {
                " (a module may use SIMD when its configuration says `simd = true`)"
            } else {
                ""
            };
            Err(BackendError::Compile {
                reason: format!("{error}{hint}"),
            })
        }
    }
}

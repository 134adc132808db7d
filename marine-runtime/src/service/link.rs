//! Links the modules of a service (“Linking order and instantiation” in the protocol description).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    ServiceError, SharedParameters,
    config::{AllowedBinary, ConfigError, ModuleConfig, ModuleSource, ServiceConfig},
    host,
    shapes::Shapes,
    trampolines::trampolines,
};
use crate::{
    HostApi, Interface,
    adapter::{CoreFunction, ExportPlan, ExportedFunction, Link, LinkedModule},
    backend::{CompileOptions, CompiledModule, CoreSignature, InstanceId, Store, Trap},
    control::Control,
    engine::Engine,
    interface,
    module::{InterfaceSection, ModuleInfo, Outline},
    wasi::{self, Quota, Wasi},
};

/// A module's own view of itself, there once it is instantiated.
pub(super) type Own = Arc<OnceLock<Arc<LinkedModule>>>;

/// All that is needed to create a service again.
pub(super) struct Blueprint {
    config: ServiceConfig,
    engine: Engine,
    /// How all modules are compiled, except that some may use SIMD.
    options: CompileOptions,
    modules: Vec<Prepared>,
}

struct Prepared {
    config: ModuleConfig,
    section: Arc<InterfaceSection>,
    compiled: Arc<dyn CompiledModule>,
    exports: BTreeSet<String>,
    /// Host imports, to know what to supply.
    host_imports: BTreeSet<(HostApi, String)>,
    /// Whether one of them sees the call parameters.
    asks_for_parameters: bool,
    /// Whether an import sees what is in a mapped directory, or a program that may.
    reaches_directories: bool,
}

/// Modules in a store.
pub(super) struct Linked {
    pub(super) store: Box<dyn Store + Send>,
    modules: Vec<Arc<LinkedModule>>,
    wasi: Vec<Arc<Wasi>>,
    quota: Arc<Quota>,
}

impl Blueprint {
    pub(super) fn prepare(
        mut config: ServiceConfig,
        engine: &Engine,
    ) -> Result<Self, ServiceError> {
        config.check()?;
        let resolved = std::mem::take(&mut config.modules).into_iter();
        config.modules = resolved.map(|module| config.resolve(module)).collect();
        let mut contents = Vec::with_capacity(config.modules.len());
        for module in &config.modules {
            contents.push(read(&module.source)?);
        }
        let options = CompileOptions {
            stack_size: config.limits.stack_size,
            group: group(engine, &contents),
            ..CompileOptions::default()
        };
        let mut modules = Vec::with_capacity(config.modules.len());
        for (module, bytes) in config.modules.iter().zip(&contents) {
            let allowed = config.allowed_binaries.as_deref();
            modules.push(Prepared::new(module, bytes, engine, &options, allowed)?);
        }
        for module in &config.modules {
            create_folders(module)?;
        }
        Ok(Self {
            config,
            engine: engine.clone(),
            options,
            modules,
        })
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.modules
            .iter()
            .map(|module| module.config.name.as_str())
            .collect()
    }

    pub(super) fn facade(&self) -> Option<&InterfaceSection> {
        self.modules.last().map(|module| &*module.section)
    }

    pub(super) fn interfaces(&self) -> Vec<(String, Interface)> {
        let interface =
            |module: &Prepared| (module.config.name.clone(), Interface::of(&module.section));
        self.modules.iter().map(interface).collect()
    }

    /// Whether anybody can ask for call parameters: they may be large.
    pub(super) fn asks_for_parameters(&self) -> bool {
        self.modules.iter().any(|module| module.asks_for_parameters)
    }

    /// Whether anybody can see what is in a directory.
    pub(super) fn reaches_directories(&self) -> bool {
        self.modules.iter().any(|module| module.reaches_directories)
    }

    /// Longest time of one call.
    pub(super) fn call_time(&self) -> Option<Duration> {
        self.config.limits.call_time
    }

    pub(super) fn recreate_after_trap(&self) -> bool {
        self.config.recreate_after_trap
    }

    fn surroundings<'a>(
        &self,
        control: &'a Arc<Control>,
        parameters: &'a SharedParameters,
    ) -> Surroundings<'a> {
        Surroundings {
            control,
            parameters,
            value_size: self.config.limits.value_size,
        }
    }

    /// Adds a module behind the others, which makes it the facade, and starts it.
    pub(super) fn load(
        &mut self,
        module: ModuleConfig,
        linked: Option<&mut Linked>,
        control: &Arc<Control>,
        parameters: &SharedParameters,
    ) -> Result<(), ServiceError> {
        let mut config = self.config.clone();
        let module = config.resolve(module);
        config.modules.push(module.clone());
        config.check()?;
        let bytes = read(&module.source)?;
        let allowed = config.allowed_binaries.as_deref();
        let prepared = Prepared::new(&module, &bytes, &self.engine, &self.options, allowed)?;
        create_folders(&module)?;
        if let Some(linked) = linked {
            let open = linked.wasi.len();
            let started = prepared.link(linked, &self.surroundings(control, parameters));
            if started.is_err() {
                linked.wasi.truncate(open);
            }
            started?;
        }
        self.modules.push(prepared);
        self.config = config;
        Ok(())
    }

    /// Forgets a module that no other needs.
    pub(super) fn unload(
        &mut self,
        name: &str,
        linked: Option<&mut Linked>,
    ) -> Result<(), ServiceError> {
        if !self.config.modules.iter().any(|module| module.name == name) {
            return Err(ServiceError::NoModule {
                module: name.to_owned(),
            });
        }
        let needs = |module: &&Prepared| {
            let mut imports = module.section.linkable_imports();
            imports.any(|import| import.namespace == name)
        };
        if let Some(user) = self.modules.iter().find(needs) {
            return Err(ServiceError::Link {
                reason: format!(
                    "module '{name}' can't be unloaded: module '{}' imports from it",
                    user.config.name
                ),
            });
        }
        self.modules.retain(|module| module.config.name != name);
        self.config.modules.retain(|module| module.name != name);
        if let Some(linked) = linked {
            linked.modules.retain(|module| module.name != name);
        }
        Ok(())
    }

    /// The environment of a module as it sees it.
    pub(super) fn envs(&self, module: &str) -> Option<&BTreeMap<String, String>> {
        let mut modules = self.config.modules.iter();
        modules
            .find(|config| config.name == module)
            .map(|config| &config.envs)
    }

    /// Instantiates and starts all modules in a new store.
    pub(super) fn link(
        &self,
        control: &Arc<Control>,
        parameters: &SharedParameters,
    ) -> Result<Linked, ServiceError> {
        let store = self
            .engine
            .backend()
            .store(Arc::clone(control), &self.options);
        let folders = self.modules.iter();
        let folders = folders.flat_map(|module| module.config.mapped_dirs.values());
        let quota = Quota::new(&self.config.limits, folders).map_err(|(path, source)| {
            ServiceError::Io {
                action: "failed to measure the mapped directory",
                path,
                source,
            }
        })?;
        let mut linked = Linked {
            store,
            modules: Vec::new(),
            wasi: Vec::new(),
            quota: Arc::new(quota),
        };
        *parameters
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::default();
        let surroundings = self.surroundings(control, parameters);
        for module in &self.modules {
            module.link(&mut linked, &surroundings)?;
        }
        Ok(linked)
    }
}

/// The bytes of a module.
fn read(source: &ModuleSource) -> Result<Arc<[u8]>, ServiceError> {
    match source {
        ModuleSource::Bytes(bytes) => Ok(Arc::clone(bytes)),
        ModuleSource::File(path) => {
            let read = fs::read(path).map_err(|source| ServiceError::Io {
                action: "failed to load",
                path: path.clone(),
                source,
            })?;
            Ok(read.into())
        }
    }
}

/// The group of modules: services of the same ones share their code.
fn group(engine: &Engine, modules: &[Arc<[u8]>]) -> u64 {
    if !engine.backend().keeps_code() {
        return 0;
    }
    let mut all = blake3::Hasher::new();
    for module in modules {
        all.update(blake3::hash(module).as_bytes());
    }
    let hash: [u8; 32] = all.finalize().into();
    hash.first_chunk()
        .map_or(0, |start| u64::from_le_bytes(*start))
}

fn create_folders(module: &ModuleConfig) -> Result<(), ServiceError> {
    for folder in module.mapped_dirs.values() {
        fs::create_dir_all(folder).map_err(|source| ServiceError::Io {
            action: "Failed to create dir",
            path: folder.clone(),
            source,
        })?;
    }
    Ok(())
}

/// What the modules of a service share.
struct Surroundings<'a> {
    control: &'a Arc<Control>,
    parameters: &'a SharedParameters,
    value_size: usize,
}

impl Linked {
    /// A module by name, or the facade.
    pub(super) fn module(&self, name: Option<&str>) -> Option<Arc<LinkedModule>> {
        match name {
            Some(name) => self
                .modules
                .iter()
                .find(|module| module.name == name)
                .cloned(),
            None => self.modules.last().cloned(),
        }
    }

    pub(super) fn memory_sizes(&mut self) -> Vec<(String, u64)> {
        let mut sizes = Vec::with_capacity(self.modules.len());
        for module in &self.modules {
            let size = module
                .memory
                .map_or(0, |memory| self.store.memory(memory).len() as u64);
            sizes.push((module.name.clone(), size));
        }
        sizes
    }

    /// Logs what modules have printed without an end of line.
    pub(super) fn flush(&self) {
        for wasi in &self.wasi {
            wasi.flush();
        }
    }
}

impl Prepared {
    fn new(
        config: &ModuleConfig,
        bytes: &[u8],
        engine: &Engine,
        options: &CompileOptions,
        allowed: Option<&[AllowedBinary]>,
    ) -> Result<Self, ServiceError> {
        if let Some(allowed) = allowed
            && !config.mounted_binaries.is_empty()
        {
            check_binaries(config, Sha256::digest(bytes).into(), allowed)?;
        }
        let options = CompileOptions {
            simd: config.simd,
            ..*options
        };
        let info = ModuleInfo::decode(&config.name, bytes)?;
        let outline = Outline::read(&config.name, bytes)?;
        let backend = |source| ServiceError::Backend {
            module: config.name.clone(),
            source,
        };
        let compiled = engine.compile(bytes, &options).map_err(backend)?;
        let host_imports = outline.imports().iter().filter_map(|import| {
            HostApi::from_namespace(import.namespace).map(|api| (api, import.name.to_owned()))
        });
        let host_imports: BTreeSet<_> = host_imports.collect();
        let asks_for_parameters = host_imports.iter().any(|(_, name)| {
            name == host::GET_CALL_PARAMETERS || config.host_functions.contains_key(name)
        });
        let reaches_directories = outline
            .imports()
            .iter()
            .any(|import| wasi::reaches_directories(import.namespace, import.name))
            || host_imports.iter().any(|(_, name)| {
                config.mounted_binaries.contains_key(name)
                    || config.host_functions.contains_key(name)
            });
        Ok(Self {
            config: config.clone(),
            section: Arc::new(info.interface),
            compiled,
            exports: outline
                .exports()
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            host_imports,
            asks_for_parameters,
            reaches_directories,
        })
    }

    fn link(
        &self,
        linked: &mut Linked,
        surroundings: &Surroundings<'_>,
    ) -> Result<(), ServiceError> {
        let Surroundings {
            control,
            parameters,
            ..
        } = *surroundings;
        let name = &self.config.name;
        let own = Own::default();
        let links = self.links(&linked.modules)?;
        let quota = Arc::clone(&linked.quota);
        let wasi =
            Wasi::new(&self.config, Arc::clone(control), quota).map_err(|(path, source)| {
                ServiceError::Io {
                    action: "failed to open the mapped directory",
                    path,
                    source,
                }
            })?;
        let wasi = Arc::new(wasi);
        let mut imports = wasi.imports(&own);
        imports.extend(host::imports(
            &self.config,
            &self.host_imports,
            &own,
            parameters,
            control,
        ));
        imports.extend(trampolines(name, &self.section, &own)?);
        let backend = |source| ServiceError::Backend {
            module: name.clone(),
            source,
        };
        let instance = linked
            .store
            .instantiate(&*self.compiled, &imports)
            .map_err(backend)?;
        let value_size = surroundings.value_size;
        let module = self.module(&mut *linked.store, instance, links, value_size)?;
        let module = Arc::new(module);
        // Nobody else sets it.
        let _ = own.set(Arc::clone(&module));
        linked.wasi.push(Arc::clone(&wasi));
        for function in ["_initialize", "_start"] {
            if !self.exports.contains(function) {
                continue;
            }
            let found = linked.store.function(instance, function).map_err(backend)?;
            let Some((id, signature)) = found else {
                continue;
            };
            if signature != CoreSignature::default() {
                return Err(ServiceError::Link {
                    reason: format!(
                        "module '{name}' exports {function} with parameters or results"
                    ),
                });
            }
            let outcome = linked.store.call(id, &mut []);
            wasi.flush();
            match outcome {
                Ok(()) | Err(Trap::Exit { code: 0 }) => {}
                Err(trap) => {
                    return Err(ServiceError::Start {
                        module: name.clone(),
                        function,
                        trap,
                    });
                }
            }
        }
        linked.modules.push(module);
        Ok(())
    }

    /// Finds the functions of other modules that this one calls.
    fn links(&self, loaded: &[Arc<LinkedModule>]) -> Result<Vec<Link>, ServiceError> {
        let name = &self.config.name;
        let mut links = Vec::new();
        // What is compared once need not be compared for every import.
        let mut shapes: BTreeMap<&str, Shapes<'_>> = BTreeMap::new();
        let loaded: BTreeMap<&str, &Arc<LinkedModule>> = loaded
            .iter()
            .map(|module| (module.name.as_str(), module))
            .collect();
        for import in self.section.linkable_imports() {
            let error = |reason| ServiceError::Link { reason };
            let callee = *loaded.get(import.namespace.as_str()).ok_or_else(|| {
                error(format!(
                    "module with name '{}' isn't loaded into Marine (module '{name}' imports \
                         its function '{}'; modules are loaded in order of configuration)",
                    import.namespace, import.name
                ))
            })?;
            let exported = callee.functions.get(&import.name).ok_or_else(|| {
                error(format!(
                    "module with name '{}' doesn't have function with name {} (imported by module \
                     '{name}')",
                    import.namespace, import.name
                ))
            })?;
            let declared = import.type_index.checked_sub(2);
            let function = declared
                .and_then(|index| self.section.function(index))
                .ok_or_else(|| error(format!("import '{}' has no declaration", import.name)))?;
            let shapes = shapes
                .entry(&import.namespace)
                .or_insert_with(|| Shapes::new(&self.section, &callee.section));
            let compared = shapes.functions(function, &exported.function);
            compared.map_err(|difference| {
                error(format!(
                    "module '{name}' imports function '{}' of module '{}' with another type \
                         than it has: {difference}",
                    import.name, import.namespace
                ))
            })?;
            links.push(Link {
                name: import.name.clone(),
                function: Arc::clone(function),
                callee: Arc::clone(callee),
            });
        }
        Ok(links)
    }

    fn module(
        &self,
        store: &mut dyn Store,
        instance: InstanceId,
        links: Vec<Link>,
        value_size: usize,
    ) -> Result<LinkedModule, ServiceError> {
        let name = &self.config.name;
        let backend = |source| ServiceError::Backend {
            module: name.clone(),
            source,
        };
        let mut core = Vec::with_capacity(self.section.exports.len());
        for export in &self.section.exports {
            let found = store.function(instance, &export.name).map_err(backend)?;
            let (id, signature) = found.ok_or_else(|| ServiceError::Link {
                reason: format!(
                    "Wasm backend error: export not found: {} (module '{name}')",
                    export.name
                ),
            })?;
            core.push(CoreFunction {
                name: export.name.clone(),
                id,
                signature,
            });
        }
        let memory = store.memory_of(instance);
        let adapters = self.section.adapters_by_type();
        let mut functions = BTreeMap::new();
        for (function_name, function) in interface::functions(&self.section) {
            let Some(ty) = self.section.function(function.adapter) else {
                continue;
            };
            let plan = adapters
                .get(&function.adapter)
                .and_then(|adapter| ExportPlan::of(ty, adapter, &core));
            let exported = ExportedFunction {
                function: Arc::clone(ty),
                adapter: function.adapter,
                plan,
            };
            functions.insert(function_name.to_owned(), exported);
        }
        Ok(LinkedModule {
            name: name.clone(),
            section: Arc::clone(&self.section),
            memory,
            value_size,
            core,
            links,
            functions,
        })
    }
}

/// Refuses mounted binaries that are not listed for a module.
fn check_binaries(
    config: &ModuleConfig,
    module: [u8; 32],
    allowed: &[AllowedBinary],
) -> Result<(), ConfigError> {
    for (name, binary) in &config.mounted_binaries {
        let listed = allowed.iter().any(|allowed| {
            allowed.module == module && allowed.name == *name && allowed.binary == *binary
        });
        if !listed {
            let hash: String = module.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(ConfigError::Invalid(format!(
                "module '{}' with SHA-256 {hash} may not mount the binary {:?} as '{name}': it is \
                 not in the list of allowed binaries with this path and environment",
                config.name, binary.path
            )));
        }
    }
    Ok(())
}

//! Links the modules of a service (“Linking order and instantiation” in the protocol description).

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    ServiceError, SharedParameters,
    config::{AllowedBinary, ConfigError, ModuleConfig, ModuleSource, ServiceConfig},
    host,
};
use crate::{
    HostApi, Interface,
    adapter::{CoreFunction, ExportPlan, ExportedFunction, ImportPlan, Link, LinkedModule},
    backend::{
        CompileOptions, CompiledModule, CoreSignature, CoreType, HostFunction, InstanceId, Store,
        Trap,
    },
    control::Control,
    engine::{DEFAULT_STACK_SIZE, Engine},
    interface,
    itypes::IType,
    module::{Function, InterfaceSection, ModuleInfo, Outline},
    wasi::{Quota, Wasi},
};

/// A module's own view of itself, there once it is instantiated.
pub(super) type Own = Arc<OnceLock<Arc<LinkedModule>>>;

/// All that is needed to create a service again.
pub(super) struct Blueprint {
    config: ServiceConfig,
    engine: Engine,
    modules: Vec<Prepared>,
}

struct Prepared {
    config: ModuleConfig,
    section: Arc<InterfaceSection>,
    compiled: Arc<dyn CompiledModule>,
    exports: BTreeSet<String>,
    /// Host imports, to know what to supply.
    host_imports: Vec<(HostApi, String)>,
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
        let mut modules = Vec::with_capacity(config.modules.len());
        for module in &config.modules {
            modules.push(Prepared::new(
                module,
                engine,
                config.allowed_binaries.as_deref(),
            )?);
        }
        for module in &config.modules {
            create_folders(module)?;
        }
        Ok(Self {
            config,
            engine: engine.clone(),
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
        self.modules.iter().any(|module| {
            let mut imports = module.host_imports.iter();
            imports.any(|(_, name)| {
                name == host::GET_CALL_PARAMETERS || module.config.host_functions.contains_key(name)
            })
        })
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
        let prepared = Prepared::new(&module, &self.engine, config.allowed_binaries.as_deref())?;
        create_folders(&module)?;
        if let Some(linked) = linked {
            prepared.link(linked, &self.surroundings(control, parameters))?;
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
            .store(Arc::clone(control), DEFAULT_STACK_SIZE);
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
        engine: &Engine,
        allowed: Option<&[AllowedBinary]>,
    ) -> Result<Self, ServiceError> {
        let bytes: Arc<[u8]> = match &config.source {
            ModuleSource::Bytes(bytes) => Arc::clone(bytes),
            ModuleSource::File(path) => {
                let read = fs::read(path).map_err(|source| ServiceError::Io {
                    action: "failed to load",
                    path: path.clone(),
                    source,
                })?;
                read.into()
            }
        };
        if let Some(allowed) = allowed
            && !config.mounted_binaries.is_empty()
        {
            check_binaries(config, Sha256::digest(&bytes).into(), allowed)?;
        }
        let info = ModuleInfo::decode(&config.name, &bytes)?;
        let outline = Outline::read(&config.name, &bytes)?;
        let backend = |source| ServiceError::Backend {
            module: config.name.clone(),
            source,
        };
        let compiled = engine
            .compile(&bytes, &CompileOptions { simd: config.simd })
            .map_err(backend)?;
        let host_imports = outline.imports().iter().filter_map(|import| {
            HostApi::from_namespace(import.namespace).map(|api| (api, import.name.to_owned()))
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
            host_imports: host_imports.collect(),
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
        self.trampolines(&own, &mut imports)?;
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
        for import in self.section.linkable_imports() {
            let error = |reason| ServiceError::Link { reason };
            let callee = loaded
                .iter()
                .find(|module| module.name == import.namespace)
                .ok_or_else(|| {
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
            Shapes {
                left: &self.section,
                right: &callee.section,
                compared: HashSet::new(),
            }
            .functions(function, &exported.function)
            .map_err(|difference| {
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

    /// Host functions that stand for the functions of other modules.
    fn trampolines(&self, own: &Own, imports: &mut Vec<HostFunction>) -> Result<(), ServiceError> {
        for implementation in &self.section.implementations {
            let supplied = self
                .section
                .imports
                .iter()
                .filter(|import| import.type_index == implementation.core);
            for import in supplied {
                let Some(function) = self.section.function(implementation.adapter) else {
                    continue;
                };
                let signature = import_signature(&self.config.name, &import.name, function)?;
                let own = Arc::clone(own);
                let adapter = implementation.adapter;
                let declared = import
                    .type_index
                    .checked_sub(2)
                    .and_then(|index| self.section.function(index))
                    .cloned();
                let plan = OnceLock::new();
                let types = signature.clone();
                let name = import.name.clone();
                let body = move |store: &mut dyn Store, raw: &[u64], results: &mut [u64]| {
                    let module = own.get().ok_or_else(|| {
                        Trap::host(format!(
                            "import '{name}' was called before the module was linked"
                        ))
                    })?;
                    let plan = plan.get_or_init(|| {
                        let adapter = module.section.adapter(adapter)?;
                        let declared = declared.as_ref()?;
                        ImportPlan::of(declared, adapter, &module.section, &module.core)
                            .filter(|plan| plan.signature() == types)
                    });
                    match plan {
                        Some(plan) => plan
                            .run(module, store, raw, results)
                            .map_err(crate::adapter::ExecutionError::into_trap),
                        None => interpret(module, store, adapter, &types, raw, results),
                    }
                };
                imports.push(HostFunction {
                    namespace: import.namespace.clone(),
                    name: import.name.clone(),
                    signature,
                    body: Arc::new(body),
                });
            }
        }
        Ok(())
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
        let mut functions = BTreeMap::new();
        for (function_name, function) in interface::functions(&self.section) {
            let Some(ty) = self.section.function(function.adapter) else {
                continue;
            };
            let plan = self
                .section
                .adapter(function.adapter)
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

/// Runs the adapter of an import that is not of the SDK's form.
fn interpret(
    module: &LinkedModule,
    store: &mut dyn Store,
    adapter: u32,
    types: &CoreSignature,
    raw: &[u64],
    results: &mut [u64],
) -> Result<(), Trap> {
    use crate::itypes::IValue;
    let arguments: Vec<IValue> = raw
        .iter()
        .zip(&types.parameters)
        .map(|(raw, ty)| crate::adapter::from_raw(*raw, *ty))
        .collect();
    let values = module
        .interpret(store, adapter, &arguments)
        .map_err(crate::adapter::ExecutionError::into_trap)?;
    if values.len() != types.results.len() {
        return Err(Trap::host(format!(
            "A function returned invalid number of results: expected {}, got {}",
            types.results.len(),
            values.len()
        )));
    }
    for ((slot, value), ty) in results.iter_mut().zip(&values).zip(&types.results) {
        *slot = crate::adapter::to_raw(value, *ty)?;
    }
    Ok(())
}

/// The core type of the function `import` of a module.
pub(super) fn import_signature(
    module: &str,
    import: &str,
    function: &Function,
) -> Result<CoreSignature, ServiceError> {
    raw_signature(function).map_err(|ty| ServiceError::Link {
        reason: format!(
            "module '{module}' imports '{import}' with the raw type {ty}, which is no core type"
        ),
    })
}

/// The core type of a function whose interface type has only what is a core value.
fn raw_signature(function: &Function) -> Result<CoreSignature, String> {
    let core = |ty: &IType| match ty {
        IType::S8 | IType::S16 | IType::S32 | IType::U8 | IType::U16 | IType::U32 | IType::I32 => {
            Ok(CoreType::I32)
        }
        IType::S64 | IType::U64 | IType::I64 => Ok(CoreType::I64),
        IType::F32 => Ok(CoreType::F32),
        IType::F64 => Ok(CoreType::F64),
        other => Err(other.to_string()),
    };
    Ok(CoreSignature {
        parameters: function
            .arguments
            .iter()
            .map(|argument| core(&argument.ty))
            .collect::<Result<_, _>>()?,
        results: function
            .outputs
            .iter()
            .map(core)
            .collect::<Result<_, _>>()?,
    })
}

/// Compares types of two modules by structure: names and ids may differ.
struct Shapes<'a> {
    left: &'a InterfaceSection,
    right: &'a InterfaceSection,
    /// Pairs of records that are equal or being compared: records share parts, and comparing each
    /// occurrence again could take forever.
    compared: HashSet<(u32, u32)>,
}

impl Shapes<'_> {
    fn functions(&mut self, left: &Function, right: &Function) -> Result<(), String> {
        if left.arguments.len() != right.arguments.len() {
            return Err(format!(
                "{} arguments instead of {}",
                left.arguments.len(),
                right.arguments.len()
            ));
        }
        if left.outputs.len() != right.outputs.len() {
            return Err(format!(
                "{} outputs instead of {}",
                left.outputs.len(),
                right.outputs.len()
            ));
        }
        let outputs = left.outputs.iter().zip(&right.outputs);
        let arguments = left.arguments.iter().zip(&right.arguments);
        let pairs = arguments
            .map(|(left, right)| (&left.ty, &right.ty))
            .chain(outputs);
        for (left, right) in pairs {
            self.types(left, right)?;
        }
        Ok(())
    }

    /// Without recursion, since nesting is the modules' to choose.
    fn types(&mut self, left: &IType, right: &IType) -> Result<(), String> {
        let mut open = vec![(left.clone(), right.clone())];
        while let Some((left, right)) = open.pop() {
            match (&left, &right) {
                (IType::Array(left), IType::Array(right)) => {
                    open.push(((**left).clone(), (**right).clone()));
                }
                (IType::Array(element), IType::ByteArray)
                | (IType::ByteArray, IType::Array(element))
                    if **element == IType::U8 => {}
                (IType::Record(left_id), IType::Record(right_id)) => {
                    if !self.compared.insert((*left_id, *right_id)) {
                        continue;
                    }
                    let records = self.left.record(*left_id).zip(self.right.record(*right_id));
                    let Some((left, right)) = records else {
                        return Err(format!("records {left_id} and {right_id} are not known"));
                    };
                    if left.fields.len() != right.fields.len() {
                        return Err(format!(
                            "record {} has {} fields, record {} has {}",
                            left.name,
                            left.fields.len(),
                            right.name,
                            right.fields.len()
                        ));
                    }
                    let pairs = left.fields.iter().zip(&right.fields);
                    open.extend(pairs.map(|(left, right)| (left.ty.clone(), right.ty.clone())));
                }
                (left, right) if left == right => {}
                (left, right) => return Err(format!("{left} instead of {right}")),
            }
        }
        Ok(())
    }
}

//! Wasmer: Cranelift on x86-64, Singlepass elsewhere.

mod memory;

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use wasmer::{
    AsStoreMut as _, AsStoreRef as _, Engine, Function, FunctionEnv, FunctionEnvMut, FunctionType,
    Imports, Instance, Memory, Module, RuntimeError, Type, TypedFunction, Value,
    sys::{BaseTunables, CompilerConfig, EngineBuilder, Features, NativeEngineExt as _, Target},
};

use self::memory::Limits;
use super::{
    BackendError, CompileOptions, CompiledModule, CoreSignature, CoreType, FunctionId,
    HostFunction, InstanceId, MemoryId, Store, Trap, WasmBackend, by_name,
    meter::{self, CHECK_NAME, CHECK_NAMESPACE},
};
use crate::control::Control;

/// Wasmer.
///
/// Its engine keeps all machine code that it ever had, and all that is in one store must come from
/// one engine. So each group of modules has an engine, which goes away with them.
pub struct WasmerBackend {
    groups: Mutex<HashMap<u64, Weak<Group>>>,
}

/// The engine of a group of modules.
struct Group(Engine);

impl fmt::Debug for WasmerBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WasmerBackend")
    }
}

impl Default for WasmerBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl WasmerBackend {
    /// An engine for this machine.
    #[must_use]
    pub fn new() -> Self {
        Self {
            groups: Mutex::default(),
        }
    }

    /// How many groups there are.
    #[cfg(test)]
    pub(crate) fn groups(&self) -> usize {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups
            .values()
            .filter(|group| group.strong_count() > 0)
            .count()
    }

    /// The engine of a group, a new one if nothing of the group is left.
    fn group(&self, number: u64) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(&number).and_then(Weak::upgrade) {
            return group;
        }
        let group = Arc::new(Group(engine()));
        groups.retain(|_, group| group.strong_count() > 0);
        groups.insert(number, Arc::downgrade(&group));
        group
    }
}

#[cfg(target_arch = "x86_64")]
fn compiler() -> Box<dyn CompilerConfig> {
    let mut compiler = wasmer::sys::Cranelift::new();
    compiler.canonicalize_nans(true);
    Box::new(compiler)
}

#[cfg(not(target_arch = "x86_64"))]
fn compiler() -> Box<dyn CompilerConfig> {
    let mut compiler = wasmer::sys::Singlepass::new();
    compiler.canonicalize_nans(true);
    Box::new(compiler)
}

fn engine() -> Engine {
    let mut features = Features::new();
    // Which module may use SIMD is checked before it comes here; Singlepass has none.
    features
        .simd(cfg!(target_arch = "x86_64"))
        .threads(false)
        .tail_call(false)
        .exceptions(false)
        .relaxed_simd(false)
        .memory64(false)
        .multi_memory(false);
    let compiler = compiler();
    EngineBuilder::new(compiler)
        .set_features(Some(features))
        .engine()
        .into()
}

impl WasmBackend for WasmerBackend {
    fn name(&self) -> &'static str {
        "wasmer"
    }

    fn keeps_code(&self) -> bool {
        true
    }

    fn fingerprint(&self, options: &CompileOptions) -> String {
        let target = Target::default();
        format!(
            "wasmer 7.1.0, meter 1, {}, {:?}, simd {}",
            target.triple(),
            target.cpu_features(),
            options.simd
        )
    }

    fn compile(
        &self,
        wasm: &[u8],
        options: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        let group = self.group(options.group);
        let error = |reason| BackendError::Compile { reason };
        let metered = meter::rewrite(wasm).map_err(error)?;
        let module = Module::new(&group.0, metered).map_err(|cause| error(cause.to_string()))?;
        Ok(Arc::new(Compiled { module, group }))
    }

    #[expect(unsafe_code, reason = "machine code cannot be checked")]
    unsafe fn load(
        &self,
        file: &Path,
        options: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        let group = self.group(options.group);
        // SAFETY: the caller vouches for the file.
        let module = unsafe { Module::deserialize_from_file(&group.0, file) };
        let module = module.map_err(|cause| BackendError::Cache {
            action: "loaded",
            reason: cause.to_string(),
        })?;
        Ok(Arc::new(Compiled { module, group }))
    }

    fn store(&self, control: Arc<Control>, options: &CompileOptions) -> Box<dyn Store + Send> {
        let group = self.group(options.group);
        let mut engine = group.0.clone();
        let stack_size = options.stack_size;
        let base = BaseTunables::for_target(&Target::default());
        engine.set_tunables(Limits::new(base, Arc::clone(&control), stack_size));
        let mut store = wasmer::Store::new(engine);
        let tables = Tables {
            group,
            functions: Vec::new(),
            memories: Vec::new(),
            instances: Vec::new(),
        };
        let tables = FunctionEnv::new(&mut store, tables);
        Box::new(Owned {
            store,
            tables,
            control,
        })
    }
}

struct Compiled {
    module: Module,
    group: Arc<Group>,
}

impl CompiledModule for Compiled {
    fn serialize(&self) -> Result<Vec<u8>, BackendError> {
        let bytes = self
            .module
            .serialize()
            .map_err(|cause| BackendError::Cache {
                action: "stored",
                reason: cause.to_string(),
            })?;
        Ok(bytes.to_vec())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What the numbers of a store stand for.
struct Tables {
    group: Arc<Group>,
    functions: Vec<Callable>,
    memories: Vec<Memory>,
    instances: Vec<Instance>,
}

/// A function with the shortest way to call it.
#[derive(Clone)]
enum Callable {
    Unit0(TypedFunction<(), ()>),
    Unit1(TypedFunction<i32, ()>),
    Unit2(TypedFunction<(i32, i32), ()>),
    Unit3(TypedFunction<(i32, i32, i32), ()>),
    Unit4(TypedFunction<(i32, i32, i32, i32), ()>),
    Int0(TypedFunction<(), i32>),
    Int1(TypedFunction<i32, i32>),
    Int2(TypedFunction<(i32, i32), i32>),
    Int3(TypedFunction<(i32, i32, i32), i32>),
    Int4(TypedFunction<(i32, i32, i32, i32), i32>),
    Any(Function, CoreSignature),
}

struct Owned {
    store: wasmer::Store,
    tables: FunctionEnv<Tables>,
    control: Arc<Control>,
}

/// A store as its owner or a host function sees it.
struct Context<'a> {
    store: wasmer::StoreMut<'a>,
    tables: FunctionEnv<Tables>,
    control: Arc<Control>,
}

impl Owned {
    fn context(&mut self) -> Context<'_> {
        Context {
            store: self.store.as_store_mut(),
            tables: self.tables.clone(),
            control: Arc::clone(&self.control),
        }
    }
}

impl Store for Owned {
    fn instantiate(
        &mut self,
        module: &dyn CompiledModule,
        imports: &[HostFunction],
    ) -> Result<InstanceId, BackendError> {
        self.context().instantiate(module, imports)
    }

    fn function(
        &mut self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<(FunctionId, CoreSignature)>, BackendError> {
        self.context().function(instance, name)
    }

    fn memory_of(&mut self, instance: InstanceId) -> Option<MemoryId> {
        self.context().memory_of(instance)
    }

    fn memory(&mut self, memory: MemoryId) -> &mut [u8] {
        bytes_of(&mut self.store, &self.tables, memory)
    }

    fn call(&mut self, function: FunctionId, values: &mut [u64]) -> Result<(), Trap> {
        call(&mut self.store, &self.tables, function, values)
    }
}

impl Store for Context<'_> {
    fn instantiate(
        &mut self,
        module: &dyn CompiledModule,
        imports: &[HostFunction],
    ) -> Result<InstanceId, BackendError> {
        let error = |reason: String| BackendError::Instantiate { reason };
        let module = module
            .as_any()
            .downcast_ref::<Compiled>()
            .ok_or_else(|| error("the module was compiled by another engine".to_owned()))?;
        // Types of functions have numbers of their own in each engine.
        if !Arc::ptr_eq(&self.tables.as_ref(&self.store).group, &module.group) {
            return Err(error(
                "the module was compiled for another group".to_owned(),
            ));
        }
        let mut supplied = Imports::new();
        let offered = by_name(imports);
        for import in module.module.imports() {
            let (namespace, name) = (import.module(), import.name());
            let missing = |reason: &str| BackendError::Import {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                reason: reason.to_owned(),
            };
            let wasmer::ExternType::Function(ty) = import.ty() else {
                return Err(missing("only functions can be imported"));
            };
            let function = if namespace == CHECK_NAMESPACE && name == CHECK_NAME {
                self.check_function()
            } else {
                let host = offered
                    .get(&(namespace, name))
                    .ok_or_else(|| missing(super::absent(namespace)))?;
                let expected = function_type(&host.signature);
                if *ty != expected {
                    return Err(missing(&format!("it has the type {expected}, not {ty}")));
                }
                if supplied.exists(namespace, name) {
                    continue;
                }
                self.host_function(host, expected)
            };
            supplied.define(namespace, name, function);
        }
        let instance = Instance::new(&mut self.store, &module.module, &supplied).map_err(
            |cause| match cause {
                wasmer::InstantiationError::Start(cause) => BackendError::Trap(trap(cause)),
                other => error(other.to_string()),
            },
        )?;
        let instances = &mut self.tables.as_mut(&mut self.store).instances;
        instances.push(instance);
        Ok(InstanceId(last_index(instances.len())))
    }

    fn function(
        &mut self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<(FunctionId, CoreSignature)>, BackendError> {
        let tables = self.tables.as_ref(&self.store);
        let Some(function) = tables
            .instances
            .get(instance.0 as usize)
            .and_then(|instance| instance.exports.get_function(name).ok())
            .cloned()
        else {
            return Ok(None);
        };
        let ty = function.ty(&self.store);
        let core = |types: &[Type]| {
            let types = types.iter().map(|ty| {
                core_type(*ty).ok_or_else(|| BackendError::Type {
                    function: name.to_owned(),
                    ty: ty.to_string(),
                })
            });
            types.collect::<Result<Vec<_>, _>>()
        };
        let signature = CoreSignature {
            parameters: core(ty.params())?,
            results: core(ty.results())?,
        };
        let callable = callable(&function, &signature, &self.store);
        let functions = &mut self.tables.as_mut(&mut self.store).functions;
        functions.push(callable);
        Ok(Some((FunctionId(last_index(functions.len())), signature)))
    }

    fn memory_of(&mut self, instance: InstanceId) -> Option<MemoryId> {
        let tables = self.tables.as_mut(&mut self.store);
        let instance = tables.instances.get(instance.0 as usize)?;
        let memory = instance
            .exports
            .iter()
            .find_map(|(_, export)| match export {
                wasmer::Extern::Memory(memory) => Some(memory.clone()),
                _ => None,
            })?;
        tables.memories.push(memory);
        Some(MemoryId(last_index(tables.memories.len())))
    }

    fn memory(&mut self, memory: MemoryId) -> &mut [u8] {
        bytes_of(&mut self.store, &self.tables, memory)
    }

    fn call(&mut self, function: FunctionId, values: &mut [u64]) -> Result<(), Trap> {
        call(&mut self.store, &self.tables, function, values)
    }
}

impl Context<'_> {
    fn check_function(&mut self) -> Function {
        let control = Arc::clone(&self.control);
        Function::new_typed(&mut self.store, move || {
            control
                .check()
                .map_err(|trap| RuntimeError::user(Box::new(trap)))
        })
    }

    fn host_function(&mut self, host: &HostFunction, ty: FunctionType) -> Function {
        let body = Arc::clone(&host.body);
        let control = Arc::clone(&self.control);
        let results = host.signature.results.clone();
        let function = move |mut env: FunctionEnvMut<'_, Tables>, parameters: &[Value]| {
            let tables = env.as_ref();
            let mut context = Context {
                store: env.as_store_mut(),
                tables,
                control: Arc::clone(&control),
            };
            let raw: Vec<u64> = parameters.iter().map(to_raw).collect();
            let mut output = vec![0; results.len()];
            body(&mut context, &raw, &mut output)
                .map_err(|trap| RuntimeError::user(Box::new(trap)))?;
            let values = output.iter().zip(&results);
            Ok(values.map(|(raw, ty)| from_raw(*raw, *ty)).collect())
        };
        Function::new_with_env(&mut self.store, &self.tables, ty, function)
    }
}

#[expect(unsafe_code, reason = "the engine's view gives no slice otherwise")]
fn bytes_of<'a>(
    store: &'a mut impl wasmer::AsStoreMut,
    tables: &FunctionEnv<Tables>,
    memory: MemoryId,
) -> &'a mut [u8] {
    let Some(memory) = tables
        .as_ref(store)
        .memories
        .get(memory.0 as usize)
        .cloned()
    else {
        return &mut [];
    };
    let store = store.as_store_ref();
    let view = memory.view(&store);
    let length = usize::try_from(view.data_size()).unwrap_or(0);
    // SAFETY: the store is borrowed mutably for as long as the slice lives, so nothing runs that
    // could grow the memory, and no other slice of it exists; memories are never shared.
    unsafe { std::slice::from_raw_parts_mut(view.data_ptr(), length) }
}

fn call(
    store: &mut impl wasmer::AsStoreMut,
    tables: &FunctionEnv<Tables>,
    function: FunctionId,
    values: &mut [u64],
) -> Result<(), Trap> {
    let Some(callable) = tables
        .as_ref(store)
        .functions
        .get(function.0 as usize)
        .cloned()
    else {
        return Err(Trap::host("a function of another store was called"));
    };
    let int = |index: usize| values.get(index).copied().unwrap_or(0) as u32 as i32;
    let result = match &callable {
        Callable::Unit0(function) => function.call(store).map(|()| None),
        Callable::Unit1(function) => function.call(store, int(0)).map(|()| None),
        Callable::Unit2(function) => function.call(store, int(0), int(1)).map(|()| None),
        Callable::Unit3(function) => function.call(store, int(0), int(1), int(2)).map(|()| None),
        Callable::Unit4(function) => function
            .call(store, int(0), int(1), int(2), int(3))
            .map(|()| None),
        Callable::Int0(function) => function.call(store).map(Some),
        Callable::Int1(function) => function.call(store, int(0)).map(Some),
        Callable::Int2(function) => function.call(store, int(0), int(1)).map(Some),
        Callable::Int3(function) => function.call(store, int(0), int(1), int(2)).map(Some),
        Callable::Int4(function) => function
            .call(store, int(0), int(1), int(2), int(3))
            .map(Some),
        Callable::Any(function, signature) => {
            let parameters: Vec<Value> = signature
                .parameters
                .iter()
                .zip(values.iter())
                .map(|(ty, raw)| from_raw(*raw, *ty))
                .collect();
            let results = function.call(store, &parameters).map_err(trap)?;
            for (slot, value) in values.iter_mut().zip(&results) {
                *slot = to_raw(value);
            }
            return Ok(());
        }
    };
    if let (Some(value), Some(slot)) = (result.map_err(trap)?, values.first_mut()) {
        *slot = u64::from(value.cast_unsigned());
    }
    Ok(())
}

fn callable(
    function: &Function,
    signature: &CoreSignature,
    store: &impl wasmer::AsStoreRef,
) -> Callable {
    let ints = signature.parameters.iter().all(|ty| *ty == CoreType::I32);
    let typed = match (
        ints,
        signature.parameters.len(),
        signature.results.as_slice(),
    ) {
        (true, 0, []) => function.typed(store).ok().map(Callable::Unit0),
        (true, 1, []) => function.typed(store).ok().map(Callable::Unit1),
        (true, 2, []) => function.typed(store).ok().map(Callable::Unit2),
        (true, 3, []) => function.typed(store).ok().map(Callable::Unit3),
        (true, 4, []) => function.typed(store).ok().map(Callable::Unit4),
        (true, 0, [CoreType::I32]) => function.typed(store).ok().map(Callable::Int0),
        (true, 1, [CoreType::I32]) => function.typed(store).ok().map(Callable::Int1),
        (true, 2, [CoreType::I32]) => function.typed(store).ok().map(Callable::Int2),
        (true, 3, [CoreType::I32]) => function.typed(store).ok().map(Callable::Int3),
        (true, 4, [CoreType::I32]) => function.typed(store).ok().map(Callable::Int4),
        _ => None,
    };
    typed.unwrap_or_else(|| Callable::Any(function.clone(), signature.clone()))
}

fn trap(error: RuntimeError) -> Trap {
    match error.downcast::<Trap>() {
        Ok(trap) => trap,
        Err(error) => {
            let trace: Vec<String> = error
                .trace()
                .iter()
                .take(8)
                .filter_map(|frame| frame.function_name().map(str::to_owned))
                .collect();
            let message = match trace.as_slice() {
                [] => error.message(),
                names => format!("{} (in {})", error.message(), names.join(" < ")),
            };
            Trap::Wasm { message }
        }
    }
}

fn function_type(signature: &CoreSignature) -> FunctionType {
    let types = |types: &[CoreType]| types.iter().map(|ty| value_type(*ty)).collect::<Vec<_>>();
    FunctionType::new(types(&signature.parameters), types(&signature.results))
}

fn value_type(ty: CoreType) -> Type {
    match ty {
        CoreType::I32 => Type::I32,
        CoreType::I64 => Type::I64,
        CoreType::F32 => Type::F32,
        CoreType::F64 => Type::F64,
    }
}

fn core_type(ty: Type) -> Option<CoreType> {
    match ty {
        Type::I32 => Some(CoreType::I32),
        Type::I64 => Some(CoreType::I64),
        Type::F32 => Some(CoreType::F32),
        Type::F64 => Some(CoreType::F64),
        _ => None,
    }
}

fn to_raw(value: &Value) -> u64 {
    match value {
        Value::I32(value) => u64::from(value.cast_unsigned()),
        Value::I64(value) => value.cast_unsigned(),
        Value::F32(value) => u64::from(value.to_bits()),
        Value::F64(value) => value.to_bits(),
        _ => 0,
    }
}

fn from_raw(raw: u64, ty: CoreType) -> Value {
    match ty {
        CoreType::I32 => Value::I32(raw as u32 as i32),
        CoreType::I64 => Value::I64(raw.cast_signed()),
        CoreType::F32 => Value::F32(f32::from_bits(raw as u32)),
        CoreType::F64 => Value::F64(f64::from_bits(raw)),
    }
}

fn last_index(length: usize) -> u32 {
    u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX)
}

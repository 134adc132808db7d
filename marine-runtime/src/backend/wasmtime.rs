//! Wasmtime: Cranelift, stopped by epochs.

mod ticker;

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use wasmtime::{
    AsContextMut, Caller, Config, Engine, Extern, Func, FuncType, Instance, Memory, Module,
    ResourceLimiter, UpdateDeadline, ValRaw, ValType,
};

use self::ticker::Ticker;
use super::{
    BackendError, CompileOptions, CompiledModule, CoreSignature, CoreType, FunctionId,
    HostFunction, InstanceId, MemoryId, Store, Trap, WasmBackend, by_name,
};
use crate::control::Control;

/// Bytes that an element of a table is counted with.
const TABLE_ELEMENT: u64 = 8;
/// Values of a call that need no allocation.
const INLINE: usize = 16;

/// Wasmtime.
pub struct WasmtimeBackend {
    usual: Instanced,
    stack_size: usize,
    /// An engine has one size of stack: those for other sizes.
    others: Mutex<BTreeMap<usize, Instanced>>,
}

/// An engine with its clock.
#[derive(Clone)]
struct Instanced {
    engine: Engine,
    ticker: Arc<Ticker>,
}

impl fmt::Debug for WasmtimeBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WasmtimeBackend")
    }
}

impl WasmtimeBackend {
    /// An engine for this machine, which gives guests `stack_size` bytes of stack. They run on the
    /// stack of the thread that calls, which has to have more than that.
    ///
    /// # Errors
    /// A machine that the engine does not know, a size that it does not take.
    pub fn new(stack_size: usize) -> Result<Self, BackendError> {
        Ok(Self {
            usual: Instanced::new(stack_size)?,
            stack_size,
            others: Mutex::default(),
        })
    }

    /// The engine for a size of stack.
    fn of(&self, stack_size: usize) -> Result<Instanced, BackendError> {
        if stack_size == self.stack_size {
            return Ok(self.usual.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(&stack_size) {
            return Ok(known.clone());
        }
        let other = Instanced::new(stack_size)?;
        others.insert(stack_size, other.clone());
        Ok(other)
    }
}

impl Instanced {
    fn new(stack_size: usize) -> Result<Self, BackendError> {
        let mut config = Config::new();
        config
            .cranelift_nan_canonicalization(true)
            .epoch_interruption(true)
            .max_wasm_stack(stack_size)
            .wasm_relaxed_simd(false)
            .wasm_tail_call(false)
            .wasm_memory64(false)
            .wasm_multi_memory(false);
        let engine = Engine::new(&config).map_err(|cause| BackendError::Compile {
            reason: cause.to_string(),
        })?;
        let ticker = Ticker::start(engine.weak());
        Ok(Self { engine, ticker })
    }
}

impl WasmBackend for WasmtimeBackend {
    fn name(&self) -> &'static str {
        "wasmtime"
    }

    fn fingerprint(&self, _: &CompileOptions) -> String {
        use std::hash::{Hash as _, Hasher as _};
        // Stable within one build of the engine, which is all that matters: its own check of the
        // file is exact.
        let mut hasher = std::hash::DefaultHasher::new();
        self.usual
            .engine
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        format!(
            "wasmtime {} {:x}",
            env!("CARGO_PKG_VERSION"),
            hasher.finish()
        )
    }

    fn compile(
        &self,
        wasm: &[u8],
        options: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        let Instanced { engine, .. } = self.of(options.stack_size)?;
        let module = Module::from_binary(&engine, wasm).map_err(|cause| BackendError::Compile {
            reason: format!("{cause:#}"),
        })?;
        Ok(Arc::new(Compiled { module }))
    }

    #[expect(unsafe_code, reason = "machine code cannot be checked")]
    unsafe fn load(
        &self,
        file: &Path,
        options: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        let Instanced { engine, .. } = self.of(options.stack_size)?;
        // SAFETY: the caller vouches for the file.
        let module = unsafe { Module::deserialize_file(&engine, file) };
        let module = module.map_err(|cause| BackendError::Cache {
            action: "loaded",
            reason: cause.to_string(),
        })?;
        Ok(Arc::new(Compiled { module }))
    }

    fn store(&self, control: Arc<Control>, options: &CompileOptions) -> Box<dyn Store + Send> {
        // Modules of a size for which there is no engine were refused.
        let Instanced { engine, ticker } = self
            .of(options.stack_size)
            .unwrap_or_else(|_| self.usual.clone());
        let state = State {
            control,
            functions: Vec::new(),
            memories: Vec::new(),
            instances: Vec::new(),
        };
        let mut store = wasmtime::Store::new(&engine, state);
        store.limiter(|state| state);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            let control = &context.data().control;
            control.check().map_err(wasmtime::Error::new)?;
            Ok(UpdateDeadline::Continue(1))
        });
        let ticker = Some(ticker);
        Box::new(Stored { store, ticker })
    }
}

struct Compiled {
    module: Module,
}

impl CompiledModule for Compiled {
    fn serialize(&self) -> Result<Vec<u8>, BackendError> {
        self.module
            .serialize()
            .map_err(|cause| BackendError::Cache {
                action: "stored",
                reason: cause.to_string(),
            })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What the numbers of a store stand for, and what limits it.
struct State {
    control: Arc<Control>,
    functions: Vec<(Func, usize)>,
    memories: Vec<Memory>,
    instances: Vec<Instance>,
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(fits
            && self
                .control
                .take_memory(desired.saturating_sub(current) as u64))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        let bytes = (desired.saturating_sub(current) as u64).saturating_mul(TABLE_ELEMENT);
        Ok(fits && self.control.take_memory(bytes))
    }

    fn instances(&self) -> usize {
        usize::MAX
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        usize::MAX
    }
}

/// A store as its owner or a host function sees it.
struct Stored<S> {
    store: S,
    /// The owner's, kept awake while something runs. Inside of a host function something does.
    ticker: Option<Arc<Ticker>>,
}

impl<S: AsContextMut<Data = State>> Store for Stored<S> {
    fn instantiate(
        &mut self,
        module: &dyn CompiledModule,
        imports: &[HostFunction],
    ) -> Result<InstanceId, BackendError> {
        let _running = self.ticker.as_ref().map(|ticker| ticker.running());
        instantiate(&mut self.store, module, imports)
    }

    fn function(
        &mut self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<(FunctionId, CoreSignature)>, BackendError> {
        function(&mut self.store, instance, name)
    }

    fn memory_of(&mut self, instance: InstanceId) -> Option<MemoryId> {
        memory_of(&mut self.store, instance)
    }

    fn memory(&mut self, memory: MemoryId) -> &mut [u8] {
        let context = self.store.as_context_mut();
        match context.data().memories.get(memory.0 as usize).copied() {
            Some(memory) => memory.data_mut(context),
            None => &mut [],
        }
    }

    fn call(&mut self, function: FunctionId, values: &mut [u64]) -> Result<(), Trap> {
        let _running = self.ticker.as_ref().map(|ticker| ticker.running());
        call(&mut self.store, function, values)
    }
}

fn instantiate(
    mut store: impl AsContextMut<Data = State>,
    module: &dyn CompiledModule,
    imports: &[HostFunction],
) -> Result<InstanceId, BackendError> {
    let error = |reason: String| BackendError::Instantiate { reason };
    let module = module
        .as_any()
        .downcast_ref::<Compiled>()
        .ok_or_else(|| error("the module was compiled by another engine".to_owned()))?;
    let offered = by_name(imports);
    let mut made = HashMap::new();
    let mut supplied = Vec::new();
    for import in module.module.imports() {
        let (namespace, name) = (import.module(), import.name());
        let missing = |reason: String| BackendError::Import {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            reason,
        };
        let wasmtime::ExternType::Func(ty) = import.ty() else {
            return Err(missing("only functions can be imported".to_owned()));
        };
        let host = *offered
            .get(&(namespace, name))
            .ok_or_else(|| missing(super::absent(namespace).to_owned()))?;
        if signature_of(name, &ty).ok().as_ref() != Some(&host.signature) {
            return Err(missing(format!(
                "it has the type {:?}, not {ty}",
                host.signature
            )));
        }
        // A module may import a function often.
        let function = made
            .entry((namespace, name))
            .or_insert_with(|| host_function(&mut store, host, ty));
        supplied.push(Extern::Func(*function));
    }
    let instance = Instance::new(&mut store, &module.module, &supplied).map_err(|cause| {
        let has_trap = cause.is::<Trap>() || cause.is::<wasmtime::Trap>();
        if has_trap {
            BackendError::Trap(trap(cause))
        } else {
            error(format!("{cause:#}"))
        }
    })?;
    let mut context = store.as_context_mut();
    let instances = &mut context.data_mut().instances;
    instances.push(instance);
    Ok(InstanceId(last_index(instances.len())))
}

#[expect(unsafe_code, reason = "the engine's way without a copy of each value")]
fn host_function(
    store: &mut impl AsContextMut<Data = State>,
    host: &HostFunction,
    ty: FuncType,
) -> Func {
    let body = Arc::clone(&host.body);
    let parameters = host.signature.parameters.clone();
    let results = host.signature.results.clone();
    let run = move |mut caller: Caller<'_, State>, values: &mut [std::mem::MaybeUninit<ValRaw>]| {
        let mut inline = [0; INLINE];
        let mut spilled = Vec::new();
        let (all, count) = (parameters.len() + results.len(), parameters.len());
        let slots = match inline.get_mut(..all) {
            Some(slots) => slots,
            None => {
                spilled.resize(all, 0);
                spilled.as_mut_slice()
            }
        };
        let (input, output) = slots.split_at_mut(count);
        for ((slot, ty), value) in input.iter_mut().zip(&parameters).zip(values.iter()) {
            // SAFETY: the engine has filled in as many values as the type has parameters, which
            // was compared with `parameters`.
            *slot = to_raw(unsafe { value.assume_init_read() }, *ty);
        }
        let mut context = Stored {
            store: caller.as_context_mut(),
            ticker: None,
        };
        body(&mut context, input, output).map_err(wasmtime::Error::new)?;
        for ((raw, ty), value) in output.iter().zip(&results).zip(values.iter_mut()) {
            value.write(from_raw(*raw, *ty));
        }
        Ok(())
    };
    // SAFETY: the type of the function is `ty`, whose parameters and results were compared with
    // those that `run` reads and writes.
    unsafe { Func::new_unchecked(store, ty, run) }
}

fn function(
    mut store: impl AsContextMut<Data = State>,
    instance: InstanceId,
    name: &str,
) -> Result<Option<(FunctionId, CoreSignature)>, BackendError> {
    let mut context = store.as_context_mut();
    let Some(instance) = context.data().instances.get(instance.0 as usize).copied() else {
        return Ok(None);
    };
    let Some(function) = instance.get_func(&mut context, name) else {
        return Ok(None);
    };
    let signature = signature_of(name, &function.ty(&context))?;
    let slots = signature.parameters.len().max(signature.results.len());
    let functions = &mut context.data_mut().functions;
    functions.push((function, slots));
    Ok(Some((FunctionId(last_index(functions.len())), signature)))
}

fn memory_of(mut store: impl AsContextMut<Data = State>, instance: InstanceId) -> Option<MemoryId> {
    let mut context = store.as_context_mut();
    let instance = context.data().instances.get(instance.0 as usize).copied()?;
    let memory = instance
        .exports(&mut context)
        .find_map(|export| export.into_memory())?;
    let memories = &mut context.data_mut().memories;
    memories.push(memory);
    Some(MemoryId(last_index(memories.len())))
}

#[expect(unsafe_code, reason = "the engine's way without a copy of each value")]
fn call(
    mut store: impl AsContextMut<Data = State>,
    function: FunctionId,
    values: &mut [u64],
) -> Result<(), Trap> {
    let mut context = store.as_context_mut();
    let Some((function, slots)) = context.data().functions.get(function.0 as usize).copied() else {
        return Err(Trap::host("a function of another store was called"));
    };
    if values.len() < slots {
        return Err(Trap::host("a function was called with too few values"));
    }
    let mut inline = [ValRaw::u64(0); INLINE];
    let mut spilled = Vec::new();
    let raw = match inline.get_mut(..values.len()) {
        Some(raw) => raw,
        None => {
            spilled.resize(values.len(), ValRaw::u64(0));
            spilled.as_mut_slice()
        }
    };
    for (raw, value) in raw.iter_mut().zip(values.iter()) {
        *raw = ValRaw::u64(*value);
    }
    // SAFETY: `raw` has room for all parameters and results of the function; they are numbers, for
    // which every bit pattern is a value.
    let result = unsafe { function.call_unchecked(&mut context, raw) };
    result.map_err(trap)?;
    for (value, raw) in values.iter_mut().zip(raw.iter()) {
        *value = raw.get_u64();
    }
    Ok(())
}

fn trap(error: wasmtime::Error) -> Trap {
    match error.downcast::<Trap>() {
        Ok(trap) => trap,
        Err(error) => {
            let message = match error.downcast_ref::<wasmtime::Trap>() {
                Some(trap) => trap.to_string(),
                None => format!("{error:#}"),
            };
            Trap::Wasm { message }
        }
    }
}

fn signature_of(name: &str, ty: &FuncType) -> Result<CoreSignature, BackendError> {
    let core = |ty: ValType| match ty {
        ValType::I32 => Ok(CoreType::I32),
        ValType::I64 => Ok(CoreType::I64),
        ValType::F32 => Ok(CoreType::F32),
        ValType::F64 => Ok(CoreType::F64),
        other => Err(BackendError::Type {
            function: name.to_owned(),
            ty: other.to_string(),
        }),
    };
    Ok(CoreSignature {
        parameters: ty.params().map(core).collect::<Result<_, _>>()?,
        results: ty.results().map(core).collect::<Result<_, _>>()?,
    })
}

fn to_raw(value: ValRaw, ty: CoreType) -> u64 {
    match ty {
        CoreType::I32 => u64::from(value.get_u32()),
        CoreType::I64 => value.get_u64(),
        CoreType::F32 => u64::from(value.get_f32()),
        CoreType::F64 => value.get_f64(),
    }
}

fn from_raw(raw: u64, ty: CoreType) -> ValRaw {
    match ty {
        CoreType::I32 => ValRaw::u32(raw as u32),
        CoreType::I64 => ValRaw::u64(raw),
        CoreType::F32 => ValRaw::f32(raw as u32),
        CoreType::F64 => ValRaw::f64(raw),
    }
}

fn last_index(length: usize) -> u32 {
    u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX)
}

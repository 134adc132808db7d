//! An engine that runs no code: functions of modules return random values and call what their
//! module imports, one import after another.

use std::{
    any::Any,
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use marine_runtime::{
    Control, IType, IValue, ModuleInfo,
    backend::{
        BackendError, CompileOptions, CompiledModule, CoreSignature, FunctionId, HostBody,
        HostFunction, InstanceId, MemoryId, Store, Trap, WasmBackend,
    },
    module::{Function, InterfaceSection, Outline},
};

use super::{
    MARK,
    values::{Memory, equal, from_slots, random, slots, to_slots},
};
use crate::random::Random;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    /// A function that every module has was called.
    Service {
        instance: u32,
        name: String,
        values: Vec<u64>,
        /// Of all memory in use before the call.
        memory: u64,
    },
    /// A function of a module's own was called, with these values.
    Own {
        instance: u32,
        name: String,
        arguments: Vec<IValue>,
        memory: u64,
    },
    /// It returned this.
    Returned { value: Vec<IValue> },
}

/// The engine, and what its stores write down; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Paper(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    seed: u64,
    /// Whether nothing was called since the call began.
    is_new: bool,
    /// Random values that were made since the call began.
    made: u64,
    records: Vec<Record>,
    problems: Vec<String>,
    /// Imports that were called, by instance and number.
    called: BTreeSet<(u32, usize)>,
    /// How often an instance could call one.
    turns: HashMap<u32, usize>,
}

impl Paper {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins in which `seed` decides what functions return.
    pub(super) fn begin(&self, seed: u64) {
        let mut notes = self.notes();
        notes.seed = seed;
        notes.is_new = true;
        notes.made = 0;
        notes.records.clear();
        notes.problems.clear();
    }

    /// What happened since then, and what must not have.
    pub(super) fn end(&self) -> (Vec<Record>, Vec<String>) {
        let mut notes = self.notes();
        (
            std::mem::take(&mut notes.records),
            std::mem::take(&mut notes.problems),
        )
    }

    /// How many imports were called at least once.
    pub(super) fn called_imports(&self) -> usize {
        self.notes().called.len()
    }

    /// A value of `ty`, the same in every store after as many others.
    fn random(&self, ty: &IType, section: &InterfaceSection) -> IValue {
        let mut notes = self.notes();
        notes.made += 1;
        let mut numbers = Random::of_part(notes.seed, notes.made);
        random(ty, section, &mut numbers)
    }

    fn record(&self, record: Record) {
        self.notes().records.push(record);
    }
}

/// What is known of a module.
struct PaperModule {
    section: InterfaceSection,
    functions: HashMap<String, CoreSignature>,
}

impl WasmBackend for Paper {
    fn name(&self) -> &'static str {
        "paper"
    }

    fn fingerprint(&self, _: &CompileOptions) -> String {
        String::new()
    }

    fn compile(
        &self,
        wasm: &[u8],
        _: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        let failed = |error: marine_runtime::ModuleError| BackendError::Compile {
            reason: error.to_string(),
        };
        let info = ModuleInfo::decode("module", wasm).map_err(failed)?;
        let outline = Outline::read("module", wasm).map_err(failed)?;
        let functions = outline.exports().iter().filter_map(|name| {
            let signature = outline.export_signature(name)?;
            Some(((*name).to_owned(), signature.clone()))
        });
        Ok(Arc::new(PaperModule {
            section: info.interface,
            functions: functions.collect(),
        }))
    }

    #[expect(unsafe_code, reason = "the trait's: nothing is loaded here")]
    unsafe fn load(
        &self,
        _: &Path,
        _: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        Err(BackendError::Cache {
            action: "loaded",
            reason: "there is no code".to_owned(),
        })
    }

    fn store(&self, _: Arc<Control>, _: &CompileOptions) -> Box<dyn Store + Send> {
        Box::new(PaperStore {
            paper: self.clone(),
            instances: Vec::new(),
            functions: Vec::new(),
        })
    }
}

impl CompiledModule for PaperModule {
    fn serialize(&self) -> Result<Vec<u8>, BackendError> {
        Ok(Vec::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct PaperStore {
    paper: Paper,
    instances: Vec<Instance>,
    /// Instance and name.
    functions: Vec<(u32, String)>,
}

struct Instance {
    section: InterfaceSection,
    functions: HashMap<String, CoreSignature>,
    imports: Vec<Imported>,
    memory: Memory,
    pointer: u64,
    size: u64,
}

/// A function of another module.
#[derive(Clone)]
struct Imported {
    function: Arc<Function>,
    results: usize,
    body: Arc<HostBody>,
}

impl Store for PaperStore {
    fn instantiate(
        &mut self,
        module: &dyn CompiledModule,
        imports: &[HostFunction],
    ) -> Result<InstanceId, BackendError> {
        let module = module.as_any().downcast_ref::<PaperModule>();
        let module = module.ok_or_else(|| BackendError::Instantiate {
            reason: "not a module on paper".to_owned(),
        })?;
        let linkable = module.section.linkable_imports().filter_map(|import| {
            let declared = import.type_index.checked_sub(2)?;
            let host = imports
                .iter()
                .find(|host| host.namespace == import.namespace && host.name == import.name)?;
            Some(Imported {
                function: Arc::clone(module.section.function(declared)?),
                results: host.signature.results.len(),
                body: Arc::clone(&host.body),
            })
        });
        self.instances.push(Instance {
            imports: linkable.collect(),
            section: module.section.clone(),
            functions: module.functions.clone(),
            memory: Memory::new(),
            pointer: 0,
            size: 0,
        });
        Ok(InstanceId(index_of_last(self.instances.len())))
    }

    fn function(
        &mut self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<(FunctionId, CoreSignature)>, BackendError> {
        let module = self.instances.get(instance.0 as usize);
        let Some(signature) = module.and_then(|module| module.functions.get(name)) else {
            return Ok(None);
        };
        self.functions.push((instance.0, name.to_owned()));
        let id = FunctionId(index_of_last(self.functions.len()));
        Ok(Some((id, signature.clone())))
    }

    fn memory_of(&mut self, instance: InstanceId) -> Option<MemoryId> {
        Some(MemoryId(instance.0))
    }

    fn memory(&mut self, memory: MemoryId) -> &mut [u8] {
        match self.instances.get_mut(memory.0 as usize) {
            Some(instance) => &mut instance.memory.bytes,
            None => &mut [],
        }
    }

    fn call(&mut self, function: FunctionId, values: &mut [u64]) -> Result<(), Trap> {
        let known = self.functions.get(function.0 as usize).cloned();
        let (instance, name) = known.ok_or_else(|| Trap::host("no such function"))?;
        if std::mem::take(&mut self.paper.notes().is_new) {
            for instance in &mut self.instances {
                instance.memory.clear();
            }
        }
        let outcome = match name.as_str() {
            "_initialize" | "_start" => Some(()),
            "allocate" | "release_objects" | "get_result_ptr" | "get_result_size"
            | "set_result_ptr" | "set_result_size" => self.serve(instance, name, values),
            _ => self.perform(instance, &name, values)?,
        };
        outcome.ok_or_else(|| Trap::host("a value that is not as it should be"))
    }
}

impl PaperStore {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for instance in &self.instances {
            instance.memory.used().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// A function that every module has.
    fn serve(&mut self, number: u32, name: String, values: &mut [u64]) -> Option<()> {
        let marked = u64::from(MARK.cast_unsigned());
        if name == "set_result_size" && values.first() == Some(&marked) {
            return Some(());
        }
        let memory = self.digest();
        let instance = self.instances.get_mut(number as usize)?;
        let given = values.to_vec();
        match (name.as_str(), values) {
            ("allocate", [size, ..]) => {
                *size = match *size {
                    0 => 0,
                    size => instance
                        .memory
                        .allocate(usize::try_from(size).ok()?)?
                        .into(),
                };
            }
            ("get_result_ptr", [value]) => *value = instance.pointer,
            ("get_result_size", [value]) => *value = instance.size,
            ("set_result_ptr", [value]) => instance.pointer = *value,
            ("set_result_size", [value]) => instance.size = *value,
            ("release_objects", _) => {}
            _ => return None,
        }
        // What the slots of a result held before is nobody's business.
        let values = match name.starts_with("get_") {
            true => Vec::new(),
            false => given,
        };
        self.paper.record(Record::Service {
            instance: number,
            name,
            values,
            memory,
        });
        Some(())
    }

    /// A function of the module's own.
    fn perform(&mut self, number: u32, name: &str, values: &mut [u64]) -> Result<Option<()>, Trap> {
        let Some(ty) = self.begin(number, name, values) else {
            return Ok(None);
        };
        self.call_import(number)?;
        Ok(self.finish(number, &ty, values))
    }

    /// Reads and notes the arguments.
    fn begin(&mut self, number: u32, name: &str, values: &[u64]) -> Option<Arc<Function>> {
        let memory = self.digest();
        let instance = self.instances.get(number as usize)?;
        let section = &instance.section;
        let core = section.exports.iter().find(|export| export.name == name)?;
        let implementation = section
            .implementations
            .iter()
            .find(|implementation| implementation.core == core.type_index)?;
        let ty = Arc::clone(section.function(implementation.adapter)?);
        let mut rest = values;
        let mut arguments = Vec::with_capacity(ty.arguments.len());
        for argument in &ty.arguments {
            let (own, others) = rest.split_at_checked(slots(&argument.ty))?;
            let cell = from_slots(&argument.ty, own)?;
            arguments.push(instance.memory.value(&argument.ty, &cell, section)?);
            rest = others;
        }
        self.paper.record(Record::Own {
            instance: number,
            name: name.to_owned(),
            arguments,
            memory,
        });
        Some(ty)
    }

    /// Calls the import whose turn it is.
    fn call_import(&mut self, number: u32) -> Result<(), Trap> {
        let Some(instance) = self.instances.get(number as usize) else {
            return Ok(());
        };
        let turn = {
            let mut notes = self.paper.notes();
            let turns = notes.turns.entry(number).or_default();
            let turn = turns.checked_rem(instance.imports.len());
            *turns += 1;
            if let Some(turn) = turn {
                notes.called.insert((number, turn));
            }
            turn
        };
        let Some(import) = turn.and_then(|turn| instance.imports.get(turn)).cloned() else {
            return Ok(());
        };
        let wrong = || Trap::host("a call that is not as it should be");
        let (given, raw) = self.arguments(number, &import.function).ok_or_else(wrong)?;
        let before = self.paper.notes().records.len();
        let mut results = vec![0; import.results];
        (import.body)(self, &raw, &mut results)?;
        let received = self.received(number, &import.function, &results);
        let notes = &mut *self.paper.notes();
        let after = notes.records.get(before..).unwrap_or_default();
        let passed = after.iter().find_map(|record| match record {
            Record::Own { arguments, .. } => Some(arguments.as_slice()),
            _ => None,
        });
        let returned = after.iter().rev().find_map(|record| match record {
            Record::Returned { value } => Some(value.as_slice()),
            _ => None,
        });
        let received = received.ok_or_else(wrong)?;
        let whole = passed.is_some_and(|passed| equal(passed, &given))
            && returned.is_some_and(|returned| equal(returned, &received));
        if !whole {
            notes.problems.push(format!(
                "an import got {passed:?} for {given:?}, and its caller {received:?} for {returned:?}"
            ));
        }
        Ok(())
    }

    /// Random arguments in the memory of a module, and the core values they are passed as.
    fn arguments(&mut self, number: u32, function: &Function) -> Option<(Vec<IValue>, Vec<u64>)> {
        let instance = self.instances.get_mut(number as usize)?;
        let (mut given, mut raw) = (Vec::new(), Vec::new());
        for argument in &function.arguments {
            let value = self.paper.random(&argument.ty, &instance.section);
            let cell = instance.memory.cell(&value)?;
            raw.extend(to_slots(&value, &cell)?);
            given.push(value);
        }
        Some((given, raw))
    }

    /// What a module got from its import.
    fn received(&self, number: u32, function: &Function, results: &[u64]) -> Option<Vec<IValue>> {
        let instance = self.instances.get(number as usize)?;
        let Some(ty) = function.outputs.first() else {
            return Some(Vec::new());
        };
        let registers = [instance.pointer, instance.size];
        let raw = match ty {
            IType::Record(_) => registers.get(..1)?,
            ty if slots(ty) == 2 => &registers,
            _ => results,
        };
        let cell = from_slots(ty, raw)?;
        Some(vec![instance.memory.value(ty, &cell, &instance.section)?])
    }

    /// Returns a random value.
    fn finish(&mut self, number: u32, ty: &Function, values: &mut [u64]) -> Option<()> {
        let mut returned = Vec::new();
        if let Some(ty) = ty.outputs.first() {
            let instance = self.instances.get_mut(number as usize)?;
            let value = self.paper.random(ty, &instance.section);
            let cell = instance.memory.cell(&value)?;
            match (ty, to_slots(&value, &cell)?.as_slice()) {
                (IType::Record(_), [pointer]) => instance.pointer = *pointer,
                (_, [pointer, size]) => {
                    (instance.pointer, instance.size) = (*pointer, *size);
                }
                (_, [value]) => *values.first_mut()? = *value,
                _ => return None,
            }
            returned.push(value);
        }
        self.paper.record(Record::Returned { value: returned });
        Some(())
    }
}

fn index_of_last(count: usize) -> u32 {
    u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX)
}

//! An engine that runs no code: what the functions of its modules do is read from an input.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use marine_runtime::{
    Control,
    backend::{
        BackendError, CompileOptions, CompiledModule, CoreSignature, FunctionId, HostFunction,
        InstanceId, MemoryId, Store, Trap, WasmBackend,
    },
    module::Outline,
};

use super::choices::Choices;

/// Bytes of memory that a module has at first, and at most.
const MEMORY: usize = 4 << 10;
const MOST_MEMORY: usize = 64 << 10;
/// Calls of functions of modules in one run, and in one another.
const MOST_CALLS: usize = 400;
const DEPTH: usize = 6;
/// First address that an allocator gives.
const HEAP: usize = 64;

/// What the functions of a module do, but for those that every module has for the host.
pub(crate) type Act = fn(&mut Stage, &mut Scene<'_>) -> Result<(), Trap>;

/// What a run reads, and what it leaves.
pub(crate) struct Play {
    input: Vec<u8>,
    position: usize,
    /// Whether the functions for the host do what they like, too.
    wild: bool,
    act: Act,
    /// Of all calls.
    trace: DefaultHasher,
    /// Of each module, at the end.
    memories: Vec<Vec<u8>>,
}

/// The engine.
#[derive(Clone)]
pub(crate) struct Puppets(Arc<Mutex<Play>>);

/// A call of one of a module's own functions.
pub(crate) struct Scene<'a> {
    pub(crate) instance: usize,
    /// Parameters, and then results.
    pub(crate) values: &'a mut [u64],
    /// How many of them are results.
    pub(crate) results: usize,
}

struct Puppet {
    exports: Vec<(String, CoreSignature)>,
    imports: Vec<(String, String, CoreSignature)>,
}

/// The store of a service.
pub(crate) struct Stage {
    play: Arc<Mutex<Play>>,
    actors: Vec<Actor>,
    functions: Vec<(usize, String, CoreSignature)>,
    depth: usize,
    calls: usize,
}

struct Actor {
    exports: Vec<(String, CoreSignature)>,
    /// What the module asked for, then all the rest of what it was offered.
    imports: Vec<HostFunction>,
    memory: Vec<u8>,
    pointer: u64,
    size: u64,
}

impl Puppets {
    pub(crate) fn new(input: &[u8], wild: bool, act: Act) -> Self {
        Self(Arc::new(Mutex::new(Play {
            input: input.to_vec(),
            position: 0,
            wild,
            act,
            trace: DefaultHasher::new(),
            memories: Vec::new(),
        })))
    }

    /// A hash of all calls, and the memories of modules when their service was closed.
    pub(crate) fn end(self) -> (u64, Vec<Vec<u8>>) {
        let mut play = lock(&self.0);
        (play.trace.finish(), std::mem::take(&mut play.memories))
    }
}

fn lock(play: &Mutex<Play>) -> std::sync::MutexGuard<'_, Play> {
    play.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Puppets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Puppets")
    }
}

impl WasmBackend for Puppets {
    fn name(&self) -> &'static str {
        "puppets"
    }

    fn fingerprint(&self, _: &CompileOptions) -> String {
        String::new()
    }

    fn compile(
        &self,
        wasm: &[u8],
        _: &CompileOptions,
    ) -> Result<Arc<dyn CompiledModule>, BackendError> {
        let outline = Outline::read("m", wasm).expect("a module that was validated");
        let exports = outline.exports().iter().filter_map(|name| {
            let signature = outline.export_signature(name)?;
            Some(((*name).to_owned(), signature.clone()))
        });
        let imports = outline.imports().iter().filter_map(|import| {
            let signature = outline.import_signature(import)?.clone();
            Some((
                import.namespace.to_owned(),
                import.name.to_owned(),
                signature,
            ))
        });
        Ok(Arc::new(Puppet {
            exports: exports.collect(),
            imports: imports.collect(),
        }))
    }

    #[expect(unsafe_code, reason = "the trait says so; nothing is loaded")]
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
        Box::new(Stage {
            play: Arc::clone(&self.0),
            actors: Vec::new(),
            functions: Vec::new(),
            depth: 0,
            calls: 0,
        })
    }
}

impl CompiledModule for Puppet {
    fn serialize(&self) -> Result<Vec<u8>, BackendError> {
        Ok(Vec::new())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Store for Stage {
    fn instantiate(
        &mut self,
        module: &dyn CompiledModule,
        offered: &[HostFunction],
    ) -> Result<InstanceId, BackendError> {
        let puppet: &Puppet = module.as_any().downcast_ref().expect("a puppet");
        let mut imports = Vec::with_capacity(offered.len());
        for (namespace, name, signature) in &puppet.imports {
            let found = offered.iter().find(|function| {
                function.namespace == *namespace
                    && function.name == *name
                    && function.signature == *signature
            });
            imports.push(found.cloned().ok_or_else(|| BackendError::Import {
                namespace: namespace.clone(),
                name: name.clone(),
                reason: "nothing of the type".to_owned(),
            })?);
        }
        imports.extend(offered.iter().cloned());
        self.actors.push(Actor {
            exports: puppet.exports.clone(),
            imports,
            memory: vec![0; MEMORY],
            pointer: 0,
            size: 0,
        });
        Ok(InstanceId(self.actors.len() as u32 - 1))
    }

    fn function(
        &mut self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<(FunctionId, CoreSignature)>, BackendError> {
        let instance = instance.0 as usize;
        let exports = &self.actors[instance].exports;
        let Some((name, signature)) = exports.iter().find(|(export, _)| export == name) else {
            return Ok(None);
        };
        let id = FunctionId(self.functions.len() as u32);
        let signature = signature.clone();
        self.functions
            .push((instance, name.clone(), signature.clone()));
        Ok(Some((id, signature)))
    }

    fn memory_of(&mut self, instance: InstanceId) -> Option<MemoryId> {
        Some(MemoryId(instance.0))
    }

    fn memory(&mut self, memory: MemoryId) -> &mut [u8] {
        &mut self.actors[memory.0 as usize].memory
    }

    fn call(&mut self, function: FunctionId, values: &mut [u64]) -> Result<(), Trap> {
        let (instance, name, signature) = self.functions[function.0 as usize].clone();
        let parameters = signature.parameters.len();
        assert!(
            values.len() >= parameters.max(signature.results.len()),
            "{name} was called with {} slots",
            values.len()
        );
        let (wild, act) = {
            let mut play = lock(&self.play);
            (instance, &name, &values[..parameters]).hash(&mut play.trace);
            (play.wild, play.act)
        };
        self.calls += 1;
        if self.calls > MOST_CALLS || self.depth == DEPTH {
            return Err(trap("the play is over"));
        }
        if wild && self.choose(|choices| choices.byte()) > 0xf0 {
            return Err(trap("a whim"));
        }
        if self.for_host(instance, &name, values, wild) {
            return Ok(());
        }
        self.depth += 1;
        let done = act(
            self,
            &mut Scene {
                instance,
                values,
                results: signature.results.len(),
            },
        );
        self.depth -= 1;
        done
    }
}

impl Stage {
    /// Reads from what is left of the input.
    pub(crate) fn choose<T>(&mut self, read: impl FnOnce(&mut Choices<'_>) -> T) -> T {
        let mut play = lock(&self.play);
        let play = &mut *play;
        let mut choices = Choices(play.input.get(play.position..).unwrap_or_default());
        let result = read(&mut choices);
        play.position = play.input.len() - choices.0.len();
        result
    }

    /// How many functions a module can call.
    pub(crate) fn imports(&self, instance: usize) -> &[HostFunction] {
        &self.actors[instance].imports
    }

    pub(crate) fn memory_of(&mut self, instance: usize) -> &mut Vec<u8> {
        &mut self.actors[instance].memory
    }

    pub(crate) fn set_result(&mut self, instance: usize, pointer: u64, size: u64) {
        let actor = &mut self.actors[instance];
        (actor.pointer, actor.size) = (pointer, size);
    }

    /// More memory, in pages of a puppet's size.
    pub(crate) fn grow(&mut self, instance: usize, pages: usize) {
        let memory = &mut self.actors[instance].memory;
        memory.resize((memory.len() + pages * MEMORY).min(MOST_MEMORY), 0);
    }

    /// Calls what a module imports.
    pub(crate) fn call_import(
        &mut self,
        instance: usize,
        import: usize,
        raw: &[u64],
    ) -> Result<Vec<u64>, Trap> {
        let Some(function) = self.actors[instance].imports.get(import).cloned() else {
            return Ok(Vec::new());
        };
        let mut results = vec![0; function.signature.results.len()];
        (function.body)(self, raw, &mut results)?;
        Ok(results)
    }

    /// Does what a function does that every module has for the host. `false`: it is another one.
    fn for_host(&mut self, instance: usize, name: &str, values: &mut [u64], wild: bool) -> bool {
        let whim =
            wild.then(|| self.choose(|choices| (choices.byte() > 0xc0).then(|| address(choices))));
        let actor = &mut self.actors[instance];
        match (name, values) {
            ("release_objects", _) => {}
            ("allocate", [size, ..]) => {
                let start = actor.memory.len().max(HEAP);
                let end = start.saturating_add(*size as usize);
                *size = match *size {
                    0 => 0,
                    _ if end > MOST_MEMORY => 0,
                    _ => {
                        actor.memory.resize(end, 0xee);
                        start as u64
                    }
                };
                if let Some(Some(whim)) = whim {
                    *size = whim;
                }
            }
            ("get_result_size", [value, ..]) => *value = whim.flatten().unwrap_or(actor.size),
            ("get_result_ptr", [value, ..]) => *value = whim.flatten().unwrap_or(actor.pointer),
            ("set_result_size", [value, ..]) => actor.size = *value,
            ("set_result_ptr", [value, ..]) => actor.pointer = *value,
            _ => return false,
        }
        true
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let memories = self
            .actors
            .iter_mut()
            .map(|actor| std::mem::take(&mut actor.memory));
        lock(&self.play).memories.extend(memories);
    }
}

pub(crate) fn trap(message: &str) -> Trap {
    Trap::Wasm {
        message: message.to_owned(),
    }
}

/// An address, or a length: a small one, one in the memory, or one far outside.
pub(crate) fn address(choices: &mut Choices<'_>) -> u64 {
    match choices.byte() {
        small @ 0..=0x7f => u64::from(small),
        0x80..=0xdf => u64::from(choices.short()),
        high => u64::from(u32::MAX - u32::from(0xff - high)),
    }
}

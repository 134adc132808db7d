//! The portable RandomX in a wasm32 build, run by an engine of ours.

use std::sync::Arc;

use ccp::randomx::Parameters;
use marine_runtime::{
    Control, Engine,
    backend::{CompileOptions, FunctionId, MemoryId, Store},
    build::Target,
};

use crate::embedded::{FLAGS, Package, compile};

/// Memory of the module: the cache, and room to spare.
const MEMORY_LIMIT: u64 = 1 << 30;

/// The module `ccp/wasm`, running.
pub(super) struct Machine {
    store: Box<dyn Store + Send>,
    memory: MemoryId,
    input: FunctionId,
    prepare: FunctionId,
    hash: FunctionId,
}

impl Machine {
    /// Builds and starts it; nothing where no toolchain can.
    pub(super) fn start() -> Result<Option<Self>, String> {
        let built = compile(&Package {
            target: Target::Bare,
            folder: "ccp/wasm",
            file: "ccp_wasm.wasm",
            flags: &FLAGS,
            target_folder: "target/embedded-ccp",
        })?;
        let Some(wasm) = built else {
            return Ok(None);
        };
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let engine = Engine::wasmtime().map_err(|error| text(&error))?;
        let options = CompileOptions::default();
        let compiled = engine
            .compile(&wasm, &options)
            .map_err(|error| text(&error))?;
        let control = Arc::new(Control::new(MEMORY_LIMIT));
        let mut store = engine.backend().store(control, &options);
        let instance = store
            .instantiate(&*compiled, &[])
            .map_err(|error| text(&error))?;
        let mut function = |name: &str| {
            let found = store
                .function(instance, name)
                .map_err(|error| text(&error))?;
            let (function, _) = found.ok_or_else(|| format!("the module has no {name}"))?;
            Ok::<_, String>(function)
        };
        let [input, prepare, hash] = [
            function("ccp_input")?,
            function("ccp_prepare")?,
            function("ccp_hash")?,
        ];
        let memory = store
            .memory_of(instance)
            .ok_or("the module has no memory")?;
        Ok(Some(Self {
            store,
            memory,
            input,
            prepare,
            hash,
        }))
    }

    /// Prepares a key.
    pub(super) fn prepare(&mut self, key: &[u8], parameters: Parameters) -> Result<(), String> {
        self.write(key)?;
        let network = u64::from(parameters == Parameters::NETWORK);
        match self.call(self.prepare, network)? {
            0 => Err("the module has not enough memory".to_owned()),
            _ => Ok(()),
        }
    }

    /// Hashes an input.
    pub(super) fn hash(&mut self, input: &[u8]) -> Result<String, String> {
        self.write(input)?;
        let address = self.call(self.hash, 0)?;
        Ok(hex::encode(self.slice(address, 32)?))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let address = self.call(self.input, bytes.len() as u64)?;
        self.slice(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn call(&mut self, function: FunctionId, argument: u64) -> Result<u64, String> {
        let mut values = [argument];
        self.store
            .call(function, &mut values)
            .map_err(|trap| trap.to_string())?;
        let [result] = values;
        Ok(result)
    }

    fn slice(&mut self, address: u64, length: usize) -> Result<&mut [u8], String> {
        let start = (address & 0xffff_ffff) as usize;
        self.store
            .memory(self.memory)
            .get_mut(start..start + length)
            .ok_or_else(|| format!("{length} bytes at {start} are not in memory"))
    }
}

//! `cargo xtask embedded`: builds `aquavm/wasm`, the state machine as a module without imports,
//! and runs it in an engine of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use aquavm::{Compat, Key, LimitFlags, Outcome, RunParameters, verify::Subject};
use marine_runtime::{
    Control, Engine,
    backend::{CompileOptions, CompiledModule, FunctionId, MemoryId, Store},
    build::{Flags, Target, Toolchain},
};

use crate::tidy::workspace_root;

/// The most bytes that the module may have.
pub const MAX_SIZE: usize = 1 << 20;
/// Memory for one run.
const MEMORY_LIMIT: u64 = 1 << 30;
/// Dependencies that could ask for randomness get an error instead of an import.
pub(crate) const FLAGS: [&str; 2] = ["--cfg", "getrandom_backend=\"unsupported\""];

/// Where to put the module.
#[derive(clap::Args)]
pub struct Arguments {
    /// The file to write.
    #[arg(long, default_value = "target/aquavm.wasm")]
    out: PathBuf,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    match build().and_then(|built| write(&arguments.out, built, MAX_SIZE)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a module that was built and is not larger than it may be.
pub(crate) fn write(out: &Path, built: Option<Vec<u8>>, max_size: usize) -> Result<(), String> {
    let wasm = built.ok_or("there is no toolchain for it")?;
    fs::write(out, &wasm).map_err(|error| format!("{}: {error}", out.display()))?;
    println!("{}: {} bytes", out.display(), wasm.len());
    if wasm.len() > max_size {
        return Err(format!("more than {max_size} bytes"));
    }
    Ok(())
}

/// Builds the module; nothing when no toolchain can.
///
/// # Errors
/// A build that fails.
pub fn build() -> Result<Option<Vec<u8>>, String> {
    compile(&Package {
        target: Target::Bare,
        folder: "aquavm/wasm",
        file: "aquavm_wasm.wasm",
        flags: &FLAGS,
        target_folder: "target/embedded",
    })
}

/// A package outside of the workspace that is built for Wasm. Paths are those of the workspace.
pub(crate) struct Package<'a> {
    pub(crate) target: Target,
    pub(crate) folder: &'a str,
    /// Name of the file that the compiler makes.
    pub(crate) file: &'a str,
    pub(crate) flags: &'a [&'a str],
    /// Where cargo keeps what it builds.
    pub(crate) target_folder: &'a str,
}

/// Builds a package; nothing when no toolchain can.
pub(crate) fn compile(package: &Package<'_>) -> Result<Option<Vec<u8>>, String> {
    let triple = package.target.triple();
    let Some(toolchain) = Toolchain::find(package.target) else {
        println!("skipped: {}: no {triple} toolchain", package.folder);
        return Ok(None);
    };
    let root = workspace_root();
    let folder = root.join(package.target_folder);
    let status = toolchain
        .build(&root, Flags::Own, package.flags)
        .args(["--release", "--locked"])
        .arg("--target-dir")
        .arg(&folder)
        .current_dir(root.join(package.folder))
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("{} did not build: {status}", package.folder));
    }
    let file = folder.join(triple).join("release").join(package.file);
    let wasm = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Some(wasm))
}

/// The module, compiled.
pub struct Module {
    engine: Engine,
    compiled: Arc<dyn CompiledModule>,
}

impl Module {
    /// Compiles it.
    ///
    /// # Errors
    /// What the engine says.
    pub fn compile(engine: Engine, wasm: &[u8]) -> Result<Self, String> {
        let compiled = engine
            .compile(wasm, &CompileOptions::default())
            .map_err(|error| error.to_string())?;
        Ok(Self { engine, compiled })
    }

    /// An instance with memory of its own.
    ///
    /// # Errors
    /// A module that is not the one of `aquavm/wasm`.
    pub fn start(&self) -> Result<Machine, String> {
        let control = Arc::new(Control::new(MEMORY_LIMIT));
        let options = CompileOptions::default();
        let mut store = self.engine.backend().store(control, &options);
        let instance = store
            .instantiate(&*self.compiled, &[])
            .map_err(|error| error.to_string())?;
        let mut function = |name: &str| {
            let found = store
                .function(instance, name)
                .map_err(|error| error.to_string())?;
            let (function, _) = found.ok_or_else(|| format!("the module has no {name}"))?;
            Ok::<_, String>(function)
        };
        let [interface, allocate, invoke, verify, free] = [
            function("aquavm_interface")?,
            function("aquavm_allocate")?,
            function("aquavm_invoke")?,
            function("aquavm_verify")?,
            function("aquavm_free")?,
        ];
        let memory = store
            .memory_of(instance)
            .ok_or("the module has no memory")?;
        let mut machine = Machine {
            store,
            memory,
            allocate,
            invoke,
            verify,
            free,
        };
        match machine.call(interface, [0, 0])? {
            1 => Ok(machine),
            other => Err(format!("interface {other} where 1 was expected")),
        }
    }
}

/// A running module.
pub struct Machine {
    store: Box<dyn Store + Send>,
    memory: MemoryId,
    allocate: FunctionId,
    invoke: FunctionId,
    verify: FunctionId,
    free: FunctionId,
}

impl Machine {
    /// As [`aquavm::invoke`]: the same arguments, the same outcome. The key must be a raw one.
    ///
    /// # Errors
    /// A module that traps or does not answer as its description says.
    pub fn invoke(
        &mut self,
        script: &str,
        previous: &[u8],
        current: &[u8],
        parameters: &RunParameters,
        call_results: &[u8],
    ) -> Result<Outcome<Vec<u8>>, String> {
        let request = request(script, previous, current, parameters, call_results)?;
        self.answer(self.invoke, &request, |reader| reader.outcome())
    }

    /// As [`aquavm::verify::verify`]: what the data prove, as JSON, or why they prove nothing and
    /// the code that goes with it.
    ///
    /// # Errors
    /// A module that traps or does not answer as its description says.
    pub fn verify(
        &mut self,
        script: &str,
        data: &[u8],
        subject: &Subject,
    ) -> Result<Result<String, (i64, String)>, String> {
        let flags = u32::from(subject.compat == Compat::V0_64);
        let mut request = Vec::new();
        request.extend(subject.timestamp.to_le_bytes());
        request.extend(subject.ttl.to_le_bytes());
        request.extend(flags.to_le_bytes());
        put(
            &mut request,
            &[
                script.as_bytes(),
                data,
                subject.init_peer_id.as_bytes(),
                subject.particle_id.as_bytes(),
            ],
        )?;
        self.answer(self.verify, &request, |reader| reader.report())
    }

    fn answer<T>(
        &mut self,
        function: FunctionId,
        request: &[u8],
        read: impl FnOnce(Reader<'_>) -> Option<T>,
    ) -> Result<T, String> {
        let length = request.len() as u64;
        let address = self.call(self.allocate, [length, 0])?;
        self.slice(address, length)?.copy_from_slice(request);
        let response = self.call(function, [address, length])?;
        if response == 0 {
            return Err("the module refused the request".to_owned());
        }
        let (address, length) = (response >> 32, response & 0xffff_ffff);
        let answer = read(Reader(self.slice(address, length)?));
        self.call(self.free, [address, length])?;
        answer.ok_or_else(|| "the response is cut off".to_owned())
    }

    fn call(&mut self, function: FunctionId, mut values: [u64; 2]) -> Result<u64, String> {
        self.store
            .call(function, &mut values)
            .map_err(|trap| trap.to_string())?;
        let [result, _] = values;
        Ok(result)
    }

    fn slice(&mut self, address: u64, length: u64) -> Result<&mut [u8], String> {
        let range = address as usize..(address + length) as usize;
        self.store
            .memory(self.memory)
            .get_mut(range)
            .filter(|_| address != 0)
            .ok_or_else(|| format!("{length} bytes at {address} are not in memory"))
    }
}

fn request(
    script: &str,
    previous: &[u8],
    current: &[u8],
    parameters: &RunParameters,
    call_results: &[u8],
) -> Result<Vec<u8>, String> {
    let Key::Raw { format, secret } = &parameters.key else {
        return Err("the module takes raw keys only".to_owned());
    };
    let key: Vec<u8> = std::iter::once(*format)
        .chain(secret.iter().copied())
        .collect();
    let limits = parameters.limits;
    let flags = u32::from(parameters.compat == Compat::V0_64)
        | u32::from(!parameters.check_signatures) << 1
        | u32::from(limits.hard) << 2;
    let mut request = Vec::new();
    request.extend(parameters.timestamp.to_le_bytes());
    request.extend(parameters.ttl.to_le_bytes());
    request.extend(flags.to_le_bytes());
    for limit in [limits.script, limits.particle, limits.call_result] {
        request.extend(limit.to_le_bytes());
    }
    put(
        &mut request,
        &[
            script.as_bytes(),
            previous,
            current,
            call_results,
            parameters.init_peer_id.as_bytes(),
            parameters.current_peer_id.as_bytes(),
            parameters.particle_id.as_bytes(),
            &key,
        ],
    )?;
    Ok(request)
}

/// Appends chunks.
fn put(request: &mut Vec<u8>, chunks: &[&[u8]]) -> Result<(), String> {
    for chunk in chunks {
        let length = u32::try_from(chunk.len()).map_err(|error| error.to_string())?;
        request.extend(length.to_le_bytes());
        request.extend(*chunk);
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (chunk, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(chunk.to_vec())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.chunk()?).ok()
    }

    fn report(mut self) -> Option<Result<String, (i64, String)>> {
        let code = i64::from_le_bytes(self.take()?);
        let text = self.text()?;
        let report = if code == 0 {
            Ok(text)
        } else {
            Err((code, text))
        };
        self.0.is_empty().then_some(report)
    }

    fn outcome(mut self) -> Option<Outcome<Vec<u8>>> {
        let ret_code = i64::from_le_bytes(self.take()?);
        let flags = u32::from_le_bytes(self.take()?);
        let error_message = self.text()?;
        let (data, call_requests) = (self.chunk()?, self.chunk()?);
        let count = u32::from_le_bytes(self.take()?);
        let next_peers = (0..count).map(|_| self.text()).collect::<Option<_>>()?;
        self.0.is_empty().then_some(Outcome {
            ret_code,
            error_message,
            data,
            next_peers,
            call_requests,
            flags: LimitFlags {
                script: flags & 1 != 0,
                particle: flags & 2 != 0,
                call_result: flags & 4 != 0,
            },
        })
    }
}

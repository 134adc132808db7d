//! WASI preview 1, as far as modules of services need it: files below mapped directories,
//! environment, clocks, randomness. Everything else links and answers `ENOSYS`.

mod abi;
mod files;
mod functions;
mod open_file;
mod quota;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

pub(crate) use self::quota::Quota;
use self::{
    abi::Errno,
    files::{Entry, Folder},
    open_file::OpenFile,
};
use crate::{
    adapter::LinkedModule,
    backend::{CoreSignature, CoreType, HostFunction, MemoryId, Store, Trap},
    control::Control,
    limits::MAX_LOG_LINE,
    log,
    service::config::ModuleConfig,
};

/// The namespaces under which the functions are found.
const NAMESPACES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];
/// Descriptors of the standard streams.
const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// The system of one module.
pub(crate) struct Wasi {
    name: String,
    control: Arc<Control>,
    quota: Arc<Quota>,
    /// `NAME=value`, each with a zero byte.
    environment: Vec<Vec<u8>>,
    /// Directories whose entries cannot be listed.
    unlisted: Vec<Folder>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<u32, Descriptor>,
    /// Output without an end of line yet.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

enum Descriptor {
    /// A mapped directory.
    Mapped(Folder, Mapped),
    /// A directory that the module opened, and its listing as far as somebody asked for it.
    Folder(Folder, Option<Listing>),
    /// A file.
    File(OpenFile),
}

struct Mapped {
    /// Its name in the module.
    name: String,
    listing: Option<Listing>,
}

type Listing = Arc<[Entry]>;

/// One call of a function.
struct Call<'a> {
    wasi: &'a Wasi,
    memory: &'a mut [u8],
}

type Body = fn(&mut Call<'_>, &[u64]) -> Result<(), Failure>;

/// Why a function does not succeed.
enum Failure {
    Errno(Errno),
    Trap(Trap),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Errno(Errno::from(error))
    }
}

impl Wasi {
    /// The system that `config` describes; its directories are opened.
    pub(crate) fn new(
        config: &ModuleConfig,
        control: Arc<Control>,
        quota: Arc<Quota>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let (mut open, mut unlisted) = (BTreeMap::new(), Vec::new());
        for (descriptor, (name, path)) in (STDERR + 1..).zip(&config.mapped_dirs) {
            let folder = || Folder::open(path).map_err(|error| (path.clone(), error));
            if config.unlisted_dirs.contains(name) {
                unlisted.push(folder()?);
            }
            let folder = folder()?;
            let mapped = Mapped {
                name: name.clone(),
                listing: None,
            };
            open.insert(descriptor, Descriptor::Mapped(folder, mapped));
        }
        let environment = config
            .envs
            .iter()
            .filter(|(name, value)| !name.contains(['\0', '=']) && !value.contains('\0'))
            .map(|(name, value)| format!("{name}={value}\0").into_bytes());
        Ok(Self {
            name: config.name.clone(),
            control,
            quota,
            environment: environment.collect(),
            unlisted,
            state: Mutex::new(State {
                open,
                ..State::default()
            }),
        })
    }

    /// All functions under both namespaces.
    pub(crate) fn imports(
        self: &Arc<Self>,
        own: &Arc<OnceLock<Arc<LinkedModule>>>,
    ) -> Vec<HostFunction> {
        let mut imports = Vec::new();
        for (name, parameters, body) in functions::ALL {
            let signature = CoreSignature {
                parameters: parameters.bytes().map(core_type).collect(),
                results: if *name == "proc_exit" {
                    Vec::new()
                } else {
                    vec![CoreType::I32]
                },
            };
            for namespace in NAMESPACES {
                let wasi = Arc::clone(self);
                let own = Arc::clone(own);
                let body = *body;
                let run = move |store: &mut dyn Store, raw: &[u64], results: &mut [u64]| {
                    let memory = own.get().and_then(|module| module.memory);
                    let errno = wasi.run(body, store, memory, name, raw)?;
                    if let Some(slot) = results.first_mut() {
                        *slot = errno;
                    }
                    Ok(())
                };
                imports.push(HostFunction {
                    namespace: namespace.to_owned(),
                    name: (*name).to_owned(),
                    signature: signature.clone(),
                    body: Arc::new(run),
                });
            }
        }
        imports
    }

    /// Logs output without an end of line.
    pub(crate) fn flush(&self) {
        let mut state = self.state();
        for (level, buffer) in [
            (3, std::mem::take(&mut state.stdout)),
            (2, std::mem::take(&mut state.stderr)),
        ] {
            if !buffer.is_empty() {
                log::guest(&self.name, level, &String::from_utf8_lossy(&buffer));
            }
        }
    }

    fn run(
        &self,
        body: Option<Body>,
        store: &mut dyn Store,
        memory: Option<MemoryId>,
        name: &str,
        raw: &[u64],
    ) -> Result<u64, Trap> {
        self.control.check()?;
        let Some(body) = body else {
            tracing::debug!(
                module = self.name,
                name,
                "a module called what is not there"
            );
            return Ok(Errno::NOSYS.code());
        };
        let Some(memory) = memory else {
            return Err(Trap::host(format!(
                "module '{}' called {name} before it was linked, or has no memory",
                self.name
            )));
        };
        let mut call = Call {
            wasi: self,
            memory: store.memory(memory),
        };
        match body(&mut call, raw) {
            Ok(()) => Ok(0),
            Err(Failure::Errno(errno)) => Ok(errno.code()),
            Err(Failure::Trap(trap)) => Err(trap),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Finds a number for a descriptor.
    fn add(&mut self, descriptor: Descriptor) -> u32 {
        let mut free = STDERR + 1;
        for used in self.open.keys() {
            if *used == free {
                free += 1;
            }
        }
        self.open.insert(free, descriptor);
        free
    }

    fn file(&mut self, descriptor: u32) -> Result<&mut OpenFile, Errno> {
        match self.open.get_mut(&descriptor) {
            Some(Descriptor::File(file)) => Ok(file),
            Some(_) => Err(Errno::ISDIR),
            None => Err(Errno::BADF),
        }
    }

    fn folder(&self, descriptor: u32) -> Result<&Folder, Errno> {
        match self.open.get(&descriptor) {
            Some(Descriptor::Mapped(folder, _) | Descriptor::Folder(folder, _)) => Ok(folder),
            Some(_) => Err(Errno::NOTDIR),
            None => Err(Errno::BADF),
        }
    }

    /// Collects output and logs its lines.
    fn print(&mut self, wasi: &Wasi, descriptor: u32, bytes: &[u8]) -> Result<(), Trap> {
        let (level, buffer) = match descriptor {
            STDOUT => (3, &mut self.stdout),
            _ => (2, &mut self.stderr),
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(MAX_LOG_LINE) {
                buffer.extend_from_slice(part);
                if buffer.ends_with(b"\n") || buffer.len() >= MAX_LOG_LINE {
                    let line = std::mem::take(buffer);
                    let line = line.strip_suffix(b"\n").unwrap_or(&line);
                    log::guest(&wasi.name, level, &String::from_utf8_lossy(line));
                    wasi.control.check()?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a function that a module imports sees more of a mapped directory than the size of a file
/// that is open.
pub(crate) fn reaches_directories(namespace: &str, name: &str) -> bool {
    NAMESPACES.contains(&namespace) && (name.starts_with("path_") || name == "fd_readdir")
}

/// The name and the parameters of each function.
#[cfg(test)]
pub(crate) fn functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    functions::ALL
        .iter()
        .map(|(name, parameters, _)| (*name, *parameters))
}

fn core_type(letter: u8) -> CoreType {
    if letter == b'I' {
        CoreType::I64
    } else {
        CoreType::I32
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

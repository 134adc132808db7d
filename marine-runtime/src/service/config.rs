//! What a service is made of, in code or as TOML.

mod toml;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::host::{HostImport, RESERVED};
use crate::{
    HostApi,
    engine::DEFAULT_STACK_SIZE,
    limits::{
        MAX_BINARY_OUTPUT, MAX_BINARY_TIME, MAX_MODULES, MAX_OPEN_FILES, MAX_VALUE_SIZE,
        MIN_STACK_SIZE,
    },
};

/// Message mask of a logger that lets everything through.
pub const LOG_ALL: i32 = i32::MAX;

/// A configuration that makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("IOError: failed to load {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The text is not TOML, or has keys or values that do not belong.
    #[error("parsing config error: {file}: {reason}")]
    Parse {
        /// The file.
        file: String,
        /// Line, key, value and what was expected.
        reason: String,
    },
    /// A path that does not exist.
    #[error("IOError: Failed to canonicalize path {path:?}: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A configuration that contradicts itself.
    #[error("InvalidConfig: {0}")]
    Invalid(String),
}

/// A service.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Modules in the order in which they are linked; the last is called from outside.
    pub modules: Vec<ModuleConfig>,
    /// Most bytes of memory of all modules together; `None`: as much as they can address.
    pub total_memory_limit: Option<u64>,
    /// What else is bounded.
    pub limits: ServiceLimits,
    /// Which module may mount which program. `None`: what the configuration of a module says is
    /// enough; otherwise a mounted binary that is not listed for the hash of its module is refused.
    pub allowed_binaries: Option<Arc<[AllowedBinary]>>,
    /// Where relative mapped directories begin; the process's directory by default.
    pub working_dir: PathBuf,
    /// Id of the service, which modules find in their environment as `service_id`.
    pub service_id: Option<String>,
    /// Environment of all modules; stronger than that of a module.
    pub envs: BTreeMap<String, String>,
    /// Whether the service is created anew after a module trapped. Without it the module goes on
    /// with whatever state it is in.
    pub recreate_after_trap: bool,
}

/// Bounds of a service beside that of its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Longest time of one call, whatever deadline its caller gives. `None`: the caller's.
    pub call_time: Option<Duration>,
    /// Most bytes of host memory that one value from a module may take: the result of a call, or
    /// an argument for another module.
    pub value_size: usize,
    /// Bytes of stack that its modules have, together with those that they call; of native code,
    /// so it is no measure that engines share. More than half of what the calling thread has is too
    /// much. Wasmtime compiles modules once for each size, and holds each service to its own.
    /// Wasmer hands a process's stacks from service to service whatever their size: with it, give
    /// all services of a process the same.
    pub stack_size: usize,
    /// Most files and directories that all modules together hold open.
    pub open_files: usize,
    /// Most bytes in all mapped directories together: the lengths of files, and
    /// [`DISK_ENTRY`](crate::limits::DISK_ENTRY) for each file or directory. What lies in them when
    /// the service is created counts. `None`: not counted.
    pub disk: Option<u64>,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            call_time: None,
            value_size: MAX_VALUE_SIZE,
            stack_size: DEFAULT_STACK_SIZE,
            open_files: MAX_OPEN_FILES,
            disk: None,
        }
    }
}

/// A program that a certain module may mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedBinary {
    /// SHA-256 of the module's bytes.
    pub module: [u8; 32],
    /// Name under which it is imported.
    pub name: String,
    /// The program, with the environment and the bounds that it has to have.
    pub binary: MountedBinary,
}

/// A program of the host that a module may call.
///
/// It is run directly, without a shell, in the service's directory, with nothing to read, and with
/// an environment of `envs` and those of the host's variables that `pass_envs` names. It is killed,
/// with what it has started, when its time or that of the call is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedBinary {
    /// The program.
    pub path: PathBuf,
    /// Its environment.
    pub envs: BTreeMap<String, String>,
    /// Variables of the host that it sees as well: `PATH`, `HOME` and `LANG` by default.
    pub pass_envs: BTreeSet<String>,
    /// Longest time of one run.
    pub max_time: Duration,
    /// Most bytes of its standard output, and of its error output.
    pub max_output: usize,
}

impl MountedBinary {
    /// A program with the usual environment and bounds.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let usual = ["PATH", "HOME", "LANG"];
        Self {
            path: path.into(),
            envs: BTreeMap::new(),
            pass_envs: usual.into_iter().map(str::to_owned).collect(),
            max_time: MAX_BINARY_TIME,
            max_output: MAX_BINARY_OUTPUT,
        }
    }
}

/// A module of a service.
#[derive(Clone, Debug)]
pub struct ModuleConfig {
    /// Its name, by which others import it.
    pub name: String,
    /// Where its bytes are.
    pub source: ModuleSource,
    /// Whether it may log.
    pub logger_enabled: bool,
    /// Which targets of messages it may log; messages without a target pass.
    pub logging_mask: i32,
    /// Its environment.
    pub envs: BTreeMap<String, String>,
    /// Directories it sees: name in the module, directory of the host.
    pub mapped_dirs: BTreeMap<String, PathBuf>,
    /// Those of them whose entries cannot be listed: only who knows a name in there can use it.
    pub unlisted_dirs: BTreeSet<String>,
    /// Whether it finds the host's directories in its environment under their names. Modules with
    /// mounted binaries need that to name files to them.
    pub expose_host_paths: bool,
    /// Programs of the host that it may call: import name, program.
    pub mounted_binaries: BTreeMap<String, MountedBinary>,
    /// Functions of the host that it may call: import name, function.
    pub host_functions: BTreeMap<String, HostImport>,
    /// Where mounted binaries run.
    pub working_dir: Option<PathBuf>,
    /// Whether it may use 128-bit SIMD.
    pub simd: bool,
}

/// Where the bytes of a module are.
#[derive(Clone, Debug)]
pub enum ModuleSource {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Bytes(Arc<[u8]>),
}

impl ServiceConfig {
    /// A service of these modules without limits and directories of its own.
    #[must_use]
    pub fn new(modules: Vec<ModuleConfig>) -> Self {
        Self {
            modules,
            total_memory_limit: None,
            limits: ServiceLimits::default(),
            allowed_binaries: None,
            working_dir: PathBuf::from("."),
            service_id: None,
            envs: BTreeMap::new(),
            recreate_after_trap: false,
        }
    }

    /// Checks names and counts.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let invalid = |reason: String| Err(ConfigError::Invalid(reason));
        if self.modules.is_empty() {
            return invalid("config should contain at least one module".to_owned());
        }
        if self.modules.len() > MAX_MODULES {
            return invalid(format!(
                "config contains {} modules, at most {MAX_MODULES} are allowed",
                self.modules.len()
            ));
        }
        let stack_size = self.limits.stack_size;
        if stack_size < MIN_STACK_SIZE {
            return invalid(format!(
                "a stack of {stack_size} bytes is too small: at least {MIN_STACK_SIZE} are needed"
            ));
        }
        let mut names = BTreeSet::new();
        for module in &self.modules {
            let name = module.name.as_str();
            let reserved = HostApi::from_namespace(name).is_some()
                || matches!(name, "wasi_snapshot_preview1" | "wasi_unstable");
            if reserved || name.is_empty() {
                return invalid(format!("a module can't have the reserved name '{name}'"));
            }
            if !names.insert(name) {
                return invalid(format!(
                    "module with name '{name}' already loaded into Marine, please specify another \
                     name"
                ));
            }
            let functions = module.host_functions.keys();
            for import in module.mounted_binaries.keys().chain(functions) {
                if RESERVED.contains(&import.as_str()) {
                    return invalid(format!(
                        "module '{name}' mounts a binary or function under the reserved name \
                         '{import}'"
                    ));
                }
                if module.mounted_binaries.contains_key(import)
                    && module.host_functions.contains_key(import)
                {
                    return invalid(format!(
                        "module '{name}' has a binary and a function under the name '{import}'"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Completes environment and paths of a module. Once for each: paths would move further.
    pub(super) fn resolve(&self, mut module: ModuleConfig) -> ModuleConfig {
        if let Some(id) = &self.service_id {
            module.envs.insert("service_id".to_owned(), id.clone());
        }
        module.envs.extend(self.envs.clone());
        for (name, folder) in &mut module.mapped_dirs {
            *folder = self.working_dir.join(&*folder);
            if module.expose_host_paths {
                module
                    .envs
                    .insert(name.clone(), folder.display().to_string());
            }
        }
        if let Some(level) = log_level(&module.name) {
            module.envs.insert("WASM_LOG".to_owned(), level);
        }
        module
            .working_dir
            .get_or_insert_with(|| self.working_dir.clone());
        module
    }
}

impl ModuleConfig {
    /// A module that may log, and nothing else.
    #[must_use]
    pub fn new(name: impl Into<String>, source: ModuleSource) -> Self {
        Self {
            name: name.into(),
            source,
            logger_enabled: true,
            logging_mask: LOG_ALL,
            envs: BTreeMap::new(),
            mapped_dirs: BTreeMap::new(),
            unlisted_dirs: BTreeSet::new(),
            expose_host_paths: true,
            mounted_binaries: BTreeMap::new(),
            host_functions: BTreeMap::new(),
            working_dir: None,
            simd: false,
        }
    }

    /// A module in memory that may log, and nothing else.
    #[must_use]
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::new(name, ModuleSource::Bytes(bytes.into()))
    }

    /// A module in a file that may log, and nothing else.
    #[must_use]
    pub fn from_file(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self::new(name, ModuleSource::File(path.into()))
    }
}

/// The level that the host's variable `WASM_LOG` has for a module: `level` or `module=level`,
/// separated by commas.
fn log_level(module: &str) -> Option<String> {
    level_of(&std::env::var("WASM_LOG").ok()?, module)
}

fn level_of(filter: &str, module: &str) -> Option<String> {
    let level = |text: &str| match text.to_ascii_lowercase().as_str() {
        "off" => Some("off"),
        "error" => Some("ERROR"),
        "warn" => Some("WARN"),
        "info" => Some("INFO"),
        "debug" => Some("DEBUG"),
        "trace" => Some("TRACE"),
        _ => None,
    };
    let mut default = None;
    let mut own = None;
    for part in filter
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let mut sides = part.splitn(3, '=');
        match (sides.next().unwrap_or_default(), sides.next(), sides.next()) {
            (text, None, _) => match level(text) {
                Some(level) => default = default.or(Some(level)),
                None if text == module => own = Some("TRACE"),
                None => {}
            },
            (name, Some(""), None) if name == module => own = Some("TRACE"),
            (name, Some(text), None) if name == module => own = level(text).or(own),
            (_, Some(_), None) => {}
            _ => tracing::warn!(part, "a part of WASM_LOG has more than one `=`"),
        }
    }
    own.or(default).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_filters() {
        assert_eq!(level_of("info,a=debug,b=", "a").as_deref(), Some("DEBUG"));
        assert_eq!(level_of("info,a=debug,b=", "b").as_deref(), Some("TRACE"));
        assert_eq!(level_of("INFO,warn", "c").as_deref(), Some("INFO"));
        assert_eq!(level_of("c", "c").as_deref(), Some("TRACE"));
        assert_eq!(level_of("a=b=c", "a"), None);
    }

    #[test]
    fn names_that_collide() {
        let module = |name: &str| ModuleConfig::from_bytes(name, Vec::new());
        let check = |names: &[&str]| {
            let modules = names.iter().map(|name| module(name)).collect();
            ServiceConfig::new(modules)
                .check()
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(&["a", "b"]), Ok(()));
        assert!(check(&[]).unwrap_err().contains("at least one module"));
        assert!(
            check(&["a", "a"])
                .unwrap_err()
                .contains("'a' already loaded")
        );
        assert!(
            check(&["__marine_host_api_v3"])
                .unwrap_err()
                .contains("reserved")
        );
    }
}

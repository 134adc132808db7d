//! Services of published modules in folders of their own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use marine_runtime::{
    CallParameters, Engine, HostApi, ModuleConfig, MountedBinary, Service, ServiceConfig,
    module::Outline,
};
use serde_json::Value;

/// Longest that one call or start may take: generous, since debug builds run it too.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a mounted program does where nobody says what it should do.
const QUIET: &str = "#!/bin/sh\nexit 0\n";
/// Modules of the interpreter use SIMD.
const SIMD: [&str; 2] = ["avm", "air_interpreter_server"];
/// Directories that peers give to every module: name in the module, name in the folder.
const FOLDERS: [(&str, &str); 3] = [
    ("/storage", "storage"),
    ("/tmp", "tmp"),
    ("/tmp/vault", "vault"),
];

/// The bytes of a module.
pub(super) type Bytes = Arc<[u8]>;

/// A module of a service.
pub(super) struct Loaded {
    pub(super) name: String,
    bytes: Bytes,
    /// Programs that it may call, and the scripts that stand for them.
    pub(super) programs: BTreeMap<String, String>,
}

impl Loaded {
    /// The module, with a stand-in for each program that it calls.
    pub(super) fn new(name: &str, bytes: &Bytes) -> Result<Self, String> {
        let outline = Outline::read(name, bytes).map_err(|error| error.to_string())?;
        let programs = outline.imports().iter().filter(|import| {
            HostApi::from_namespace(import.namespace).is_some()
                && !matches!(import.name, "get_call_parameters" | "log_utf8_string")
        });
        Ok(Self {
            name: name.to_owned(),
            bytes: Arc::clone(bytes),
            programs: programs
                .map(|import| (import.name.to_owned(), QUIET.to_owned()))
                .collect(),
        })
    }
}

/// A folder for the files of a service; removed in the end.
pub(super) struct Stage(PathBuf);

impl Stage {
    pub(super) fn new() -> Result<Self, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "aquamarine-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// Starts the service of `modules` as peers do.
    pub(super) fn start(&self, engine: &Engine, modules: &[Loaded]) -> Result<Service, String> {
        let mut configs = Vec::with_capacity(modules.len());
        for module in modules {
            let mut config = ModuleConfig::from_bytes(&*module.name, Arc::clone(&module.bytes));
            config.simd = SIMD.contains(&&*module.name);
            for (guest, host) in FOLDERS {
                config
                    .mapped_dirs
                    .insert(guest.to_owned(), PathBuf::from(host));
            }
            for (name, script) in &module.programs {
                let program = self.0.join(name);
                write_program(&program, script)?;
                let program = MountedBinary::new(program);
                config.mounted_binaries.insert(name.clone(), program);
            }
            configs.push(config);
        }
        let mut config = ServiceConfig::new(configs);
        config.working_dir.clone_from(&self.0);
        config.service_id = Some("sid".to_owned());
        Service::with_deadline(config, engine, Some(Instant::now() + PATIENCE))
            .map_err(|error| error.to_string())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What stays behind is in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Calls the facade.
pub(super) fn call(
    service: &mut Service,
    function: &str,
    arguments: &Value,
    parameters: &CallParameters,
) -> Result<Value, String> {
    let deadline = Some(Instant::now() + PATIENCE);
    let text = service
        .call(function, &arguments.to_string(), parameters, deadline)
        .map_err(|error| format!("{function}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{function}: {text}: {error}"))
}

fn write_program(path: &Path, script: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    // A script that runs cannot be written again, and a second start needs no other.
    if path.exists() {
        return Ok(());
    }
    fs::write(path, script).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(())
}

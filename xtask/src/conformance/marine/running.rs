//! Deterministic results of published modules, on both engines.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use marine_runtime::{CallParameters, Engine, ModuleConfig, MountedBinary, Service, ServiceConfig};
use serde_json::{Value, json};

use super::{Report, engines, expect, published::Fetched};

/// Longest that one call or start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A package, its version, the modules of the service with the facade last, and what to check.
type Case = (
    &'static str,
    &'static str,
    &'static [&'static str],
    fn(&mut Run<'_>) -> Result<(), String>,
);

/// Runs what was fetched.
pub(super) fn replay(modules: &Fetched, report: &mut Report) -> Result<(), String> {
    let runs: [Case; 6] = [
        ("fluence-spell-distro", "0.7.6", &["sqlite3"], sqlite),
        (
            "fluence-spell-distro",
            "0.7.6",
            &["sqlite3", "spell"],
            spell,
        ),
        (
            "registry-distro",
            "0.9.4",
            &["sqlite3", "registry"],
            registry,
        ),
        (
            "trust-graph-distro",
            "0.4.11",
            &["sqlite3", "trust-graph"],
            trust_graph,
        ),
        (
            "aqua-ipfs-distro",
            "0.6.0",
            &["ipfs_effector", "ipfs_pure"],
            ipfs,
        ),
        (
            "air-interpreter-wasm",
            "0.62.0",
            &["air_interpreter_server"],
            interpreter,
        ),
    ];
    for engine in engines()? {
        for (package, version, names, run) in runs {
            let facade = names.last().unwrap_or(&"");
            let name = format!(
                "running {package} {version} {facade} on {}",
                engine.backend().name()
            );
            let bytes: Option<Vec<(String, Vec<u8>)>> = names
                .iter()
                .map(|name| {
                    let key = (package.to_owned(), version.to_owned(), (*name).to_owned());
                    modules
                        .get(&key)
                        .map(|bytes| ((*name).to_owned(), bytes.clone()))
                })
                .collect();
            match bytes {
                Some(modules) => {
                    let folder = Scratch::new()?;
                    let mut run_state = Run {
                        engine: &engine,
                        modules,
                        folder: &folder.0,
                    };
                    report.record(name, run(&mut run_state));
                }
                None => report.skip(name, "its modules were not fetched"),
            }
        }
    }
    Ok(())
}

struct Run<'a> {
    engine: &'a Engine,
    modules: Vec<(String, Vec<u8>)>,
    folder: &'a Path,
}

impl Run<'_> {
    fn service(&self, change: impl Fn(&mut ModuleConfig)) -> Result<Service, String> {
        let modules = self.modules.iter().map(|(name, bytes)| {
            let mut module = ModuleConfig::from_bytes(name.clone(), bytes.clone());
            for (guest, host) in [("/storage", "storage"), ("/tmp", "tmp")] {
                module
                    .mapped_dirs
                    .insert(guest.to_owned(), PathBuf::from(host));
            }
            change(&mut module);
            module
        });
        let mut config = ServiceConfig::new(modules.collect());
        config.working_dir = self.folder.to_owned();
        config.service_id = Some("sid".to_owned());
        let deadline = Some(Instant::now() + PATIENCE);
        Service::with_deadline(config, self.engine, deadline).map_err(|error| error.to_string())
    }
}

fn parameters() -> CallParameters {
    let mut parameters = CallParameters {
        service_id: "sid".to_owned(),
        service_creator_peer_id: "W".to_owned(),
        host_id: "H".to_owned(),
        worker_id: "W".to_owned(),
        ..CallParameters::default()
    };
    parameters.particle.init_peer_id = "W".to_owned();
    parameters.particle.id = "spell_sid_1".to_owned();
    parameters
}

fn call_as(
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

fn call(service: &mut Service, function: &str, arguments: &Value) -> Result<Value, String> {
    call_as(service, function, arguments, &parameters())
}

fn sqlite(run: &mut Run<'_>) -> Result<(), String> {
    let mut service = run.service(|_| ())?;
    let version = call(&mut service, "sqlite3_libversion_number", &json!([]))?;
    expect("version", version, json!(3_040_001))
}

fn spell(run: &mut Run<'_>) -> Result<(), String> {
    let mut service = run.service(|_| ())?;
    let set = call(&mut service, "set_script", &json!(["(null)"]))?;
    expect("set_script", set.get("success").cloned(), Some(json!(true)))?;
    let cid = call(&mut service, "script_cid", &json!([]))?;
    let expected = "bafkreibiotlyad7mvyqiit3ie2ljecziknctzuzmi7qtmktxmib5aiu3cq";
    expect("script_cid", find(&cid, expected), true)?;
    let set = call(&mut service, "set_string", &json!(["hw_key", "value"]))?;
    expect("set_string", set.get("success").cloned(), Some(json!(true)))?;
    drop(service);
    // What it stored is there after a restart.
    let mut service = run.service(|_| ())?;
    let value = call(&mut service, "get_string", &json!(["hw_key"]))?;
    expect("get_string", find(&value, "value"), true)
}

fn registry(run: &mut Run<'_>) -> Result<(), String> {
    let mut service = run.service(|_| ())?;
    let id = call(&mut service, "get_key_id", &json!(["lbl", "peer"]))?;
    expect(
        "get_key_id",
        id,
        json!("ByaC1rgNTmmg5ThDAtyXQtT75sgLY52sMQJ6TdNpYcR2"),
    )?;
    let mut parameters = parameters();
    parameters.particle.init_peer_id = "init".to_owned();
    let arguments = json!(["lbl", [], 1_700_000_000, [], ""]);
    let bytes = call_as(&mut service, "get_key_bytes", &arguments, &parameters)?;
    let expected = "44553a4409dc2fa6343377efb693395a4e34cadb6ea33c6166e59bf552058861";
    expect("get_key_bytes", hex(&bytes), expected.to_owned())
}

fn trust_graph(run: &mut Run<'_>) -> Result<(), String> {
    let mut service = run.service(|_| ())?;
    let peer = "12D3KooWBUJifCTgaxAUrcM9JysqCcS4CS8tiYH5hExbdWCAoNwb";
    let arguments = json!([peer, 1_800_000_000, 1_700_000_000]);
    let bytes = call(&mut service, "get_trust_bytes", &arguments)?;
    let bytes = bytes.get("result").cloned().unwrap_or(bytes);
    let expected = "6bc2137cd6521da4f36c833409ab13ff944067f35eb90ab923898493aa2ced03";
    expect("get_trust_bytes", hex(&bytes), expected.to_owned())
}

/// With a stand-in for the program that the effector calls.
#[cfg(unix)]
fn ipfs(run: &mut Run<'_>) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = run.folder.join("ipfs");
    let describe = |error: std::io::Error| error.to_string();
    fs::write(&program, "#!/bin/sh\nprintf 'stand-in for %s' \"$*\"\n").map_err(describe)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(describe)?;
    let mut service = run.service(|module| {
        if module.name == "ipfs_effector" {
            module
                .mounted_binaries
                .insert("ipfs".to_owned(), MountedBinary::new(program.clone()));
        }
        module
            .mapped_dirs
            .insert("/tmp/vault".to_owned(), PathBuf::from("vault"));
    })?;
    let mut parameters = parameters();
    parameters.particle.id = "particle".to_owned();
    let vault = run.folder.join("vault/particle-");
    fs::create_dir_all(&vault).map_err(describe)?;
    let result = call_as(
        &mut service,
        "connect",
        &json!(["/ip4/127.0.0.1/tcp/1"]),
        &parameters,
    )?;
    expect("connect", result.get("success").cloned(), Some(json!(true)))
        .map_err(|difference| format!("{difference}: {result}"))
}

#[cfg(not(unix))]
fn ipfs(_: &mut Run<'_>) -> Result<(), String> {
    Ok(())
}

fn interpreter(run: &mut Run<'_>) -> Result<(), String> {
    let mut service = run.service(|module| module.simd = true)?;
    let tree = call(&mut service, "ast", &json!(["(null)"]))?;
    expect("ast", tree, json!("{\"Null\":null}"))
}

/// Whether a text is anywhere in a value.
fn find(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(values) => values.iter().any(|value| find(value, text)),
        Value::Object(fields) => fields.values().any(|value| find(value, text)),
        _ => false,
    }
}

fn hex(bytes: &Value) -> String {
    let bytes = bytes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// A folder that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let folder = std::env::temp_dir().join(format!("marine-{}-{nanos}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! `cargo xtask bench marine`: calls, loads and memory of services in our runtime, on both engines,
//! against the published runtime, asked in turn.
//!
//! Each runs in a worker of its own, a program of the harness in `xtask/harness/marine`: the
//! published crates stay outside the workspace. Results are compared before anything is timed.

mod rows;
mod table;
mod worker;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use self::{
    rows::{CALLS, Call, IDLE, LOADS, Service},
    worker::Worker,
};
use super::report;
use crate::{
    packages::{PackageFile, Registry, fetch},
    tidy::workspace_root,
};

/// Folder of the harness.
const HARNESS: &str = "xtask/harness/marine";
/// Folder that it is built in.
const TARGET: &str = "target/harness-marine";

/// How to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Few rounds: for a first look, not for a record.
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Write the table to BENCHMARKS.md.
    #[arg(long)]
    write: bool,
}

/// A figure of the reference and of ours on both engines, as the table shows them.
struct Figures {
    name: &'static str,
    unit: Unit,
    reference: f64,
    /// Wasmtime, wasmer.
    ours: [f64; 2],
    /// How many times better ours shall be.
    wanted: [f64; 2],
}

/// What a figure counts.
#[derive(Clone, Copy)]
enum Unit {
    Nanoseconds,
    Bytes,
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    if arguments.write && (arguments.quick || !arguments.filter.is_empty()) {
        return Err("--write needs a full measurement".to_owned());
    }
    let root = workspace_root();
    build(&root)?;
    let scratch = root.join(TARGET).join("services");
    // What a run before left there would be measured too.
    if scratch.exists() {
        fs::remove_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    }
    let bench = Bench {
        programs: root.join(TARGET).join("release"),
        published: published(&scratch)?,
        committed: root.join("examples/wasm"),
        scratch,
        rounds: if arguments.quick { 5 } else { 31 },
        filter: arguments.filter.clone(),
    };
    let mut figures = bench.calls()?;
    figures.extend(bench.loads(arguments.quick)?);
    figures.extend(bench.idle(arguments.quick)?);
    if figures.is_empty() {
        return Err(format!("no row's name contains {:?}", arguments.filter));
    }
    let table = table::render(&figures);
    println!("{table}");
    match arguments.write {
        true => report::write(&root, report::Section::Marine, &table),
        false => Ok(()),
    }
}

fn build(root: &Path) -> Result<(), String> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release"])
        .env("CARGO_TARGET_DIR", root.join(TARGET))
        // A library of the published runtime uses an unstable feature.
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(root.join(HARNESS))
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{HARNESS} does not build")),
    }
}

/// Fetches the published modules that are measured.
fn published(scratch: &Path) -> Result<PathBuf, String> {
    let folder = scratch.join("modules");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (name, sha256) in rows::PUBLISHED {
        let path = format!("spell-service/{name}.wasm");
        let file = PackageFile {
            registry: Registry::Cargo,
            package: rows::PACKAGE,
            version: rows::VERSION,
            path: &path,
            sha256,
        };
        let bytes = fetch(&file).map_err(|error| error.to_string())?;
        let path = folder.join(format!("{name}.wasm"));
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(folder)
}

struct Bench {
    programs: PathBuf,
    /// Modules that were fetched.
    published: PathBuf,
    /// Modules of this repository.
    committed: PathBuf,
    scratch: PathBuf,
    rounds: usize,
    filter: String,
}

impl Bench {
    /// The reference, and ours on wasmtime and on wasmer.
    fn workers(&self, cache: Option<&Path>) -> Result<[Worker; 3], String> {
        let ours = |engine: &str| {
            let mut command = Command::new(self.programs.join("ours"));
            command.arg(engine).args(cache);
            Worker::start(command, engine)
        };
        let reference = Command::new(self.programs.join("reference"));
        Ok([
            Worker::start(reference, "reference")?,
            ours("wasmtime")?,
            ours("wasmer")?,
        ])
    }

    fn spec(&self, service: &Service, folder: &str) -> Value {
        let modules = service.modules.iter().map(|name| {
            let own = self.committed.join(format!("{name}.wasm"));
            let published = self.published.join(format!("{name}.wasm"));
            let path = if published.exists() { published } else { own };
            json!({ "name": name, "path": path })
        });
        json!({
            "modules": modules.collect::<Vec<_>>(),
            "folder": self.scratch.join(folder).join(service.name),
        })
    }

    /// Time of calls.
    fn calls(&self) -> Result<Vec<Figures>, String> {
        let calls: Vec<&Call> = CALLS
            .iter()
            .filter(|call| call.name.contains(&self.filter))
            .collect();
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut workers = self.workers(None)?;
        for service in rows::SERVICES {
            if !calls.iter().any(|call| call.service == service.name) {
                continue;
            }
            for worker in &mut workers {
                let spec = self.spec(service, worker.name());
                worker.ask(json!({ "load": { "service": service.name, "spec": spec } }))?;
            }
        }
        let mut figures = Vec::new();
        for call in calls {
            let request = json!({ "call": {
                "service": call.service,
                "function": call.function,
                "arguments": (call.arguments)(),
                "typed": call.typed,
            }});
            let [reference, ours @ ..] = &mut workers;
            let expected = reference.ask(request.clone())?;
            for worker in ours {
                let answer = worker.ask(request.clone())?;
                let (found, expected) = (answer.get("result"), expected.get("result"));
                if found != expected {
                    return Err(format!(
                        "{}: {} gives {found:?}, the reference {expected:?}",
                        call.name,
                        worker.name()
                    ));
                }
            }
            let times = self.medians(&mut workers, self.rounds, &request, "nanoseconds")?;
            eprintln!("{}", call.name);
            figures.push(figures_of(call.name, Unit::Nanoseconds, times, call.wanted));
        }
        Ok(figures)
    }

    /// Time to load a service: the reference compiles each time, ours reads machine code.
    fn loads(&self, quick: bool) -> Result<Vec<Figures>, String> {
        let mut figures = Vec::new();
        for load in LOADS.iter().filter(|load| load.name.contains(&self.filter)) {
            let cache = self.scratch.join("cache");
            let Some(service) = rows::service(load.service) else {
                continue;
            };
            let rounds = if quick { 1 } else { 5 };
            let mut samples = [Vec::new(), Vec::new(), Vec::new()];
            // Other processes each time, as after a restart. The first fill the cache.
            for round in 0..=rounds {
                let cache = load.cached.then_some(cache.as_path());
                let mut workers = self.workers(cache)?;
                for (worker, samples) in workers.iter_mut().zip(&mut samples) {
                    let spec = self.spec(service, worker.name());
                    let request = json!({ "load": { "service": service.name, "spec": spec } });
                    let time = worker.number(request, "nanoseconds")?;
                    if round > 0 {
                        samples.push(time);
                    }
                }
            }
            let times = samples.map(median);
            eprintln!("{}", load.name);
            figures.push(figures_of(load.name, Unit::Nanoseconds, times, load.wanted));
        }
        Ok(figures)
    }

    /// Memory of a service that does nothing.
    fn idle(&self, quick: bool) -> Result<Vec<Figures>, String> {
        let mut figures = Vec::new();
        for idle in IDLE.iter().filter(|idle| idle.name.contains(&self.filter)) {
            let Some(service) = rows::service(idle.service) else {
                continue;
            };
            let mut workers = self.workers(None)?;
            let mut bytes = [0.0; 3];
            for (worker, bytes) in workers.iter_mut().zip(&mut bytes) {
                let count = if quick { idle.count / 4 } else { idle.count };
                let spec = self.spec(service, &format!("idle-{}", worker.name()));
                let request = json!({ "idle": { "count": count, "spec": spec } });
                *bytes = worker.number(request, "bytes")?;
            }
            eprintln!("{}", idle.name);
            figures.push(figures_of(idle.name, Unit::Bytes, bytes, idle.wanted));
        }
        Ok(figures)
    }

    /// Asks every worker once a round.
    fn medians(
        &self,
        workers: &mut [Worker; 3],
        rounds: usize,
        request: &Value,
        field: &str,
    ) -> Result<[f64; 3], String> {
        let mut samples = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (worker, samples) in workers.iter_mut().zip(&mut samples) {
                samples.push(worker.number(request.clone(), field)?);
            }
        }
        Ok(samples.map(median))
    }
}

fn figures_of(name: &'static str, unit: Unit, all: [f64; 3], wanted: [f64; 2]) -> Figures {
    let [reference, wasmtime, wasmer] = all;
    Figures {
        name,
        unit,
        reference,
        ours: [wasmtime, wasmer],
        wanted,
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

//! Times our interpreter and the published ones on the same inputs, alternating in one process.
//!
//! `cargo xtask bench aquavm` builds and runs this and makes a table of the lines of JSON that it
//! prints. It links the published crates, so it stands outside the workspace.

mod clock;
mod compare;
mod floor;
mod generated;
mod heap;
mod input;
mod reference;

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::ExitCode,
};

use aquavm::{RunParameters, Script};
use clap::{Parser, Subcommand};
use serde_json::json;

use crate::{
    clock::{median, time, timed},
    floor::Floor,
    input::Input,
    reference::Wasm,
};

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Folder to keep the published Wasm module in.
    #[arg(long)]
    scratch: PathBuf,
    /// Runs of each interpreter on each input.
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// Only inputs whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Leave the published interpreters out.
    #[arg(long)]
    ours_only: bool,
}

#[derive(Subcommand)]
enum What {
    /// The inputs in a folder, one folder each.
    Inputs {
        /// That folder.
        folder: PathBuf,
    },
    /// How time grows with traces and streams: ours only.
    Growth,
    /// Inputs of about 100 MiB.
    Large,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let mut bench = Bench {
        arguments,
        wasm: None,
    };
    match &arguments.what {
        What::Inputs { folder } => {
            for path in folders(folder)? {
                if path.to_string_lossy().contains(&arguments.filter) {
                    bench.report(&Input::read(&path)?)?;
                }
            }
        }
        What::Large => {
            for name in generated::LARGE_NAMES {
                if name.contains(&arguments.filter) {
                    bench.report(&generated::large(name)?)?;
                }
            }
        }
        What::Growth => {
            for states in [1000, 10_000, 100_000] {
                growth("trace", states, generated::trace(states)?, arguments.runs)?;
            }
            for values in [100, 300, 1000] {
                growth("stream", values, generated::stream(values)?, arguments.runs)?;
            }
        }
    }
    Ok(())
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    let mut folders: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("params.json").exists())
        .collect();
    folders.sort();
    Ok(folders)
}

/// Times our runs of the steps of one size.
fn growth(what: &str, size: usize, steps: Vec<Input>, runs: usize) -> Result<(), String> {
    for step in steps {
        let parameters = step.ours()?;
        let results = aquavm::encode_call_results(&step.results);
        let mut samples: Vec<u64> = (0..runs)
            .map(|_| {
                time(|| {
                    aquavm::invoke(
                        &step.script,
                        &step.previous,
                        &step.current,
                        &parameters,
                        &results,
                    )
                })
            })
            .collect();
        println!(
            "{}",
            json!({
                "what": format!("{what}: {}", step.name),
                "size": size,
                "nanoseconds": median(&mut samples),
            })
        );
    }
    Ok(())
}

struct Bench<'a> {
    arguments: &'a Arguments,
    wasm: Option<Wasm>,
}

/// Samples in nanoseconds.
#[derive(Default)]
struct Samples {
    ours: Vec<u64>,
    cached: Vec<u64>,
    native: Vec<u64>,
    wasm: Vec<u64>,
    floor: Vec<u64>,
    parse: Vec<u64>,
    reference_parse: Vec<u64>,
}

impl Bench<'_> {
    fn report(&mut self, input: &Input) -> Result<(), String> {
        let line = self
            .measure(input)
            .map_err(|error| format!("{}: {error}", input.name))?;
        println!("{line}");
        Ok(())
    }

    fn measure(&mut self, input: &Input) -> Result<serde_json::Value, String> {
        let parameters = input.ours()?;
        let results = aquavm::encode_call_results(&input.results);
        let invoke = || {
            aquavm::invoke(
                &input.script,
                &input.previous,
                &input.current,
                &parameters,
                &results,
            )
        };
        let (outcome, peak) = heap::peak_of(invoke);
        let floor = Floor::new(input, &outcome.data)?;
        let (mut native_peak, mut wasm_memory) = (None, None);
        if !self.arguments.ours_only {
            let (reference, peak) = heap::peak_of(|| reference::native(input));
            compare::native(&outcome, &reference?.0)?;
            // The copies of the inputs are the caller's.
            native_peak = Some(peak.saturating_sub(
                input.script.len() + input.previous.len() + input.current.len() + results.len(),
            ));
            let wasm = self.wasm(input)?;
            compare::wasm(&outcome, &wasm.run(input)?.0)?;
            wasm_memory = Some(wasm.memory());
        }

        let mut scripts = ScriptCache::default();
        let mut samples = Samples::default();
        // A turn of each in every round. What ran before it has filled the caches of the processor
        // with other things, so each begins its turn with a run that does not count.
        for _ in 0..self.arguments.runs {
            samples.ours.push(second(|| Ok(time(invoke)))?);
            samples.cached.push(second(|| {
                invoke_cached(&mut scripts, input, &parameters, &results)
            })?);
            samples.floor.push(second(|| floor.measure())?);
            samples
                .parse
                .push(second(|| Ok(time(|| Script::parse(&input.script))))?);
            if self.arguments.ours_only {
                continue;
            }
            samples
                .native
                .push(second(|| Ok(reference::native(input)?.1))?);
            let wasm = self.wasm(input)?;
            samples.wasm.push(second(|| Ok(wasm.run(input)?.1))?);
            samples.reference_parse.push(second(|| {
                Ok(time(|| {
                    black_box(air::parser::parse(&input.script).is_ok())
                }))
            })?);
        }
        Ok(json!({
            "name": input.name,
            "bytes": {
                "script": input.script.len(),
                "data": input.previous.len() + input.current.len(),
                "results": results.len(),
                "requests": outcome.call_requests.len(),
                "new_data": outcome.data.len(),
            },
            "counts": floor.counts(),
            "nanoseconds": {
                "ours": median(&mut samples.ours),
                "cached": median(&mut samples.cached),
                "native": median(&mut samples.native),
                "wasm": median(&mut samples.wasm),
                "floor": median(&mut samples.floor),
                "parse": median(&mut samples.parse),
                "reference_parse": median(&mut samples.reference_parse),
            },
            "peak": { "ours": peak, "native": native_peak, "wasm": wasm_memory },
        }))
    }

    /// The Wasm instance, made anew where the limits are others.
    fn wasm(&mut self, input: &Input) -> Result<&mut Wasm, String> {
        if !self
            .wasm
            .as_ref()
            .is_some_and(|wasm| wasm.fits(&input.parameters))
        {
            self.wasm = None;
        }
        match &mut self.wasm {
            Some(wasm) => Ok(wasm),
            none => Ok(none.insert(Wasm::new(&self.arguments.scratch, &input.parameters)?)),
        }
    }
}

/// Measures twice, and keeps the second.
fn second(mut measure: impl FnMut() -> Result<u64, String>) -> Result<u64, String> {
    measure()?;
    measure()
}

/// Parsed scripts by their text, at most [`ScriptCache::MAX`]: what a peer keeps.
#[derive(Default)]
struct ScriptCache {
    scripts: BTreeMap<[u8; 32], Script>,
}

impl ScriptCache {
    const MAX: usize = 64;

    fn get(&mut self, text: &str) -> Result<Script, String> {
        let key = *blake3::hash(text.as_bytes()).as_bytes();
        if let Some(script) = self.scripts.get(&key) {
            return Ok(script.clone());
        }
        let script = Script::parse(text).map_err(|error| error.to_string())?;
        if self.scripts.len() >= Self::MAX {
            self.scripts.clear();
        }
        self.scripts.insert(key, script.clone());
        Ok(script)
    }
}

/// A run with the script from the cache, where it is after the first call.
fn invoke_cached(
    scripts: &mut ScriptCache,
    input: &Input,
    parameters: &RunParameters,
    results: &[u8],
) -> Result<u64, String> {
    scripts.get(&input.script)?;
    let (outcome, nanoseconds) = timed(|| {
        let script = scripts.get(&input.script)?;
        Ok::<_, String>(aquavm::invoke_script(
            &script,
            &input.previous,
            &input.current,
            parameters,
            results,
        ))
    });
    outcome.map(|_| nanoseconds)
}

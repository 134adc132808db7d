//! `cargo xtask bench embedded`: how soon the state machine answers as a Wasm module.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aquavm::{CallResults, Compat, Key, RunParameters, encode_call_results};
use marine_runtime::Engine;
use particle::KeyPair;

use super::report::{self, Section};
use crate::{
    embedded::{Machine, Module, build},
    tidy::workspace_root,
};

/// How often each is measured.
const RUNS: usize = 31;
/// Asks for one call.
const SCRIPT: &str = r#"(call %init_peer_id% ("math" "add") [2 3] sum)"#;
/// Compiled modules, below the folder that cargo builds in.
const CACHE: &str = "target/embedded/cache";

/// How to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Write the table to BENCHMARKS.md.
    #[arg(long)]
    write: bool,
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let root = workspace_root();
    let wasm = build()?.ok_or("there is no toolchain for aquavm/wasm")?;
    let cache = root.join(CACHE);
    let wasmtime = || Engine::wasmtime().map_err(|error| error.to_string());
    let mut table = format!(
        "{} bytes of Wasm.\n\n| engine | from cache | started | running |\n|---|--:|--:|--:|\n",
        wasm.len()
    );
    for (name, medians) in [
        ("wasmer", measure(&wasm, &cache, || Ok(Engine::wasmer()))?),
        ("wasmtime", measure(&wasm, &cache, wasmtime)?),
    ] {
        let [from_cache, started, running] = medians.map(milliseconds);
        table.push_str(&format!(
            "| {name} | {from_cache} | {started} | {running} |\n"
        ));
    }
    println!("{table}");
    if arguments.write {
        report::write(&root, Section::Embedded, &table)?;
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// Medians: from the cache, started, running.
fn measure(
    wasm: &[u8],
    cache: &Path,
    engine: impl Fn() -> Result<Engine, String>,
) -> Result<[Duration; 3], String> {
    let parameters = parameters();
    let no_results = encode_call_results(&CallResults::new());
    let first = |machine: &mut Machine| {
        let outcome = machine.invoke(SCRIPT, &[], &[], &parameters, &no_results)?;
        match outcome.ret_code {
            0 => Ok(()),
            code => Err(format!("code {code}: {}", outcome.error_message)),
        }
    };
    let cached = || Module::compile(engine()?.with_cache_folder(cache), wasm);
    // Fills the cache.
    cached()?;
    let mut times: [Vec<Duration>; 3] = Default::default();
    let [from_cache, started, running] = &mut times;
    for _ in 0..RUNS {
        let began = Instant::now();
        let module = cached()?;
        let mut machine = module.start()?;
        first(&mut machine)?;
        from_cache.push(began.elapsed());

        let began = Instant::now();
        let mut machine = module.start()?;
        first(&mut machine)?;
        started.push(began.elapsed());

        let began = Instant::now();
        first(&mut machine)?;
        running.push(began.elapsed());
    }
    Ok(times.map(median))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn parameters() -> RunParameters {
    let seed = [1; 32];
    let me = KeyPair::from_seed(&seed).peer_id().to_string();
    RunParameters {
        init_peer_id: me.clone(),
        current_peer_id: me,
        timestamp: 1_700_000_000_000,
        ttl: 7_000,
        particle_id: "bench".to_owned(),
        key: Key::Raw {
            format: 0,
            secret: seed.to_vec(),
        },
        limits: Default::default(),
        compat: Compat::default(),
        check_signatures: true,
        policy: Default::default(),
    }
}

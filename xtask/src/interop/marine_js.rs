//! `cargo xtask interop marine-js`: modules of ours in the published JS host.
//!
//! The committed guest modules run there and in our engines: every function with the same random arguments, and some
//! calls by hand. So does `aquavm/marine`, in place of the published interpreter, with the recorded particle data.
//! Where results are not the same, the table in `deviations.rs` has the reason.

mod deviations;
mod host;
mod services;
mod values;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use aquavm::Compat;
use marine_runtime::{
    CallParameters, Engine, Interface, ModuleConfig, ParticleParameters, SecurityTetraplet,
    Service, ServiceConfig, module::ModuleInfo,
};

use self::{
    deviations::Made,
    host::{Host, LogLine},
    services::{LOGS, SERVICES, Subject},
};
use super::{
    avm::reference::{Ended, Reference},
    driver,
};
use crate::{conformance::particle_data_calls, interpreter, random::Random, tidy::workspace_root};

/// Longest that one call of ours may take: generous, since debug builds run it too.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much to try.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Calls of each function.
    #[arg(long, default_value_t = 40)]
    rounds: u64,
    /// Decides the arguments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The interpreter to run; by default `aquavm/marine` is built.
    #[arg(long, value_name = "FILE")]
    interpreter: Option<PathBuf>,
    /// Print each call that differs as it should.
    #[arg(long)]
    verbose: bool,
}

/// What was tried, and what came of it.
#[derive(Debug, Default)]
pub struct Summary {
    /// Calls of functions with equal results.
    pub same: usize,
    /// Calls that differ as they should, by what differs.
    pub deviations: BTreeMap<&'static str, usize>,
    /// Runs of our interpreter in the JS host.
    pub runs: usize,
    /// What differs and should not.
    pub differences: Vec<String>,
}

impl Arguments {
    /// So many calls of each function, and our interpreter as built.
    #[must_use]
    pub fn new(rounds: u64, seed: u64) -> Self {
        Self {
            rounds,
            seed,
            interpreter: None,
            verbose: false,
        }
    }
}

impl Summary {
    /// One line.
    #[must_use]
    pub fn text(&self) -> String {
        let deviations: usize = self.deviations.values().sum();
        format!(
            "{} calls agree, {deviations} differ on purpose, {} runs of our interpreter, {} differences",
            self.same,
            self.runs,
            self.differences.len()
        )
    }
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match fetch().and_then(|()| check(arguments)) {
        Ok(summary) => {
            for difference in &summary.differences {
                println!("DIFFERENT {difference}");
            }
            for (what, count) in &summary.deviations {
                println!("deliberate: {what}: {count}");
            }
            println!("{}", summary.text());
            if summary.differences.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Fetches the JS host, unless it is there.
///
/// # Errors
/// No client of its registry, or no way to the registry.
pub fn fetch() -> Result<(), String> {
    driver::fetch().map(drop)
}

/// Compares.
///
/// # Errors
/// A module that does not load, a driver that fails.
pub fn check(arguments: &Arguments) -> Result<Summary, String> {
    let mut summary = Summary::default();
    let mut host = Host::start()?;
    let wasmtime = Engine::wasmtime().map_err(|error| error.to_string())?;
    let engines = [Engine::wasmer(), wasmtime];
    for subject in SERVICES {
        compare(subject, &mut host, &engines, arguments, &mut summary)?;
    }
    for (mask, function, call, expected) in LOGS {
        host.load(&[("files", module_path("files"))], *mask)?;
        let (_, log) = host.call(function, call, &parameters())?;
        let expected = expected.iter().map(|(level, message)| LogLine {
            service: "files".to_owned(),
            level: (*level).to_owned(),
            message: (*message).to_owned(),
        });
        if log == expected.collect::<Vec<_>>() {
            summary.same += 1;
        } else {
            let difference = format!("log of files.{function}{call} with mask {mask}: {log:?}");
            summary.differences.push(difference);
        }
    }
    replay(arguments, &mut summary)?;
    Ok(summary)
}

/// Calls every function of a service there and here.
fn compare(
    subject: &Subject,
    host: &mut Host,
    engines: &[Engine],
    arguments: &Arguments,
    summary: &mut Summary,
) -> Result<(), String> {
    let paths: Vec<_> = subject
        .modules
        .iter()
        .map(|name| (*name, module_path(name)))
        .collect();
    host.load(&paths, i32::MAX)?;
    let mut ours = engines
        .iter()
        .map(|engine| start(engine, &paths))
        .collect::<Result<Vec<_>, _>>()?;
    let interface = interface(&paths)?;

    let mut calls: Vec<(&str, String, bool)> = Vec::new();
    for round in 0..arguments.rounds {
        let mut random = Random::of_part(arguments.seed, round);
        for function in &interface.function_signatures {
            if !subject.by_hand.contains(&function.name.as_str()) {
                let values = values::arguments(&mut random, function, &interface);
                calls.push((&function.name, values, true));
            }
        }
    }
    let by_hand = subject.calls.iter();
    calls.extend(by_hand.map(|(function, call)| (*function, (*call).to_owned(), false)));

    for (function, call, fits) in calls {
        let (theirs, _) = host.call(function, &call, &parameters())?;
        for (service, engine) in ours.iter_mut().zip(engines) {
            let deadline = Some(Instant::now() + PATIENCE);
            let result = service.call(function, &call, &parameters(), deadline);
            let signature = interface
                .function_signatures
                .iter()
                .find(|signature| signature.name == function);
            let made = Made {
                signature,
                arguments: &call,
                fits,
                ours: result.as_deref().map_err(ToString::to_string),
                theirs: theirs.as_deref().map_err(Clone::clone),
            };
            let title = || {
                let (facade, engine) = (subject.facade(), engine.backend().name());
                let call: String = call.chars().take(300).collect();
                format!("{facade}.{function}{call} on {engine}: {}", made.text())
            };
            match made.verdict() {
                Ok(None) => summary.same += 1,
                Ok(Some(deviation)) => {
                    if arguments.verbose {
                        println!("{deviation}: {}", title());
                    }
                    *summary.deviations.entry(deviation).or_default() += 1;
                }
                Err(()) => summary.differences.push(title()),
            }
        }
    }
    Ok(())
}

/// Runs our interpreter in the JS host with the recorded particle data.
fn replay(arguments: &Arguments, summary: &mut Summary) -> Result<(), String> {
    let path = match &arguments.interpreter {
        Some(path) => path.clone(),
        None => {
            let Some(wasm) = interpreter::build()? else {
                return Ok(());
            };
            let path = workspace_root().join("target/interop/avm.wasm");
            fs::write(&path, wasm).map_err(|error| format!("{}: {error}", path.display()))?;
            path
        }
    };
    let mut reference = Reference::start(Some(&path))?;
    let folder = workspace_root().join("xtask/vectors/particle-data");
    for (title, mut call) in particle_data_calls(&folder)? {
        call.parameters.compat = Compat::V0_63;
        let ours = call.invoke();
        match reference.call(&call)? {
            Ended::Outcome(outcome) if outcome == ours => summary.runs += 1,
            other => summary
                .differences
                .push(format!("{title}: {other:?}\nexpected: {ours:?}")),
        }
    }
    Ok(())
}

fn module_path(name: &str) -> PathBuf {
    workspace_root().join(format!("examples/wasm/{name}.wasm"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A service of ours, with what the JS host gives to modules too.
fn start(engine: &Engine, paths: &[(&str, PathBuf)]) -> Result<Service, String> {
    let modules = paths.iter().map(|(name, path)| {
        let mut config = ModuleConfig::from_bytes(*name, read(path)?);
        let (key, value) = host::VARIABLE;
        config.envs.insert(key.to_owned(), value.to_owned());
        Ok(config)
    });
    let config = ServiceConfig::new(modules.collect::<Result<_, String>>()?);
    Service::with_deadline(config, engine, Some(Instant::now() + PATIENCE))
        .map_err(|error| error.to_string())
}

/// The interface of the facade.
fn interface(paths: &[(&str, PathBuf)]) -> Result<Interface, String> {
    let (name, path) = paths.last().ok_or("a service without modules")?;
    let module = ModuleInfo::decode(name, &read(path)?).map_err(|error| error.to_string())?;
    Ok(Interface::of(&module.interface))
}

/// What every call is told.
fn parameters() -> CallParameters {
    let tetraplet = |peer: &str| SecurityTetraplet {
        peer_pk: peer.to_owned(),
        service_id: "math".to_owned(),
        function_name: "add".to_owned(),
        lens: ".$.sum".to_owned(),
    };
    CallParameters {
        particle: ParticleParameters {
            id: "particle".to_owned(),
            init_peer_id: "initiator".to_owned(),
            timestamp: 1_700_000_000_000,
            ttl: u32::MAX,
            script: "(null)".to_owned(),
            signature: vec![0, 1, 255],
            token: "é".to_owned(),
        },
        service_id: "service".to_owned(),
        service_creator_peer_id: "creator".to_owned(),
        host_id: "host".to_owned(),
        worker_id: "worker".to_owned(),
        tetraplets: vec![vec![tetraplet("A"), tetraplet("B")], Vec::new()],
    }
}

//! `cargo xtask interop avm`: the published interpreter and ours in one network.
//!
//! Random scripts travel between peers that run each step on both interpreters, with the same
//! inputs, and compare what the rules of `vectors/aquavm` compare. By lot one of the two outcomes
//! goes on, so data of both makes meet. A difference is shrunk to a small script.

mod both;
mod crafted;
mod deviations;
mod generate;
mod network;
mod probes;
mod record;
pub(super) mod reference;
mod scenarios;
mod services;
mod shrink;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Instant};

use self::{
    network::{Carry, Difference, Scenario, play, with_names},
    reference::Reference,
};
use crate::{random::Random, tidy::workspace_root};

/// Most steps of one scenario.
const SCENARIO_STEPS: usize = 40;
/// Most characters of a trace that are printed.
const SHOWN_TRACE: usize = 1500;
/// Other orders of events that are tried while a script is made smaller.
const SHRINK_SEEDS: u64 = 4;

/// How much to try.
#[derive(clap::Args)]
pub struct Arguments {
    /// Steps to make; each is one call of both interpreters.
    #[arg(long, default_value_t = 10_000)]
    steps: usize,
    /// Decides scripts and the order of events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play only the scenario with this number.
    #[arg(long)]
    scenario: Option<u64>,
    /// Play this script instead of random ones, in orders of events that go with the seed.
    #[arg(long)]
    script: Option<String>,
    /// Go on after a difference until this many are found.
    #[arg(long, default_value_t = 1)]
    differences: usize,
    /// Leave hostile data and odd parameters out.
    #[arg(long)]
    honest: bool,
    /// Write records of our own scenarios into this folder instead: `xtask/vectors/aquavm-own`.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Run this module in the published JS host in place of the published interpreter.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    module: Option<PathBuf>,
    /// Print each script.
    #[arg(long)]
    verbose: bool,
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.record {
        Some(folder) => record::write(&workspace_root().join(folder), arguments.seed),
        None => compare(arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The scenario with this number.
fn scenario(arguments: &Arguments, number: u64) -> Scenario {
    let mut random = Random::of_part(arguments.seed, number);
    let size = 4 + random.below(30);
    Scenario {
        script: match &arguments.script {
            Some(script) => script.clone(),
            None => generate::script(&mut random, size),
        },
        seed: random.next(),
        steps: SCENARIO_STEPS,
        carry: Carry::Mixed,
        probing: !arguments.honest,
        strays: true,
    }
}

fn compare(arguments: &Arguments) -> Result<bool, String> {
    let mut reference = Reference::start(arguments.module.as_deref())?;
    println!(
        "ours against interpreter {} in @fluencelabs/marine-js, seed {}",
        reference.version, arguments.seed
    );
    let started = Instant::now();
    let (mut steps, mut scenarios, mut differences) = (0, 0, 0);
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    let mut codes: BTreeMap<i64, usize> = BTreeMap::new();
    let numbers = match arguments.scenario {
        Some(number) => number..=number,
        None => 0..=u64::MAX,
    };
    for number in numbers {
        if steps >= arguments.steps || differences >= arguments.differences {
            break;
        }
        let scenario = scenario(arguments, number);
        if arguments.verbose {
            println!("{number}: {}", scenario.script);
        }
        let played = play(&mut reference, &scenario, &mut |_, ended| {
            if let reference::Ended::Outcome(outcome) = ended {
                *codes.entry(outcome.ret_code).or_default() += 1;
            }
        })?;
        steps += played.steps;
        scenarios += 1;
        for (deviation, action) in played.deviations {
            *met.entry(deviation.what).or_default() += 1;
            if arguments.verbose {
                println!("    {} ({}): {action}", deviation.what, deviation.source);
            }
        }
        if let Some(difference) = played.difference {
            differences += 1;
            println!("\nscenario {number} differs, shrinking");
            let (script, difference) = shrunk(&mut reference, &scenario, difference)?;
            print(&script, &difference);
        }
    }
    for (code, count) in codes {
        println!("code {code}: {count}");
    }
    for (what, count) in met {
        println!("deliberate: {what}: {count}");
    }
    println!(
        "{steps} steps, {scenarios} scenarios, {differences} differences, {} s",
        started.elapsed().as_secs()
    );
    Ok(differences == 0)
}

/// A small script with a difference, and that.
fn shrunk(
    reference: &mut Reference,
    scenario: &Scenario,
    first: Difference,
) -> Result<(String, Difference), String> {
    let mut last = first;
    let script = shrink::shrink(&scenario.script, |script| {
        for offset in 0..SHRINK_SEEDS {
            let scenario = Scenario {
                script: script.to_owned(),
                seed: scenario.seed.wrapping_add(offset),
                ..scenario.clone()
            };
            let played = play(reference, &scenario, &mut |_, _| {})?;
            if let Some(difference) = played.difference {
                last = difference;
                return Ok(true);
            }
        }
        Ok(false)
    })?;
    Ok((script, last))
}

fn print(script: &str, difference: &Difference) {
    println!("script: {script}");
    println!("step {}: {}", difference.step, difference.action);
    println!("{}", with_names(&difference.what));
    for (name, bytes) in [
        ("previous", &difference.call.previous),
        ("current", &difference.call.current),
        ("ours", &difference.call.invoke().data),
    ] {
        match crate::conformance::run::decoded(bytes) {
            Ok(data) => {
                let trace = data
                    .get("trace")
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let trace = with_names(&trace);
                let short: String = trace.chars().take(SHOWN_TRACE).collect();
                println!("{name}: {short}");
            }
            Err(error) => println!("{name}: {error}"),
        }
    }
}

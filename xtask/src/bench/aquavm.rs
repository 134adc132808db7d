//! `cargo xtask bench aquavm`: every input of `vectors/aquavm-bench` through our interpreter, the
//! published native crate and the published Wasm module, alternating in one process.
//!
//! That process is the harness in `xtask/harness/aquavm`: the published crates stay outside the
//! workspace. It compares the outcomes before it times anything.

mod growth;
mod table;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::report;
use crate::tidy::workspace_root;

/// Folder of the harness.
const HARNESS: &str = "xtask/harness/aquavm";
/// Folder that it is built in.
const TARGET: &str = "target/harness-aquavm";
/// The committed counts of cryptographic operations.
const COUNTS: &str = include_str!("aquavm/floor.json");

/// How to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Few runs: for a first look, not for a record.
    #[arg(long)]
    quick: bool,
    /// Only inputs whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Leave the published interpreters out.
    #[arg(long)]
    ours_only: bool,
    /// Folder of inputs [default: aquavm-bench in $AQUAMARINE_VECTORS or ../shared/vectors].
    #[arg(long)]
    inputs: Option<PathBuf>,
    /// Growth of time with the length of a trace and with the values of a stream, instead.
    #[arg(long, conflicts_with = "large")]
    linear: bool,
    /// The six inputs of about 100 MiB, made by the harness, instead.
    #[arg(long)]
    large: bool,
    /// Write the tables to BENCHMARKS.md.
    #[arg(long)]
    write: bool,
}

/// What the harness prints about one input.
#[derive(Deserialize)]
struct Line {
    name: String,
    bytes: Bytes,
    counts: Counts,
    nanoseconds: Nanoseconds,
    peak: Peak,
}

/// Sizes of what goes in and comes out.
#[derive(Deserialize)]
struct Bytes {
    script: u64,
    data: u64,
    results: u64,
    requests: u64,
    new_data: u64,
}

/// Cryptographic operations that the protocol demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Counts {
    signings: u64,
    verifications: u64,
    hashes: u64,
    hashed_bytes: u64,
}

/// Medians; 0 where nothing was measured.
#[derive(Deserialize)]
struct Nanoseconds {
    ours: u64,
    cached: u64,
    native: u64,
    wasm: u64,
    floor: u64,
    parse: u64,
    reference_parse: u64,
}

/// Most bytes at the same time, beyond the caller's.
#[derive(Deserialize)]
struct Peak {
    ours: u64,
    native: Option<u64>,
    wasm: Option<u64>,
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let root = workspace_root();
    let harness = build(&root)?;
    if arguments.linear {
        return growth::run(&root, &harness, arguments);
    }
    let mut command = Command::new(harness);
    command.arg("--scratch").arg(root.join(TARGET));
    command.args(["--filter", &arguments.filter]);
    if arguments.ours_only {
        command.arg("--ours-only");
    }
    if arguments.large {
        command.args(["--runs", "1", "large"]);
    } else {
        let runs = if arguments.quick { "5" } else { "31" };
        command.args(["--runs", runs, "inputs"]);
        command.arg(inputs(&root, arguments)?);
    }
    let lines: Vec<Line> = measure(command)?;
    if lines.is_empty() {
        return Err("no inputs".to_owned());
    }
    check_counts(&lines)?;
    let table = table::render(&lines);
    println!("{table}");
    let section = if arguments.large {
        report::Section::Large
    } else {
        report::Section::Inputs
    };
    arguments.keep(&root, section, &table)
}

impl Arguments {
    /// Writes a table to the report where that is wanted; what was measured in part is not kept.
    fn keep(&self, root: &Path, section: report::Section, table: &str) -> Result<(), String> {
        if !self.write {
            return Ok(());
        }
        if self.quick || self.ours_only || !self.filter.is_empty() {
            return Err("--write needs a full measurement".to_owned());
        }
        report::write(root, section, table)
    }
}

fn inputs(root: &Path, arguments: &Arguments) -> Result<PathBuf, String> {
    if let Some(inputs) = &arguments.inputs {
        return Ok(inputs.clone());
    }
    let vectors = std::env::var_os("AQUAMARINE_VECTORS")
        .map_or_else(|| root.join("../shared/vectors"), PathBuf::from);
    let inputs = vectors.join("aquavm-bench");
    match inputs.is_dir() {
        true => Ok(inputs),
        false => Err(format!(
            "{} is not there: set AQUAMARINE_VECTORS",
            inputs.display()
        )),
    }
}

/// Builds the harness; its first build takes some minutes.
fn build(root: &Path) -> Result<PathBuf, String> {
    let target = root.join(TARGET);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release"])
        .env("CARGO_TARGET_DIR", &target)
        // A library of the published host uses an unstable feature.
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(root.join(HARNESS))
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    match status.success() {
        true => Ok(target.join("release/aquavm-bench-harness")),
        false => Err(format!("{HARNESS} does not build")),
    }
}

/// Runs the harness; each of its lines is an object.
fn measure<T: DeserializeOwned>(mut command: Command) -> Result<Vec<T>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{HARNESS}: {error}");
    let mut harness = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let output = harness.stdout.take().ok_or("the harness has no output")?;
    let mut lines = Vec::new();
    for text in BufReader::new(output).lines() {
        let text = text.map_err(|error| failed(&error))?;
        lines.push(serde_json::from_str(&text).map_err(|error| failed(&error))?);
        eprintln!("{} measured", lines.len());
    }
    let status = harness.wait().map_err(|error| failed(&error))?;
    match status.success() {
        true => Ok(lines),
        false => Err(failed(&status)),
    }
}

/// The floor must stay what it was: a change of the counts changes what the table says.
fn check_counts(lines: &[Line]) -> Result<(), String> {
    let committed: BTreeMap<String, Counts> =
        serde_json::from_str(COUNTS).map_err(|error| format!("floor.json: {error}"))?;
    for line in lines {
        match committed.get(&line.name) {
            Some(counts) if *counts != line.counts => {
                return Err(format!(
                    "{}: the floor has {:?}, expected {counts:?}",
                    line.name, line.counts
                ));
            }
            Some(_) => {}
            None => eprintln!("{}: floor.json has no counts of it", line.name),
        }
    }
    Ok(())
}

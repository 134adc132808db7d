//! `cargo xtask fuzz TARGET --seconds N`: looks for inputs that break a promise.
//!
//! The targets are a package of their own in `xtask/fuzz`, because they are built with the counters
//! that libFuzzer needs (by any compiler, but with a C++ compiler for libFuzzer itself). What was
//! found is kept in `xtask/fuzz/corpus` and `xtask/fuzz/crashes`, which `xtask/tests/fuzz.rs`
//! replays; FUZZING.md adds up how long was searched.

mod corpus;
mod table;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Instant,
};

use clap::ValueEnum as _;

use crate::tidy::workspace_root;

pub use corpus::committed;

/// Folder of the targets.
const PACKAGE: &str = "xtask/fuzz";
/// Folder that they are built in and where the working corpora are.
const TARGET: &str = "target/fuzz";

/// Counters at every edge, tables of them, and the operands of comparisons.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What to fuzz, and how long.
#[derive(clap::Args)]
pub struct Arguments {
    /// The kind of input.
    target: Target,
    /// How long to search.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Searches side by side, over one corpus.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// The kinds of inputs, each with a target of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Texts of scripts.
    Script,
    /// Particle data.
    Envelope,
    /// The archive in particle data.
    Archive,
    /// Results of calls in the bytes of the interpreter interface.
    CallResults,
    /// Recorded runs, with changes.
    Step,
    /// Custom sections of modules.
    Section,
    /// Adapters, and modules that misbehave.
    Adapter,
    /// Calls of the system that modules see.
    Wasi,
    /// Interface values as JSON.
    Json,
    /// Frames of the particle protocol.
    Frame,
    /// What peers say about themselves.
    Identify,
    /// Calls of the functions of a host.
    Builtins,
}

impl Target {
    /// All kinds.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The name, as it is given on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Envelope => "envelope",
            Self::Archive => "archive",
            Self::CallResults => "call-results",
            Self::Step => "step",
            Self::Section => "section",
            Self::Adapter => "adapter",
            Self::Wasi => "wasi",
            Self::Json => "json",
            Self::Frame => "frame",
            Self::Identify => "identify",
            Self::Builtins => "builtins",
        }
    }

    /// Longest input; longer ones are slower and find no more.
    fn max_len(self) -> usize {
        match self {
            Self::Script | Self::Envelope | Self::Archive => 4096,
            Self::Section => 2048,
            Self::CallResults | Self::Frame => 1024,
            Self::Adapter | Self::Wasi | Self::Json | Self::Identify | Self::Builtins => 512,
            Self::Step => 96,
        }
    }
}

/// What one search did.
struct Search {
    executions: u64,
    crashed: bool,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    match fuzz(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn fuzz(arguments: &Arguments) -> Result<bool, String> {
    let root = workspace_root();
    let target = arguments.target;
    let commit = commit(&root)?;
    let binary = build(&root, target)?;
    let working = root.join(TARGET).join("corpus").join(target.name());
    let crashes = root.join(PACKAGE).join("crashes").join(target.name());
    for folder in [&working, &crashes] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    corpus::plant(&root, target, &working)?;

    let started = Instant::now();
    let before = entries(&crashes)?;
    let searches = (0..arguments.jobs.max(1))
        .map(|_| {
            let mut command = Command::new(&binary);
            command.arg(&working).args([
                format!("-max_total_time={}", arguments.seconds),
                format!("-max_len={}", target.max_len()),
                format!("-artifact_prefix={}/", crashes.display()),
                // Short inputs first would take all the time: what they describe is short anyway.
                "-len_control=0".to_owned(),
                "-timeout=30".to_owned(),
                "-rss_limit_mb=3072".to_owned(),
                "-print_final_stats=1".to_owned(),
            ]);
            start(command)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let followers: Vec<_> = searches
        .into_iter()
        .map(|search| thread::spawn(move || follow(search)))
        .collect();
    let mut executions = 0;
    let mut crashed = false;
    for follower in followers {
        let search = follower.join().map_err(|_| "a search got lost")??;
        executions += search.executions;
        crashed |= search.crashed;
    }
    let seconds = started.elapsed().as_secs();
    let found: Vec<PathBuf> = entries(&crashes)?
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();

    let kept = minimise(&root, &binary, target, &working)?;
    let run = table::Run {
        executions,
        seconds,
        crashes: found.len() as u64,
        commit,
    };
    table::add(&root, target, &run)?;
    println!(
        "fuzz: {}: {executions} executions in {seconds} s, {kept} inputs kept",
        target.name()
    );
    for path in &found {
        let path = path.strip_prefix(&root).unwrap_or(path);
        println!("fuzz: broken by {}", path.display());
    }
    if crashed {
        println!("fuzz: `cargo test -p xtask --test fuzz` replays what was kept");
    }
    Ok(!crashed)
}

/// Builds the target for this machine. A target triple is named so that flags do not reach build
/// scripts.
fn build(root: &Path, target: Target) -> Result<PathBuf, String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("rustc does not name its host")?;
    let folder = root.join(TARGET);
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--target", host])
        .args(["--bin", target.name(), "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .current_dir(root.join(PACKAGE))
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("the target was not built: {status}"));
    }
    Ok(folder.join(host).join("release").join(target.name()))
}

fn start(mut command: Command) -> Result<Child, String> {
    command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))
}

/// Shows what a search says, but for every single find, until it ends.
fn follow(mut search: Child) -> Result<Search, String> {
    let mut executions = 0;
    if let Some(output) = search.stderr.take() {
        // What an input made a target print need not be text.
        for line in BufReader::new(output).split(b'\n') {
            let line = line.map_err(|error| error.to_string())?;
            let line = String::from_utf8_lossy(&line);
            if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
                executions = number.trim().parse().unwrap_or_default();
            }
            if ![" NEW ", " REDUCE ", " RELOAD "]
                .iter()
                .any(|kind| line.contains(kind))
            {
                eprintln!("{line}");
            }
        }
    }
    let status = search.wait().map_err(|error| error.to_string())?;
    Ok(Search {
        executions,
        crashed: !status.success(),
    })
}

/// Packs the smallest inputs that together reach all that the working corpus does.
fn minimise(root: &Path, binary: &Path, target: Target, working: &Path) -> Result<usize, String> {
    let minimal = root.join(TARGET).join("minimal").join(target.name());
    if minimal.exists() {
        fs::remove_dir_all(&minimal).map_err(|error| format!("{}: {error}", minimal.display()))?;
    }
    fs::create_dir_all(&minimal).map_err(|error| format!("{}: {error}", minimal.display()))?;
    let mut command = Command::new(binary);
    command
        .args(["-merge=1", "-timeout=30", "-rss_limit_mb=3072"])
        .arg(format!("-max_len={}", target.max_len()))
        .arg(&minimal)
        .arg(working)
        .current_dir(root.join(TARGET))
        .stderr(Stdio::null());
    let status = command
        .status()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    if !status.success() {
        return Err(format!("the corpus was not minimised: {status}"));
    }
    corpus::pack(root, target, &minimal)
}

/// The commit that was tried; `+` says that something was not committed.
fn commit(root: &Path) -> Result<String, String> {
    let git = |arguments: &[&str]| {
        Command::new("git")
            .args(arguments)
            .current_dir(root)
            .output()
            .map_err(|error| format!("git: {error}"))
    };
    let head = git(&["rev-parse", "--short=10", "HEAD"])?;
    let sources = [
        "air-parser",
        "particle",
        "aquavm",
        "marine-runtime",
        "peer-core",
        "xtask/fuzz/src",
    ];
    let changes = git(&[&["diff", "--quiet", "HEAD", "--"][..], &sources].concat())?;
    let mark = if changes.status.success() { "" } else { "+" };
    Ok(format!(
        "{}{mark}",
        String::from_utf8_lossy(&head.stdout).trim()
    ))
}

/// The files of a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    entries.sort();
    Ok(entries)
}

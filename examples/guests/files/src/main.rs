//! Reads and writes files in the directories that the host has mapped, logs, and tells what it knows about a call.

use std::fs;

use log::LevelFilter;
use marine_sdk::{
    CallParameters, SecurityTetraplet, TargetMap, WasmLoggerBuilder, get_call_parameters, marine,
    module_manifest,
};

module_manifest!();

/// What came of an operation on files.
#[marine]
pub struct Outcome {
    pub success: bool,
    /// What went wrong, or nothing.
    pub error: String,
    /// The contents of the file, or nothing.
    pub content: Vec<u8>,
    /// The names in the directory, or nothing.
    pub names: Vec<String>,
}

/// Writes a file.
#[marine]
pub fn write_file(path: &str, content: Vec<u8>) -> Outcome {
    log::info!(target: "write", "write {} bytes to {path}", content.len());
    outcome(fs::write(path, content), |_, ()| {})
}

/// Reads a file.
#[marine]
pub fn read_file(path: &str) -> Outcome {
    log::info!(target: "read", "read {path}");
    outcome(fs::read(path), |outcome, content| outcome.content = content)
}

/// Lists a directory in order.
#[marine]
pub fn list_directory(path: &str) -> Outcome {
    let names = fs::read_dir(path).and_then(|entries| {
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names = entries
            .map(|entry| entry.map(name))
            .collect::<Result<Vec<_>, _>>()?;
        names.sort();
        Ok(names)
    });
    outcome(names, |outcome, names| outcome.names = names)
}

/// Makes a directory, and those above it.
#[marine]
pub fn make_directory(path: &str) -> Outcome {
    outcome(fs::create_dir_all(path), |_, ()| {})
}

/// Gives a file another name.
#[marine]
pub fn rename_file(from: &str, to: &str) -> Outcome {
    outcome(fs::rename(from, to), |_, ()| {})
}

/// Removes a file.
#[marine]
pub fn remove_file(path: &str) -> Outcome {
    outcome(fs::remove_file(path), |_, ()| {})
}

/// An environment variable: none or one.
#[marine]
pub fn variable(name: &str) -> Vec<String> {
    std::env::var(name).into_iter().collect()
}

/// All environment variables as `NAME=value`, in order.
#[marine]
pub fn variables() -> Vec<String> {
    let mut variables: Vec<_> = std::env::vars()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    variables.sort();
    variables
}

/// Sends a message of each level to the host's log.
#[marine]
pub fn write_log(message: &str) {
    log::error!("{message}");
    log::warn!("{message}");
    log::info!("{message}");
    log::debug!("{message}");
    log::trace!("{message}");
}

/// Writes a line to the standard output and one to the standard error.
#[marine]
pub fn print_line(message: &str) {
    println!("{message}");
    eprintln!("{message}");
}

/// The parameters of this call.
#[marine]
pub fn call_parameters() -> CallParameters {
    get_call_parameters()
}

/// Where the argument comes from.
#[marine]
pub fn origin(value: Vec<String>) -> Vec<SecurityTetraplet> {
    let _ = value;
    get_call_parameters()
        .tetraplets
        .into_iter()
        .flatten()
        .collect()
}

fn main() {
    let installed = WasmLoggerBuilder::new()
        .with_log_level(LevelFilter::Trace)
        .with_target_map(TargetMap::from([("read", 1), ("write", 2)]))
        .build();
    if installed.is_err() {
        eprintln!("there is a logger already");
    }
}

fn outcome<T>(result: std::io::Result<T>, fill: impl FnOnce(&mut Outcome, T)) -> Outcome {
    let mut outcome = Outcome {
        success: result.is_ok(),
        error: String::new(),
        content: Vec::new(),
        names: Vec::new(),
    };
    match result {
        Ok(value) => fill(&mut outcome, value),
        Err(error) => outcome.error = error.to_string(),
    }
    outcome
}

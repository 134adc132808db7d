//! `cargo xtask bench`: our crates against the published programs, measured in the same run.

mod aquavm;

use std::process::ExitCode;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Arguments {
    /// The interpreter, against the published native crate and the published Wasm module.
    Aquavm(aquavm::Arguments),
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    let Arguments::Aquavm(arguments) = arguments;
    match aquavm::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

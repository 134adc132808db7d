//! Development tasks of the workspace: `cargo xtask --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "xtask",
    about = "Development tasks of the Aquamarine workspace"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Replay recorded behaviour: `conformance KIND PATH…`.
    Conformance(xtask::conformance::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Conformance(arguments) => xtask::conformance::run(&arguments),
    }
}

//! `cargo xtask crash`: kill a peer under load, again and again, and look for what it lost.

use std::process::{Command, ExitCode};

use crate::tidy::workspace_root;

/// How often, and with which choices.
#[derive(clap::Args)]
pub struct Arguments {
    /// How often the peer is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// What the choices of the clients and the moments of the kills follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kill the release build.
    #[arg(long)]
    release: bool,
}

/// Runs `examples/tests/crash.rs`, which keeps the journal and prints what was acknowledged and
/// lost.
pub fn run(arguments: &Arguments) -> ExitCode {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        // Of the whole workspace: the features of the tests, so that little is built again.
        .args(["test", "--quiet", "--workspace", "--test", "crash"])
        .args(arguments.release.then_some("--release"))
        .args(["--", "--nocapture"])
        .env("AQUAMARINE_CRASH_ROUNDS", arguments.rounds.to_string())
        .env("AQUAMARINE_CRASH_SEED", arguments.seed.to_string())
        .current_dir(workspace_root())
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cargo test: {error}");
            ExitCode::FAILURE
        }
    }
}

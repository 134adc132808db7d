//! `cargo xtask bench`: our crates against the published programs, measured in the same run.

mod aquavm;
mod ccp;
#[cfg(feature = "marine")]
mod embedded;
#[cfg(feature = "marine")]
mod marine;
#[cfg(feature = "peer")]
mod peer;
mod report;

use std::process::ExitCode;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Arguments {
    /// The interpreter, against the published native crate and the published Wasm module.
    Aquavm(aquavm::Arguments),
    /// The prover, against a bare loop over the library below it.
    Ccp(ccp::Arguments),
    /// The interpreter as a Wasm module in our engines.
    #[cfg(feature = "marine")]
    Embedded(embedded::Arguments),
    /// Services in our engines, against the published runtime.
    #[cfg(feature = "marine")]
    Marine(marine::Arguments),
    /// A peer under load, or with idle clients.
    #[cfg(feature = "peer")]
    Peer(peer::Arguments),
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    let done = match arguments {
        Arguments::Aquavm(arguments) => aquavm::run(arguments),
        Arguments::Ccp(arguments) => ccp::run(arguments),
        #[cfg(feature = "marine")]
        Arguments::Embedded(arguments) => embedded::run(arguments),
        #[cfg(feature = "marine")]
        Arguments::Marine(arguments) => marine::run(arguments),
        #[cfg(feature = "peer")]
        Arguments::Peer(arguments) => peer::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

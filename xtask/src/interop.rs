//! `cargo xtask interop`: do published and own programs understand each other?

mod avm;
mod compiled;

use std::process::ExitCode;

/// What to check against what.
#[derive(clap::Subcommand)]
pub enum Arguments {
    /// The published interpreter and ours, in one network of random particles.
    Avm(avm::Arguments),
    /// Compiled Aqua functions, run by `client` against `peer`.
    Compiled(compiled::Arguments),
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    match arguments {
        Arguments::Avm(arguments) => avm::run(arguments),
        Arguments::Compiled(arguments) => compiled::run(arguments),
    }
}

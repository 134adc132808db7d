//! `cargo xtask interop`: do published and own programs understand each other?

mod avm;
mod ccp;
mod compiled;
mod driver;
#[cfg(feature = "marine")]
pub mod marine_js;

use std::process::ExitCode;

/// What to check against what.
#[derive(clap::Subcommand)]
pub enum Arguments {
    /// The published interpreter and ours, in one network of random particles.
    Avm(avm::Arguments),
    /// The published clients of provers, against our daemon.
    Ccp(ccp::Arguments),
    /// Compiled Aqua functions, run by `client` against `peer`.
    Compiled(compiled::Arguments),
    /// Modules of ours in the published JS host.
    #[cfg(feature = "marine")]
    MarineJs(marine_js::Arguments),
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    match arguments {
        Arguments::Avm(arguments) => avm::run(arguments),
        Arguments::Ccp(arguments) => ccp::run(arguments),
        Arguments::Compiled(arguments) => compiled::run(arguments),
        #[cfg(feature = "marine")]
        Arguments::MarineJs(arguments) => marine_js::run(arguments),
    }
}

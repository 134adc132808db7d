//! `cargo xtask interop`: do published and own programs understand each other?

mod avm;
mod ccp;
mod compiled;
mod driver;
mod js;
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
    /// The published JS client, unmodified, against our peers.
    ///
    /// Installs the client, the Aqua compiler and the standard library below `target/interop`, compiles the Aqua
    /// sources of `xtask/harness/js/aqua`, starts peers, connects clients to them over WebSocket and checks what each
    /// case returns. Needs Node.js 20 and npm. What a peer does not serve is not run.
    Js(js::Arguments),
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
        Arguments::Js(arguments) => js::run(arguments),
        #[cfg(feature = "marine")]
        Arguments::MarineJs(arguments) => marine_js::run(arguments),
    }
}

//! Logs go to stderr, so that stdout stays what the example promises.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What libp2p reports below this is of interest to its developers only.
const QUIET: &str = "libp2p_swarm=warn,libp2p_kad=error,libp2p_identify=warn";

/// Shows messages from `level` on; the variable `RUST_LOG` overrides it.
pub fn to_stderr(level: &str) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},{level}")));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second call changes nothing.
    let _ = logs.try_init();
}

//! Logs go to stderr, so that stdout stays what the example promises.

use tracing_subscriber::EnvFilter;

/// Shows messages from `level` on; the variable `RUST_LOG` overrides it.
pub fn to_stderr(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call changes nothing.
    let _ = logs.try_init();
}

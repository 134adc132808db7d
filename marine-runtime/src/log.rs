//! What modules say, as events.

/// Logs a message of a module; `level` as the SDK numbers them.
pub(crate) fn guest(module: &str, level: i32, message: &str) {
    match level {
        1 => tracing::error!(target: "marine", module, "{message}"),
        2 => tracing::warn!(target: "marine", module, "{message}"),
        3 => tracing::info!(target: "marine", module, "{message}"),
        4 => tracing::debug!(target: "marine", module, "{message}"),
        _ => tracing::trace!(target: "marine", module, "{message}"),
    }
}

/// Logs what the host has to say about a module.
pub(crate) fn host(module: &str, message: &str) {
    tracing::warn!(target: "marine", module, "{message}");
}

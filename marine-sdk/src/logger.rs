//! The `log` macros write to the host's log.

use std::collections::BTreeMap;

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};

/// Which bits of the host's logging mask a log target stands for.
pub type TargetMap = BTreeMap<&'static str, i32>;

/// The variable that gives the level when a module sets none.
const LEVEL_VARIABLE: &str = "WASM_LOG";

/// Installs a logger for the module. Use it in `main`.
///
/// ```
/// use log::LevelFilter;
/// use marine_sdk::{TargetMap, WasmLoggerBuilder};
///
/// fn main() {
///     WasmLoggerBuilder::new()
///         .with_log_level(LevelFilter::Info)
///         .with_target_map(TargetMap::from([("storage", 1 << 1), ("network", 1 << 2)]))
///         .filter("chatty_crate", LevelFilter::Warn)
///         .build()
///         .expect("there is one logger");
///     log::info!(target: "storage", "ready");
/// }
/// ```
#[derive(Debug)]
#[must_use = "nothing is logged before `build`"]
pub struct WasmLoggerBuilder {
    logger: WasmLogger,
}

#[derive(Debug)]
struct WasmLogger {
    level: LevelFilter,
    targets: TargetMap,
    /// Longest prefix first.
    directives: Vec<(String, LevelFilter)>,
}

impl WasmLoggerBuilder {
    /// Starts with the level that the environment variable `WASM_LOG` names, or `Info`.
    pub fn new() -> Self {
        let level = std::env::var(LEVEL_VARIABLE)
            .ok()
            .and_then(|level| level.parse().ok())
            .unwrap_or(LevelFilter::Info);
        Self {
            logger: WasmLogger {
                level,
                targets: TargetMap::new(),
                directives: Vec::new(),
            },
        }
    }

    /// The level of everything that no [`filter`](Self::filter) matches.
    pub fn with_log_level(mut self, level: LevelFilter) -> Self {
        self.logger.level = level;
        self
    }

    /// The bits for log targets. The host shows a message when its configured mask has one of them; a target without
    /// bits is always shown.
    pub fn with_target_map(
        mut self,
        targets: impl IntoIterator<Item = (&'static str, i32)>,
    ) -> Self {
        self.logger.targets = targets.into_iter().collect();
        self
    }

    /// The level of all targets that start with `module`. The longest match wins.
    pub fn filter(mut self, module: impl Into<String>, level: LevelFilter) -> Self {
        self.logger.directives.push((module.into(), level));
        self
    }

    /// Installs the logger; an error when the module has one already.
    pub fn build(self) -> Result<(), SetLoggerError> {
        let mut logger = self.logger;
        logger
            .directives
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let most = logger.directives.iter().map(|(_, level)| *level).max();
        let max_level = most.map_or(logger.level, |level| level.max(logger.level));
        log::set_logger(Box::leak(Box::new(logger)))?;
        log::set_max_level(max_level);
        Ok(())
    }
}

impl Default for WasmLoggerBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl WasmLogger {
    fn level_of(&self, target: &str) -> LevelFilter {
        self.directives
            .iter()
            .find(|(prefix, _)| target.starts_with(prefix.as_str()))
            .map_or(self.level, |(_, level)| *level)
    }
}

impl Log for WasmLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level_of(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let target = self.targets.get(record.target()).copied().unwrap_or(0);
        send(record, target);
    }

    fn flush(&self) {}
}

#[cfg(all(feature = "marine-abi", target_arch = "wasm32"))]
fn send(record: &Record<'_>, target: i32) {
    let message = record.args().to_string();
    crate::host_log::send(record.level() as i32, target, &message);
}

#[cfg(not(all(feature = "marine-abi", target_arch = "wasm32")))]
fn send(record: &Record<'_>, _target: i32) {
    println!("[{}] {} {}", record.level(), record.target(), record.args());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        WasmLoggerBuilder::new()
            .with_log_level(LevelFilter::Warn)
            .filter("net", LevelFilter::Off)
            .filter("net::tcp", LevelFilter::Debug)
            .build()
            .unwrap();
        assert_eq!(log::max_level(), LevelFilter::Debug);
        assert!(log::log_enabled!(target: "net::tcp::read", log::Level::Debug));
        assert!(!log::log_enabled!(target: "net::udp", log::Level::Error));
        assert!(log::log_enabled!(target: "disk", log::Level::Warn));
        assert!(!log::log_enabled!(target: "disk", log::Level::Info));
        assert!(WasmLoggerBuilder::new().build().is_err());
    }
}

//! The configuration file.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::LogicalCore;

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

/// Everything that can be configured; each key has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where the peer reaches the prover.
    pub rpc_endpoint: RpcEndpoint,
    /// Where metrics are read; unset: nowhere.
    pub prometheus_endpoint: Option<PrometheusEndpoint>,
    /// How hashes are computed.
    pub optimizations: Optimizations,
    /// What is told.
    pub logs: Logs,
    /// What is kept.
    pub state: State,
    /// How threads work.
    pub workers: Workers,
    /// Threads that serve.
    pub tokio: Tokio,
}

/// Where the peer reaches the prover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RpcEndpoint {
    /// The address to listen at.
    pub host: IpAddr,
    /// The port; 0 takes a free one.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// Accepted, without effect: proofs are written where they are found, without a queue.
    pub utility_queue_size: usize,
    /// Requests that may wait; more are refused.
    pub facade_queue_size: usize,
    /// Accepted, without effect: there are no queues of orders.
    pub control_queue_size: usize,
    /// A file with the token that requests must carry, relative to the configuration.
    pub bearer_token_file: Option<PathBuf>,
}

impl Default for RpcEndpoint {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 9383,
            utility_queue_size: 100,
            facade_queue_size: 100,
            control_queue_size: 100,
            bearer_token_file: None,
        }
    }
}

/// Where metrics are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrometheusEndpoint {
    /// The address to listen at.
    pub host: IpAddr,
    /// The port; 0 takes a free one.
    #[serde(deserialize_with = "port")]
    pub port: u16,
}

impl Default for PrometheusEndpoint {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 9384,
        }
    }
}

/// How hashes are computed; unset is what suits the processor. The portable implementation has
/// nothing of this to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Optimizations {
    /// Huge pages.
    pub large_pages: Option<bool>,
    /// AES instructions.
    pub hard_aes: Option<bool>,
    /// Compiled programs.
    pub jit: Option<bool>,
    /// No memory that can be written and executed at the same time.
    pub secure: Option<bool>,
    /// Which instructions fill a cache.
    pub argon2: Option<Argon2>,
    /// Registers of the processor: not supported, `true` is refused.
    pub msr_enabled: bool,
    /// Threads of a physical core; unset: as many as it has logical cores.
    pub threads_per_core: Option<u32>,
    /// The dataset of 4 GiB for each unit, which makes hashes 20 times as fast; unset: yes, where the
    /// native implementation is built in.
    pub full_memory: Option<bool>,
}

/// Which instructions fill a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Argon2 {
    /// Those that every processor has.
    Default,
    /// SSSE3.
    Ssse3,
    /// AVX2.
    Avx2,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Logs {
    /// Whether rates of each logical core are appended to files.
    pub report_hashrate: bool,
    /// Seconds between two writings of the rates of the epoch.
    pub cumulative_hashrate_update_interval_secs: f64,
    /// The least that is worth a line.
    pub log_level: LogLevel,
    /// Whether the configuration is printed first.
    pub print_config: bool,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            report_hashrate: false,
            cumulative_hashrate_update_interval_secs: 60.0,
            log_level: LogLevel::Info,
            print_config: false,
        }
    }
}

impl Logs {
    /// The time between two writings of the rates of the epoch.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::try_from_secs_f64(self.cumulative_hashrate_update_interval_secs)
            .unwrap_or(Duration::from_secs(60))
    }
}

/// The least that is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the usual levels")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct State {
    /// The folder, relative to the configuration.
    pub path: PathBuf,
}

impl Default for State {
    fn default() -> Self {
        Self {
            path: PathBuf::from("./state"),
        }
    }
}

/// How threads work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workers {
    /// Hashes that are overlapped in one go. A thread looks for orders after each hash, whatever this is.
    pub hashes_per_round: u64,
    /// Accepted, without effect.
    pub async_to_sync_queue_size: usize,
    /// Accepted, without effect.
    pub sync_to_async_queue_size: usize,
    /// Items of a dataset that a thread computes before it looks for orders.
    pub dataset_chunk_size: u64,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            hashes_per_round: 1024,
            async_to_sync_queue_size: 1,
            sync_to_async_queue_size: 1,
            dataset_chunk_size: 65_536,
        }
    }
}

/// Threads that serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tokio {
    /// Threads; unset: one.
    pub worker_threads: Option<usize>,
    /// Threads for what waits for the disk; unset: four.
    pub max_blocking_threads: Option<usize>,
    /// Logical cores that they stay on; empty: all.
    pub utility_thread_ids: Vec<LogicalCore>,
}

impl Config {
    /// Reads a file. Relative paths in it become relative to its folder.
    ///
    /// # Errors
    /// A file that cannot be read, or is no configuration.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut config = Self::parse(&text).map_err(|reason| ConfigError::Invalid {
            path: path.to_owned(),
            reason,
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        config.state.path = folder.join(&config.state.path);
        let token = &mut config.rpc_endpoint.bearer_token_file;
        *token = token.take().map(|file| folder.join(file));
        Ok(config)
    }

    /// Reads a text.
    fn parse(text: &str) -> Result<Self, String> {
        let config: Self =
            toml::from_str(text).map_err(|error| suggest(error.to_string().trim_end()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let interval = self.logs.cumulative_hashrate_update_interval_secs;
        if !(0.1..=86_400.0).contains(&interval) {
            return Err(format!(
                "logs.cumulative-hashrate-update-interval-secs is {interval}, expected 0.1 to 86400"
            ));
        }
        if self.optimizations.msr_enabled {
            return Err(
                "optimizations.msr-enabled is true, expected false: this prover does not write \
                 registers of the processor"
                    .to_owned(),
            );
        }
        let positive = [
            (
                "rpc-endpoint.facade-queue-size",
                self.rpc_endpoint.facade_queue_size as u64,
            ),
            ("workers.hashes-per-round", self.workers.hashes_per_round),
            (
                "workers.dataset-chunk-size",
                self.workers.dataset_chunk_size,
            ),
            (
                "optimizations.threads-per-core",
                self.optimizations.threads_per_core.unwrap_or(1).into(),
            ),
            (
                "tokio.worker-threads",
                self.tokio.worker_threads.unwrap_or(1) as u64,
            ),
            (
                "tokio.max-blocking-threads",
                self.tokio.max_blocking_threads.unwrap_or(1) as u64,
            ),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(format!("{key} is 0, expected at least 1"));
            }
        }
        match self.optimizations.threads_per_core {
            Some(threads) if threads > 64 => Err(format!(
                "optimizations.threads-per-core is {threads}, expected at most 64"
            )),
            _ => Ok(()),
        }
    }
}

/// A port as a number or as a text.
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    struct Port;
    impl de::Visitor<'_> for Port {
        type Value = u16;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a port between 0 and 65535")
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<u16, E> {
            value
                .try_into()
                .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<u16, E> {
            value
                .parse()
                .map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
        }
    }
    deserializer.deserialize_any(Port)
}

/// Adds the key that was meant to a complaint about an unknown one.
fn suggest(message: &str) -> String {
    let nearest = || {
        let (_, rest) = message.split_once("unknown field `")?;
        let (unknown, rest) = rest.split_once('`')?;
        let (_, expected) = rest.split_once("expected ")?;
        let known = expected.split('`').skip(1).step_by(2);
        known
            .map(|key| (distance(unknown, key), key))
            .filter(|(distance, key)| *distance <= 1 + key.len() / 3)
            .min()
    };
    match nearest() {
        Some((_, key)) => format!("{message}\ndid you mean `{key}`?"),
        None => message.to_owned(),
    }
}

/// Letters to change, add or leave out between two words.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, a) in one.chars().enumerate() {
        let mut corner = index;
        let mut left = index + 1;
        for (b, up) in other.chars().zip(row.iter_mut().skip(1)) {
            let cell = (corner + usize::from(a != b)).min(left + 1).min(*up + 1);
            corner = std::mem::replace(up, cell);
            left = cell;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_published_prover_is_known() {
        let text = r#"
            [rpc-endpoint]
            host = "0.0.0.0"
            port = "9383"
            utility-queue-size = 100
            facade-queue-size = 100
            control-queue-size = 100
            [prometheus-endpoint]
            host = "0.0.0.0"
            port = 9384
            [optimizations]
            large-pages = true
            hard-aes = true
            jit = true
            secure = false
            argon2 = "avx2"
            msr-enabled = false
            threads-per-core = 2
            [logs]
            report-hashrate = true
            cumulative-hashrate-update-interval-secs = 30.5
            log-level = "debug"
            print-config = true
            [state]
            path = "elsewhere"
            [workers]
            hashes-per-round = 512
            async-to-sync-queue-size = 1
            sync-to-async-queue-size = 1
            dataset-chunk-size = 5000000
            [tokio]
            worker-threads = 2
            max-blocking-threads = 8
            utility-thread-ids = [0, 1]
        "#;
        let config = Config::parse(text).unwrap();
        assert_eq!(config.rpc_endpoint.port, 9383);
        assert_eq!(config.logs.interval(), Duration::from_millis(30_500));
        assert_eq!(
            config.tokio.utility_thread_ids,
            [LogicalCore(0), LogicalCore(1)]
        );
        assert_eq!(config.workers.dataset_chunk_size, 5_000_000);
        let printed = toml::to_string(&config).unwrap();
        assert_eq!(Config::parse(&printed).unwrap(), config);
    }

    #[test]
    fn nothing_has_to_be_set() {
        let config = Config::parse("").unwrap();
        assert_eq!(config, Config::default());
        assert!(config.rpc_endpoint.host.is_loopback());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("[rpc-endpoint]\nprot = 1", "did you mean `port`?"),
            ("[rpc_endpoint]\nport = 1", "did you mean `rpc-endpoint`?"),
            (
                "[workers]\nhashes-per-rond = 1",
                "did you mean `hashes-per-round`?",
            ),
            ("[rpc-endpoint]\nport = 65536", "a port between 0 and 65535"),
            ("[rpc-endpoint]\nport = \"x\"", "a port between 0 and 65535"),
            ("[rpc-endpoint]\nhost = \"nowhere\"", "invalid IP address"),
            (
                "[workers]\nhashes-per-round = 0",
                "workers.hashes-per-round is 0",
            ),
            (
                "[optimizations]\nmsr-enabled = true",
                "optimizations.msr-enabled is true",
            ),
            (
                "[optimizations]\nthreads-per-core = 1000",
                "expected at most 64",
            ),
            ("[logs]\nlog-level = \"loud\"", "unknown variant `loud`"),
            (
                "[logs]\ncumulative-hashrate-update-interval-secs = nan",
                "expected 0.1 to 86400",
            ),
            ("[logs", "TOML parse error"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let far = Config::parse("[state]\nsomething-else = 1").unwrap_err();
        assert!(!far.contains("did you mean"), "{far}");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ccp.toml");
        fs::write(&path, "[rpc-endpoint]\nbearer-token-file = \"token\"").unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.state.path, folder.path().join("./state"));
        assert_eq!(
            config.rpc_endpoint.bearer_token_file,
            Some(folder.path().join("token"))
        );
        let missing = Config::load(&folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, ConfigError::Unreadable { .. }));
    }
}

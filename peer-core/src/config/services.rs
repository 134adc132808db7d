//! Marine services that are created when the peer starts.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{ByteSize, HumanDuration};

/// A service made of Wasm modules, an entry of `[[services]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// The service id that scripts use.
    pub name: String,
    /// Further names of the service.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The modules, dependencies before their users; the last one is the facade.
    pub modules: Vec<ModuleConfig>,
    /// Linear memory of all modules together.
    #[serde(default)]
    pub memory_limit: Option<ByteSize>,
    /// Time for one call.
    #[serde(default = "default_call_timeout")]
    pub call_timeout: HumanDuration,
    /// Calls that may wait for the service; further ones fail at once.
    #[serde(default = "default_queue")]
    pub max_queued_calls: usize,
}

/// One Wasm module of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleConfig {
    /// The name other modules import it by.
    pub name: String,
    /// The module file.
    pub path: PathBuf,
    /// Environment variables.
    #[serde(default)]
    pub envs: BTreeMap<String, String>,
    /// Directories of the host the module may use, by the path the module sees.
    #[serde(default)]
    pub mapped_dirs: BTreeMap<String, PathBuf>,
    /// Whether the module's log output is shown.
    #[serde(default)]
    pub logger_enabled: bool,
}

fn default_call_timeout() -> HumanDuration {
    HumanDuration::from_secs(20)
}

fn default_queue() -> usize {
    1024
}

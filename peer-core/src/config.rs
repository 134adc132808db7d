//! Configuration of a peer: the keys of its TOML file, their defaults, and clear errors.
//!
//! Unknown keys are refused, with the closest known key as a suggestion.
//!
//! ```
//! use peer_core::config::PeerConfig;
//!
//! let config = PeerConfig::from_toml("tcp_port = 7001\nconnection_idle_timeout = '2m'").unwrap();
//! assert_eq!(config.tcp_port, 7001);
//!
//! let error = PeerConfig::from_toml("tcp_prot = 7001").unwrap_err();
//! assert!(error.to_string().contains("did you mean `tcp_port`?"), "{error}");
//! ```

#[macro_use]
mod schema;

mod chain;
mod deployment;
mod engine;
mod layers;
mod network;
mod page;
mod peer;
mod services;
mod suggest;
mod system;
mod traces;
mod units;

pub use self::{
    chain::{ChainConfig, ChainListenerConfig},
    deployment::EffectorConfig,
    engine::{EngineLimits, VmLimits},
    layers::ConfigLayers,
    network::{KademliaConfig, NetworkConfig, NetworkName, ProtocolConfig},
    peer::{BootstrapConfig, CompatMode, KeyFormat, KeyPairConfig, PeerConfig, TransportKind},
    schema::{Ignored, Key, Kind, Setting},
    services::{ModuleConfig, ServiceConfig},
    system::{
        AquaIpfsConfig, ContentConfig, DeciderConfig, DevModeConfig, ModuleFile, RegistryConfig,
        SystemServicesConfig, TrustGraphConfig,
    },
    traces::{SampleRatio, TracingConfig, TracingType},
    units::{ByteSize, HumanDuration, UnitError},
};

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why a configuration was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not what a configuration looks like.
    #[error("the configuration is invalid: {message}{hint}")]
    Invalid {
        /// Where and what, as the TOML reader says it.
        message: String,
        /// A suggestion for a mistyped key, or nothing.
        hint: String,
    },
    /// What is wrong with a file among several.
    #[error("{path}: {source}")]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ConfigError>,
    },
    /// A variable of the environment whose value is not what its key needs.
    #[error("the variable {variable} is `{value}`, expected {expected}")]
    Variable {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// A value that parses but cannot be used.
    #[error("the configuration key `{key}` has the value {value}: {expected}")]
    Value {
        /// The key, with its table.
        key: &'static str,
        /// The value as text.
        value: String,
        /// What was expected.
        expected: String,
    },
}

/// Reads a configuration of any of the types of this module from TOML.
///
/// # Errors
/// Text that is not TOML, an unknown key (with a suggestion) or a value of the wrong type.
pub fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let message = error.to_string().trim_end().to_owned();
        let hint = suggest::hint(&message);
        ConfigError::Invalid { message, hint }
    })
}

/// Reads a configuration file.
///
/// # Errors
/// As [`from_toml`], and a file that cannot be read.
pub fn from_file<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    from_toml(&text)
}

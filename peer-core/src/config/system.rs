//! What a host brings with itself: spells, system services, a mode for developers.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::HumanDuration;

/// A module of the host itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleFile {
    /// The name by which other modules import it.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
}

/// A host for developers, table `[dev_mode]`: modules that are not on the list of effectors get
/// programs, cores are shared, everybody may call `aqua-ipfs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DevModeConfig {
    /// Whether the host is one.
    pub enable: bool,
    /// The programs: name by which a module imports one, its path.
    pub binaries: BTreeMap<String, PathBuf>,
}

impl Default for DevModeConfig {
    fn default() -> Self {
        let binary = |name: &str| (name.to_owned(), PathBuf::from(format!("/usr/bin/{name}")));
        Self {
            enable: false,
            binaries: [binary("curl"), binary("ipfs")].into(),
        }
    }
}

/// Services that the host deploys at start, table `[system_services]`. A package without modules is
/// left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SystemServicesConfig {
    /// Which of them: `aqua-ipfs`, `trust-graph`, `registry`, `decider`.
    pub enable: Vec<String>,
    /// The modules of a spell: `sqlite3`, then `spell`. Without them there are no spells.
    pub spell: Vec<ModuleFile>,
    /// Files of other peers.
    pub aqua_ipfs: AquaIpfsConfig,
    /// Who trusts whom.
    pub trust_graph: TrustGraphConfig,
    /// Resources of the network by key.
    pub registry: RegistryConfig,
    /// Workers for deals.
    pub decider: DeciderConfig,
}

impl Default for SystemServicesConfig {
    fn default() -> Self {
        Self {
            enable: ["aqua-ipfs", "trust-graph", "registry", "decider"]
                .map(str::to_owned)
                .into(),
            spell: Vec::new(),
            aqua_ipfs: AquaIpfsConfig::default(),
            trust_graph: TrustGraphConfig::default(),
            registry: RegistryConfig::default(),
            decider: DeciderConfig::default(),
        }
    }
}

/// Table `[system_services.aqua_ipfs]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AquaIpfsConfig {
    /// The modules, dependencies first: `ipfs_effector`, then `ipfs_pure`.
    pub modules: Vec<ModuleFile>,
    /// The address that others are told.
    pub external_api_multiaddr: String,
    /// The address that the program uses.
    pub local_api_multiaddr: String,
    /// The program `ipfs`.
    pub ipfs_binary_path: PathBuf,
}

impl Default for AquaIpfsConfig {
    fn default() -> Self {
        Self {
            modules: Vec::new(),
            external_api_multiaddr: IPFS.to_owned(),
            local_api_multiaddr: IPFS.to_owned(),
            ipfs_binary_path: PathBuf::from("/usr/bin/ipfs"),
        }
    }
}

/// The public content store of the network.
const IPFS: &str = "/dns4/ipfs.fluence.dev/tcp/5001";

/// Table `[system_services.trust_graph]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustGraphConfig {
    /// The modules, dependencies first: `sqlite3`, then `trust-graph`.
    pub modules: Vec<ModuleFile>,
    /// A JSON file with `root_node`, `max_chain_length` and `certs`, which a new graph begins with.
    pub certificates: Option<PathBuf>,
}

/// Table `[system_services.registry]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// The modules, dependencies first: `sqlite3`, then `registry`.
    pub modules: Vec<ModuleFile>,
    /// The script of the spell that keeps the registry in order.
    pub spell_script: Option<PathBuf>,
    /// How often that spell runs, in seconds.
    pub registry_period_sec: u32,
    /// How often it clears what has expired, in seconds.
    pub expired_period_sec: u32,
    /// How often it renews records, in seconds.
    pub renew_period_sec: u32,
    /// How often it replicates records, in seconds.
    pub replicate_period_sec: u32,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            modules: Vec::new(),
            spell_script: None,
            registry_period_sec: 3_600,
            expired_period_sec: 86_400,
            renew_period_sec: 43_200,
            replicate_period_sec: 3_600,
        }
    }
}

/// Table `[system_services.decider]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeciderConfig {
    /// The script of the spell that follows the deals.
    pub spell_script: Option<PathBuf>,
    /// The script of the spell that a new worker gets.
    pub worker_script: Option<PathBuf>,
    /// How often the deals are looked at, in seconds.
    pub decider_period_sec: u32,
    /// How often a worker looks at its definition, in seconds.
    pub worker_period_sec: u32,
    /// Where workers fetch what they are made of.
    pub worker_ipfs_multiaddr: String,
}

impl Default for DeciderConfig {
    fn default() -> Self {
        Self {
            spell_script: None,
            worker_script: None,
            decider_period_sec: 120,
            worker_period_sec: 900,
            worker_ipfs_multiaddr: IPFS.to_owned(),
        }
    }
}

pub(super) fn default_spell_ttl() -> HumanDuration {
    HumanDuration::from_secs(120)
}

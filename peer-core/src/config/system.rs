//! What a host brings with itself: spells, system services, a mode for developers.

use std::{collections::BTreeMap, path::PathBuf};

use super::{ByteSize, HumanDuration, Ignored};

/// The public content store of the network.
const IPFS: &str = "/dns4/ipfs.fluence.dev/tcp/5001";

settings! {
    /// A module of the host itself.
    pub entry ModuleFile {
        /// The name by which other modules import it.
        pub name: String,
        /// Its file.
        pub path: PathBuf,
    }
}

settings! {
    /// A host for developers, table `[dev_mode]`: modules that are not on the list of effectors get
    /// programs, cores are shared, everybody may call `aqua-ipfs`.
    pub table DevModeConfig {
        /// Whether the host is one.
        pub enable: bool = false,
        /// The programs: name by which a module imports one, its path.
        pub binaries: BTreeMap<String, PathBuf> = default_binaries(),
    }
}

settings! {
    /// Files by their content identifiers without a daemon of IPFS, table `[content]`. The peer keeps
    /// blocks in its directory, gives them to any peer that asks, fetches others from peers, and
    /// answers for `aqua-ipfs` itself where that has no modules.
    pub table ContentConfig {
        /// Whether it does so; `data_dir` is needed.
        pub enable: bool = false,
        /// Bytes of all blocks that the peer keeps.
        pub max_size: ByteSize = ByteSize(1 << 30),
        /// Bytes of a file that is fetched or kept.
        pub max_file: ByteSize = ByteSize(64 << 20),
        /// Multiaddresses, with peer ids, of peers that are asked before all others.
        pub peers: Vec<String> = Vec::new(),
        /// URL of a gateway of IPFS (`http://HOST:PORT`), asked for what no peer has.
        pub gateway: Option<String> = None,
        /// URL of the RPC of a kubo node, asked after the gateway.
        pub kubo: Option<String> = None,
    }
}

settings! {
    /// Services that the host deploys at start, table `[system_services]`. A package without
    /// modules is left out.
    pub table SystemServicesConfig {
        /// Which of them: `aqua-ipfs`, `trust-graph`, `registry`, `decider`.
        pub enable: Vec<String> = default_packages(),
        /// The modules of a spell, dependencies first: our own `spell` alone, or the published
        /// `sqlite3` and `spell`. Without them there are no spells.
        pub spell: Vec<ModuleFile> = Vec::new(),
        /// Files of other peers.
        pub aqua_ipfs: AquaIpfsConfig = AquaIpfsConfig::default(),
        /// Who trusts whom.
        pub trust_graph: TrustGraphConfig = TrustGraphConfig::default(),
        /// Resources of the network by key.
        pub registry: RegistryConfig = RegistryConfig::default(),
        /// Workers for deals.
        pub decider: DeciderConfig = DeciderConfig::default(),
        /// Of older peers.
        pub connector: Ignored = Ignored,
    }
}

settings! {
    /// Table `[system_services.aqua_ipfs]`.
    pub table AquaIpfsConfig {
        /// The modules, dependencies first: `ipfs_effector`, then `ipfs_pure`.
        pub modules: Vec<ModuleFile> = Vec::new(),
        /// The address that others are told.
        pub external_api_multiaddr: String = IPFS.to_owned(),
        /// The address that the program uses.
        pub local_api_multiaddr: String = IPFS.to_owned(),
        /// The program `ipfs`.
        pub ipfs_binary_path: PathBuf = PathBuf::from("/usr/bin/ipfs"),
    }
}

settings! {
    /// Table `[system_services.trust_graph]`.
    pub table TrustGraphConfig {
        /// The modules, dependencies first: `sqlite3`, then `trust-graph`.
        pub modules: Vec<ModuleFile> = Vec::new(),
        /// A JSON file with `root_node`, `max_chain_length` and `certs`, which a new graph begins
        /// with.
        pub certificates: Option<PathBuf> = None,
    }
}

settings! {
    /// Table `[system_services.registry]`.
    pub table RegistryConfig {
        /// The modules, dependencies first: `sqlite3`, then `registry`.
        pub modules: Vec<ModuleFile> = Vec::new(),
        /// The script of the spell that keeps the registry in order.
        pub spell_script: Option<PathBuf> = None,
        /// How often that spell runs, in seconds.
        pub registry_period_sec: u32 = 3_600,
        /// How often it clears what has expired, in seconds.
        pub expired_period_sec: u32 = 86_400,
        /// How often it renews records, in seconds.
        pub renew_period_sec: u32 = 43_200,
        /// How often it replicates records, in seconds.
        pub replicate_period_sec: u32 = 3_600,
    }
}

settings! {
    /// Table `[system_services.decider]`.
    pub table DeciderConfig {
        /// The script of the spell that follows the deals.
        pub spell_script: Option<PathBuf> = None,
        /// The script of the spell that a new worker gets.
        pub worker_script: Option<PathBuf> = None,
        /// How often the deals are looked at, in seconds.
        pub decider_period_sec: u32 = 120,
        /// How often a worker looks at its definition, in seconds.
        pub worker_period_sec: u32 = 900,
        /// Where workers fetch what they are made of.
        pub worker_ipfs_multiaddr: String = IPFS.to_owned(),
    }
}

fn default_binaries() -> BTreeMap<String, PathBuf> {
    let binary = |name: &str| (name.to_owned(), PathBuf::from(format!("/usr/bin/{name}")));
    [binary("curl"), binary("ipfs")].into()
}

fn default_packages() -> Vec<String> {
    ["aqua-ipfs", "trust-graph", "registry", "decider"]
        .map(str::to_owned)
        .into()
}

pub(super) fn default_spell_ttl() -> HumanDuration {
    HumanDuration::from_secs(120)
}

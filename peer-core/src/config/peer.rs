//! The keys of a peer's configuration file.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    ByteSize, ChainConfig, ChainListenerConfig, ConfigError, ContentConfig, DevModeConfig,
    EffectorConfig, EngineLimits, HumanDuration, Ignored, KademliaConfig, Kind, NetworkConfig,
    NetworkName, ProtocolConfig, ServiceConfig, Setting, SystemServicesConfig, TracingConfig,
    VmLimits, deployment::default_effectors, system::default_spell_ttl,
};

settings! {
    /// The configuration of a peer: one TOML file, every key optional.
    pub table PeerConfig {
        /// The peer's own key.
        pub root_key_pair: KeyPairConfig = KeyPairConfig::default(),
        /// Base58 id of the peer that may administrate this one; nobody when absent.
        pub management_peer_id: Option<String> = None,
        /// A second key that may administrate this peer, for programs on its machine; none when the
        /// table is absent. Its file is `builtins_secret_key.ed25519` in `data_dir` when none is
        /// named.
        pub builtins_key_pair: Option<KeyPairConfig> = None,
        /// Address to listen on, for TCP, WebSocket and HTTP.
        pub listen_ip: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        /// Port of plain TCP; 0 is any.
        pub tcp_port: u16 = 977,
        /// Port of WebSocket; 0 is any.
        pub websocket_port: u16 = 999,
        /// Port of the HTTP interface for operators; 0 is any. It has no authentication: let only
        /// the machines that watch the peer reach it.
        pub http_port: u16 = 918,
        /// Whether HTTP answers `/metrics`.
        pub metrics_enabled: bool = true,
        /// Whether HTTP answers `/health`.
        pub health_check_enabled: bool = true,
        /// Whether HTTP answers `/config` with this configuration, secrets left out.
        pub config_endpoint_enabled: bool = false,
        /// IP under which the peer is reached from outside.
        pub external_address: Option<IpAddr> = None,
        /// Further multiaddresses to announce, such as those of a TLS proxy.
        pub external_multiaddresses: Vec<String> = Vec::new(),
        /// Multiaddresses of peers to connect to at start.
        pub bootstrap_nodes: Vec<String> = Vec::new(),
        /// True ignores `bootstrap_nodes`.
        pub local: bool = false,
        /// Pauses between attempts to reach a bootstrap node.
        pub bootstrap_config: BootstrapConfig = BootstrapConfig::default(),
        /// Kademlia bootstrap runs at each n-th bootstrap connection.
        pub bootstrap_frequency: usize = 3,
        /// Whether private and loopback addresses of other peers are kept.
        pub allow_local_addresses: bool = false,
        /// How functions answer where the published peer deviates from the published declarations
        /// of Aqua. `aqua` follows the declarations: `op.sha256_string` hashes,
        /// `peer.get_contact` gives an option, `peer.is_connected` is about connections. `nox` does
        /// as the published peer: the text stands where its hash belongs, a contact is bare or an
        /// empty text, every known peer counts as connected.
        pub compat: CompatMode = CompatMode::default(),
        /// The network: `dar`, `stage`, `kras` or a custom id.
        pub network: NetworkName = NetworkName::default(),
        /// The transport; `Memory`, for tests of the published peer, is not offered.
        pub transport: TransportKind = TransportKind::Network,
        /// Time for the upgrade of a fresh socket.
        pub socket_timeout: HumanDuration = HumanDuration::from_secs(20),
        /// Connections without substreams are closed after this.
        pub connection_idle_timeout: HumanDuration = HumanDuration::from_secs(180),
        /// Connections to one peer.
        pub max_established_per_peer: u32 = 5,
        /// Inbound connections being set up.
        pub max_pending_incoming: Option<u32> = None,
        /// Outbound connections being set up.
        pub max_pending_outgoing: Option<u32> = None,
        /// Inbound connections.
        pub max_established_incoming: Option<u32> = None,
        /// Outbound connections.
        pub max_established_outgoing: Option<u32> = None,
        /// All connections.
        pub max_established: Option<u32> = None,
        /// The particle protocol.
        pub protocol_config: ProtocolConfig = ProtocolConfig::default(),
        /// Kademlia.
        pub kademlia: KademliaConfig = KademliaConfig::default(),
        /// Particles received and not yet given to the engine.
        pub particle_queue_buffer: usize = 128,
        /// Particles to send that wait for a connection.
        pub effects_queue_buffer: usize = 128,
        /// The particle engine.
        pub engine: EngineLimits = EngineLimits::default(),
        /// Limits of the state machine, as the published peer names them; they replace those of
        /// `[engine.vm]`.
        pub avm_config: Option<VmLimits> = None,
        /// Runs of the state machine at a time, instead of `max_parallel_runs` of `[engine]`.
        pub aquavm_pool_size: Option<usize> = None,
        /// Time for one run of the state machine, instead of `run_timeout` of `[engine]`.
        pub particle_execution_timeout: Option<HumanDuration> = None,
        /// Directory of everything the peer keeps; without one it keeps nothing. `base_dir` is
        /// another name of this key.
        pub data_dir: Option<PathBuf> = None,
        /// Services created at start.
        #[serde(deserialize_with = "super::services::list")]
        pub services: Vec<ServiceConfig> = Vec::new(),
        /// Modules that may run programs of the host, by any label.
        pub effectors: BTreeMap<String, EffectorConfig> = default_effectors(),
        /// Paths that `peer.identify` reports as programs for effectors; what may run is said by
        /// `effectors`.
        pub allowed_binaries: Vec<String> = Vec::new(),
        /// Environment of services that others deploy.
        pub services_envs: BTreeMap<String, String> = BTreeMap::new(),
        /// Linear memory of a service that others deploy.
        pub default_service_memory_limit: Option<ByteSize> = None,
        /// How many of its last calls `stat.service_stat` lists of a service.
        pub max_builtin_metrics_storage_size: usize = 5,
        /// Cores that work for compute units, such as `0-3,5`; all but the first one when absent.
        pub cpus_range: Option<String> = None,
        /// How many of those cores, from the first on, are kept for the peer itself.
        pub system_cpu_count: usize = 1,
        /// Memory of services is read when `/metrics` is.
        pub metrics_timer_resolution: Ignored = Ignored,
        /// Whether `/metrics` has `tokio_*`: threads and tasks of the runtime.
        pub tokio_metrics_enabled: bool = false,
        /// The runtime that this program is built with does not measure single polls.
        pub tokio_metrics_poll_histogram_enabled: Ignored = Ignored,
        /// Has no effect in the published peer either.
        pub root_weights: Ignored = Ignored,
        /// Particles enter the engine in the order in which they arrive; see `[engine]` for what
        /// runs at a time.
        pub particle_processor_parallelism: Ignored = Ignored,
        /// Workers share the queues of the host.
        pub workers_queue_buffer: Ignored = Ignored,
        /// How long particles of spells live.
        pub max_spell_particle_ttl: HumanDuration = default_spell_ttl(),
        /// Everything is below `data_dir`.
        pub persistent_base_dir: Ignored = Ignored,
        /// As `persistent_base_dir`.
        pub ephemeral_base_dir: Ignored = Ignored,
        /// As `persistent_base_dir`.
        pub services_persistent_dir: Ignored = Ignored,
        /// As `persistent_base_dir`.
        pub services_ephemeral_dir: Ignored = Ignored,
        /// As `persistent_base_dir`.
        pub avm_base_dir: Ignored = Ignored,
        /// The interpreter is part of the program.
        pub air_interpreter_path: Ignored = Ignored,
        /// As `persistent_base_dir`.
        pub spell_base_dir: Ignored = Ignored,
        /// As `persistent_base_dir`.
        pub keypairs_base_dir: Ignored = Ignored,
        /// As `persistent_base_dir`.
        pub workers_base_dir: Ignored = Ignored,
        /// As `persistent_base_dir`.
        pub cc_events_dir: Ignored = Ignored,
        /// As `cpus_range`.
        pub core_state_path: Ignored = Ignored,
        /// A host for developers.
        pub dev_mode: DevModeConfig = DevModeConfig::default(),
        /// Services that the host deploys at start.
        pub system_services: SystemServicesConfig = SystemServicesConfig::default(),
        /// Files of the network without a daemon.
        pub content: ContentConfig = ContentConfig::default(),
        /// The chain of the marketplace.
        pub chain_config: Option<ChainConfig> = None,
        /// How capacity is proven to the chain of `chain_config`.
        pub chain_listener_config: ChainListenerConfig = ChainListenerConfig::default(),
        /// Traces of particles for OpenTelemetry: a span for every run, call and sending, one trace
        /// over all peers that a particle passes. The program `peer` exports them; those that embed
        /// the peer do as they like, with the feature `otel`. Logs are set by `--log`.
        pub tracing: TracingConfig = TracingConfig::default(),
        /// Virtual machines are not offered.
        pub vm: Ignored = Ignored,
        /// There is no banner.
        pub no_banner: Ignored = Ignored,
        /// `/config` and `--check-config` show the configuration.
        pub print_config: Ignored = Ignored,
    }
}

impl PeerConfig {
    /// Reads a configuration from TOML.
    ///
    /// # Errors
    /// Text that is not TOML, an unknown key (with a suggestion) or a value of the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        super::from_toml(text)
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// As [`PeerConfig::from_toml`], and a file that cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        super::from_file(path)
    }

    /// What every key means, as a page in Markdown.
    #[must_use]
    pub fn reference() -> String {
        let defaults = toml::Table::try_from(Self::default()).unwrap_or_default();
        match Self::kind() {
            Kind::Table(keys) => super::page::page(HEAD, &keys, &defaults),
            _ => String::new(),
        }
    }

    /// The configuration as TOML, without secrets.
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    pub fn to_public_toml(&self) -> Result<String, ConfigError> {
        let mut public = self.clone();
        public.root_key_pair.value = None;
        if let Some(chain) = &mut public.chain_config {
            // Paths of endpoints often are keys.
            chain.http_endpoint = "…".to_owned();
            chain.wallet_key = "…".to_owned();
        }
        if let Some(key) = &mut public.builtins_key_pair {
            key.value = None;
        }
        public.tracing.endpoint = public.tracing.public_endpoint();
        // Their values may be anything, passwords included.
        let hidden = || "…".to_owned();
        public
            .services_envs
            .values_mut()
            .for_each(|value| *value = hidden());
        for module in public
            .services
            .iter_mut()
            .flat_map(|service| &mut service.modules)
        {
            module.envs.values_mut().for_each(|value| *value = hidden());
        }
        toml::to_string(&public).map_err(|error| ConfigError::Invalid {
            message: error.to_string(),
            hint: String::new(),
        })
    }

    /// The limits of the engine, with what the keys of the published peer say about them.
    #[must_use]
    pub fn engine(&self) -> EngineLimits {
        let mut engine = self.engine.clone();
        if let Some(vm) = &self.avm_config {
            engine.vm = vm.clone();
        }
        if let Some(runs) = self.aquavm_pool_size {
            engine.max_parallel_runs = runs;
        }
        if let Some(timeout) = self.particle_execution_timeout {
            engine.run_timeout = timeout;
        }
        engine
    }

    /// The settings of the network.
    #[must_use]
    pub fn network(&self) -> NetworkConfig {
        let addresses = |ip: IpAddr| {
            let ip = match ip {
                IpAddr::V4(ip) => format!("/ip4/{ip}"),
                IpAddr::V6(ip) => format!("/ip6/{ip}"),
            };
            [
                format!("{ip}/tcp/{}", self.tcp_port),
                format!("{ip}/tcp/{}/ws", self.websocket_port),
            ]
        };
        let external = self.external_address.map(addresses);
        NetworkConfig {
            listen: addresses(self.listen_ip).into(),
            external_addresses: external
                .into_iter()
                .flatten()
                .chain(self.external_multiaddresses.iter().cloned())
                .collect(),
            bootstrap_nodes: if self.local {
                Vec::new()
            } else {
                self.bootstrap_nodes.clone()
            },
            bootstrap: self.bootstrap_config.clone(),
            bootstrap_frequency: self.bootstrap_frequency.max(1),
            allow_local_addresses: self.allow_local_addresses,
            network: self.network.clone(),
            socket_timeout: self.socket_timeout,
            connection_idle_timeout: self.connection_idle_timeout,
            max_established_per_peer: self.max_established_per_peer,
            max_pending_incoming: self.max_pending_incoming,
            max_pending_outgoing: self.max_pending_outgoing,
            max_established_incoming: self.max_established_incoming,
            max_established_outgoing: self.max_established_outgoing,
            max_established: self.max_established,
            protocol: self.protocol_config.clone(),
            kademlia: self.kademlia.clone(),
            particle_queue_buffer: self.particle_queue_buffer.max(1),
            effects_queue_buffer: self.effects_queue_buffer.max(1),
        }
    }
}

settings! {
    /// Where the peer's key comes from, table `[root_key_pair]`.
    pub table KeyPairConfig {
        /// The kind of key.
        pub format: KeyFormat = KeyFormat::default(),
        /// A file with the secret in base58 or base64; `secret_key.ed25519` in `data_dir` when
        /// absent.
        pub path: Option<PathBuf> = None,
        /// The secret itself, in base58 or base64. `secret_key` is another name of this key.
        #[serde(alias = "secret_key")]
        pub value: Option<String> = None,
        /// Whether a missing file is written with a new key; false when the table is given without
        /// this key.
        #[serde(default)]
        pub generate_on_absence: bool = true,
    }
}

/// Kinds of keys a peer can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyFormat {
    /// Ed25519, what every published peer uses.
    #[default]
    Ed25519,
    /// ECDSA over secp256k1.
    Secp256k1,
}

/// Whom functions follow where the published peer and the published declarations differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CompatMode {
    /// The declarations of Aqua, which compiled scripts are typed by.
    #[default]
    Aqua,
    /// The published peer, with its defects.
    Nox,
}

/// Transports that a configuration may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TransportKind {
    /// TCP and WebSocket.
    #[default]
    Network,
}

impl Setting for TransportKind {
    fn kind() -> Kind {
        Kind::Text("`Network`")
    }
}

settings! {
    /// Pauses between attempts to reach a bootstrap node, table `[bootstrap_config]`.
    pub table BootstrapConfig {
        /// Pause after the first failure; doubled by each further one.
        pub reconnect_delay: HumanDuration = HumanDuration::from_millis(1_500),
        /// Longest pause.
        pub bootstrap_max_delay: HumanDuration = HumanDuration::from_secs(60),
        /// Kademlia looks around when a bootstrap node is connected.
        pub bootstrap_delay: Ignored = Ignored,
    }
}

/// What stands above the tables of the reference page.
const HEAD: &str = "# Configuration of a peer

Written by `peer --print-config-schema` from the table that reads configurations.

Sources, later ones win: `Config.toml` in the working directory, the files in `FLUENCE_CONFIG`
(separated by commas), those of `--config`, the environment, the command line. In the environment
`tcp_port` is `FLUENCE_TCP_PORT`, and `query_timeout` of the table `kademlia` is
`FLUENCE_KADEMLIA__QUERY_TIMEOUT`; lists are separated by commas. An unknown key is an error.

Durations are texts like `20s`, `1m 30s`, `500ms`; sizes are numbers of bytes or texts like `4 GiB`.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_survive_a_round_trip() {
        let text = toml::to_string(&PeerConfig::default()).unwrap();
        assert_eq!(PeerConfig::from_toml(&text).unwrap(), PeerConfig::default());
    }

    /// `UPDATE=1 cargo test` writes the page anew.
    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIGURATION.md");
        let page = PeerConfig::reference();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, page, "run the tests with UPDATE=1");
    }

    #[test]
    fn secrets_stay_secret() {
        let config = PeerConfig::from_toml(
            r#"
            root_key_pair.value = "geheim"
            builtins_key_pair.value = "geheim"
            services_envs = { TOKEN = "geheim" }
            tracing.endpoint = "https://collector/geheim"
            [[services]]
            name = "s"
            modules = [{ name = "m", path = "m.wasm", envs = { PASSWORD = "geheim" } }]
            "#,
        )
        .unwrap();
        let text = config.to_public_toml().unwrap();
        assert!(
            !text.contains("geheim") && text.contains("PASSWORD"),
            "{text}"
        );
        PeerConfig::from_toml(&text).unwrap();
    }

    #[test]
    fn addresses() {
        let config = PeerConfig::from_toml(
            r#"
            listen_ip = "::1"
            tcp_port = 1
            websocket_port = 2
            external_address = "1.2.3.4"
            external_multiaddresses = ["/dns4/example.org/tcp/443/wss"]
            bootstrap_nodes = ["/ip4/1.1.1.1/tcp/1"]
            local = true
            network = { custom = "0000000000000000000000000000000000000000000000000000000000000001" }
            "#,
        )
        .unwrap();
        let network = config.network();
        assert_eq!(network.listen, ["/ip6/::1/tcp/1", "/ip6/::1/tcp/2/ws"]);
        assert_eq!(
            network.external_addresses,
            [
                "/ip4/1.2.3.4/tcp/1",
                "/ip4/1.2.3.4/tcp/2/ws",
                "/dns4/example.org/tcp/443/wss"
            ]
        );
        assert!(network.bootstrap_nodes.is_empty());
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("tcp_port = 70000", "tcp_port"),
            (
                "[kademlia]\nquery_time = '3s'",
                "did you mean `query_timeout`?",
            ),
            ("socket_timeout = 20", "socket_timeout"),
            ("network = 'main'", "`main` is not a network"),
            ("[[services]]\nname = 'x'", "modules"),
            ("transport = 'Memory'", "Network"),
            ("compat = 'rust'", "`aqua`"),
            ("[services]\nwasm_back = 1", "wasm_backend"),
        ] {
            let error = PeerConfig::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

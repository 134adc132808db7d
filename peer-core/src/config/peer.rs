//! The keys of a peer's configuration file.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    ByteSize, ConfigError, DevModeConfig, EffectorConfig, EngineLimits, HumanDuration,
    KademliaConfig, NetworkConfig, NetworkName, ProtocolConfig, ServiceConfig,
    SystemServicesConfig, deployment::default_effectors, system::default_spell_ttl,
};

/// The configuration of a peer: one TOML file, every key optional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerConfig {
    /// The peer's own key.
    pub root_key_pair: KeyPairConfig,
    /// Base58 id of the peer that may administrate this one; nobody when absent.
    pub management_peer_id: Option<String>,
    /// Address to listen on, for TCP, WebSocket and HTTP.
    pub listen_ip: IpAddr,
    /// Port of plain TCP; 0 is any.
    pub tcp_port: u16,
    /// Port of WebSocket; 0 is any.
    pub websocket_port: u16,
    /// IP under which the peer is reached from outside.
    pub external_address: Option<IpAddr>,
    /// Further multiaddresses to announce, such as those of a TLS proxy.
    pub external_multiaddresses: Vec<String>,
    /// Multiaddresses of peers to connect to at start.
    pub bootstrap_nodes: Vec<String>,
    /// True ignores `bootstrap_nodes`.
    pub local: bool,
    /// Pauses between attempts to reach a bootstrap node.
    pub bootstrap_config: BootstrapConfig,
    /// Kademlia bootstrap runs at each n-th bootstrap connection.
    pub bootstrap_frequency: usize,
    /// Whether private and loopback addresses of other peers are kept.
    pub allow_local_addresses: bool,
    /// The network: `dar`, `stage`, `kras` or a custom id.
    pub network: NetworkName,
    /// Time for the upgrade of a fresh socket.
    pub socket_timeout: HumanDuration,
    /// Connections without substreams are closed after this.
    pub connection_idle_timeout: HumanDuration,
    /// Connections to one peer.
    pub max_established_per_peer: u32,
    /// Inbound connections being set up.
    pub max_pending_incoming: Option<u32>,
    /// Outbound connections being set up.
    pub max_pending_outgoing: Option<u32>,
    /// Inbound connections.
    pub max_established_incoming: Option<u32>,
    /// Outbound connections.
    pub max_established_outgoing: Option<u32>,
    /// All connections.
    pub max_established: Option<u32>,
    /// The particle protocol.
    pub protocol_config: ProtocolConfig,
    /// Kademlia.
    pub kademlia: KademliaConfig,
    /// Particles received and not yet given to the engine.
    pub particle_queue_buffer: usize,
    /// Particles to send that wait for a connection.
    pub effects_queue_buffer: usize,
    /// The particle engine.
    pub engine: EngineLimits,
    /// Directory of everything the peer keeps.
    pub data_dir: Option<PathBuf>,
    /// Services created at start.
    pub services: Vec<ServiceConfig>,
    /// Modules that may run programs of the host, by any label.
    pub effectors: BTreeMap<String, EffectorConfig>,
    /// Environment of services that others deploy.
    pub services_envs: BTreeMap<String, String>,
    /// Linear memory of a service that others deploy.
    pub default_service_memory_limit: Option<ByteSize>,
    /// How many of its last calls `stat.service_stat` lists of a service.
    pub max_builtin_metrics_storage_size: usize,
    /// Cores that work for compute units, such as `0-3,5`; all but the first one when absent.
    pub cpus_range: Option<String>,
    /// How many of those cores, from the first on, are kept for the peer itself.
    pub system_cpu_count: usize,
    /// How long particles of spells live.
    pub max_spell_particle_ttl: HumanDuration,
    /// A host for developers.
    pub dev_mode: DevModeConfig,
    /// Services that the host deploys at start.
    pub system_services: SystemServicesConfig,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            root_key_pair: KeyPairConfig::default(),
            management_peer_id: None,
            listen_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            tcp_port: 977,
            websocket_port: 999,
            external_address: None,
            external_multiaddresses: Vec::new(),
            bootstrap_nodes: Vec::new(),
            local: false,
            bootstrap_config: BootstrapConfig::default(),
            bootstrap_frequency: 3,
            allow_local_addresses: false,
            network: NetworkName::default(),
            socket_timeout: HumanDuration::from_secs(20),
            connection_idle_timeout: HumanDuration::from_secs(180),
            max_established_per_peer: 5,
            max_pending_incoming: None,
            max_pending_outgoing: None,
            max_established_incoming: None,
            max_established_outgoing: None,
            max_established: None,
            protocol_config: ProtocolConfig::default(),
            kademlia: KademliaConfig::default(),
            particle_queue_buffer: 128,
            effects_queue_buffer: 128,
            engine: EngineLimits::default(),
            data_dir: None,
            services: Vec::new(),
            effectors: default_effectors(),
            services_envs: BTreeMap::new(),
            default_service_memory_limit: None,
            max_builtin_metrics_storage_size: 5,
            cpus_range: None,
            system_cpu_count: 1,
            max_spell_particle_ttl: default_spell_ttl(),
            dev_mode: DevModeConfig::default(),
            system_services: SystemServicesConfig::default(),
        }
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

/// Where the peer's key comes from, table `[root_key_pair]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyPairConfig {
    /// The kind of key.
    pub format: KeyFormat,
    /// A file with the secret in base58 or base64.
    pub path: Option<PathBuf>,
    /// The secret itself, in base58 or base64.
    pub value: Option<String>,
    /// Whether a missing file is written with a new key.
    pub generate_on_absence: bool,
}

impl Default for KeyPairConfig {
    fn default() -> Self {
        Self {
            format: KeyFormat::default(),
            path: None,
            value: None,
            generate_on_absence: true,
        }
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

/// Pauses between attempts to reach a bootstrap node, table `[bootstrap_config]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapConfig {
    /// Pause after the first failure; doubled by each further one.
    pub reconnect_delay: HumanDuration,
    /// Longest pause.
    pub bootstrap_max_delay: HumanDuration,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self {
            reconnect_delay: HumanDuration::from_millis(1_500),
            bootstrap_max_delay: HumanDuration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_survive_a_round_trip() {
        let text = toml::to_string(&PeerConfig::default()).unwrap();
        assert_eq!(PeerConfig::from_toml(&text).unwrap(), PeerConfig::default());
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
        ] {
            let error = PeerConfig::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

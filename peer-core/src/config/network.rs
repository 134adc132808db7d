//! What the libp2p network is told: a view on the flat keys of [`super::PeerConfig`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{BootstrapConfig, ByteSize, HumanDuration};

/// The settings of the network, gathered from the keys of a peer's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Multiaddresses to listen on, `/ip4/…/tcp/PORT` and `/ip4/…/tcp/PORT/ws`; port 0 is any.
    pub listen: Vec<String>,
    /// Multiaddresses announced through identify.
    pub external_addresses: Vec<String>,
    /// Multiaddresses of peers to connect to at start and to return to.
    pub bootstrap_nodes: Vec<String>,
    /// Pauses between attempts to reach a bootstrap node.
    pub bootstrap: BootstrapConfig,
    /// Kademlia bootstrap runs at each n-th bootstrap connection.
    pub bootstrap_frequency: usize,
    /// Whether private, loopback and memory addresses of others are kept.
    pub allow_local_addresses: bool,
    /// Which network's Kademlia table is joined.
    pub network: NetworkName,
    /// Time for the upgrade of a fresh socket (security, muxer).
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
    /// Timeouts and limits of the particle protocol.
    pub protocol: ProtocolConfig,
    /// Kademlia.
    pub kademlia: KademliaConfig,
    /// Particles received and not yet given to the engine.
    pub particle_queue_buffer: usize,
    /// Particles to send that wait for a connection.
    pub effects_queue_buffer: usize,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        super::PeerConfig::default().network()
    }
}

settings! {
    /// The particle protocol, table `[protocol_config]`.
    pub table ProtocolConfig {
        /// Time to read or write one particle frame.
        pub upgrade_timeout: HumanDuration = HumanDuration::from_secs(10),
        /// Time to open a substream.
        pub outbound_substream_timeout: HumanDuration = HumanDuration::from_secs(10),
        /// Largest payload of a frame that is read.
        pub max_frame_size: ByteSize = ByteSize(100 << 20),
        /// Inbound substreams of one connection that are read at a time; more are refused.
        pub max_inbound_streams: usize = 128,
        /// Outbound substreams of one connection that are open at a time; further particles queue.
        pub max_outbound_streams: usize = 8,
        /// Particles queued for one connection; further ones are dropped with a reason.
        pub max_queued: usize = 256,
    }
}

settings! {
    /// Kademlia, table `[kademlia]`.
    pub table KademliaConfig {
        /// Largest message. The reference's default of 1.6 GB is an oversight.
        pub max_packet_size: ByteSize = ByteSize(1 << 20),
        /// Time of one query; a lookup of a peer gets twice that.
        pub query_timeout: HumanDuration = HumanDuration::from_secs(3),
        /// How many peers a query looks for; 20 when absent.
        pub replication_factor: Option<usize> = None,
        /// Failed lookups of a peer after which it is banned.
        pub peer_fail_threshold: usize = 3,
        /// How long a ban lasts.
        pub ban_cooldown: HumanDuration = HumanDuration::from_secs(60),
    }
}

/// Which network a peer belongs to; part of the Kademlia protocol's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NetworkForm", into = "NetworkForm")]
pub enum NetworkName {
    /// The main network.
    #[default]
    Dar,
    /// The staging network.
    Stage,
    /// The compatibility network.
    Kras,
    /// A network of one's own, by a 32-byte id.
    Custom([u8; 32]),
}

impl NetworkName {
    /// The name of the Kademlia protocol in this network.
    #[must_use]
    pub fn kademlia_protocol(&self) -> String {
        format!("/fluence/kad/{self}/1.0.0")
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dar => formatter.write_str("dar"),
            Self::Stage => formatter.write_str("stage"),
            Self::Kras => formatter.write_str("kras"),
            Self::Custom(id) => id
                .iter()
                .try_for_each(|byte| write!(formatter, "{byte:02x}")),
        }
    }
}

impl FromStr for NetworkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dar" => Ok(Self::Dar),
            "stage" => Ok(Self::Stage),
            "kras" => Ok(Self::Kras),
            _ => custom(text).map(Self::Custom).ok_or_else(|| {
                format!("`{text}` is not a network, expected `dar`, `stage`, `kras` or 64 hexadecimal digits")
            }),
        }
    }
}

fn custom(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut id = [0; 32];
    for (index, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(id)
}

/// `network = "dar"` or `[network]` with `custom = "<64 hex>"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum NetworkForm {
    Name(String),
    Table { custom: String },
}

impl TryFrom<NetworkForm> for NetworkName {
    type Error = String;

    fn try_from(form: NetworkForm) -> Result<Self, String> {
        match form {
            NetworkForm::Name(name) => name.parse(),
            NetworkForm::Table { custom: id } => custom(&id)
                .map(Self::Custom)
                .ok_or_else(|| format!("`{id}` is not 64 hexadecimal digits")),
        }
    }
}

impl From<NetworkName> for NetworkForm {
    fn from(name: NetworkName) -> Self {
        Self::Name(name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_names() {
        for text in ["dar", "stage", "kras", &"0a".repeat(32)] {
            let name: NetworkName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(
                name.kademlia_protocol(),
                format!("/fluence/kad/{text}/1.0.0")
            );
        }
        for text in ["", "main", &"0g".repeat(32), &"é".repeat(32)] {
            assert!(text.parse::<NetworkName>().is_err(), "{text}");
        }
    }
}

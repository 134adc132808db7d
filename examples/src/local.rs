//! A network in one process: several peers on loopback that know each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use marine_runtime::Engine;
use particle::{KeyPair, PeerId};
use peer_core::config::{HumanDuration, ModuleConfig, PeerConfig, ServiceConfig};
use peer_core::peer::{Observer, Peer, PeerBuilder, PeerEvent};

use crate::failure::{Failure, Result};
use crate::path::Names;

/// Events kept; a longer run loses its end, not the machine's memory.
const MAX_EVENTS: usize = 200_000;
/// How long the peers may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// Peers on loopback. The first one is everybody's bootstrap node and the relay of clients.
pub struct LocalNetwork {
    peers: Vec<Peer>,
    recorder: Arc<Recorder>,
}

/// Keeps the events of all peers.
#[derive(Default)]
pub struct Recorder(Mutex<Vec<PeerEvent>>);

impl LocalNetwork {
    /// Starts peers with random keys and ports and waits until all of them are connected. `extend`
    /// adds to each one, by its place from 0, what it is to have besides the builtin functions.
    ///
    /// # Errors
    /// A peer does not start, or they do not find each other.
    pub async fn start(
        count: usize,
        extend: impl Fn(usize, PeerBuilder) -> PeerBuilder,
    ) -> Result<Self> {
        Self::with_keys(random_keys(count)?, |_, _| {}, extend).await
    }

    /// The same with these keys, and with settings that `configure` changes.
    ///
    /// # Errors
    /// A peer does not start, or they do not find each other.
    pub async fn with_keys(
        keys: Vec<KeyPair>,
        configure: impl Fn(usize, &mut PeerConfig),
        extend: impl Fn(usize, PeerBuilder) -> PeerBuilder,
    ) -> Result<Self> {
        let recorder = Arc::new(Recorder::default());
        let mut network = Self::join(keys, configure, |index, builder| {
            extend(index, builder.observer(recorder.clone()))
        })
        .await?;
        network.recorder = recorder;
        Ok(network)
    }

    /// As [`start`](Self::start), without a recorder of events: for networks that run for long.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_unrecorded(
        count: usize,
        extend: impl Fn(usize, PeerBuilder) -> PeerBuilder,
    ) -> Result<Self> {
        Self::join(random_keys(count)?, |_, _| {}, extend).await
    }

    async fn join(
        keys: Vec<KeyPair>,
        configure: impl Fn(usize, &mut PeerConfig),
        extend: impl Fn(usize, PeerBuilder) -> PeerBuilder,
    ) -> Result<Self> {
        let mut network = Self {
            peers: Vec::new(),
            recorder: Arc::default(),
        };
        // All peers host the same modules: they are compiled once.
        let wasm = Engine::wasmer();
        for (index, key) in keys.into_iter().enumerate() {
            let mut config = PeerConfig {
                listen_ip: std::net::Ipv4Addr::LOCALHOST.into(),
                tcp_port: 0,
                websocket_port: 0,
                allow_local_addresses: true,
                bootstrap_nodes: network.bootstrap_nodes(),
                ..PeerConfig::default()
            };
            configure(index, &mut config);
            let builder = Peer::builder(key).config(config).wasm(wasm.clone());
            let peer = extend(index, builder).start().await;
            network.peers.push(peer.map_err(Failure::new)?);
        }
        network.wait_until_connected().await?;
        Ok(network)
    }

    /// The peers.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Their ids.
    pub fn ids(&self) -> Vec<PeerId> {
        self.peers.iter().map(Peer::peer_id).collect()
    }

    /// What the peers are called: `peer 1` and so on.
    pub fn names(&self) -> Names {
        let numbered = self.ids().into_iter().enumerate();
        Names::new(numbered.map(|(index, peer)| (peer, format!("peer {}", index + 1))))
    }

    /// The address of the first peer.
    ///
    /// # Errors
    /// There are no peers.
    pub fn relay(&self) -> Result<&str> {
        self.peers
            .first()
            .and_then(|peer| peer.network().listen_addresses().first())
            .map(String::as_str)
            .ok_or_else(|| Failure::new("there are no peers"))
    }

    /// The recorder of the peers' events, for those of others to be added.
    pub fn recorder(&self) -> Arc<Recorder> {
        self.recorder.clone()
    }

    /// Stops all peers.
    pub async fn stop(&self) {
        futures::future::join_all(self.peers.iter().map(Peer::stop)).await;
    }

    fn bootstrap_nodes(&self) -> Vec<String> {
        self.relay().map(str::to_owned).into_iter().collect()
    }

    async fn wait_until_connected(&self) -> Result<()> {
        let Some((first, others)) = self.peers.split_first() else {
            return Ok(());
        };
        let connected = async {
            while !others
                .iter()
                .all(|peer| first.network().is_connected(&peer.peer_id()))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, connected)
            .await
            .map_err(|_| {
                let missing = others
                    .iter()
                    .filter(|peer| !first.network().is_connected(&peer.peer_id()))
                    .map(|peer| peer.peer_id().to_string());
                let missing: Vec<String> = missing.collect();
                Failure::new(format_args!(
                    "after {} s these peers are not connected: {}",
                    PATIENCE.as_secs(),
                    missing.join(", ")
                ))
            })
    }
}

impl Recorder {
    /// What happened so far.
    pub fn events(&self) -> Vec<PeerEvent> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &PeerEvent) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < MAX_EVENTS {
            events.push(event.clone());
        }
    }
}

/// A new key.
///
/// # Errors
/// The system gives no random bytes.
pub fn random_key() -> Result<KeyPair> {
    let config = peer_core::config::KeyPairConfig::default();
    peer_core::peer::load_key(&config, None).map_err(Failure::new)
}

fn random_keys(count: usize) -> Result<Vec<KeyPair>> {
    (0..count).map(|_| random_key()).collect()
}

/// The service `sampler`, whose module lies beside the examples' sources.
pub fn sampler() -> ServiceConfig {
    service(
        "sampler",
        vec![PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/wasm/sampler.wasm"
        ))],
    )
}

/// A service of these modules, each called like its file, the facade last.
pub fn service(name: &str, files: Vec<PathBuf>) -> ServiceConfig {
    let modules = files.into_iter().map(|path| ModuleConfig {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        path,
        envs: BTreeMap::new(),
        mapped_dirs: BTreeMap::new(),
        logger_enabled: true,
    });
    ServiceConfig {
        name: name.to_owned(),
        aliases: Vec::new(),
        modules: modules.collect(),
        memory_limit: None,
        call_timeout: HumanDuration::from_secs(20),
        max_queued_calls: 1024,
    }
}

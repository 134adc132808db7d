//! A peer on tokio: the particle engine, its function host and the network joined.
//!
//! ```no_run
//! use std::sync::Arc;
//! use particle::KeyPair;
//! use peer_core::config::PeerConfig;
//! use peer_core::host::{FunctionOutcome, NativeFunctions};
//! use peer_core::peer::Peer;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = PeerConfig { tcp_port: 0, websocket_port: 0, ..PeerConfig::default() };
//! let functions = NativeFunctions::new().with("greeting", "hello", |_| FunctionOutcome::value("hi"));
//! let peer = Peer::builder(KeyPair::from_seed(&[1; 32]))
//!     .config(config)
//!     .functions(Arc::new(functions))
//!     .start()
//!     .await?;
//! println!("{:?}", peer.network().listen_addresses());
//! peer.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Particles from the network enter the engine one by one, in the order in which they arrived.
//! Runs of the state machine go to tokio's blocking threads, as many at a time as the engine hands
//! out; calls of functions are tasks, unless they answer at once; each particle to be sent waits
//! for its connection in a task of its own, at most until it expires.

#[cfg(all(feature = "capacity", feature = "chain"))]
mod capacity;
#[cfg(feature = "chain")]
mod chain;
#[cfg(feature = "marine")]
mod content;
mod core;
mod event;
mod health;
#[cfg(test)]
mod hostile;
#[cfg(feature = "marine")]
mod hosting;
mod key;

pub use self::event::{Observer, PeerEvent, PeerEventKind};
pub use self::health::HealthCheck;
pub use self::key::{KeyFileError, load_builtins_key, load_key};

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use particle::{KeyPair, Particle, PeerId};
use thiserror::Error;

use self::core::{Core, Parts};
use crate::builtins::{Builtins, Guard, NodeInfo};
use crate::clock::{Clock, SystemClock};
use crate::config::{NetworkConfig, NetworkName, PeerConfig, ServiceConfig};
use crate::connectivity::Connectivity;
#[cfg(feature = "marine")]
use crate::deployment::DeploymentError;
use crate::engine::{Counters, Engine, Load};
use crate::host::{FunctionHost, HostChain};
use crate::network::{Network, NetworkError, Role};
#[cfg(feature = "marine")]
use crate::services::MarineError;
use crate::services::Services;
use crate::store::{Change, DiskStore, Durability, MemoryStore, Store, StoreError, Table};

/// Why a peer did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The network did not start.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A service of the configuration cannot be created.
    #[cfg(feature = "marine")]
    #[error(transparent)]
    Service(#[from] MarineError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was deployed before cannot be brought back.
    #[cfg(feature = "marine")]
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A system service cannot be deployed.
    #[cfg(feature = "marine")]
    #[error(transparent)]
    System(#[from] crate::system::SystemError),
    /// The cores for compute units.
    #[cfg(feature = "marine")]
    #[error("the configuration key `cpus_range`: {0}")]
    Cores(#[from] crate::workers::CoreRangeError),
    /// The network was up, but a service was not created for lack of a thread.
    #[cfg(feature = "marine")]
    #[error("services were not created: {reason}")]
    Interrupted {
        /// What the runtime said.
        reason: String,
    },
    /// A value of the configuration that cannot be used.
    #[error("the configuration key `{key}`: {reason}")]
    Setting {
        /// Its key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The chain names peers by Ed25519 keys.
    #[cfg(feature = "chain")]
    #[error("with `chain_config` the peer's key has to be an Ed25519 key: {source}")]
    ChainKey {
        /// What is wrong with it.
        source: deal_types::ParseError,
    },
    /// There is no engine for services.
    #[cfg(all(feature = "marine", not(feature = "wasmer")))]
    #[error("services need an engine: this program has none, and none was given to the peer")]
    NoEngine,
    /// The builtins-management key cannot be read.
    #[error("the configuration key `builtins_key_pair`: {0}")]
    BuiltinsKey(#[from] KeyFileError),
    /// The management peer is not a peer id.
    #[error("the management peer id `{text}` is not a peer id: {source}")]
    ManagementPeer {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: particle::PeerIdError,
    },
}

/// A running peer. Clones share it.
#[derive(Clone)]
pub struct Peer {
    core: Arc<Core>,
    #[cfg(feature = "marine")]
    hosting: Arc<hosting::Hosting>,
    about: Arc<About>,
}

/// What does not change about a running peer.
struct About {
    node: NodeInfo,
    network: NetworkName,
    services: Option<Arc<Services>>,
    /// Services that others deployed and that could not be brought back.
    lost_services: usize,
    /// Proofs of capacity.
    #[cfg(all(feature = "capacity", feature = "chain"))]
    proving: Option<tokio::task::AbortHandle>,
}

/// What a peer is made of.
pub struct PeerBuilder {
    key: KeyPair,
    config: PeerConfig,
    network: Option<NetworkConfig>,
    relay: Option<PeerId>,
    functions: Vec<Arc<dyn FunctionHost>>,
    observers: Vec<Arc<dyn Observer>>,
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn Store>>,
    #[cfg(feature = "marine")]
    wasm: Option<marine_runtime::Engine>,
    #[cfg(feature = "marine")]
    chain: Option<Arc<dyn deal_types::peer_chain::PeerChain>>,
    #[cfg(feature = "marine")]
    heads: Option<futures::stream::BoxStream<'static, u64>>,
}

impl Peer {
    /// A peer with this key, its default configuration and the builtin functions.
    pub fn builder(key: KeyPair) -> PeerBuilder {
        PeerBuilder {
            key,
            config: PeerConfig::default(),
            network: None,
            relay: None,
            functions: Vec::new(),
            observers: Vec::new(),
            clock: Arc::new(SystemClock),
            store: None,
            #[cfg(feature = "marine")]
            wasm: None,
            #[cfg(feature = "marine")]
            chain: None,
            #[cfg(feature = "marine")]
            heads: None,
        }
    }

    /// The id of the peer.
    pub fn peer_id(&self) -> PeerId {
        self.core.network().peer_id()
    }

    /// Its network.
    pub fn network(&self) -> &Network {
        self.core.network()
    }

    /// Takes in a particle made in this process.
    pub fn submit(&self, particle: Particle) {
        self.core.submit(particle);
    }

    /// What the engine has counted so far.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// What the peer and its network count, by the name of the metric.
    pub fn metrics(&self) -> Vec<(String, u64)> {
        let metrics = self.core.metrics();
        #[cfg(feature = "marine")]
        let metrics = metrics.into_iter().chain(self.hosting.metrics()).collect();
        metrics
    }

    /// What others deployed here, with its workers and spells; nothing for a peer without a folder.
    #[cfg(feature = "marine")]
    #[must_use]
    pub fn deployment(&self) -> Option<&crate::deployment::Deployment> {
        self.hosting.deployment()
    }

    /// The files that the peer keeps and fetches; nothing where its configuration has that off.
    #[cfg(feature = "marine")]
    #[must_use]
    pub fn content(&self) -> Option<&Arc<crate::content::Content>> {
        self.hosting.content()
    }

    /// What the engine is busy with.
    pub fn load(&self) -> Load {
        self.core.engine_load()
    }

    /// Particles that were not sent because too many were being sent.
    pub fn refused_sends(&self) -> u64 {
        self.core.refused_sends()
    }

    /// The services of the peer, where it has any.
    pub fn services(&self) -> Option<&Arc<Services>> {
        self.about.services.as_ref()
    }

    /// What `peer.identify` says.
    pub fn node_info(&self) -> &NodeInfo {
        &self.about.node
    }

    /// The network that the peer belongs to.
    pub fn network_name(&self) -> &NetworkName {
        &self.about.network
    }

    /// Stops: listeners and connections are closed, calls under way are dropped, particles are
    /// forgotten. Idempotent.
    pub async fn stop(&self) {
        #[cfg(all(feature = "capacity", feature = "chain"))]
        if let Some(proving) = &self.about.proving {
            proving.abort();
        }
        #[cfg(feature = "marine")]
        self.hosting.stop();
        self.core.stop().await;
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Peer({})", self.peer_id())
    }
}

impl PeerBuilder {
    /// Sets the configuration; of its key settings nothing is used.
    #[must_use]
    pub fn config(mut self, config: PeerConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the network's settings, which are otherwise taken from the configuration.
    #[must_use]
    pub fn network(mut self, network: NetworkConfig) -> Self {
        self.network = Some(network);
        self
    }

    /// Adds functions, which are asked after the builtins and those already added.
    #[must_use]
    pub fn functions(mut self, functions: Arc<dyn FunctionHost>) -> Self {
        self.functions.push(functions);
        self
    }

    /// Adds a service to those of the configuration.
    #[must_use]
    pub fn service(mut self, service: ServiceConfig) -> Self {
        self.config.services.push(service);
        self
    }

    /// Adds an observer.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Replaces the clock of the builtin functions and of the engine.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets where the peer keeps what survives a restart; otherwise that is a file in the directory
    /// of the configuration, or memory where there is none.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the engine that runs the Wasm services; peers that share one compile a module once.
    #[cfg(feature = "marine")]
    #[must_use]
    pub fn wasm(mut self, engine: marine_runtime::Engine) -> Self {
        self.wasm = Some(engine);
        self
    }

    /// Sets the marketplace that the peer takes part in.
    #[cfg(feature = "marine")]
    #[must_use]
    pub fn chain(mut self, chain: Arc<dyn deal_types::peer_chain::PeerChain>) -> Self {
        self.chain = Some(chain);
        self
    }

    /// Tells the peer of new blocks of the chain by their numbers, as whoever follows it hears of
    /// them: spells that wait for blocks start at once, while without this the chain is asked every
    /// few seconds. It is still asked now and then, so the stream may pause or end.
    #[cfg(feature = "marine")]
    #[must_use]
    pub fn heads(mut self, heads: impl futures::Stream<Item = u64> + Send + 'static) -> Self {
        self.heads = Some(futures::StreamExt::boxed(heads));
        self
    }

    /// Makes the peer a client: it sends particles to this relay only and does not listen.
    #[must_use]
    pub(crate) fn behind(mut self, relay: PeerId) -> Self {
        self.relay = Some(relay);
        self
    }

    /// Starts the peer; returns when its listeners are open.
    ///
    /// Has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// The network does not start, or the configuration has a value that cannot be used.
    pub async fn start(self) -> Result<Peer, PeerError> {
        self.begin().await
    }

    /// A plain function: whoever awaits an `async` one compiles all that is in it, which here is
    /// the whole peer, for each program again.
    #[inline(never)]
    fn begin(self) -> BoxFuture<'static, Result<Peer, PeerError>> {
        Box::pin(self.join())
    }

    async fn join(self) -> Result<Peer, PeerError> {
        let managers = self.managers()?;
        let key = Arc::new(self.key);
        let store = match self.store {
            Some(store) => store,
            None => open_store(self.config.data_dir.as_deref())?,
        };
        #[cfg(feature = "chain")]
        let market = match &self.config.chain_config {
            Some(config) => Some(chain::Market::connect(config, key.peer_id())?),
            None => None,
        };
        #[cfg(all(feature = "capacity", feature = "chain"))]
        let proving = match &market {
            Some(market) => capacity::Plan::new(&self.config, market.capacity())?,
            None => None,
        };
        #[cfg(feature = "chain")]
        let chain = self
            .chain
            .or_else(|| market.as_ref().map(chain::Market::deals));
        #[cfg(not(feature = "chain"))]
        if self.config.chain_config.is_some() {
            return Err(PeerError::Setting {
                key: "chain_config",
                reason: "this program has no client of a chain (feature `chain`)".to_owned(),
            });
        }
        #[cfg(all(feature = "marine", not(feature = "chain")))]
        let chain = self.chain;
        // Before anybody can reach the peer.
        #[cfg(feature = "marine")]
        let hosting = hosting::Hosting::open(hosting::Parts {
            key: key.clone(),
            managers: managers.clone(),
            config: self.config.clone(),
            engine: self.wasm,
            clock: self.clock.clone(),
            store: store.clone(),
            chain,
            heads: self.heads,
        });
        #[cfg(feature = "marine")]
        let hosting = hosting.await?;
        let settings = self
            .network
            .clone()
            .unwrap_or_else(|| self.config.network());
        let role = if self.relay.is_some() {
            Role::Client
        } else {
            Role::Host
        };
        let (network, received) = Network::start(&key, &settings, role).await?;
        let connectivity: Arc<dyn Connectivity> = Arc::new(network.clone());
        let node = NodeInfo {
            external_addresses: if settings.external_addresses.is_empty() {
                network.listen_addresses().to_vec()
            } else {
                settings.external_addresses.clone()
            },
            allowed_binaries: self.config.allowed_binaries.clone(),
            ..NodeInfo::default()
        };
        let guard = Guard::new(managers.iter().copied());
        #[cfg(feature = "marine")]
        let guard = guard.with_services(hosting.services().clone());
        let builtins = Builtins::new(connectivity, self.clock.clone())
            .with_node_info(node.clone())
            .with_guard(guard)
            .with_compat(self.config.compat.into());
        let host = self
            .functions
            .into_iter()
            .fold(HostChain::new().with(Arc::new(builtins)), HostChain::with);
        #[cfg(feature = "marine")]
        let host = hosting.join(host);
        let mut engine = Engine::new(key, self.config.engine()).with_managers(managers);
        if !self.observers.is_empty() {
            engine = engine.with_events();
        }
        #[cfg(feature = "marine")]
        hosting.join_workers(&mut engine);
        let parts = Parts {
            host: Arc::new(host),
            observers: self.observers,
            clock: self.clock,
            store,
            relay: self.relay,
        };
        forget_particles(parts.store.as_ref())?;
        #[cfg(all(feature = "capacity", feature = "chain"))]
        let store = parts.store.clone();
        let core = Core::start(engine, network, received, parts);
        #[cfg(feature = "marine")]
        let hosting = hosting.start(&core, &self.config).await?;
        #[cfg(all(feature = "capacity", feature = "chain"))]
        let proving = proving
            .zip(hosting.deployment())
            .map(|(plan, deployment)| plan.start(deployment.workers().clone(), store));
        #[cfg(feature = "marine")]
        let (services, lost_services) = (
            Some(hosting.services().clone()),
            hosting
                .deployment()
                .map_or(0, crate::deployment::Deployment::lost_services),
        );
        #[cfg(not(feature = "marine"))]
        let (services, lost_services) = (None, 0);
        let about = Arc::new(About {
            node,
            network: settings.network,
            services,
            lost_services,
            #[cfg(all(feature = "capacity", feature = "chain"))]
            proving,
        });
        Ok(Peer {
            core,
            #[cfg(feature = "marine")]
            hosting,
            about,
        })
    }

    fn managers(&self) -> Result<Vec<PeerId>, PeerError> {
        let mut managers = Vec::new();
        if let Some(text) = &self.config.management_peer_id {
            let peer = text.parse().map_err(|source| PeerError::ManagementPeer {
                text: text.clone(),
                source,
            })?;
            managers.push(peer);
        }
        if let Some(settings) = &self.config.builtins_key_pair {
            let key = load_builtins_key(settings, self.config.data_dir.as_deref())?;
            managers.push(key.peer_id());
        }
        Ok(managers)
    }
}

/// The store of a peer with this directory, which is made.
fn open_store(folder: Option<&Path>) -> Result<Arc<dyn Store>, StoreError> {
    let Some(folder) = folder else {
        return Ok(Arc::new(MemoryStore::default()));
    };
    std::fs::create_dir_all(folder).map_err(|error| StoreError::Open {
        path: folder.to_owned(),
        source: error.into(),
    })?;
    Ok(Arc::new(DiskStore::open(folder.join("store.redb"))?))
}

/// Data of particles of an earlier run belong to nobody.
fn forget_particles(store: &dyn Store) -> Result<(), StoreError> {
    let left = store.scan(Table::Particles, b"")?;
    let changes: Vec<Change> = left
        .into_iter()
        .map(|(key, _)| Change::delete(Table::Particles, key))
        .collect();
    store.apply(&changes, Durability::Later)
}

//! Services, workers and spells of a peer: opened before anybody can reach it, then joined with its
//! engine.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use deal_types::peer_chain::PeerChain;
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use particle::{KeyPair, Particle, PeerId};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;

use super::PeerError;
use super::content;
use super::core::Core;
use crate::builtins::Guard;
use crate::chain::blocks;
use crate::clock::Clock;
use crate::config::PeerConfig;
use crate::content::Content;
use crate::deployment::{Deployment, DeploymentConfig, DeploymentParts};
use crate::engine::Engine;
use crate::host::HostChain;
use crate::network::{Network, NetworkEvent, peer_of_address};
use crate::services::{Marine, ServiceOptions, Services, TokioBlocking};
use crate::spells::Happening;
use crate::store::Store;
use crate::system;
use crate::workers::{CoresConfig, ScopeControl, Topology, Worker};

/// What services need of a peer that does not run yet.
pub(super) struct Parts {
    pub(super) key: Arc<KeyPair>,
    pub(super) managers: Vec<PeerId>,
    pub(super) config: PeerConfig,
    pub(super) engine: Option<marine_runtime::Engine>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) chain: Option<Arc<dyn PeerChain>>,
    pub(super) heads: Option<BoxStream<'static, u64>>,
}

/// The services of a peer, and where it has a folder, what others deploy.
pub(super) struct Hosting {
    services: Arc<Services>,
    deployment: Option<Deployment>,
    chain: Option<Arc<dyn PeerChain>>,
    /// Taken when spells are started.
    heads: Mutex<Option<BoxStream<'static, u64>>>,
    clock: Arc<dyn Clock>,
    spells: Option<AbortHandle>,
    /// Taken when the network is there.
    plan: Mutex<Option<content::Plan>>,
    content: Option<Arc<Content>>,
}

impl Hosting {
    /// Opens what is there, on a thread that may compute and wait for the disk.
    pub(super) async fn open(parts: Parts) -> Result<Self, PeerError> {
        let runtime = tokio::runtime::Handle::current();
        let blocking = Arc::new(TokioBlocking::new(runtime));
        let Parts {
            key,
            managers,
            config,
            engine,
            clock,
            store,
            chain,
            heads,
        } = parts;
        let services = Services::new(blocking.clone(), clock.clone())
            .with_history(config.max_builtin_metrics_storage_size);
        let mut hosting = Self {
            services: Arc::new(services),
            deployment: None,
            chain: chain.clone(),
            heads: Mutex::new(heads),
            clock: clock.clone(),
            spells: None,
            plan: Mutex::new(content::Plan::open(
                &config.content,
                config.data_dir.as_deref(),
            )?),
            content: None,
        };
        if config.services.is_empty() && config.data_dir.is_none() {
            return Ok(hosting);
        }
        let engine = match engine {
            Some(engine) => engine,
            None => own_engine(config.data_dir.as_deref())?,
        };
        let marine = Marine::new(engine, key.clone());
        let settings = config.data_dir.as_deref();
        let settings = settings
            .map(|folder| settings_of(&config, folder))
            .transpose()?;
        let deployment = settings.map(|settings| {
            let parts = DeploymentParts {
                key,
                marine: marine.clone(),
                services: hosting.services.clone(),
                store,
                guard: Guard::new(managers),
                blocking,
                clock,
                chain,
            };
            (settings, parts)
        });
        let services = hosting.services.clone();
        let opened = tokio::task::spawn_blocking(move || {
            marine.create_all(&services, &config.services)?;
            let opened = deployment.map(|(settings, parts)| Deployment::open(settings, parts));
            Ok::<_, PeerError>(opened.transpose()?)
        });
        hosting.deployment = opened.await.map_err(|error| PeerError::Interrupted {
            reason: error.to_string(),
        })??;
        Ok(hosting)
    }

    pub(super) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub(super) fn deployment(&self) -> Option<&Deployment> {
        self.deployment.as_ref()
    }

    pub(super) fn content(&self) -> Option<&Arc<Content>> {
        self.content.as_ref()
    }

    /// Adds the functions that deploy, and then all services.
    pub(super) fn join(&self, host: HostChain) -> HostChain {
        let host = match &self.deployment {
            Some(deployment) => host.with(Arc::new(deployment.clone())),
            None => host,
        };
        host.with(self.services.clone())
    }

    /// Adds the workers of an earlier run.
    pub(super) fn join_workers(&self, engine: &mut Engine) {
        if let Some(deployment) = &self.deployment {
            for worker in deployment.workers().list() {
                worker.join(engine);
            }
        }
    }

    /// Deploys system services, and lets spells run.
    pub(super) async fn start(
        mut self,
        core: &Arc<Core>,
        config: &PeerConfig,
    ) -> Result<Arc<Self>, PeerError> {
        let Some(deployment) = self.deployment.clone() else {
            return Ok(Arc::new(self));
        };
        // Connections are seen from here on.
        let heads = self.heads.get_mut();
        let heads = heads.unwrap_or_else(PoisonError::into_inner).take();
        let blocks = blocks(self.chain.clone(), heads, self.clock.clone());
        let happenings = happenings(core.network(), blocks);
        deployment.attach(Arc::new(Control(Arc::downgrade(core))));
        let plan = self.plan.get_mut();
        if let Some(plan) = plan.unwrap_or_else(PoisonError::into_inner).take() {
            let content = plan.start(core.network()).await;
            if config.system_services.aqua_ipfs.modules.is_empty() {
                let address = content_address(core.network(), config);
                deployment.serve_content(content.clone(), &address);
            }
            self.content = Some(content);
        }
        if let Err(error) = system::deploy(&deployment, &config.system_services).await {
            core.stop().await;
            return Err(error.into());
        }
        let spells = deployment.spells().clone();
        let task = tokio::spawn(async move { spells.drive(happenings).await });
        self.spells = Some(task.abort_handle());
        Ok(Arc::new(self))
    }

    pub(super) fn stop(&self) {
        if let Some(spells) = &self.spells {
            spells.abort();
        }
    }

    pub(super) fn metrics(&self) -> Vec<(String, u64)> {
        let Some(deployment) = &self.deployment else {
            return Vec::new();
        };
        let spells = deployment.spells().counters();
        [
            ("spell_particles_created", spells.fired),
            ("spell_particles_failed", spells.failed),
            ("spell_firings_dropped", spells.dropped),
            ("spell_scheduled_now", spells.scheduled),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// The engine of a peer that was given none; its machine code is kept in the folder.
#[cfg(feature = "wasmer")]
fn own_engine(folder: Option<&Path>) -> Result<marine_runtime::Engine, PeerError> {
    let engine = marine_runtime::Engine::wasmer();
    Ok(match folder {
        Some(folder) => engine.with_cache_folder(folder.join("code")),
        None => engine,
    })
}

#[cfg(not(feature = "wasmer"))]
fn own_engine(_folder: Option<&Path>) -> Result<marine_runtime::Engine, PeerError> {
    Err(PeerError::NoEngine)
}

fn settings_of(config: &PeerConfig, folder: &Path) -> Result<DeploymentConfig, PeerError> {
    let dev = &config.dev_mode;
    let range = config.cpus_range.as_deref().map(str::parse).transpose()?;
    Ok(DeploymentConfig {
        folder: folder.to_owned(),
        effectors: config.effectors.clone(),
        envs: config.services_envs.clone(),
        memory_limit: config.default_service_memory_limit.map(|limit| limit.0),
        options: ServiceOptions::default(),
        dev_binaries: dev.enable.then(|| dev.binaries.clone()),
        spell_modules: config.system_services.spell.clone(),
        cores: CoresConfig {
            range,
            system_cores: config.system_cpu_count,
            shared: dev.enable,
            topology: Topology::of_machine(),
        },
        spell_ttl: config.max_spell_particle_ttl.into(),
        worker_period_sec: config.system_services.decider.worker_period_sec,
    })
}

/// Where others reach the peer, and so the blocks that it keeps.
fn content_address(network: &Network, config: &PeerConfig) -> String {
    let external = config.network().external_addresses.into_iter().next();
    let own = || network.listen_addresses().first().cloned();
    let address = external.or_else(own).unwrap_or_default();
    match peer_of_address(&address) {
        Some(_) => address,
        None => format!("{address}/p2p/{}", network.peer_id()),
    }
}

/// The engine of a peer as its workers and spells see it. Its functions belong to the peer, so they
/// must not keep it.
struct Control(Weak<Core>);

impl ScopeControl for Control {
    fn add_worker(&self, worker: &Worker) {
        if let Some(core) = self.0.upgrade() {
            core.change(|engine| worker.join(engine));
        }
    }

    fn set_worker_active(&self, worker: PeerId, active: bool) {
        if let Some(core) = self.0.upgrade() {
            core.change(|engine| {
                engine.set_worker_active(&worker, active);
            });
        }
    }

    fn remove_worker(&self, worker: PeerId) {
        if let Some(core) = self.0.upgrade() {
            core.change(|engine| {
                engine.remove_worker(&worker);
            });
        }
    }

    fn submit(&self, particle: Particle) {
        if let Some(core) = self.0.upgrade() {
            core.submit(particle);
        }
    }
}

/// Connections of the network and blocks of the chain.
fn happenings(
    network: &Network,
    blocks: impl Stream<Item = u64> + Send + 'static,
) -> impl Stream<Item = Happening> + Send + 'static {
    let connections = stream::unfold(network.events(), |mut events| async {
        loop {
            let happening = match events.recv().await {
                Ok(NetworkEvent::Connected { peer, .. }) => Happening::Connected(peer),
                Ok(NetworkEvent::Disconnected { peer, .. }) => Happening::Disconnected(peer),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "spells did not hear of connections");
                    continue;
                }
                Err(RecvError::Closed) => return None,
            };
            return Some((happening, events));
        }
    });
    stream::select(connections, blocks.map(Happening::Block))
}

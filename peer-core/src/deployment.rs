//! What others deploy on a peer: modules, blueprints, services, workers, spells, and the files of
//! particles (§3.6 to §3.15, §4 to §7 of the peer description).
//!
//! [`Deployment`] answers `dist`, `srv`, `vault`, `stat`, `sig`, `worker`, `spell`, `vm`,
//! `run-console`, `connector` and `subnet`, what particles of spells ask the host for, and keeps
//! strangers from `aqua-ipfs`. What it acknowledged is on disk: all of it comes back after a restart
//! with its ids, aliases and files.

mod blueprint;
mod chain;
mod content;
mod dist;
mod files;
mod gate;
mod initiator;
mod instances;
mod module;
mod own;
mod sig;
mod spell;
mod srv;
mod stat;
mod vault;
mod worker;

pub(crate) use self::spell::NewSpell;
pub use self::{
    blueprint::{Blueprint, BlueprintError},
    content::ContentStore,
    module::{ModuleDescription, ModuleRecord, ModuleStoreError, Modules, Pairs, WasiDescription},
    vault::{VIRTUAL_ROOT, Vault, VaultError},
};

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use deal_types::peer_chain::PeerChain;
use futures::channel::oneshot;
use particle::{KeyPair, PeerId};
use thiserror::Error;

use crate::{
    builtins::{Answer, Failure, Guard},
    clock::Clock,
    config::{EffectorConfig, ModuleFile},
    host::{FunctionCall, FunctionHost, FunctionOutcome, PeerScope},
    records::RecordError,
    services::{Blocking, Marine, ServiceError, ServiceOptions, Services},
    spells::{SpellError, SpellParts, Spells},
    store::{Store, StoreError},
    workers::{CoresConfig, ScopeControl, WorkerError, Workers},
};

/// Lifetime of the particles of spells.
const SPELL_TTL: Duration = Duration::from_secs(120);
/// How often worker spells of activated deals run, in seconds.
const WORKER_PERIOD_SEC: u32 = 900;

/// Where deployed things are kept, and what they get.
#[derive(Clone, Debug)]
pub struct DeploymentConfig {
    /// The folder for modules and for the files of services.
    pub folder: PathBuf,
    /// Modules that may run programs.
    pub effectors: BTreeMap<String, EffectorConfig>,
    /// Environment of every service.
    pub envs: BTreeMap<String, String>,
    /// Linear memory of all modules of a service, in bytes; unlimited when absent.
    pub memory_limit: Option<u64>,
    /// Time and queue of each service.
    pub options: ServiceOptions,
    /// Programs for modules that are not on the list of effectors: the host belongs to developers,
    /// and everybody may call `aqua-ipfs`.
    pub dev_binaries: Option<BTreeMap<String, PathBuf>>,
    /// The modules of the spell service, dependencies first; without them there are no spells.
    pub spell_modules: Vec<ModuleFile>,
    /// How cores are given to workers.
    pub cores: CoresConfig,
    /// How long particles of spells live.
    pub spell_ttl: Duration,
    /// How often the worker spell of an activated deal runs, in seconds.
    pub worker_period_sec: u32,
}

/// What a deployment works with.
pub struct DeploymentParts {
    /// The key of the host.
    pub key: Arc<KeyPair>,
    /// Makes services.
    pub marine: Marine,
    /// The services of the host, to which deployed ones are added.
    pub services: Arc<Services>,
    /// Where everything but files is kept.
    pub store: Arc<dyn Store>,
    /// Who may deploy.
    pub guard: Guard,
    /// Where slow work is done.
    pub blocking: Arc<dyn Blocking>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The marketplace, where the host takes part in it.
    pub chain: Option<Arc<dyn PeerChain>>,
}

/// Why something was not deployed, or not removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// A folder that cannot be used.
    #[error("the folder {path:?} cannot be used: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No such blueprint.
    #[error("Blueprint '{0}' wasn't found")]
    NoBlueprint(String),
    /// The modules of a service do not make a service.
    #[error("{0}")]
    Create(String),
    /// No such service.
    #[error("Service with id '{id}' not found on {scope}")]
    NoService {
        /// The id or alias.
        id: String,
        /// Where.
        scope: PeerScope,
    },
    /// No service has that name.
    #[error("Service with alias '{alias}' is not found on worker '{scope}'")]
    NoAlias {
        /// The alias.
        alias: String,
        /// Where.
        scope: PeerScope,
    },
    /// An entry of the store whose key is none.
    #[error("the entry '{0}' of the store names no service")]
    Entry(String),
    /// The caller may not do that.
    #[error("Forbidden. User id '{user}' cannot call function '{function}': {reason}")]
    Forbidden {
        /// The caller.
        user: PeerId,
        /// What was called.
        function: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A module.
    #[error(transparent)]
    Module(#[from] ModuleStoreError),
    /// A name that is taken or reserved.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Workers.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The service of a spell.
    #[error(transparent)]
    Spell(#[from] SpellError),
    /// The host has no modules for spells.
    #[error("spells are not available: the host has no modules of the spell service")]
    NoSpells,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry of the store.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<DeploymentError> for Failure {
    fn from(error: DeploymentError) -> Self {
        Self::typed(&error)
    }
}

/// What others deployed on a host, and the functions by which they do.
#[derive(Clone)]
pub struct Deployment {
    inner: Arc<Inner>,
    lost_services: usize,
}

struct Inner {
    config: DeploymentConfig,
    modules: Modules,
    vault: Arc<Vault>,
    key: Arc<KeyPair>,
    marine: Marine,
    services: Arc<Services>,
    store: Arc<dyn Store>,
    guard: Guard,
    blocking: Arc<dyn Blocking>,
    clock: Arc<dyn Clock>,
    workers: Arc<Workers>,
    spells: Arc<Spells>,
    /// The blueprint of spells, once the host has its modules.
    spell_blueprint: OnceLock<String>,
    chain: Option<Arc<dyn PeerChain>>,
    /// Answers for `aqua-ipfs`, where the host needs no daemon for that.
    content: OnceLock<content::Content>,
}

impl Deployment {
    /// Opens what was deployed before: its services can be called when this returns, and are
    /// created when they are. Blocks.
    ///
    /// A service or worker that cannot be brought back is logged and left where it is.
    ///
    /// # Errors
    /// A folder or a store that cannot be used.
    pub fn open(config: DeploymentConfig, parts: DeploymentParts) -> Result<Self, DeploymentError> {
        let folder = |path: PathBuf| {
            move |source| DeploymentError::Folder {
                path: path.clone(),
                source,
            }
        };
        let ephemeral = config.ephemeral();
        // Files of an earlier run belong to nobody.
        match fs::remove_dir_all(&ephemeral) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(folder(ephemeral)(error));
            }
            _ => {}
        }
        let path = config.folder.join("modules");
        let modules = Modules::open(&path, parts.store.clone(), config.effectors.clone())
            .map_err(folder(path))?
            .with_unlisted(config.dev_binaries.clone());
        let path = ephemeral.join("vault");
        let vault = Vault::open(&path, parts.key.clone()).map_err(folder(path))?;
        let vault = Arc::new(vault);
        let marine = parts.marine.with_vault(vault.clone(), parts.clock.clone());
        let workers = Workers::open(
            parts.key.clone(),
            config.folder.join("keypairs"),
            parts.store.clone(),
            &config.cores,
        )?;
        let workers = Arc::new(workers);
        let spells = Spells::open(SpellParts {
            services: parts.services.clone(),
            workers: workers.clone(),
            store: parts.store.clone(),
            clock: parts.clock.clone(),
            host_id: parts.key.peer_id(),
            ttl: config.spell_ttl,
        })?;
        let inner = Inner {
            config,
            modules,
            vault,
            key: parts.key,
            marine,
            guard: parts.guard.with_services(parts.services.clone()),
            services: parts.services,
            store: parts.store,
            blocking: parts.blocking,
            clock: parts.clock,
            workers,
            spells: Arc::new(spells),
            spell_blueprint: OnceLock::new(),
            chain: parts.chain,
            content: OnceLock::new(),
        };
        if !inner.config.spell_modules.is_empty() {
            let modules = &inner.config.spell_modules;
            let blueprint = inner.own_blueprint("spell", modules, &BTreeMap::new())?;
            inner.spell_blueprint.get_or_init(|| blueprint);
        }
        let lost_services = inner.restore()?;
        Ok(Self {
            inner: Arc::new(inner),
            lost_services,
        })
    }

    /// Services that were there and could not be brought back.
    #[must_use]
    pub fn lost_services(&self) -> usize {
        self.lost_services
    }

    /// The files of particles.
    #[must_use]
    pub fn vault(&self) -> &Arc<Vault> {
        &self.inner.vault
    }

    /// The workers of the host.
    #[must_use]
    pub fn workers(&self) -> &Arc<Workers> {
        &self.inner.workers
    }

    /// The spells of the host. Somebody has to [drive](Spells::drive) them.
    #[must_use]
    pub fn spells(&self) -> &Arc<Spells> {
        &self.inner.spells
    }

    /// Connects workers and spells with the engine that runs their particles, to which the workers
    /// of an earlier run were [added](crate::workers::Worker::join).
    pub fn attach(&self, control: Arc<dyn ScopeControl>) {
        self.inner.workers.attach(control);
    }

    /// Answers for the service `aqua-ipfs` of the host from this store instead of a service with
    /// that alias. Once set, the store stays: false when there was one. `address` is what scripts
    /// are told to reach the store by.
    pub fn serve_content(&self, store: Arc<dyn ContentStore>, address: &str) -> bool {
        let addresses = content::Addresses {
            external_api: address.to_owned(),
            external_swarm: address.to_owned(),
            local_api: address.to_owned(),
        };
        let content = content::Content::new(store, addresses);
        self.inner.content.set(content).is_ok()
    }

    /// Runs what reads and writes files where that may block.
    async fn blocking(
        &self,
        call: &FunctionCall,
        answer: fn(&Inner, &FunctionCall) -> Answer,
    ) -> Answer {
        let call = call.clone();
        self.inner
            .run_blocking(move |inner| answer(inner, &call))
            .await?
    }
}

impl Inner {
    /// Does something where that may block.
    async fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        let inner = self.clone();
        self.blocking.spawn(Box::new(move || {
            // Whoever waited may have given up.
            let _ = sender.send(job(&inner));
        }));
        receiver
            .await
            .map_err(|_| "the function died during the call".into())
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Deployment({})",
            self.inner.config.folder.display()
        )
    }
}

#[async_trait]
impl FunctionHost for Deployment {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        let inner = &self.inner;
        let answer = match call.service_id.as_str() {
            "dist" => self.blocking(call, dist::call).await,
            "srv" => self.blocking(call, srv::call).await,
            "vault" => self.blocking(call, files::call).await,
            "stat" => stat::call(inner, call).await,
            "sig" => sig::call(inner, call),
            "worker" => worker::call(inner, call).await,
            "spell" => spell::call(inner, call).await,
            "getDataSrv" | "errorHandlingSrv" | "callbackSrv" => initiator::call(inner, call).await,
            "connector" => chain::connector(inner, call).await,
            "subnet" => chain::subnet(inner, call).await,
            "vm" => gate::vm(inner, call),
            "aqua-ipfs" => gate::aqua_ipfs(inner, call).await,
            "run-console" => gate::run_console(inner, call),
            _ => return FunctionOutcome::NotDefined,
        };
        answer.unwrap_or_else(Failure::into_outcome)
    }
}

impl DeploymentConfig {
    /// Everything below this folder, and no restrictions beside the usual ones.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            effectors: BTreeMap::new(),
            envs: BTreeMap::new(),
            memory_limit: None,
            options: ServiceOptions::default(),
            dev_binaries: None,
            spell_modules: Vec::new(),
            cores: CoresConfig::default(),
            spell_ttl: SPELL_TTL,
            worker_period_sec: WORKER_PERIOD_SEC,
        }
    }

    fn ephemeral(&self) -> PathBuf {
        self.folder.join("ephemeral")
    }
}

#[cfg(test)]
mod tests;

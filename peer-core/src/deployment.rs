//! What others deploy on a peer: modules, blueprints, services, and the files of particles (§3.6 to
//! §3.9, §4 and §5 of the peer description).
//!
//! [`Deployment`] answers `dist`, `srv`, `vault`, `stat` and `sig`. What it acknowledged is on disk:
//! services come back after a restart with their ids, aliases and files.

mod blueprint;
mod dist;
mod files;
mod module;
mod sig;
mod srv;
mod stat;
mod vault;

pub use self::{
    blueprint::{Blueprint, BlueprintError},
    module::{ModuleDescription, ModuleRecord, ModuleStoreError, Modules, Pairs, WasiDescription},
    vault::{VIRTUAL_ROOT, Vault, VaultError},
};

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::channel::oneshot;
use particle::{KeyPair, PeerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    builtins::{Answer, Failure, Guard},
    clock::Clock,
    config::EffectorConfig,
    host::{FunctionCall, FunctionHost, FunctionOutcome},
    records::{self, RecordError},
    services::{
        Blocking, Deployable, Marine, ServiceError, ServiceInfo, ServiceOptions, ServiceView,
        Services,
    },
    store::{Change, Durability, Store, StoreError, Table},
};

/// Keys of services in their table: this, the scope, a slash and the id.
const SERVICE: &str = "service/";
/// Keys of blueprints in the same table.
const BLUEPRINT: &str = "blueprint/";

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
    #[error("Service with id '{0}' not found on Host")]
    NoService(String),
    /// No service has that name.
    #[error("Service with alias '{0}' is not found on worker 'Host'")]
    NoAlias(String),
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

/// What is kept about a service.
#[derive(Debug, Serialize, Deserialize)]
struct ServiceRecord {
    blueprint_id: String,
    /// In base58.
    owner: String,
    is_spell: bool,
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
}

impl Deployment {
    /// Opens what was deployed before: its services can be called when this returns, and are
    /// created when they are. Blocks.
    ///
    /// A service that cannot be brought back is logged and left where it is.
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
            .map_err(folder(path))?;
        let path = ephemeral.join("vault");
        let vault = Vault::open(&path, parts.key.clone()).map_err(folder(path))?;
        let vault = Arc::new(vault);
        let marine = parts.marine.with_vault(vault.clone(), parts.clock.clone());
        let inner = Inner {
            config,
            modules,
            vault,
            key: parts.key,
            marine,
            services: parts.services,
            store: parts.store,
            guard: parts.guard,
            blocking: parts.blocking,
            clock: parts.clock,
        };
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

    /// Runs what reads and writes files where that may block.
    async fn blocking(
        &self,
        call: &FunctionCall,
        answer: fn(&Inner, &FunctionCall) -> Answer,
    ) -> Answer {
        let (sender, receiver) = oneshot::channel();
        let (inner, call) = (self.inner.clone(), call.clone());
        self.inner.blocking.spawn(Box::new(move || {
            // Whoever waited may have given up.
            let _ = sender.send(answer(&inner, &call));
        }));
        receiver
            .await
            .unwrap_or_else(|_| Err("the function died during the call".into()))
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
        let answer = match call.service_id.as_str() {
            "dist" => self.blocking(call, dist::call).await,
            "srv" => self.blocking(call, srv::call).await,
            "vault" => self.blocking(call, files::call).await,
            "stat" => stat::call(&self.inner, call).await,
            "sig" => sig::call(&self.inner, call),
            _ => return FunctionOutcome::NotDefined,
        };
        answer.unwrap_or_else(Failure::into_outcome)
    }
}

impl DeploymentConfig {
    fn ephemeral(&self) -> PathBuf {
        self.folder.join("ephemeral")
    }
}

impl Inner {
    fn add_blueprint(&self, blueprint: &Blueprint) -> Result<String, DeploymentError> {
        let id = blueprint.id();
        let change = Change::put(
            Table::Services,
            blueprint_key(&id),
            records::encode(blueprint)?,
        );
        self.store.apply(&[change], Durability::Disk)?;
        Ok(id)
    }

    fn blueprint(&self, id: &str) -> Result<Blueprint, DeploymentError> {
        let record = self.store.get(Table::Services, &blueprint_key(id))?;
        let record = record.ok_or_else(|| DeploymentError::NoBlueprint(id.to_owned()))?;
        Ok(records::decode(&record)?)
    }

    fn blueprints(&self) -> Result<Vec<Blueprint>, DeploymentError> {
        let entries = self.store.scan(Table::Services, BLUEPRINT.as_bytes())?;
        let decoded = entries.iter().map(|(_, record)| records::decode(record));
        Ok(decoded.collect::<Result<_, _>>()?)
    }

    /// Creates a service; the result is its id.
    fn create(
        &self,
        scope: PeerId,
        owner: PeerId,
        blueprint_id: &str,
    ) -> Result<String, DeploymentError> {
        let blueprint = self.blueprint(blueprint_id)?;
        let id = Uuid::new_v4().to_string();
        let config = self.service_config(scope, &id, &blueprint)?;
        let factory = self.marine.factory(Deployable {
            id: id.clone(),
            owner,
            config,
        });
        let created = factory.create().map_err(DeploymentError::Create);
        let instance = created.inspect_err(|_| {
            self.services.counters().creation_failures.increment();
            self.remove_files(&id);
        })?;
        let record = ServiceRecord {
            blueprint_id: blueprint_id.to_owned(),
            owner: owner.to_string(),
            is_spell: false,
        };
        let change = Change::put(
            Table::Services,
            service_key(scope, &id),
            records::encode(&record)?,
        );
        self.store.apply(&[change], Durability::Disk)?;
        let info = ServiceInfo {
            blueprint_id: blueprint_id.to_owned(),
            owner: Some(owner),
            is_spell: false,
        };
        let options = self.config.options.clone();
        self.services
            .add_of(scope, &id, factory, Some(instance), options, info)?;
        Ok(id)
    }

    /// The runtime's configuration of a service; its directories are made.
    fn service_config(
        &self,
        scope: PeerId,
        id: &str,
        blueprint: &Blueprint,
    ) -> Result<marine_runtime::ServiceConfig, DeploymentError> {
        let (storage, temporary) = self.folders(id);
        let vault = self.vault.of_scope(scope);
        let vault = vault.map_err(|source| DeploymentError::Folder {
            path: PathBuf::from(VIRTUAL_ROOT),
            source,
        })?;
        let mut modules = Vec::with_capacity(blueprint.dependencies.len());
        for cid in &blueprint.dependencies {
            let record = self.modules.record(cid)?;
            let own = [storage.join(&record.name), temporary.join(&record.name)];
            for path in &own {
                let made = fs::create_dir_all(path);
                made.map_err(|source| DeploymentError::Folder {
                    path: path.clone(),
                    source,
                })?;
            }
            let [own_storage, own_temporary] = own;
            let folders = [
                ("/storage", storage.clone()),
                ("/storage/module", own_storage),
                ("/tmp", temporary.clone()),
                ("/tmp/module", own_temporary),
                (VIRTUAL_ROOT, vault.clone()),
            ];
            let binaries = record.binaries.iter().map(|(name, path)| {
                (
                    name.clone(),
                    marine_runtime::MountedBinary::new(path.clone()),
                )
            });
            let path = self.modules.path(cid);
            modules.push(marine_runtime::ModuleConfig {
                logger_enabled: record.logger_enabled,
                mapped_dirs: folders
                    .into_iter()
                    .map(|(name, path)| (name.to_owned(), path))
                    .collect(),
                unlisted_dirs: [VIRTUAL_ROOT.to_owned()].into(),
                // Programs need the host's names of files.
                expose_host_paths: !record.binaries.is_empty(),
                mounted_binaries: binaries.collect(),
                ..marine_runtime::ModuleConfig::from_file(record.name, path)
            });
        }
        Ok(marine_runtime::ServiceConfig {
            total_memory_limit: self.config.memory_limit,
            working_dir: storage,
            service_id: Some(id.to_owned()),
            envs: self.config.envs.clone(),
            recreate_after_trap: true,
            ..marine_runtime::ServiceConfig::new(modules)
        })
    }

    /// Where the files of a service are that stay, and those that go with the process.
    fn folders(&self, id: &str) -> (PathBuf, PathBuf) {
        let of = |folder: &Path| folder.join("workdir").join(id);
        (of(&self.config.folder), of(&self.config.ephemeral()))
    }

    fn remove_files(&self, id: &str) {
        let (storage, temporary) = self.folders(id);
        for folder in [storage, temporary] {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(folder = %folder.display(), %error, "files of a service stay");
                }
                _ => {}
            }
        }
    }

    /// Gives a service a further name, which moves to it where another had it.
    fn add_alias(&self, scope: PeerId, alias: &str, id: &str) -> Result<(), DeploymentError> {
        self.services.add_alias(scope, alias, id)?;
        let change = Change::put(Table::Aliases, alias_key(scope, alias), id);
        self.store.apply(&[change], Durability::Disk)?;
        Ok(())
    }

    /// Removes a service with its files and names.
    fn remove(&self, scope: PeerId, service: &ServiceView) -> Result<(), DeploymentError> {
        let mut changes = vec![Change::delete(
            Table::Services,
            service_key(scope, &service.id),
        )];
        let aliases = service.aliases.iter();
        changes
            .extend(aliases.map(|alias| Change::delete(Table::Aliases, alias_key(scope, alias))));
        self.store.apply(&changes, Durability::Disk)?;
        self.services.remove(scope, &service.id);
        self.remove_files(&service.id);
        Ok(())
    }

    /// Adds the services of the store; returns how many are lost.
    fn restore(&self) -> Result<usize, DeploymentError> {
        let mut lost = 0;
        for (key, record) in self.store.scan(Table::Services, SERVICE.as_bytes())? {
            let key = String::from_utf8_lossy(&key).into_owned();
            if let Err(error) = self.restore_service(&key, &record) {
                lost += 1;
                tracing::error!(%key, %error, "a persisted service was not loaded");
            }
        }
        for (key, id) in self.store.scan(Table::Aliases, b"")? {
            let (key, id) = (String::from_utf8_lossy(&key), String::from_utf8_lossy(&id));
            let Some((scope, alias)) = key.split_once('/') else {
                continue;
            };
            let Ok(scope) = scope.parse() else { continue };
            if let Err(error) = self.services.add_alias(scope, alias, &id) {
                tracing::error!(%alias, %error, "a persisted alias was not loaded");
            }
        }
        Ok(lost)
    }

    fn restore_service(&self, key: &str, record: &[u8]) -> Result<(), DeploymentError> {
        let malformed = || DeploymentError::NoService(key.to_owned());
        let (scope, id) = key
            .strip_prefix(SERVICE)
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(malformed)?;
        let scope: PeerId = scope.parse().map_err(|_| malformed())?;
        let record: ServiceRecord = records::decode(record)?;
        let owner: PeerId = record.owner.parse().map_err(|_| malformed())?;
        let blueprint = self.blueprint(&record.blueprint_id)?;
        let factory = self.marine.factory(Deployable {
            id: id.to_owned(),
            owner,
            config: self.service_config(scope, id, &blueprint)?,
        });
        let info = ServiceInfo {
            blueprint_id: record.blueprint_id,
            owner: Some(owner),
            is_spell: record.is_spell,
        };
        let options = self.config.options.clone();
        self.services
            .add_of(scope, id, factory, None, options, info)?;
        Ok(())
    }
}

fn blueprint_key(id: &str) -> Vec<u8> {
    format!("{BLUEPRINT}{id}").into_bytes()
}

fn service_key(scope: PeerId, id: &str) -> Vec<u8> {
    format!("{SERVICE}{scope}/{id}").into_bytes()
}

fn alias_key(scope: PeerId, alias: &str) -> Vec<u8> {
    format!("{scope}/{alias}").into_bytes()
}

#[cfg(test)]
mod tests;

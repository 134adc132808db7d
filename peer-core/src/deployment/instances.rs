//! Services of a deployment: created, named, removed, and brought back after a restart (§4.4 to
//! §4.6, §4.10).

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use particle::PeerId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Blueprint, DeploymentError, Inner, VIRTUAL_ROOT};
use crate::{
    host::PeerScope,
    records,
    services::{Deployable, ServiceError, ServiceFactory, ServiceInfo, ServiceView},
    spells::{self, SpellId},
    store::{Change, Durability, Table},
};

/// Keys of services in their table: this, the scope, a slash and the id.
const SERVICE: &str = "service/";
/// Keys of blueprints in the same table.
const BLUEPRINT: &str = "blueprint/";
/// Where the files of services are, in the folder and among the ephemeral ones.
const WORKDIR: &str = "workdir";

/// What is kept about a service.
#[derive(Debug, Serialize, Deserialize)]
struct ServiceRecord {
    blueprint_id: String,
    /// In base58.
    owner: String,
    is_spell: bool,
}

impl Inner {
    pub(super) fn scope(&self, peer_id: PeerId) -> PeerScope {
        PeerScope::of(peer_id, self.key.peer_id())
    }

    pub(super) fn add_blueprint(&self, blueprint: &Blueprint) -> Result<String, DeploymentError> {
        let id = blueprint.id();
        let change = Change::put(
            Table::Services,
            blueprint_key(&id),
            records::encode(blueprint)?,
        );
        self.store.apply(&[change], Durability::Disk)?;
        Ok(id)
    }

    pub(super) fn blueprint(&self, id: &str) -> Result<Blueprint, DeploymentError> {
        let record = self.store.get(Table::Services, &blueprint_key(id))?;
        let record = record.ok_or_else(|| DeploymentError::NoBlueprint(id.to_owned()))?;
        Ok(records::decode(&record)?)
    }

    pub(super) fn blueprints(&self) -> Result<Vec<Blueprint>, DeploymentError> {
        let entries = self.store.scan(Table::Services, BLUEPRINT.as_bytes())?;
        let decoded = entries.iter().map(|(_, record)| records::decode(record));
        Ok(decoded.collect::<Result<_, _>>()?)
    }

    /// A service by id or alias, as a particle with this id knows it.
    pub(super) fn find(
        &self,
        scope: PeerId,
        name: &str,
        particle_id: &str,
    ) -> Result<ServiceView, DeploymentError> {
        let service = self.services.view(scope, name, particle_id);
        service.ok_or_else(|| self.no_service(scope, name))
    }

    pub(super) fn no_service(&self, scope: PeerId, name: &str) -> DeploymentError {
        DeploymentError::NoService {
            id: name.to_owned(),
            scope: self.scope(scope),
        }
    }

    /// Creates a service; the result is its id.
    pub(super) fn create(
        &self,
        scope: PeerId,
        owner: PeerId,
        blueprint_id: &str,
        is_spell: bool,
    ) -> Result<String, DeploymentError> {
        let id = Uuid::new_v4().to_string();
        let info = ServiceInfo {
            blueprint_id: blueprint_id.to_owned(),
            owner: Some(owner),
            is_spell,
        };
        let blueprint = self.blueprint(blueprint_id)?;
        let factory = self.factory(scope, &id, owner, &blueprint);
        let created =
            factory.and_then(
                |factory| match factory.create().map_err(DeploymentError::Create) {
                    Ok(instance) => Ok((factory, instance)),
                    Err(error) => Err(error),
                },
            );
        let (factory, instance) = created.inspect_err(|_| {
            self.services.counters().creation_failures.increment();
            self.files(&id).remove();
        })?;
        let record = ServiceRecord {
            blueprint_id: blueprint_id.to_owned(),
            owner: owner.to_string(),
            is_spell,
        };
        let change = Change::put(
            Table::Services,
            service_key(scope, &id),
            records::encode(&record)?,
        );
        let kept = self.store.apply(&[change], Durability::Disk);
        kept.inspect_err(|_| self.files(&id).remove())?;
        let options = self.config.options.clone();
        self.services
            .add_of(scope, &id, factory, Some(instance), options, info)?;
        Ok(id)
    }

    /// Makes instances of a service, whose directories are made.
    fn factory(
        &self,
        scope: PeerId,
        id: &str,
        owner: PeerId,
        blueprint: &Blueprint,
    ) -> Result<Arc<dyn ServiceFactory>, DeploymentError> {
        Ok(self.marine.factory(Deployable {
            id: id.to_owned(),
            owner,
            config: self.service_config(scope, id, blueprint)?,
        }))
    }

    /// The runtime's configuration of a service; its directories are made.
    fn service_config(
        &self,
        scope: PeerId,
        id: &str,
        blueprint: &Blueprint,
    ) -> Result<marine_runtime::ServiceConfig, DeploymentError> {
        let Files {
            lasting: storage,
            ephemeral: temporary,
        } = self.files(id);
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

    /// Where the files of a service are.
    fn files(&self, id: &str) -> Files {
        let of = |folder: &Path| folder.join(WORKDIR).join(id);
        Files {
            lasting: of(&self.config.folder),
            ephemeral: of(&self.config.ephemeral()),
        }
    }

    /// Brings the files that a service has at its top to the disk.
    pub(super) fn sync_files(&self, id: &str) -> io::Result<()> {
        let folder = self.files(id).lasting;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::File::open(entry.path())?.sync_all()?;
            }
        }
        fs::File::open(folder)?.sync_all()
    }

    /// Gives a service a further name, which moves to it where another had it.
    pub(super) fn add_alias(
        &self,
        scope: PeerId,
        alias: &str,
        id: &str,
    ) -> Result<(), DeploymentError> {
        let before = self.services.aliased(scope, alias, "");
        let added = self.services.add_alias(scope, alias, id);
        added.map_err(|error| match error {
            ServiceError::NotFound { .. } => self.no_service(scope, id),
            error => error.into(),
        })?;
        let change = Change::put(Table::Aliases, alias_key(scope, alias), id);
        let kept = self.store.apply(&[change], Durability::Disk);
        // What is not kept does not count.
        Ok(kept.inspect_err(|_| self.services.restore_alias(scope, alias, before.as_deref()))?)
    }

    /// Removes a service with its files and names. The files go when its last call has ended.
    pub(super) fn remove(
        &self,
        scope: PeerId,
        service: &ServiceView,
    ) -> Result<(), DeploymentError> {
        let changes = self.removal(scope, service);
        self.store.apply(&changes, Durability::Disk)?;
        self.forget(scope, service);
        Ok(())
    }

    /// What is changed in the store when a service is removed.
    pub(super) fn removal(&self, scope: PeerId, service: &ServiceView) -> Vec<Change> {
        let mut changes = vec![Change::delete(
            Table::Services,
            service_key(scope, &service.id),
        )];
        let aliases = service.aliases.iter();
        changes
            .extend(aliases.map(|alias| Change::delete(Table::Aliases, alias_key(scope, alias))));
        if service.info.is_spell {
            changes.push(spells::forget(&spell_id(scope, &service.id)));
        }
        changes
    }

    /// Removes a service that the store does not have any longer.
    pub(super) fn forget(&self, scope: PeerId, service: &ServiceView) {
        if service.info.is_spell {
            self.spells.unsubscribe(&spell_id(scope, &service.id));
        }
        let files = self.files(&service.id);
        let vault = self.vault.clone();
        let last_act = move || {
            files.remove();
            vault.sweep(scope);
        };
        self.services
            .remove_then(scope, &service.id, Box::new(last_act));
    }

    /// Adds the services of the store.
    pub(super) fn restore(&self) -> Result<usize, DeploymentError> {
        let mut known = BTreeSet::new();
        let mut lost = 0;
        for (key, record) in self.store.scan(Table::Services, SERVICE.as_bytes())? {
            let key = String::from_utf8_lossy(&key).into_owned();
            if let Some((_, id)) = key.rsplit_once('/') {
                known.insert(id.to_owned());
            }
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
        self.sweep(&known);
        Ok(lost)
    }

    fn restore_service(&self, key: &str, record: &[u8]) -> Result<(), DeploymentError> {
        let malformed = || DeploymentError::Entry(key.to_owned());
        let (scope, id) = key
            .strip_prefix(SERVICE)
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(malformed)?;
        let scope: PeerId = scope.parse().map_err(|_| malformed())?;
        let record: ServiceRecord = records::decode(record)?;
        let owner: PeerId = record.owner.parse().map_err(|_| malformed())?;
        let blueprint = self.blueprint(&record.blueprint_id)?;
        let factory = self.factory(scope, id, owner, &blueprint)?;
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

    /// Removes files of services that a crash left behind.
    fn sweep(&self, known: &BTreeSet<String>) {
        let Ok(entries) = fs::read_dir(self.config.folder.join(WORKDIR)) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !known.contains(&name) {
                tracing::warn!(service = name, "files without a service are removed");
                remove_folder(&entry.path());
            }
        }
    }
}

/// The two directories of a service: what stays, and what goes with the process.
struct Files {
    lasting: PathBuf,
    ephemeral: PathBuf,
}

impl Files {
    fn remove(&self) {
        remove_folder(&self.lasting);
        remove_folder(&self.ephemeral);
    }
}

fn remove_folder(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "files of a service stay");
        }
        _ => {}
    }
}

pub(super) fn spell_id(scope: PeerId, id: &str) -> SpellId {
    SpellId {
        scope,
        id: id.to_owned(),
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

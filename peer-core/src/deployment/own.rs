//! What a host deploys for itself: the modules of spells and the system services.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use super::{Blueprint, Deployment, DeploymentError, Inner, ModuleStoreError, NewSpell, spell};
use crate::{
    builtins::Failure,
    config::ModuleFile,
    store::{Change, Durability, Table},
    system::{own_call, own_result},
};

/// Keys of services that have got their first data, in the table of the peer.
const INITIALIZED: &str = "system/";

impl Inner {
    /// The blueprint of modules of the host itself.
    pub(super) fn own_blueprint(
        &self,
        name: &str,
        modules: &[ModuleFile],
        binaries: &BTreeMap<String, PathBuf>,
    ) -> Result<String, DeploymentError> {
        let mut dependencies = Vec::with_capacity(modules.len());
        for ModuleFile { name, path } in modules {
            let bytes = fs::read(path).map_err(|source| ModuleStoreError::Load {
                path: path.clone(),
                source,
            })?;
            dependencies.push(self.modules.add_own(name, &bytes, binaries)?);
        }
        let blueprint = Blueprint::new(name.to_owned(), &dependencies)
            .map_err(|error| DeploymentError::Create(error.to_string()))?;
        let id = blueprint.id();
        match self.blueprint(&id) {
            Ok(known) if known == blueprint => Ok(id),
            _ => self.add_blueprint(&blueprint),
        }
    }

    /// Makes or keeps the host's service with this alias; its id.
    fn deploy_own(
        &self,
        alias: &str,
        modules: &[ModuleFile],
        binaries: &BTreeMap<String, PathBuf>,
    ) -> Result<String, DeploymentError> {
        let host = self.key.peer_id();
        let blueprint = self.own_blueprint(alias, modules, binaries)?;
        let there = match self.services.aliased(host, alias, "") {
            Some(id) => self.services.view(host, &id, ""),
            None => None,
        };
        if let Some(there) = &there
            && !there.info.is_spell
            && there.info.blueprint_id == blueprint
        {
            return Ok(there.id.clone());
        }
        let id = self.create(host, host, &blueprint, false)?;
        self.add_alias(host, alias, &id)?;
        match there {
            Some(there) if there.info.is_spell => {
                tracing::warn!(
                    alias,
                    spell = there.id,
                    "a spell lost its alias to a system service"
                );
            }
            Some(there) => {
                let there = self.find(host, &there.id, "")?;
                self.remove(host, &there)?;
            }
            None => {}
        }
        Ok(id)
    }
}

impl Deployment {
    pub(crate) async fn deploy_own(
        &self,
        alias: &'static str,
        modules: Vec<ModuleFile>,
        binaries: BTreeMap<String, PathBuf>,
    ) -> Result<String, Failure> {
        let deployed = self
            .inner
            .run_blocking(move |inner| inner.deploy_own(alias, &modules, &binaries));
        Ok(deployed.await??)
    }

    /// Makes the host's spell with this alias, or gives the one that is there script, data and
    /// trigger anew.
    pub(crate) async fn deploy_own_spell(
        &self,
        alias: &'static str,
        new: NewSpell,
    ) -> Result<(), Failure> {
        let inner = &self.inner;
        let host = inner.key.peer_id();
        let there = match inner.services.aliased(host, alias, "") {
            Some(id) => inner.services.view(host, &id, ""),
            None => None,
        };
        match there {
            Some(there) if there.info.is_spell => {
                inner
                    .spells
                    .unsubscribe(&super::instances::spell_id(host, &there.id));
                let updated = async {
                    inner.set_content(host, &there.id, &new).await?;
                    let set = inner.set_trigger(host, &there.id, new.config).await;
                    set.map_err(Failure::from)
                };
                match updated.await {
                    Ok(()) => return Ok(()),
                    Err(failure) => {
                        let reason = failure.into_text();
                        tracing::warn!(alias, reason, "a spell of the host is made anew");
                        spell::remove(inner, host, &there.id).await?;
                    }
                }
            }
            Some(there) => {
                tracing::warn!(
                    alias,
                    service = there.id,
                    "a service lost its alias to a spell"
                );
            }
            None => {}
        }
        let id = inner.install(host, new).await?;
        let named = inner.run_blocking(move |inner| inner.add_alias(host, alias, &id));
        Ok(named.await??)
    }

    /// Calls a service of the host in its own name.
    pub(crate) async fn call_own(
        &self,
        service_id: &str,
        function: &str,
        arguments: &[Value],
    ) -> Result<Value, String> {
        let host = self.inner.key.peer_id();
        let call = own_call(host, self.now_ms(), service_id, function, arguments);
        own_result(&self.inner.services, &call).await
    }

    /// Whether a service has got its first data.
    pub(crate) fn is_initialized(&self, service_id: &str) -> Result<bool, DeploymentError> {
        let key = format!("{INITIALIZED}{service_id}");
        Ok(self.inner.store.get(Table::Peer, key.as_bytes())?.is_some())
    }

    pub(crate) fn set_initialized(&self, service_id: &str) -> Result<(), DeploymentError> {
        let key = format!("{INITIALIZED}{service_id}");
        let change = Change::put(Table::Peer, key, [1]);
        Ok(self.inner.store.apply(&[change], Durability::Disk)?)
    }

    pub(crate) fn has_chain(&self) -> bool {
        self.inner.chain.is_some()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }
}

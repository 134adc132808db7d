//! `spell`: scripts that the host starts by itself (§3.13, §6.5).

use std::sync::Arc;

use particle::PeerId;
use serde_json::Value;

use super::{DeploymentError, Inner, instances::spell_id, srv};
use crate::{
    builtins::{Answer, Failure, value},
    host::{FunctionCall, FunctionOutcome, PeerScope},
    services::ServiceView,
    spells::TriggerConfig,
};

pub(super) async fn call(inner: &Arc<Inner>, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    let scope = call.peer_id;
    match call.function_name.as_str() {
        "install" => {
            let script: String = arguments.next("script")?;
            let data: Value = arguments.next("data")?;
            let config: TriggerConfig = arguments.next("trigger_config")?;
            let alias: Option<String> = arguments.next_opt("alias")?;
            check_install(inner, call)?;
            check(inner, &config)?;
            let spell = NewSpell {
                script,
                data,
                config,
            };
            let id = inner.install(scope, spell).await?;
            if let Some(alias) = alias
                && let Err(error) = name(inner, call, &alias, &id).await
            {
                remove(inner, scope, &id).await?;
                return Err(
                    format!("Failed to add alias {alias} for spell {id}: {error:?}").into(),
                );
            }
            value(&id)
        }
        "remove" => {
            let name: String = arguments.next("spell_id_or_alias")?;
            let spell = inner.find(scope, &name, &call.particle.id)?;
            check_change(inner, call, |owners| {
                let id = &spell.id;
                format!(
                    "Failed to remove spell {id}, {}{owners}",
                    match call.scope() {
                        PeerScope::Host => "",
                        PeerScope::Worker(_) => "spell can be removed by ",
                    }
                )
            })?;
            if !spell.info.is_spell {
                let user = call.particle.init_peer_id;
                let reason = "the service isn't a spell";
                return Err(srv::forbidden(user, "remove_spell", reason).into());
            }
            remove(inner, scope, &spell.id).await?;
            Ok(FunctionOutcome::Empty)
        }
        "list" => {
            let services = inner.services.views(scope).into_iter();
            let spells = services.filter(|service| service.info.is_spell);
            let ids: Vec<String> = spells.map(|spell| spell.id).collect();
            value(&ids)
        }
        "update_trigger_config" => {
            let name: String = arguments.next("spell_id_or_alias")?;
            let config: TriggerConfig = arguments.next("trigger_config")?;
            let spell = inner.find(scope, &name, &call.particle.id)?;
            check_change(inner, call, |owners| {
                let (id, user) = (&spell.id, call.particle.init_peer_id);
                format!(
                    "Failed to update spell config {id}, spell config can be updated by {owners}; \
                     init_peer_id={user}"
                )
            })?;
            check(inner, &config)?;
            inner.set_trigger(scope, &spell.id, config).await.map_err(|error| {
                let id = &spell.id;
                format!(
                    "can't update a spell {id} config due to an internal error while updating the \
                     triggers: {error}"
                )
            })?;
            Ok(FunctionOutcome::Empty)
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

/// What a spell is made of.
pub(crate) struct NewSpell {
    pub(crate) script: String,
    /// An object, whose members are its first data.
    pub(crate) data: Value,
    pub(crate) config: TriggerConfig,
}

impl Inner {
    /// Makes a spell and lets it run; the result is its id.
    pub(crate) async fn install(
        self: &Arc<Self>,
        scope: PeerId,
        spell: NewSpell,
    ) -> Result<String, Failure> {
        let blueprint = self.spell_blueprint.get().cloned();
        let blueprint = blueprint.ok_or(DeploymentError::NoSpells)?;
        let id = self
            .run_blocking(move |inner| inner.create(scope, scope, &blueprint, true))
            .await??;
        let filled = self.fill(scope, &id, &spell).await;
        if filled.is_err() {
            remove(self, scope, &id).await?;
        }
        filled.map(|()| id)
    }

    async fn fill(
        self: &Arc<Self>,
        scope: PeerId,
        id: &str,
        spell: &NewSpell,
    ) -> Result<(), Failure> {
        self.set_content(scope, id, spell).await?;
        self.set_trigger(scope, id, spell.config)
            .await
            .map_err(|error| {
                format!(
                    "can't install a spell due to an internal error while subscribing to the \
                 triggers: {error}"
                )
            })?;
        Ok(())
    }

    /// Sets script and data of a spell.
    pub(crate) async fn set_content(
        self: &Arc<Self>,
        scope: PeerId,
        id: &str,
        spell: &NewSpell,
    ) -> Result<(), Failure> {
        let spell_id = spell_id(scope, id);
        let service = self.spells.service(&spell_id);
        let text = |error: crate::spells::SpellError| error.to_string();
        service.set_script(&spell.script).await.map_err(text)?;
        service.set_json_fields(&spell.data).await.map_err(text)?;
        // The module syncs its database, but not the script.
        let id = id.to_owned();
        let synced = self
            .run_blocking(move |inner| inner.sync_files(&id))
            .await?;
        Ok(synced.map_err(|error| {
            format!(
                "the files of spell {} are not on disk: {error}",
                spell_id.id
            )
        })?)
    }
}

async fn name(
    inner: &Arc<Inner>,
    call: &FunctionCall,
    alias: &str,
    id: &str,
) -> Result<(), Failure> {
    srv::check_alias(inner, call, alias)?;
    let (scope, alias, id) = (call.peer_id, alias.to_owned(), id.to_owned());
    let added = inner.run_blocking(move |inner| inner.add_alias(scope, &alias, &id));
    Ok(added.await??)
}

pub(super) async fn remove(inner: &Arc<Inner>, scope: PeerId, id: &str) -> Result<(), Failure> {
    let spell: ServiceView = inner.find(scope, id, "")?;
    let removed = inner.run_blocking(move |inner| inner.remove(scope, &spell));
    Ok(removed.await??)
}

fn check(inner: &Inner, config: &TriggerConfig) -> Result<(), Failure> {
    let now_sec = inner.clock.now_ms() / 1_000;
    let checked = config.check(now_sec);
    checked.map_err(|error| Failure::typed(&error))
}

fn check_install(inner: &Inner, call: &FunctionCall) -> Result<(), Failure> {
    let user = call.particle.init_peer_id;
    if inner.guard.is_manager(user) {
        return Ok(());
    }
    match call.scope() {
        PeerScope::Host => Err(
            "Failed to install spell in the root scope, only management peer \
                                id can install top-level spells"
                .into(),
        ),
        PeerScope::Worker(worker) => {
            let creator = inner.workers.get(worker).map(|worker| worker.creator);
            if user == worker || creator == Some(user) {
                return Ok(());
            }
            let creator = creator.unwrap_or(worker);
            Err(format!(
                "Failed to install spell on WorkerId(PeerId(\"{worker}\")), spell can be installed \
                 by worker creator {creator}, worker itself {worker} or peer manager; \
                 init_peer_id={user}"
            )
            .into())
        }
    }
}

/// Managers change all spells, workers and their creators those of the worker, the host its own.
fn check_change(
    inner: &Inner,
    call: &FunctionCall,
    refusal: impl FnOnce(String) -> String,
) -> Result<(), Failure> {
    let (user, scope) = (call.particle.init_peer_id, call.peer_id);
    if user == scope || inner.guard.is_manager(user) {
        return Ok(());
    }
    let owners = match call.scope() {
        PeerScope::Host => format!("worker itself {scope} or peer manager"),
        PeerScope::Worker(worker) => {
            let creator = inner.workers.get(worker).map(|worker| worker.creator);
            if creator == Some(user) {
                return Ok(());
            }
            let creator = creator.unwrap_or(worker);
            format!("worker creator {creator}, worker itself {worker} or peer manager")
        }
    };
    // Only what a worker's spell refuses to change in its triggers says "worker itself" of a host.
    Err(refusal(owners).into())
}

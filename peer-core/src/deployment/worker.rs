//! `worker`: workers and their deals (§3.12, §7).

use std::sync::Arc;

use particle::PeerId;

use super::{DeploymentError, Inner, instances::spell_id};
use crate::{
    builtins::{Answer, Failure, value},
    host::{FunctionCall, FunctionOutcome},
    services::WORKER_SPELL,
    spells::{self, TriggerConfig},
    store::{Change, Durability, StoreError},
    workers::{UnitId, Worker, WorkerError},
};

pub(super) async fn call(inner: &Arc<Inner>, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    let workers = &inner.workers;
    match call.function_name.as_str() {
        "create" => {
            let deal_id: String = arguments.next("deal_id")?;
            let unit_ids: Vec<UnitId> = arguments.next("cu_ids")?;
            check_manager(
                inner,
                call,
                "Only management or host peer can create worker",
            )?;
            let creator = call.particle.init_peer_id;
            let created =
                inner.run_blocking(move |inner| inner.workers.create(&deal_id, creator, unit_ids));
            value(&created.await?.map_err(text)?.to_string())
        }
        "get_worker_id" => {
            let deal_id: String = arguments.next("deal_id")?;
            let worker = workers.of_deal(&deal_id);
            value(&Vec::from_iter(
                worker.map(|worker| worker.id().to_string()),
            ))
        }
        "remove" => {
            let id: PeerId = peer_id(&arguments.next::<String>("worker_id")?)?;
            let worker = workers
                .get(id)
                .ok_or_else(|| text(WorkerError::NotFound(id)))?;
            let user = call.particle.init_peer_id;
            if user != worker.creator && !is_manager(inner, call) {
                let creator = worker.creator;
                return Err(format!(
                    "Worker {id} can be removed only by worker creator {creator}, host or a host \
                     manager"
                )
                .into());
            }
            inner
                .run_blocking(move |inner| inner.remove_worker(id))
                .await??;
            Ok(FunctionOutcome::Empty)
        }
        "list" => {
            let workers = workers.list().into_iter();
            let ids: Vec<String> = workers.map(|worker| worker.id().to_string()).collect();
            value(&ids)
        }
        "activate" => {
            let deal_id: String = arguments.next("deal_id")?;
            check_manager(
                inner,
                call,
                "Only management or host peer can activate deal",
            )?;
            activate(inner, &of_deal(inner, &deal_id)?).await?;
            Ok(FunctionOutcome::Empty)
        }
        "deactivate" => {
            let deal_id: String = arguments.next("deal_id")?;
            check_manager(
                inner,
                call,
                "Only management or host peer can deactivate deal",
            )?;
            deactivate(inner, &of_deal(inner, &deal_id)?).await?;
            Ok(FunctionOutcome::Empty)
        }
        "is_active" => {
            let deal_id: String = arguments.next("deal_id")?;
            value(&of_deal(inner, &deal_id)?.active)
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

/// Errors about workers reach scripts as plain texts.
fn text(error: WorkerError) -> Failure {
    error.to_string().into()
}

pub(super) fn peer_id(text: &str) -> Result<PeerId, Failure> {
    text.parse()
        .map_err(|error: particle::PeerIdError| Failure::typed(&error))
}

fn of_deal(inner: &Inner, deal_id: &str) -> Result<Worker, Failure> {
    let worker = inner.workers.of_deal(deal_id);
    worker.ok_or_else(|| text(WorkerError::NoDeal(deal_id.to_owned())))
}

fn is_manager(inner: &Inner, call: &FunctionCall) -> bool {
    let user = call.particle.init_peer_id;
    user == call.host_id || inner.guard.is_manager(user)
}

fn check_manager(inner: &Inner, call: &FunctionCall, refusal: &str) -> Result<(), Failure> {
    match is_manager(inner, call) {
        true => Ok(()),
        false => Err(refusal.into()),
    }
}

/// Only the worker spell runs again; it is what brings the others back.
async fn activate(inner: &Arc<Inner>, worker: &Worker) -> Result<(), Failure> {
    let id = worker.id();
    set_active(inner, id, true).await?;
    let Some(spell) = inner.services.aliased(id, WORKER_SPELL, "") else {
        return Ok(());
    };
    let config = TriggerConfig::periodic(inner.config.worker_period_sec);
    let set = inner.set_trigger(id, &spell, config).await;
    Ok(set.map_err(|error| error.to_string())?)
}

/// All spells of the worker rest, and strangers do not reach it any longer.
async fn deactivate(inner: &Arc<Inner>, worker: &Worker) -> Result<(), Failure> {
    let id = worker.id();
    if !worker.active {
        return Err(text(WorkerError::Inactive));
    }
    for spell in inner.services.views(id) {
        if spell.info.is_spell {
            let set = inner.set_trigger(id, &spell.id, TriggerConfig::default());
            set.await.map_err(|error| error.to_string())?;
        }
    }
    set_active(inner, id, false).await
}

async fn set_active(inner: &Arc<Inner>, id: PeerId, active: bool) -> Result<(), Failure> {
    let set = inner.run_blocking(move |inner| inner.workers.set_active(id, active));
    set.await?.map_err(text)
}

impl Inner {
    /// Removes a worker with its services, spells and vaults, all at once.
    fn remove_worker(&self, id: PeerId) -> Result<(), Failure> {
        let services = self.services.views(id);
        let changes = services
            .iter()
            .flat_map(|service| self.removal(id, service))
            .collect();
        self.workers.remove(id, changes).map_err(text)?;
        for service in &services {
            self.forget(id, service);
        }
        self.vault.remove_scope(id);
        Ok(())
    }

    /// Sets what a spell is triggered by: for its script, over restarts, and from now on.
    pub(super) async fn set_trigger(
        self: &Arc<Self>,
        scope: PeerId,
        spell: &str,
        config: TriggerConfig,
    ) -> Result<(), DeploymentError> {
        let spell = spell_id(scope, spell);
        self.spells
            .service(&spell)
            .set_trigger_config(&config)
            .await?;
        let change = match config.is_empty() {
            true => spells::forget(&spell),
            false => spells::keep(&spell, &config)?,
        };
        self.apply(change).await?;
        self.spells.subscribe(spell.clone(), config);
        if self.services.view(scope, &spell.id, "").is_none() {
            // Removed meanwhile.
            self.spells.unsubscribe(&spell);
            self.apply(spells::forget(&spell)).await?;
        }
        Ok(())
    }

    async fn apply(self: &Arc<Self>, change: Change) -> Result<(), StoreError> {
        let applied =
            self.run_blocking(move |inner| inner.store.apply(&[change], Durability::Disk));
        let applied = applied.await;
        applied.unwrap_or_else(|_| {
            Err(StoreError::Write {
                source: "the thread that writes died".into(),
            })
        })
    }
}

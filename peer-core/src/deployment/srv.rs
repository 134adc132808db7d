//! `srv`: services (§3.6, §4.4 to §4.6).

use particle::PeerId;
use serde_json::{Value, json};

use super::{DeploymentError, Inner};
use crate::{
    builtins::{Answer, value},
    host::{FunctionCall, FunctionOutcome, PeerScope},
    services::{ServiceError, ServiceView, WORKER_SPELL},
};

pub(super) fn call(inner: &Inner, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    let (scope, user) = (call.peer_id, call.particle.init_peer_id);
    let particle_id = call.particle.id.as_str();
    let find = |name: &str| inner.find(scope, name, particle_id);
    match call.function_name.as_str() {
        "list" => {
            let services = inner.services.views(scope).into_iter();
            let described: Vec<Value> = services.map(|view| describe(call, &view)).collect();
            value(&described)
        }
        "create" => {
            let blueprint_id: String = arguments.next("blueprint_id")?;
            inner.guard.check(call)?;
            value(&inner.create(scope, user, &blueprint_id, false)?)
        }
        "get_interface" => {
            let name: String = arguments.next("service_id")?;
            let service = find(&name)?;
            match inner.services.interface(scope, &service.id) {
                Some(interface) => value(&interface?),
                None => Err(inner.no_service(scope, &name).into()),
            }
        }
        "resolve_alias" => {
            let alias: String = arguments.next("alias")?;
            match inner.services.aliased(scope, &alias, particle_id) {
                Some(id) => value(&id),
                None => {
                    let scope = call.scope();
                    Err(DeploymentError::NoAlias { alias, scope }.into())
                }
            }
        }
        "resolve_alias_opt" => {
            let alias: String = arguments.next("alias")?;
            let id = inner.services.aliased(scope, &alias, particle_id);
            value(&Vec::from_iter(id))
        }
        "add_alias" => {
            let alias: String = arguments.next("alias")?;
            let id: String = arguments.next("service_id")?;
            inner.guard.check(call)?;
            check_alias(inner, call, &alias)?;
            inner.add_alias(scope, &alias, &id)?;
            Ok(FunctionOutcome::Empty)
        }
        "remove" => {
            let name: String = arguments.next("service_id_or_alias")?;
            inner.guard.check(call)?;
            let service = find(&name)?;
            if service.info.is_spell {
                let reason = "cannot remove a spell";
                return Err(forbidden(user, "remove_service", reason).into());
            }
            let allowed =
                service.info.owner == Some(user) || user == scope || inner.guard.is_manager(user);
            if !allowed {
                let reason = "only creator can remove service";
                return Err(forbidden(user, "remove_service", reason).into());
            }
            inner.remove(scope, &service)?;
            Ok(FunctionOutcome::Empty)
        }
        "info" => {
            let name: String = arguments.next("service_id_or_alias")?;
            value(&describe(call, &find(&name)?))
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

/// Who may give this name in the scope of the call (§4.5).
pub(super) fn check_alias(
    inner: &Inner,
    call: &FunctionCall,
    alias: &str,
) -> Result<(), DeploymentError> {
    let user = call.particle.init_peer_id;
    let is_manager = inner.guard.is_manager(user);
    let (is_allowed, reason) = match call.scope() {
        PeerScope::Host => (
            user == call.host_id,
            "only management peer id can add top-level aliases",
        ),
        PeerScope::Worker(worker) => (
            user == worker
                || inner
                    .workers
                    .get(worker)
                    .is_some_and(|of| of.creator == user),
            "only worker, worker creator and management peer id can add worker-level aliases",
        ),
    };
    if !is_manager && !is_allowed {
        return Err(forbidden(user, "add_alias", reason));
    }
    if alias == WORKER_SPELL && !is_manager && user != call.host_id {
        let alias = alias.to_owned();
        return Err(ServiceError::AliasReserved { alias }.into());
    }
    Ok(())
}

pub(super) fn forbidden(
    user: PeerId,
    function: &'static str,
    reason: &'static str,
) -> DeploymentError {
    DeploymentError::Forbidden {
        user,
        function,
        reason,
    }
}

fn describe(call: &FunctionCall, service: &ServiceView) -> Value {
    json!({
        "id": service.id,
        "blueprint_id": service.info.blueprint_id,
        "service_type": if service.info.is_spell { "spell" } else { "service" },
        "owner_id": service.info.owner.unwrap_or(call.host_id).to_string(),
        "aliases": service.aliases,
        "worker_id": call.peer_id.to_string(),
    })
}

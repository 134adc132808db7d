//! `srv`: services (§3.6, §4.4 to §4.6).

use particle::PeerId;
use serde_json::{Value, json};

use super::{DeploymentError, Inner};
use crate::{
    builtins::{Answer, value},
    host::{FunctionCall, FunctionOutcome},
    services::ServiceView,
};

pub(super) fn call(inner: &Inner, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    let (scope, user) = (call.peer_id, call.particle.init_peer_id);
    let find = |name: &str| {
        let service = inner.services.view(scope, name);
        service.ok_or_else(|| DeploymentError::NoService(name.to_owned()))
    };
    match call.function_name.as_str() {
        "list" => {
            let services = inner.services.views(scope).into_iter();
            let described: Vec<Value> = services.map(|view| describe(call, &view)).collect();
            value(&described)
        }
        "create" => {
            let blueprint_id: String = arguments.next("blueprint_id")?;
            inner.guard.check(call)?;
            value(&inner.create(scope, user, &blueprint_id)?)
        }
        "get_interface" => {
            let name: String = arguments.next("service_id")?;
            let service = find(&name)?;
            match inner.services.interface(scope, &service.id) {
                Some(interface) => value(&interface?),
                None => Err(DeploymentError::NoService(name).into()),
            }
        }
        "resolve_alias" => {
            let alias: String = arguments.next("alias")?;
            match inner.services.aliased(scope, &alias) {
                Some(id) => value(&id),
                None => Err(DeploymentError::NoAlias(alias).into()),
            }
        }
        "resolve_alias_opt" => {
            let alias: String = arguments.next("alias")?;
            value(&Vec::from_iter(inner.services.aliased(scope, &alias)))
        }
        "add_alias" => {
            let alias: String = arguments.next("alias")?;
            let id: String = arguments.next("service_id")?;
            inner.guard.check(call)?;
            if user != call.host_id && !inner.guard.is_manager(user) {
                let reason = "only management peer id can add top-level aliases";
                return Err(forbidden(user, "add_alias", reason).into());
            }
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

fn forbidden(user: PeerId, function: &'static str, reason: &'static str) -> DeploymentError {
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

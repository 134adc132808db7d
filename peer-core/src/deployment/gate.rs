//! Functions that ask who calls and then do little: `vm` (§3.10), `aqua-ipfs` (§3.11),
//! `run-console` (§3.10).

use std::sync::Arc;

use super::Inner;
use crate::{
    builtins::{Answer, Failure},
    host::{FunctionCall, FunctionOutcome, PeerScope},
};

/// This host has no virtual machines; whoever may ask for one is told so.
pub(super) fn vm(inner: &Inner, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    let checked = match call.function_name.as_str() {
        "create" => {
            arguments.next::<String>("image")?;
            check_vm(inner, call)
        }
        "start" | "stop" | "reboot" | "reset" => check_vm(inner, call),
        "status" => match call.scope() {
            PeerScope::Host => Err("This function is only available on workers".into()),
            PeerScope::Worker(_) => Ok(()),
        },
        _ => return Ok(FunctionOutcome::NotDefined),
    };
    checked?;
    Err("This feature is disabled".into())
}

fn check_vm(inner: &Inner, call: &FunctionCall) -> Result<(), Failure> {
    let PeerScope::Worker(worker) = call.scope() else {
        return Err("This function is only available for workers".into());
    };
    let user = call.particle.init_peer_id;
    let creator = inner.workers.get(worker).map(|worker| worker.creator);
    if user == worker || creator == Some(user) {
        return Ok(());
    }
    let creator = creator.unwrap_or(worker);
    Err(format!(
        "Failed to create VM on WorkerId(PeerId(\"{worker}\")), can be installed by worker creator \
         {creator} or worker itself {worker}"
    )
    .into())
}

/// The host's own `aqua-ipfs` is for its managers and worker spells. The host answers itself where it
/// has a store of content; else the call goes on to the service with that alias.
pub(super) async fn aqua_ipfs(inner: &Arc<Inner>, call: &FunctionCall) -> Answer {
    if call.scope() != PeerScope::Host {
        return Ok(FunctionOutcome::NotDefined);
    }
    let is_open = inner.config.dev_binaries.is_some();
    if !is_open {
        inner.guard.check(call)?;
    }
    match inner.content.get() {
        Some(content) => content.call(inner, call).await,
        None => Ok(FunctionOutcome::NotDefined),
    }
}

/// Prints its arguments to the log of the host.
pub(super) fn run_console(inner: &Inner, call: &FunctionCall) -> Answer {
    if call.function_name != "print" {
        return Ok(FunctionOutcome::NotDefined);
    }
    inner.guard.check(call)?;
    let texts: Vec<&str> = call.arguments.iter().map(|raw| raw.get()).collect();
    let is_text = |text: &&&str| text.starts_with('"');
    let mut texts_of_decider = texts.iter().filter(is_text);
    let line = format!("[{}]", texts.join(","));
    match texts_of_decider.any(|text| text.contains("decider")) {
        true => tracing::info!(target: "run-console", "{line}"),
        false => tracing::debug!(target: "run-console", "{line}"),
    }
    Ok(FunctionOutcome::Empty)
}

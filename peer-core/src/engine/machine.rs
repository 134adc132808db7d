//! The seam to the state machine: how a job becomes a step of `aquavm`, and its outcome ours.

use aquavm::{CallResults, Key, Limits, RunParameters};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    RunJob,
    run::{RequestedCall, RunOutcome},
};
use crate::{config::VmLimits, host::OwnedTetraplet};

/// Code of a run whose script is none.
const PARSE_ERROR: i64 = 1;

/// Executes one step within these limits.
pub(super) fn step(job: &RunJob, limits: &VmLimits) -> RunOutcome {
    let script = match job.scripts.get(&job.particle.script) {
        Ok(script) => script,
        Err(error) => {
            return RunOutcome {
                ret_code: PARSE_ERROR,
                error_message: error.to_string(),
                data: job.prev.clone(),
                ..RunOutcome::default()
            };
        }
    };
    let parameters = RunParameters {
        init_peer_id: job.particle.init_peer_id.to_string(),
        current_peer_id: job.peer_id.to_string(),
        timestamp: job.particle.timestamp,
        ttl: job.particle.ttl,
        particle_id: job.particle.id.clone(),
        key: Key::Pair(job.key.clone()),
        limits: Limits {
            script: limits.air_size_limit.0,
            particle: limits.particle_size_limit.0,
            call_result: limits.call_result_size_limit.0,
            hard: limits.hard_limit_enabled,
            steps: limits.max_steps,
            trace: limits.max_states,
            memory: limits.max_memory.0,
            ..Limits::default()
        },
        compat: aquavm::Compat::default(),
        check_signatures: true,
        policy: aquavm::Policy {
            // Data of such runs go back into the engine and nowhere else.
            defer_signature: true,
            ..aquavm::Policy::default()
        },
    };
    let results: CallResults = job
        .results
        .iter()
        .map(|(&call_id, result)| {
            (
                call_id,
                aquavm::CallResult {
                    ret_code: result.ret_code,
                    result: result.result.clone(),
                },
            )
        })
        .collect();
    let outcome = aquavm::step(&script, &job.prev, &job.current, &parameters, &results);
    let mut data = outcome.data;
    // They stay until the particle expires, and were written with room to spare.
    data.shrink_to_fit();
    let calls = outcome.call_requests.into_iter();
    RunOutcome {
        ret_code: outcome.ret_code,
        error_message: outcome.error_message,
        data: Bytes::from(data),
        next_peers: outcome.next_peers,
        calls: calls
            .map(|(call_id, call)| requested(call_id, call))
            .collect(),
    }
}

fn requested(call_id: u32, call: aquavm::CallRequest) -> RequestedCall {
    let tetraplets = call.tetraplets.into_iter().map(|of_argument| {
        let tetraplets = of_argument.into_iter().map(|tetraplet| OwnedTetraplet {
            peer_pk: tetraplet.peer_pk,
            service_id: tetraplet.service_id,
            function_name: tetraplet.function_name,
            lens: tetraplet.lens,
        });
        tetraplets.collect()
    });
    RequestedCall {
        call_id,
        service_id: call.service_id,
        function_name: call.function_name,
        arguments: split(&call.arguments),
        tetraplets: tetraplets.collect(),
    }
}

/// The elements of a JSON array. The state machine writes nothing else; whatever else it were
/// would reach the function as its only argument.
fn split(arguments: &str) -> Vec<Box<RawValue>> {
    serde_json::from_str(arguments).unwrap_or_else(|_| {
        let whole = RawValue::from_string(arguments.to_owned());
        whole.into_iter().collect()
    })
}

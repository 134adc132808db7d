//! One call of a function, as a job that any executor can run.

use serde_json::Value;

use super::{
    ActorId, CallReport, CallResult, Engine, Event, Input, Output, Timer, actor::PendingCall,
    run::RequestedCall,
};
use crate::host::{FunctionCall, FunctionHost, FunctionOutcome, call_isolated};

/// A call to be made. Its result goes back into the engine that made it.
#[derive(Debug)]
pub struct CallJob {
    pub(super) actor: ActorId,
    /// The call.
    pub call: FunctionCall,
}

/// The result of a [`CallJob`].
#[derive(Debug)]
pub struct CallFinished {
    pub(super) actor: ActorId,
    pub(super) call_id: u32,
    pub(super) result: CallResult,
}

impl CallJob {
    /// The particle's place in the engine; with the call's id, what [`super::Output::CancelCall`]
    /// names.
    #[must_use]
    pub fn actor(&self) -> ActorId {
        self.actor
    }

    /// Makes the call. A panic in it fails only this call.
    pub async fn execute(self, host: &dyn FunctionHost) -> Input {
        let outcome = call_isolated(host, &self.call).await;
        self.finish(outcome)
    }

    /// The input that ends the call with this outcome.
    #[must_use]
    pub fn finish(self, outcome: FunctionOutcome) -> Input {
        let (ret_code, result) = outcome.into_result(&self.call);
        Input::CallFinished(CallFinished {
            actor: self.actor,
            call_id: self.call.call_id,
            result: CallResult { ret_code, result },
        })
    }
}

impl Engine {
    pub(super) fn queue_calls(
        &mut self,
        actor_id: ActorId,
        calls: Vec<RequestedCall>,
        now_ms: u64,
    ) {
        if let Some(actor) = self.actors.get_mut(&actor_id) {
            actor.waiting_calls.extend(calls);
        }
        self.start_calls(actor_id, now_ms);
    }

    pub(super) fn start_calls(&mut self, actor_id: ActorId, now_ms: u64) {
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        while actor.calls.len() < self.limits.max_parallel_calls
            && let Some(requested) = actor.waiting_calls.pop_front()
        {
            let deadline_ms = now_ms
                .saturating_add(self.limits.call_timeout.as_millis())
                .min(actor.deadline_ms);
            let call_id = requested.call_id;
            actor.calls.insert(
                call_id,
                PendingCall {
                    service_id: requested.service_id.clone(),
                    function_name: requested.function_name.clone(),
                    started_ms: now_ms,
                    deadline_ms,
                },
            );
            // At the particle's own deadline everything of it ends anyway.
            if deadline_ms < actor.deadline_ms {
                self.timers.insert((
                    deadline_ms.saturating_add(1),
                    actor_id,
                    Timer::Call(call_id),
                ));
            }
            self.counters.calls += 1;
            self.outputs.push_back(Output::Call(CallJob {
                actor: actor_id,
                call: FunctionCall {
                    particle: actor.particle.clone(),
                    host_id: self.host_id,
                    peer_id: actor.peer_id,
                    call_id,
                    service_id: requested.service_id,
                    function_name: requested.function_name,
                    arguments: requested.arguments,
                    tetraplets: requested.tetraplets,
                    deadline_ms,
                },
            }));
        }
    }

    pub(super) fn call_finished(
        &mut self,
        actor_id: ActorId,
        call_id: u32,
        result: CallResult,
        timed_out: bool,
        now_ms: u64,
    ) {
        let result = self.affordable(result);
        let Some(actor) = self.actors.get_mut(&actor_id) else {
            return;
        };
        let Some(call) = actor.calls.remove(&call_id) else {
            return;
        };
        self.timers.remove(&(
            call.deadline_ms.saturating_add(1),
            actor_id,
            Timer::Call(call_id),
        ));
        if result.ret_code != 0 {
            self.counters.failed_calls += 1;
        }
        if self.events {
            let report = CallReport {
                particle: actor.particle.clone(),
                peer_id: actor.peer_id,
                call_id,
                service_id: call.service_id,
                function_name: call.function_name,
                ret_code: result.ret_code,
                timed_out,
                started_ms: call.started_ms,
                finished_ms: now_ms,
            };
            self.outputs
                .push_back(Output::Event(Event::Called(Box::new(report))));
        }
        self.held += result.result.len();
        actor.results.insert(call_id, result);
        self.start_calls(actor_id, now_ms);
        self.make_ready(actor_id);
    }

    /// A result, or the error of a call whose result has no room.
    fn affordable(&self, result: CallResult) -> CallResult {
        let size = result.result.len();
        match self.check_memory(size) {
            Ok(()) => result,
            Err(reason) => refusal(&format!("a result of {size} bytes is not kept: {reason}")),
        }
    }

    pub(super) fn call_timed_out(&mut self, actor_id: ActorId, call_id: u32, now_ms: u64) {
        let Some(actor) = self.actors.get(&actor_id) else {
            return;
        };
        let Some(call) = actor.calls.get(&call_id) else {
            return;
        };
        let text = format!(
            "function {} of service '{}' did not answer within {} ms",
            call.function_name,
            call.service_id,
            call.deadline_ms.saturating_sub(call.started_ms)
        );
        self.counters.timed_out_calls += 1;
        self.outputs.push_back(Output::CancelCall {
            actor: actor_id,
            call_id,
        });
        self.call_finished(actor_id, call_id, refusal(&text), true, now_ms);
    }
}

/// The result of a call that failed here.
fn refusal(text: &str) -> CallResult {
    CallResult {
        ret_code: 1,
        result: Value::from(text).to_string(),
    }
}

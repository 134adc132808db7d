//! Scripts under way: their arguments, and who waits for their results.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use particle::PeerId;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::CallError;
use crate::engine::Event;
use crate::host::{FunctionCall, FunctionHost, FunctionOutcome};
use crate::peer::{Observer, PeerEvent, PeerEventKind};

/// The service that hands out arguments.
const DATA: &str = "getDataSrv";
/// The service that takes results and calls functions of the caller.
const CALLBACK: &str = "callbackSrv";
/// The service that takes errors.
const ERROR: &str = "errorHandlingSrv";

type Reply = oneshot::Sender<Result<Value, CallError>>;
type Active = Mutex<HashMap<String, State>>;

/// All scripts that a client has under way, by the id of their particle.
pub(super) struct Calls {
    relay: PeerId,
    active: Arc<Active>,
}

/// One script under way.
struct State {
    arguments: BTreeMap<String, Box<RawValue>>,
    callbacks: Option<Arc<dyn FunctionHost>>,
    /// Whether the script will give a result; else it is done when nothing is left to do here.
    responds: bool,
    /// Calls that runs asked for and that have not ended.
    open_calls: usize,
    reply: Option<Reply>,
}

/// Forgets a script when dropped.
#[derive(Debug)]
pub(super) struct Pending {
    id: String,
    active: Arc<Active>,
}

impl Calls {
    pub(super) fn new(relay: PeerId) -> Self {
        Self {
            relay,
            active: Arc::default(),
        }
    }

    pub(super) fn add(
        &self,
        id: &str,
        arguments: BTreeMap<String, Box<RawValue>>,
        callbacks: Option<Arc<dyn FunctionHost>>,
        responds: bool,
        reply: Reply,
    ) -> Pending {
        let state = State {
            arguments,
            callbacks,
            responds,
            open_calls: 0,
            reply: Some(reply),
        };
        lock(&self.active).insert(id.to_owned(), state);
        Pending {
            id: id.to_owned(),
            active: self.active.clone(),
        }
    }

    fn with<T>(&self, id: &str, work: impl FnOnce(&mut State) -> T) -> Option<T> {
        lock(&self.active).get_mut(id).map(work)
    }

    fn finish(&self, id: &str, result: Result<Value, CallError>) {
        self.with(id, |state| state.finish(result));
    }
}

impl State {
    /// The first result counts.
    fn finish(&mut self, result: Result<Value, CallError>) {
        if let Some(reply) = self.reply.take() {
            // Nobody has to wait for it.
            let _ = reply.send(result);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        lock(&self.active).remove(&self.id);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("State")
            .field("open_calls", &self.open_calls)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Calls({} under way)", lock(&self.active).len())
    }
}

#[async_trait]
impl FunctionHost for Calls {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        // Nobody else's particle gets at the arguments or ends a script, whatever its id.
        if call.particle.init_peer_id != call.host_id {
            return FunctionOutcome::NotDefined;
        }
        let id = &call.particle.id;
        match (call.service_id.as_str(), call.function_name.as_str()) {
            (DATA, "-relay-") => FunctionOutcome::value(&self.relay),
            (DATA, name) => self
                .with(id, |state| state.arguments.get(name).cloned())
                .flatten()
                .map_or(FunctionOutcome::NotDefined, FunctionOutcome::Ok),
            (CALLBACK, "response") => {
                let mut values: Vec<Value> = values(&call.arguments);
                let value = match values.len() {
                    0 => Value::Null,
                    1 => values.remove(0),
                    _ => Value::Array(values),
                };
                self.finish(id, Ok(value));
                FunctionOutcome::Empty
            }
            (CALLBACK, _) => match self.with(id, |state| state.callbacks.clone()).flatten() {
                Some(callbacks) => callbacks.call(call).await,
                None => FunctionOutcome::NotDefined,
            },
            (ERROR, "error") => {
                let error = values(&call.arguments)
                    .into_iter()
                    .next()
                    .unwrap_or_default();
                self.finish(id, Err(CallError::Error(error)));
                FunctionOutcome::Empty
            }
            _ => FunctionOutcome::NotDefined,
        }
    }
}

impl Observer for Calls {
    fn observe(&self, event: &PeerEvent) {
        match &event.kind {
            PeerEventKind::Engine(Event::Executed(run)) => {
                self.with(&run.particle.id, |state| {
                    state.open_calls += run.calls.len();
                    if run.ret_code != 0 || run.failure.is_some() {
                        let message = run
                            .failure
                            .clone()
                            .unwrap_or_else(|| run.error_message.clone());
                        let code = run.ret_code;
                        state.finish(Err(CallError::Interpreter { code, message }));
                    } else if !state.responds && state.open_calls == 0 {
                        state.finish(Ok(Value::Null));
                    }
                });
            }
            PeerEventKind::Engine(Event::Called(report)) => {
                self.with(&report.particle.id, |state| {
                    state.open_calls = state.open_calls.saturating_sub(1);
                });
            }
            PeerEventKind::Engine(Event::Dropped {
                particle_id,
                reason,
                source,
                ..
            }) if *source == crate::engine::Source::Local => {
                let reason = reason.to_string();
                self.finish(particle_id, Err(CallError::NotSent { reason }));
            }
            PeerEventKind::NotSent {
                particle_id,
                reason,
                ..
            } => {
                let reason = reason.clone();
                self.finish(particle_id, Err(CallError::NotSent { reason }));
            }
            _ => {}
        }
    }
}

/// The arguments of a call as values. What is too deep for a tree becomes a text.
fn values(arguments: &[Box<RawValue>]) -> Vec<Value> {
    arguments
        .iter()
        .map(|raw| {
            serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::String(raw.get().to_owned()))
        })
        .collect()
}

fn lock(active: &Active) -> MutexGuard<'_, HashMap<String, State>> {
    active.lock().unwrap_or_else(PoisonError::into_inner)
}

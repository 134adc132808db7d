//! What compiled scripts ask of the peer that started them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use serde_json::Value;

use super::{FunctionCall, FunctionHost, FunctionOutcome, arguments::to_value};

/// Serves the arguments of a compiled function and takes its result: `getDataSrv`, `callbackSrv`
/// and `errorHandlingSrv`.
///
/// It answers only for particles of one initiator, so that nobody else learns the arguments.
#[derive(Debug, Default)]
pub struct Initiator {
    arguments: BTreeMap<String, Value>,
    ends: Mutex<BTreeMap<String, Vec<Ending>>>,
}

/// How a function ended at its initiator.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ending {
    /// `callbackSrv.NAME` was called with these arguments; the result goes to `response`.
    Response {
        /// `response`, or the name of a callback.
        name: String,
        /// What was passed.
        arguments: Vec<Value>,
    },
    /// `errorHandlingSrv.error` was called with these arguments; the first is the error.
    Error {
        /// What was passed.
        arguments: Vec<Value>,
    },
}

impl Initiator {
    /// An initiator that serves these arguments by name. The relay's is `-relay-`.
    #[must_use]
    pub fn new(arguments: BTreeMap<String, Value>) -> Self {
        Self {
            arguments,
            ends: Mutex::default(),
        }
    }

    /// How the function of a particle ended so far, in the order in which it happened.
    #[must_use]
    pub fn endings(&self, particle_id: &str) -> Vec<Ending> {
        self.lock().get(particle_id).cloned().unwrap_or_default()
    }

    /// Takes what [`Initiator::endings`] returns.
    pub fn take_endings(&self, particle_id: &str) -> Vec<Ending> {
        self.lock().remove(particle_id).unwrap_or_default()
    }

    fn end(&self, call: &FunctionCall, ending: Ending) {
        self.lock()
            .entry(call.particle.id.clone())
            .or_default()
            .push(ending);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Ending>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl FunctionHost for Initiator {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        if call.particle.init_peer_id != call.peer_id {
            return FunctionOutcome::NotDefined;
        }
        let arguments = || call.arguments.iter().map(|raw| to_value(raw)).collect();
        match (call.service_id.as_str(), call.function_name.as_str()) {
            ("getDataSrv", name) => match self.arguments.get(name) {
                Some(value) => FunctionOutcome::value(value),
                None => FunctionOutcome::NotDefined,
            },
            ("callbackSrv", name) => {
                self.end(
                    call,
                    Ending::Response {
                        name: name.to_owned(),
                        arguments: arguments(),
                    },
                );
                FunctionOutcome::value(&serde_json::json!({}))
            }
            ("errorHandlingSrv", "error") => {
                self.end(
                    call,
                    Ending::Error {
                        arguments: arguments(),
                    },
                );
                FunctionOutcome::value(&serde_json::json!({}))
            }
            _ => FunctionOutcome::NotDefined,
        }
    }
}

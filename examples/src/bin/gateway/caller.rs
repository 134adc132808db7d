//! Runs functions through a client of the network.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use peer_core::client::{Call, CallError, Client, Request};
use peer_core::host::{FunctionCall, FunctionHost, FunctionOutcome};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::functions::{CallFailure, Caller, Event, Function, Started};

/// A client that calls functions for others.
pub(crate) struct ClientCaller(Arc<Client>);

impl ClientCaller {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self(client)
    }
}

#[async_trait]
impl Caller for ClientCaller {
    async fn start(
        &self,
        function: &Function,
        arguments: BTreeMap<String, Value>,
        events: Option<mpsc::Sender<Event>>,
    ) -> Result<Box<dyn Started>, CallFailure> {
        let names = function.events().map(|(name, _)| name.to_owned());
        let mut request = Request::new(&*function.air)
            .ttl(function.ttl)
            .callbacks(Arc::new(Callbacks {
                names: names.collect(),
                events,
            }));
        for (name, value) in &arguments {
            request = request
                .argument(name, value)
                .map_err(|error| CallFailure::NotSent(error.to_string()))?;
        }
        let call = self.0.start(request).await.map_err(failure)?;
        Ok(Box::new(Running(call)))
    }
}

struct Running(Call);

#[async_trait]
impl Started for Running {
    fn particle(&self) -> &str {
        &self.0.particle_id
    }

    async fn result(self: Box<Self>) -> Result<Value, CallFailure> {
        self.0.result().await.map_err(failure)
    }
}

fn failure(error: CallError) -> CallFailure {
    match error {
        CallError::Error(error) => CallFailure::Script(error),
        CallError::Expired { .. } => CallFailure::Expired,
        other => CallFailure::NotSent(other.to_string()),
    }
}

/// Takes the calls of functions among the arguments: events, where somebody reads them.
struct Callbacks {
    names: Vec<String>,
    events: Option<mpsc::Sender<Event>>,
}

#[async_trait]
impl FunctionHost for Callbacks {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        let name = &call.function_name;
        if !self.names.contains(name) {
            return FunctionOutcome::NotDefined;
        }
        if let Some(events) = &self.events {
            let values = call.arguments.iter().map(|value| {
                // Arguments are JSON.
                serde_json::from_str(value.get()).unwrap_or_default()
            });
            let event = Event {
                name: name.clone(),
                values: values.collect(),
            };
            // Nobody may read any longer.
            let _ = events.send(event).await;
        }
        FunctionOutcome::value(&Value::Object(serde_json::Map::new()))
    }
}

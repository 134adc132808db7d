//! Closures as functions.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;

use super::{FunctionCall, FunctionHost, FunctionOutcome};

type Answer = Pin<Box<dyn Future<Output = FunctionOutcome> + Send>>;
type Function = Arc<dyn Fn(FunctionCall) -> Answer + Send + Sync>;

/// A host whose functions are closures.
#[derive(Clone, Default)]
pub struct NativeFunctions {
    services: BTreeMap<String, BTreeMap<String, Function>>,
}

impl NativeFunctions {
    /// A host without functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function that answers at once. It runs where the call is made, so it must not block.
    #[must_use]
    pub fn with<F>(self, service_id: &str, function_name: &str, function: F) -> Self
    where
        F: Fn(&FunctionCall) -> FunctionOutcome + Send + Sync + 'static,
    {
        self.insert(
            service_id,
            function_name,
            Arc::new(move |call| {
                let outcome = function(&call);
                Box::pin(std::future::ready(outcome))
            }),
        )
    }

    /// Adds a function that may wait.
    #[must_use]
    pub fn with_async<F, A>(self, service_id: &str, function_name: &str, function: F) -> Self
    where
        F: Fn(FunctionCall) -> A + Send + Sync + 'static,
        A: Future<Output = FunctionOutcome> + Send + 'static,
    {
        self.insert(
            service_id,
            function_name,
            Arc::new(move |call| Box::pin(function(call))),
        )
    }

    fn insert(mut self, service_id: &str, function_name: &str, function: Function) -> Self {
        self.services
            .entry(service_id.to_owned())
            .or_default()
            .insert(function_name.to_owned(), function);
        self
    }
}

impl fmt::Debug for NativeFunctions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.services.iter().flat_map(|(service, functions)| {
            functions
                .keys()
                .map(move |function| format!("{service}.{function}"))
        });
        formatter.debug_set().entries(names).finish()
    }
}

#[async_trait]
impl FunctionHost for NativeFunctions {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        let functions = self.services.get(&call.service_id);
        match functions.and_then(|functions| functions.get(&call.function_name)) {
            Some(function) => function(call.clone()).await,
            None => FunctionOutcome::NotDefined,
        }
    }
}

//! One service of a scope: its instance, its queue, its counts.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::lock;

use super::{
    ServiceFactory, ServiceFailure, ServiceInfo, ServiceInstance, ServiceOptions, ServiceView,
    stats::{Ended, Measured, Stats},
};
use crate::host::{FunctionCall, FunctionOutcome, typed_error_text};

pub(super) struct Service {
    pub(super) id: String,
    pub(super) info: ServiceInfo,
    pub(super) factory: Arc<dyn ServiceFactory>,
    pub(super) options: ServiceOptions,
    pub(super) stats: Mutex<Stats>,
    pub(super) instance: Arc<lock::Mutex<Option<Box<dyn ServiceInstance>>>>,
    pub(super) queued: AtomicUsize,
    /// The last field: it is done when nothing else is left.
    pub(super) last_act: LastAct,
}

/// What is done when a service that was removed is let go by its last call.
#[derive(Default)]
pub(super) struct LastAct(Mutex<Option<Box<dyn FnOnce() + Send + Sync>>>);

impl LastAct {
    pub(super) fn set(&self, act: Box<dyn FnOnce() + Send + Sync>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(act);
    }
}

impl Drop for LastAct {
    fn drop(&mut self) {
        let act = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(act) = act.take() {
            act();
        }
    }
}

/// A place in the queue of a service.
pub(super) struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    pub(super) fn take(queued: &'a AtomicUsize, limit: usize) -> Option<Self> {
        // One call runs, the others wait.
        if queued.fetch_add(1, Ordering::AcqRel) > limit {
            queued.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Self(queued))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Service {
    /// The service as others see it, with these aliases.
    pub(super) fn view(&self, aliases: Option<Vec<String>>) -> ServiceView {
        ServiceView {
            id: self.id.clone(),
            info: self.info.clone(),
            aliases: aliases.unwrap_or_default(),
        }
    }

    /// Makes an instance when there is none, calls it, and drops it when it broke.
    pub(super) fn call(
        &self,
        slot: &mut Option<Box<dyn ServiceInstance>>,
        call: &FunctionCall,
        timeout: Duration,
        history: usize,
    ) -> FunctionOutcome {
        // Out of the slot while it runs: a panic in the call costs the instance as well.
        let mut instance = match slot.take() {
            Some(instance) => instance,
            None => match self.factory.create() {
                Ok(instance) => instance,
                Err(error) => return FunctionOutcome::error(&error),
            },
        };
        let before = total(&instance.memory());
        let start = Instant::now();
        let result = instance.call(call, start + timeout);
        let took = start.elapsed();
        let ended = match &result {
            Ok(_) => Ended::Ok,
            Err(ServiceFailure::NoFunction(_)) => Ended::NoFunction,
            Err(_) => Ended::Failed,
        };
        let measured = Measured {
            ended,
            timestamp: call.particle.timestamp,
            took,
            grown: total(&instance.memory()) - before,
        };
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.add(&call.function_name, measured, history);
        drop(stats);
        if !matches!(result, Err(ServiceFailure::Broken(_))) {
            *slot = Some(instance);
        }
        result.unwrap_or_else(|failure| FunctionOutcome::error(&typed_error_text(&failure)))
    }
}

fn total(memory: &[(String, u64)]) -> i64 {
    let bytes: u64 = memory.iter().map(|(_, bytes)| bytes).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

//! One service of a scope: its instance, its queue, its counts.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::lock;

use super::{
    ServiceCounters, ServiceFactory, ServiceFailure, ServiceInfo, ServiceInstance, ServiceOptions,
    ServiceView,
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
    /// Bytes of memory after the last call.
    pub(super) memory: AtomicU64,
    /// The last field: it is done when nothing else is left.
    pub(super) last_act: LastAct,
}

/// What is done when a service that was removed is let go by its last call.
#[derive(Default)]
pub(super) struct LastAct(Mutex<Option<Box<dyn FnOnce() + Send + Sync>>>);

impl LastAct {
    /// Whether there is one: the service was removed.
    fn is_set(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

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
        counters: &ServiceCounters,
    ) -> FunctionOutcome {
        // Out of the slot while it runs: a panic in the call costs the instance as well.
        let mut instance = match slot.take() {
            Some(instance) => instance,
            // A call that waited: nothing is made for a service that is no more.
            None if self.last_act.is_set() => {
                return FunctionOutcome::error(&format!(
                    "Service with id '{}' was removed",
                    self.id
                ));
            }
            None => {
                let began = Instant::now();
                let created = self.factory.create();
                counters.creation_time.observe_time(began.elapsed());
                match created {
                    Ok(mut instance) => {
                        let memory = total(&instance.memory());
                        self.memory.store(memory, Ordering::Relaxed);
                        instance
                    }
                    Err(error) => {
                        counters.creation_failures.increment();
                        return FunctionOutcome::error(&error);
                    }
                }
            }
        };
        let start = Instant::now();
        let result = instance.call(call, start + timeout);
        let took = start.elapsed();
        let after = total(&instance.memory());
        let before = self.memory.swap(after, Ordering::Relaxed);
        let ended = match &result {
            Ok(_) => Ended::Ok,
            Err(ServiceFailure::NoFunction(_)) => Ended::NoFunction,
            Err(_) => Ended::Failed,
        };
        let measured = Measured {
            ended,
            timestamp: call.particle.timestamp,
            took,
            grown: signed(after) - signed(before),
        };
        counters.call_time.observe_time(took);
        match &result {
            Ok(_) => &counters.calls_ok,
            Err(_) => &counters.calls_failed,
        }
        .increment();
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.add(&call.function_name, measured, history);
        drop(stats);
        if !matches!(result, Err(ServiceFailure::Broken(_))) {
            *slot = Some(instance);
        }
        result.unwrap_or_else(|failure| FunctionOutcome::error(&typed_error_text(&failure)))
    }
}

/// Bytes of memory of all modules.
pub(super) fn total(memory: &[(String, u64)]) -> u64 {
    memory.iter().map(|(_, bytes)| bytes).sum()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

//! Metrics of the tokio runtime, where the configuration asks for them.

use std::fmt;

use tokio::runtime::Handle;

use super::page::Page;

/// Workers that have series of their own.
const MAX_WORKERS: usize = 256;

/// Writes what the runtime says about its workers and tasks.
pub(super) fn write(page: &mut Page<'_>, runtime: &Handle) -> fmt::Result {
    let metrics = runtime.metrics();
    let workers = metrics.num_workers().min(MAX_WORKERS);
    let gauge = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    page.gauge(
        "tokio_workers_count",
        "Threads that run tasks",
        gauge(metrics.num_workers()),
    )?;
    page.gauge(
        "tokio_live_tasks_count",
        "Tasks that have not ended",
        gauge(metrics.num_alive_tasks()),
    )?;
    page.gauge(
        "tokio_global_queue_depth",
        "Tasks that wait for any thread",
        gauge(metrics.global_queue_depth()),
    )?;
    let names: Vec<String> = (0..workers).map(|worker| worker.to_string()).collect();
    let busy = names.iter().enumerate().map(|(worker, name)| {
        let time = metrics.worker_total_busy_duration(worker);
        (("worker", name.as_str()), time.as_secs_f64())
    });
    page.many_seconds(
        "tokio_worker_busy_seconds",
        "Time that a thread spent with tasks",
        busy,
    )?;
    let parked = names.iter().enumerate().map(|(worker, name)| {
        let count = metrics.worker_park_count(worker);
        (("worker", name.as_str()), count)
    });
    page.counters(
        "tokio_worker_park_count",
        "Times that a thread had nothing to do",
        parked,
    )
}

//! Metrics of a peer in the text form of OpenMetrics, under the names that dashboards of the
//! published peer use (§8.8 of the peer description), and some of our own.
//!
//! [`Metrics`] observes a peer while it runs and reads the rest from it when asked. The number of
//! time series is bounded: labels are kinds and reasons of this program, and the peer's own scopes
//! up to a limit; nothing that others choose becomes a label.
//!
//! Where the published peer names a unit and gives values in another one, its name keeps its
//! values, and a second metric has the unit in its name.

mod page;
mod process;
mod runtime;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use particle::PeerId;
use prometheus_client::{
    collector::Collector, encoding::DescriptorEncoder, encoding::text, registry::Registry,
};
use tokio::runtime::Handle;

use self::page::{Label, Page};
use crate::{
    counters::{Counter, Histogram, SECONDS},
    engine::{self, CallReport, DropReason, Execution},
    network::is_spell,
    peer::{Observer, Peer, PeerEvent, PeerEventKind},
};

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Scopes that have series of their own; the rest share one.
const MAX_SCOPES: usize = 64;
/// The label of scopes beyond that.
const OTHER: &str = "other";

/// The metrics of one peer. Give it to the peer as an observer and the peer to it:
///
/// ```no_run
/// # use std::sync::Arc;
/// # use particle::KeyPair;
/// # use peer_core::{metrics::Metrics, peer::Peer};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let metrics = Arc::new(Metrics::new());
/// let peer = Peer::builder(KeyPair::from_seed(&[1; 32]))
///     .observer(metrics.clone())
///     .start()
///     .await?;
/// metrics.watch(&peer);
/// println!("{}", metrics.text());
/// # Ok(())
/// # }
/// ```
pub struct Metrics {
    observed: Arc<Observed>,
    registry: Registry,
}

/// What is counted from events.
struct Observed {
    peer: OnceLock<Peer>,
    runtime: OnceLock<Handle>,
    /// By scope; nothing for those beyond the limit.
    scopes: RwLock<BTreeMap<Option<PeerId>, Arc<ScopeMetrics>>>,
    expired: ByKind,
    sent: ByKind,
    not_sent: ByKind,
    call_time: Histogram,
    calls_ok: Counter,
    calls_failed: Counter,
    send_time: Histogram,
}

/// What is counted about the runs of a scope.
struct ScopeMetrics {
    runs_ok: Counter,
    runs_failed: Counter,
    run_time: Histogram,
}

/// A counter for particles of spells and one for those of everybody else.
#[derive(Default)]
struct ByKind {
    spells: Counter,
    common: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics of a peer that is yet to be started.
    #[must_use]
    pub fn new() -> Self {
        let observed = Arc::new(Observed {
            peer: OnceLock::new(),
            runtime: OnceLock::new(),
            scopes: RwLock::default(),
            expired: ByKind::default(),
            sent: ByKind::default(),
            not_sent: ByKind::default(),
            call_time: Histogram::new(SECONDS),
            calls_ok: Counter::default(),
            calls_failed: Counter::default(),
            send_time: Histogram::new(SECONDS),
        });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(observed.clone()));
        Self { observed, registry }
    }

    /// The peer to read from; the first one stays.
    pub fn watch(&self, peer: &Peer) {
        // A second peer is a mistake that harms nobody.
        let _ = self.observed.peer.set(peer.clone());
    }

    /// All metrics as they are now.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = String::new();
        if let Err(error) = self.write(&mut page) {
            tracing::error!("metrics cannot be written: {error}");
        }
        page
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        text::encode_registry(page, &self.registry)?;
        if let Some(peer) = self.observed.peer.get() {
            peer.network().recorder().write(page)?;
        }
        text::encode_eof(page)
    }

    /// The tokio runtime whose metrics are shown beside those of the peer; the first one stays.
    pub fn watch_runtime(&self, runtime: Handle) {
        // A second runtime is a mistake that harms nobody.
        let _ = self.observed.runtime.set(runtime);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.observed.fmt(formatter)
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Metrics({:?})", self.peer.get())
    }
}

impl ByKind {
    fn count(&self, particle_id: &str) {
        match is_spell(particle_id) {
            true => self.spells.increment(),
            false => self.common.increment(),
        }
    }

    fn values(&self) -> [(Label<'static>, u64); 2] {
        by_kind(self.spells.get(), self.common.get())
    }
}

fn by_kind<T>(spells: T, common: T) -> [(Label<'static>, T); 2] {
    [
        (("particle_type", "Spell"), spells),
        (("particle_type", "Common"), common),
    ]
}

impl Observer for Metrics {
    fn observe(&self, event: &PeerEvent) {
        let observed = &self.observed;
        match &event.kind {
            PeerEventKind::Engine(engine::Event::Executed(run)) => observed.run(run),
            PeerEventKind::Engine(engine::Event::Called(report)) => observed.call(report),
            PeerEventKind::Engine(engine::Event::Dropped {
                particle_id,
                reason: DropReason::Expired,
                ..
            }) => observed.expired.count(particle_id),
            PeerEventKind::Sent {
                particle_id, took, ..
            } => {
                observed.sent.count(particle_id);
                observed.send_time.observe_time(*took);
            }
            PeerEventKind::NotSent { particle_id, .. } => observed.not_sent.count(particle_id),
            PeerEventKind::Engine(_) => {}
        }
    }
}

impl Observed {
    fn run(&self, run: &Execution) {
        let scope = self.scope(&run.peer_id);
        scope.run_time.observe_time(run.elapsed);
        match run.failure.is_none() && run.ret_code == 0 {
            true => scope.runs_ok.increment(),
            false => scope.runs_failed.increment(),
        }
    }

    fn call(&self, report: &CallReport) {
        let took = report.finished_ms.saturating_sub(report.started_ms);
        self.call_time.observe(took as f64 / 1e3);
        match report.ret_code {
            0 => self.calls_ok.increment(),
            _ => self.calls_failed.increment(),
        }
    }

    fn scope(&self, peer_id: &PeerId) -> Arc<ScopeMetrics> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = scopes.get(&Some(*peer_id)) {
            return scope.clone();
        }
        let key = (scopes.len() < MAX_SCOPES).then_some(*peer_id);
        drop(scopes);
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let scope = scopes.entry(key).or_insert_with(|| {
            Arc::new(ScopeMetrics {
                runs_ok: Counter::default(),
                runs_failed: Counter::default(),
                run_time: Histogram::new(SECONDS),
            })
        });
        scope.clone()
    }
}

impl Collector for Observed {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        process::write(&mut page)?;
        if let Some(handle) = self.runtime.get() {
            runtime::write(&mut page, handle)?;
        }
        let Some(peer) = self.peer.get() else {
            return Ok(());
        };
        self.write_about(&mut page, peer)?;
        self.write_network(&mut page, peer)?;
        self.write_engine(&mut page, peer)?;
        write_services(&mut page, peer)
    }
}

impl Observed {
    fn write_about(&self, page: &mut Page<'_>, peer: &Peer) -> fmt::Result {
        let node = peer.node_info();
        page.info(
            "nox_build",
            "Versions",
            &[
                ("node_version", node.node_version.as_str()),
                ("air_version", node.air_version.as_str()),
                ("spell_version", node.spell_version.as_str()),
            ],
        )?;
        let network = peer.network_name().to_string();
        let id = peer.peer_id().to_string();
        page.info(
            "nox_network",
            "The peer and its network",
            &[("peer_id", id.as_str()), ("network", network.as_str())],
        )?;
        let checks = peer.health();
        let checks = checks
            .iter()
            .map(|check| (("check", check.name), u64::from(check.passed)));
        page.gauges("health_check", "1 where a check of health passes", checks)
    }

    fn write_network(&self, page: &mut Page<'_>, peer: &Peer) -> fmt::Result {
        let network = peer.network();
        let counters = network.counters();
        let spells = counters.received_spells.get();
        page.counters(
            "connection_pool_received_particles",
            "Particles that arrived, copies included",
            by_kind(spells, counters.received.get().saturating_sub(spells)),
        )?;
        page.histograms(
            "connection_pool_particle_sizes",
            "Bytes of data of particles that arrived",
            by_kind(&counters.sizes.spells, &counters.sizes.common),
        )?;
        page.gauge(
            "connection_pool_connected_peers",
            "Peers with a connection",
            network.connected_peers().len() as u64,
        )?;
        page.gauge(
            "connection_pool_particle_queue_size",
            "Particles that arrived and wait for the engine",
            network.queued_particles() as u64,
        )?;
        page.counters(
            "connectivity_contact_resolve",
            "How the targets of particles were found",
            [
                (("action", "Local"), counters.contacts_local.get()),
                (("action", "Kademlia"), counters.contacts_found.get()),
                (
                    ("action", "KademliaNotFound"),
                    counters.contacts_unknown.get(),
                ),
                (("action", "KademliaError"), counters.contacts_failed.get()),
                (
                    ("action", "ConnectionFailed"),
                    counters.contacts_unreachable.get(),
                ),
            ],
        )?;
        page.counters(
            "connectivity_particle_send_success",
            "Particles written to another peer",
            self.sent.values(),
        )?;
        page.counters(
            "connectivity_particle_send_failure",
            "Particles that could not be written to another peer",
            self.not_sent.values(),
        )?;
        page.histogram(
            "connectivity_particle_send_seconds",
            "Time to write a particle, with finding and dialing its target",
            &self.send_time,
        )?;
        page.counter(
            "connectivity_bootstrap_connected",
            "Connections to bootstrap nodes",
            counters.bootstrap_connected.get(),
        )?;
        page.counter(
            "connectivity_bootstrap_disconnected",
            "Lost connections to bootstrap nodes",
            counters.bootstrap_disconnected.get(),
        )?;
        page.counters(
            "network_refused",
            "What was refused at the edge of the network",
            [
                (("reason", "frame"), counters.refused_frames.get()),
                (
                    ("reason", "incomplete_frame"),
                    counters.incomplete_frames.get(),
                ),
                (("reason", "memory"), counters.refused_memory.get()),
                (("reason", "stream"), counters.refused_streams.get()),
                (("reason", "foreign_peer"), counters.foreign_peers.get()),
                (("reason", "slow_reader"), counters.slow_readers.get()),
            ],
        )?;
        page.counter(
            "network_oversized_for_clients",
            "Frames longer than JS clients accept, sent to a peer that dialed us",
            counters.oversized_for_clients.get(),
        )
    }

    fn write_engine(&self, page: &mut Page<'_>, peer: &Peer) -> fmt::Result {
        let (load, counters) = (peer.load(), peer.counters());
        page.counters(
            "dispatcher_particles_expired",
            "Particles that were too old when they arrived",
            self.expired.values(),
        )?;
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let scopes: Vec<(String, Arc<ScopeMetrics>)> = scopes
            .iter()
            .map(|(peer_id, scope)| {
                let name = peer_id.map_or_else(|| OTHER.to_owned(), |id| id.to_string());
                (name, scope.clone())
            })
            .collect();
        let labelled = || {
            let scopes = scopes.iter();
            scopes.map(|(name, scope)| (("worker", name.as_str()), scope))
        };
        page.histograms(
            "particle_executor_interpretation_time_sec",
            "Time of a run of the state machine",
            labelled().map(|(label, scope)| (label, &scope.run_time)),
        )?;
        page.counters(
            "particle_executor_interpretation_successes",
            "Runs of the state machine that ended with code 0",
            labelled().map(|(label, scope)| (label, scope.runs_ok.get())),
        )?;
        page.counters(
            "particle_executor_interpretation_failures",
            "Runs of the state machine that did not",
            labelled().map(|(label, scope)| (label, scope.runs_failed.get())),
        )?;
        page.gauge(
            "particle_executor_total_actors_mailbox",
            "Copies of particles that wait for a run",
            load.queued as u64,
        )?;
        page.gauge(
            "particle_executor_alive_actors",
            "Particles that are remembered",
            load.particles as u64,
        )?;
        let service = ("function_kind", "Service");
        page.histograms(
            "particle_executor_service_call_time_sec",
            "Time of a call of a function",
            [(service, &self.call_time)],
        )?;
        page.counters(
            "particle_executor_service_call_success",
            "Calls of functions that were answered",
            [(service, self.calls_ok.get())],
        )?;
        page.counters(
            "particle_executor_service_call_failure",
            "Calls of functions that failed",
            [(service, self.calls_failed.get())],
        )?;
        let free = load.max_parallel_runs.saturating_sub(load.running);
        page.gauge(
            "aqua_vm_pool_pool_size",
            "Runs that may be under way in one scope",
            load.max_parallel_runs as u64,
        )?;
        page.gauge(
            "aqua_vm_pool_free_vms",
            "Runs that could start now",
            free as u64,
        )?;
        page.counter(
            "aqua_vm_pool_get_vm",
            "Runs that were started",
            counters.runs,
        )?;
        let ended = counters.runs.saturating_sub(load.running as u64);
        page.counter("aqua_vm_pool_put_vm", "Runs that ended", ended)?;
        page.gauge(
            "engine_stuck_runs",
            "Runs that exceeded their time and have not ended",
            load.stuck as u64,
        )?;
        page.gauge(
            "engine_held_bytes",
            "Data of particles that waits or is remembered",
            load.held as u64,
        )?;
        page.counter(
            "engine_particles_received",
            "Particles that the engine was given",
            counters.received,
        )?;
        page.counter(
            "engine_particles_admitted",
            "Particles that were new",
            counters.admitted,
        )?;
        let dropped = counters.dropped.iter();
        page.counters(
            "engine_particles_dropped",
            "Particles and copies that were dropped, and why",
            dropped.map(|(reason, count)| (("reason", *reason), *count)),
        )?;
        page.counter(
            "engine_particles_expired",
            "Particles that reached their deadline",
            counters.expired,
        )?;
        page.counter(
            "engine_particles_expired_with_work",
            "Particles that reached their deadline with something left to do",
            counters.expired_with_work,
        )?;
        page.counter(
            "engine_runs_timed_out",
            "Runs that exceeded their time",
            counters.timed_out_runs,
        )?;
        page.counter(
            "engine_calls_timed_out",
            "Calls that exceeded their time",
            counters.timed_out_calls,
        )?;
        page.counter(
            "peer_sends_refused",
            "Particles that were not sent because too many were being sent",
            peer.refused_sends(),
        )
    }
}

fn write_services(page: &mut Page<'_>, peer: &Peer) -> fmt::Result {
    let Some(services) = peer.services() else {
        return Ok(());
    };
    let (usage, counters) = (services.usage(), services.counters());
    page.gauge("services_services_count", "Services", usage.services as u64)?;
    page.gauge(
        "services_mem_used_total_bytes",
        "Memory of all services after their last calls",
        usage.memory,
    )?;
    page.gauge(
        "services_calls_queued",
        "Calls that run or wait for their service",
        usage.calls as u64,
    )?;
    page.counter(
        "services_creation_count",
        "Services that were added",
        counters.created.get(),
    )?;
    page.counter(
        "services_removal_count",
        "Services that were removed",
        counters.removed.get(),
    )?;
    page.counter(
        "services_creation_failure_count",
        "Services that could not be made",
        counters.creation_failures.get(),
    )?;
    page.histogram(
        "services_creation_time_msec",
        "Time to make an instance, in seconds in spite of the name",
        &counters.creation_time,
    )?;
    page.histogram(
        "services_creation_time_seconds",
        "Time to make an instance",
        &counters.creation_time,
    )?;
    page.histogram(
        "services_call_time_msec",
        "Time of a call, in seconds in spite of the name",
        &counters.call_time,
    )?;
    page.histogram(
        "services_call_time_seconds",
        "Time of a call",
        &counters.call_time,
    )?;
    page.histogram(
        "services_lock_wait_time_sec",
        "Time that a call waited for its service",
        &counters.lock_wait,
    )?;
    page.counter(
        "services_call_success_count",
        "Calls that were answered",
        counters.calls_ok.get(),
    )?;
    page.counter(
        "services_call_failed_count",
        "Calls that failed",
        counters.calls_failed.get(),
    )
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::SystemTime};

    use particle::KeyPair;

    use super::*;
    use crate::config::PeerConfig;

    fn sent(particle_id: &str) -> PeerEvent {
        let peer = KeyPair::from_seed(&[1; 32]).peer_id();
        PeerEvent {
            peer,
            at: SystemTime::now(),
            kind: PeerEventKind::Sent {
                particle_id: particle_id.to_owned(),
                to: peer,
                took: std::time::Duration::from_millis(3),
            },
        }
    }

    #[test]
    fn scopes_beyond_the_limit_share_a_series() {
        let metrics = Metrics::new();
        for number in 0..2 * MAX_SCOPES {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let scope = metrics.observed.scope(&KeyPair::from_seed(&seed).peer_id());
            scope.runs_ok.increment();
        }
        let scopes = metrics.observed.scopes.read().unwrap();
        assert_eq!(scopes.len(), MAX_SCOPES + 1);
        assert_eq!(scopes[&None].runs_ok.get(), MAX_SCOPES as u64);
    }

    #[tokio::test]
    async fn a_peer_has_the_metrics_that_dashboards_ask_for() {
        let metrics = Arc::new(Metrics::new());
        let config = PeerConfig {
            listen_ip: Ipv4Addr::LOCALHOST.into(),
            tcp_port: 0,
            websocket_port: 0,
            ..PeerConfig::default()
        };
        let peer = Peer::builder(KeyPair::from_seed(&[1; 32]))
            .config(config)
            .observer(metrics.clone())
            .start()
            .await
            .unwrap();
        metrics.watch(&peer);
        metrics.observe(&sent("spell_1_2"));
        metrics.observe(&sent("x"));
        metrics.observe(&sent("y"));
        let text = metrics.text();
        for line in [
            "connectivity_particle_send_success_total{particle_type=\"Common\"} 2",
            "connectivity_particle_send_success_total{particle_type=\"Spell\"} 1",
            "connectivity_particle_send_seconds_bucket{le=\"0.01\"} 3",
            "connection_pool_received_particles_total{particle_type=\"Common\"} 0",
            "connection_pool_connected_peers 0",
            "aqua_vm_pool_pool_size ",
            "particle_executor_alive_actors 0",
            "nox_network_info{peer_id=",
            "health_check{check=\"vm_pool\"} 1",
            "libp2p_swarm_new_listen_addr_total{",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        peer.stop().await;
    }
}

//! What the network counts. Counters only grow; whoever exports metrics reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one network.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct NetworkCounters {
    /// Particles that arrived complete.
    pub received: Counter,
    /// Particles written completely to a remote peer.
    pub sent: Counter,
    /// Particles that could not be sent, for whatever reason.
    pub send_failed: Counter,
    /// Frames that were no particle: longer than allowed, a foreign codec, a broken body.
    pub refused_frames: Counter,
    /// Inbound streams beyond the limit of a connection.
    pub refused_streams: Counter,
    /// Frames given up because all memory for inbound frames was in use.
    pub refused_memory: Counter,
    /// Frames whose sender was too slow or broke off.
    pub incomplete_frames: Counter,
    /// Connections closed because the remote peer did not read.
    pub slow_readers: Counter,
    /// Frames above what the JS client accepts, sent to a peer that dialed us.
    pub oversized_for_clients: Counter,
    /// Peers disconnected because they do not speak the particle protocol.
    pub foreign_peers: Counter,
    /// Connections that reached a bootstrap node.
    pub bootstrap_connected: Counter,
    /// Bootstrap nodes that went away.
    pub bootstrap_disconnected: Counter,
}

impl NetworkCounters {
    /// Every counter with the name it has in metrics.
    pub fn values(&self) -> [(&'static str, u64); 12] {
        [
            ("connection_pool_received_particles", self.received.get()),
            ("connectivity_particle_send_success", self.sent.get()),
            ("connectivity_particle_send_failure", self.send_failed.get()),
            ("network_refused_frames", self.refused_frames.get()),
            ("network_refused_streams", self.refused_streams.get()),
            ("network_refused_memory", self.refused_memory.get()),
            ("network_incomplete_frames", self.incomplete_frames.get()),
            ("network_slow_readers", self.slow_readers.get()),
            (
                "network_oversized_for_clients",
                self.oversized_for_clients.get(),
            ),
            ("network_foreign_peers", self.foreign_peers.get()),
            (
                "connectivity_bootstrap_connected",
                self.bootstrap_connected.get(),
            ),
            (
                "connectivity_bootstrap_disconnected",
                self.bootstrap_disconnected.get(),
            ),
        ]
    }
}

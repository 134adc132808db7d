//! What the network counts. Counters only grow; whoever exports metrics reads them.

use crate::counters::{Counter, Histogram, SIZES};

/// Counters of one network.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct NetworkCounters {
    /// Particles that arrived complete.
    pub received: Counter,
    /// Of these, the ones of spells.
    pub received_spells: Counter,
    /// Bytes of data of received particles.
    pub sizes: ParticleSizes,
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
    /// Particles to send whose target was connected.
    pub contacts_local: Counter,
    /// Particles to send whose target was dialed, by addresses known or found.
    pub contacts_found: Counter,
    /// Particles to send whose target nobody knew.
    pub contacts_unknown: Counter,
    /// Particles to send for whose target there was no lookup.
    pub contacts_failed: Counter,
    /// Particles to send whose target was known and did not answer.
    pub contacts_unreachable: Counter,
    /// Connections that reached a bootstrap node.
    pub bootstrap_connected: Counter,
    /// Bootstrap nodes that went away.
    pub bootstrap_disconnected: Counter,
}

/// Sizes of the data of received particles, in bytes.
#[derive(Debug)]
#[non_exhaustive]
pub struct ParticleSizes {
    /// Of spells.
    pub spells: Histogram,
    /// Of everybody else.
    pub common: Histogram,
}

impl Default for ParticleSizes {
    fn default() -> Self {
        Self {
            spells: Histogram::new(SIZES),
            common: Histogram::new(SIZES),
        }
    }
}

impl NetworkCounters {
    /// Counts a particle that arrived.
    pub(super) fn count_received(&self, particle: &particle::Particle) {
        self.received.increment();
        let size = particle.data.len() as f64;
        if is_spell(&particle.id) {
            self.received_spells.increment();
            self.sizes.spells.observe(size);
        } else {
            self.sizes.common.observe(size);
        }
    }

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

/// Whether a particle with this id is a run of a spell.
pub(crate) fn is_spell(id: &str) -> bool {
    id.starts_with("spell_")
}

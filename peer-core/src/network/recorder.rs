//! What libp2p counts about itself: `libp2p_*` of `/metrics` (§8.8 of the peer description).

use std::fmt;

use libp2p::metrics::{Metrics, Recorder as _};
use libp2p::{kad, ping, swarm::SwarmEvent};
use prometheus_client::{encoding::text, registry::Registry};

/// The counts, and the page that they are written to. What peers say in identify is not counted: its
/// labels would be the choice of others.
pub(crate) struct Recorder {
    metrics: Metrics,
    registry: Registry,
}

impl Recorder {
    pub(crate) fn swarm<E>(&self, event: &SwarmEvent<E>) {
        self.metrics.record(event);
    }

    pub(crate) fn kademlia(&self, event: &kad::Event) {
        self.metrics.record(event);
    }

    pub(crate) fn ping(&self, event: &ping::Event) {
        self.metrics.record(event);
    }

    /// Writes all of it, without the mark at the end of a page.
    pub(crate) fn write(&self, page: &mut String) -> fmt::Result {
        text::encode_registry(page, &self.registry)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        Self { metrics, registry }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Recorder")
    }
}

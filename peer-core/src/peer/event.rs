//! What a peer tells its observers.

use std::time::{Duration, SystemTime};

use particle::PeerId;

use crate::engine;

/// Learns what happens at a peer. It is called where things happen, so it must be quick and must
/// not wait.
pub trait Observer: Send + Sync {
    /// Takes in one event.
    fn observe(&self, event: &PeerEvent);
}

/// Something that happened to a particle at a peer.
#[derive(Clone, Debug)]
pub struct PeerEvent {
    /// The peer.
    pub peer: PeerId,
    /// When.
    pub at: SystemTime,
    /// What.
    pub kind: PeerEventKind,
}

/// The kinds of [`PeerEvent`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PeerEventKind {
    /// The particle engine admitted, dropped, executed or forgot a particle, or a call ended.
    Engine(engine::Event),
    /// The particle was written to another peer.
    Sent {
        /// Id of the particle.
        particle_id: String,
        /// The other peer.
        to: PeerId,
        /// How long that took, with finding and dialing the peer.
        took: Duration,
    },
    /// The particle could not be sent to another peer.
    NotSent {
        /// Id of the particle.
        particle_id: String,
        /// The other peer.
        to: PeerId,
        /// Why.
        reason: String,
    },
}

impl PeerEvent {
    /// Id of the particle, as its maker chose it.
    pub fn particle_id(&self) -> &str {
        match &self.kind {
            PeerEventKind::Engine(event) => match event {
                engine::Event::Admitted { particle, .. }
                | engine::Event::Expired { particle, .. } => &particle.id,
                engine::Event::Dropped { particle_id, .. } => particle_id,
                engine::Event::Executed(execution) => &execution.particle.id,
                engine::Event::Called(report) => &report.particle.id,
            },
            PeerEventKind::Sent { particle_id, .. }
            | PeerEventKind::NotSent { particle_id, .. } => particle_id,
        }
    }
}

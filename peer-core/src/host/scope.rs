//! Where a call runs.

use std::fmt;

use particle::PeerId;

/// The host itself, or one of its workers: services, aliases, spells and vaults belong to one of
/// them, and none sees those of another (§7 of the peer description, workers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerScope {
    /// The host.
    Host,
    /// The worker with this id.
    Worker(PeerId),
}

impl PeerScope {
    /// The scope of a local id on the host with `host_id`.
    #[must_use]
    pub fn of(peer_id: PeerId, host_id: PeerId) -> Self {
        match peer_id == host_id {
            true => Self::Host,
            false => Self::Worker(peer_id),
        }
    }
}

/// As the published peer writes scopes in errors.
impl fmt::Display for PeerScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => formatter.write_str("Host"),
            Self::Worker(id) => write!(formatter, "WorkerId(WorkerId(PeerId(\"{id}\")))"),
        }
    }
}

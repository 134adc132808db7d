//! What a peer tells its observers about the particles that pass through it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use particle::PeerId;

/// Something that happened to a particle at a peer.
#[derive(Clone, Debug)]
pub struct PeerEvent {
    /// Where.
    pub peer: PeerId,
    /// When.
    pub at: SystemTime,
    /// The id of the particle, as its maker chose it.
    pub particle_id: Arc<str>,
    /// What.
    pub kind: PeerEventKind,
}

/// The kinds of [`PeerEvent`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PeerEventKind {
    /// A copy of the particle arrived; its signature is not checked yet.
    Received {
        /// The peer that delivered it.
        from: PeerId,
        /// Bytes of its data.
        data_size: usize,
    },
    /// A copy of the particle was refused: its signature, its age, or a limit.
    Refused {
        /// Why.
        reason: String,
    },
    /// The state machine ran. It runs only on particles whose signature was verified, and it
    /// verifies the signatures of all peers that contributed to the data.
    Executed {
        /// How long the run took.
        took: Duration,
        /// 0, or the code of the error.
        ret_code: i64,
        /// The text of the error; empty when there was none.
        error_message: String,
        /// Functions that the run asked for.
        calls: Vec<CallName>,
        /// Peers that are to continue.
        next_peers: Vec<PeerId>,
        /// Bytes of the data after the run.
        data_size: usize,
    },
    /// A function was executed.
    Called {
        /// The function.
        call: CallName,
        /// How long it took.
        took: Duration,
        /// Whether it returned a result.
        ok: bool,
    },
    /// The particle was written to another peer.
    Sent {
        /// The other peer.
        to: PeerId,
        /// How long that took, with finding and dialing the peer.
        took: Duration,
    },
    /// The particle could not be sent to another peer.
    SendFailed {
        /// The other peer.
        to: PeerId,
        /// Why.
        reason: String,
    },
}

/// A function of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallName {
    /// The service, by id or alias.
    pub service_id: String,
    /// The function.
    pub function_name: String,
}

impl fmt::Display for CallName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.service_id, self.function_name)
    }
}

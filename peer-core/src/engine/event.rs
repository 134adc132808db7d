//! What observers of an engine learn.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use particle::PeerId;

use super::Source;
use crate::host::ParticleContext;

/// Something that happened in an engine: for logs, metrics, and for showing a particle's path.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A particle was admitted: it is alive, its signature is its maker's, there is room for it.
    Admitted {
        /// The particle.
        particle: Arc<ParticleContext>,
        /// The scope that will execute it.
        peer_id: PeerId,
        /// Where it came from.
        source: Source,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// A particle, or a copy of one, was dropped.
    Dropped {
        /// Id of the particle; shortened when it is too long to be one.
        particle_id: String,
        /// The scope it was for.
        peer_id: PeerId,
        /// Where it came from.
        source: Source,
        /// Why.
        reason: DropReason,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// The state machine ran.
    Executed(Box<Execution>),
    /// A call of a function ended.
    Called(Box<CallReport>),
    /// A particle reached its deadline and is forgotten.
    Expired {
        /// The particle.
        particle: Arc<ParticleContext>,
        /// The scope.
        peer_id: PeerId,
        /// Calls that nobody waits for any longer.
        pending_calls: usize,
        /// Copies that were never executed.
        queued: usize,
        /// Whether a run was under way.
        running: bool,
        /// Its data as the scope held them; empty where nothing was executed.
        data: Bytes,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
}

/// One run of the state machine.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The particle. Its signature was verified before: engines run nothing else.
    pub particle: Arc<ParticleContext>,
    /// The scope that executed it.
    pub peer_id: PeerId,
    /// Where the data that was merged came from; nothing when only results of calls were.
    pub source: Option<Source>,
    /// Whether every signature in the incoming data verified. Data that fails is not merged.
    pub data_verified: bool,
    /// When the run was handed out, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When its result came back, in milliseconds since the Unix epoch.
    pub finished_ms: u64,
    /// Time in the state machine, as the driver measured it; zero when it does not.
    pub elapsed: Duration,
    /// The code of the run: 0, or one of the table of return codes.
    pub ret_code: i64,
    /// The message that belongs to the code; empty with code 0.
    pub error_message: String,
    /// The calls that the run asked for: call id, service, function.
    pub calls: Vec<(u32, String, String)>,
    /// The calls whose results went in.
    pub results: Vec<u32>,
    /// The peers that the particle goes to.
    pub next_peers: Vec<PeerId>,
    /// Bytes of the data that came out.
    pub data_size: usize,
    /// Why nothing of the run had an effect, when that is so.
    pub failure: Option<String>,
}

/// One call of a function.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// The particle.
    pub particle: Arc<ParticleContext>,
    /// The scope that executed the call.
    pub peer_id: PeerId,
    /// Number of the call within the particle at this peer.
    pub call_id: u32,
    /// The service.
    pub service_id: String,
    /// The function.
    pub function_name: String,
    /// 0, or the code of the failure.
    pub ret_code: i32,
    /// Whether the call was given up at its deadline.
    pub timed_out: bool,
    /// When the call was handed out, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When its result came back, in milliseconds since the Unix epoch.
    pub finished_ms: u64,
}

/// Why a particle or a copy of one was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// Its deadline has passed, or cannot be represented.
    Expired,
    /// It wants to live longer than this peer allows.
    TtlTooLong {
        /// The largest time to live, in milliseconds.
        limit_ms: u64,
    },
    /// Its signature is not that of its maker.
    BadSignature {
        /// What is wrong with it.
        reason: String,
    },
    /// Its id is empty, too long, or not usable as a file name.
    BadId,
    /// Its script is larger than allowed.
    ScriptTooLarge {
        /// Size of the script in bytes.
        size: usize,
        /// The largest size.
        limit: u64,
    },
    /// Its data is larger than allowed.
    DataTooLarge {
        /// Size of the data in bytes.
        size: usize,
        /// The largest size.
        limit: u64,
    },
    /// The scope is not, or no longer, one of this peer.
    UnknownScope,
    /// The worker is deactivated.
    InactiveWorker,
    /// The data is already merged or about to be; nothing is lost.
    Duplicate,
    /// Too many copies of this particle wait for their turn.
    QueueFull {
        /// How many wait.
        limit: usize,
    },
    /// The peer remembers as many particles as it may.
    TooManyParticles {
        /// How many it may.
        limit: usize,
    },
    /// The peer remembers as many particles of this one's maker as it may.
    TooManyOfOnePeer {
        /// How many it may.
        limit: usize,
    },
    /// The data of all particles together takes as much memory as it may.
    OutOfMemory {
        /// How many bytes it may.
        limit: u64,
    },
    /// An earlier run of this particle exceeded its time; the rest of it is refused.
    Stuck,
}

impl DropReason {
    /// A short name without values, for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::TtlTooLong { .. } => "ttl_too_long",
            Self::BadSignature { .. } => "bad_signature",
            Self::BadId => "bad_id",
            Self::ScriptTooLarge { .. } => "script_too_large",
            Self::DataTooLarge { .. } => "data_too_large",
            Self::UnknownScope => "unknown_scope",
            Self::InactiveWorker => "inactive_worker",
            Self::Duplicate => "duplicate",
            Self::QueueFull { .. } => "queue_full",
            Self::TooManyParticles { .. } => "too_many_particles",
            Self::TooManyOfOnePeer { .. } => "too_many_of_one_peer",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => formatter.write_str("the particle has expired"),
            Self::TtlTooLong { limit_ms } => {
                write!(formatter, "the time to live exceeds {limit_ms} ms")
            }
            Self::BadSignature { reason } => formatter.write_str(reason),
            Self::BadId => formatter
                .write_str("the particle id is empty, too long, or contains a separator of paths"),
            Self::ScriptTooLarge { size, limit } => {
                write!(
                    formatter,
                    "the script of {size} bytes exceeds {limit} bytes"
                )
            }
            Self::DataTooLarge { size, limit } => {
                write!(formatter, "the data of {size} bytes exceeds {limit} bytes")
            }
            Self::UnknownScope => formatter.write_str("the scope is not of this peer"),
            Self::InactiveWorker => formatter.write_str("the worker is deactivated"),
            Self::Duplicate => formatter.write_str("the data is already known"),
            Self::QueueFull { limit } => {
                write!(formatter, "{limit} copies of the particle already wait")
            }
            Self::TooManyParticles { limit } => {
                write!(formatter, "{limit} particles are already being remembered")
            }
            Self::TooManyOfOnePeer { limit } => {
                write!(
                    formatter,
                    "{limit} particles of its maker are already being remembered"
                )
            }
            Self::OutOfMemory { limit } => {
                write!(formatter, "the data of all particles exceeds {limit} bytes")
            }
            Self::Stuck => formatter.write_str("an earlier run of the particle took too long"),
        }
    }
}

//! One run of the state machine, as a job that any thread can execute.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use particle::{KeyPair, PeerId};
use serde_json::value::RawValue;

use super::{ActorId, Input, ScriptCache, machine};
use crate::{
    config::VmLimits,
    host::{OwnedTetraplet, ParticleContext},
};

/// A run of the state machine to be executed, inline or on a pool. Its result goes back into the
/// engine that made it.
pub struct RunJob {
    pub(super) actor: ActorId,
    pub(super) run_id: u64,
    pub(super) particle: Arc<ParticleContext>,
    pub(super) key: Arc<KeyPair>,
    pub(super) peer_id: PeerId,
    pub(super) prev: Bytes,
    pub(super) current: Bytes,
    pub(super) results: BTreeMap<u32, CallResult>,
    pub(super) limits: VmLimits,
    pub(super) scripts: Arc<ScriptCache>,
}

/// The result of a [`RunJob`].
#[derive(Debug)]
pub struct RunFinished {
    pub(super) actor: ActorId,
    pub(super) run_id: u64,
    pub(super) outcome: Result<RunOutcome, String>,
    /// Time in the state machine; for observers only. A driver that measures it sets it.
    pub elapsed: Duration,
}

/// The result of a call, as the state machine takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallResult {
    /// 0, or the code of the failure.
    pub ret_code: i32,
    /// The result or the message of the failure, as JSON text.
    pub result: String,
}

/// What came out of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct RunOutcome {
    pub(super) ret_code: i64,
    pub(super) error_message: String,
    pub(super) data: Bytes,
    pub(super) next_peers: Vec<String>,
    pub(super) calls: Vec<RequestedCall>,
}

/// A call that a run asks for.
#[derive(Clone, Debug)]
pub(super) struct RequestedCall {
    pub(super) call_id: u32,
    pub(super) service_id: String,
    pub(super) function_name: String,
    pub(super) arguments: Vec<Box<RawValue>>,
    pub(super) tetraplets: Vec<Vec<OwnedTetraplet>>,
}

impl RunJob {
    /// The particle that is run.
    #[must_use]
    pub fn particle(&self) -> &ParticleContext {
        &self.particle
    }

    /// The scope that runs it.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Runs the state machine. A pure function: the same job gives the same result, and takes
    /// nothing but processor time. A panic in it is caught and fails the run.
    #[must_use]
    pub fn execute(self) -> Input {
        let (actor, run_id) = (self.actor, self.run_id);
        let outcome = catch_unwind(AssertUnwindSafe(|| machine::step(&self)));
        Input::RunFinished(RunFinished {
            actor,
            run_id,
            outcome: outcome.map_err(|panic| {
                let reason = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied());
                format!(
                    "the state machine panicked: {}",
                    reason.unwrap_or("no reason given")
                )
            }),
            elapsed: Duration::ZERO,
        })
    }
}

impl fmt::Debug for RunJob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RunJob")
            .field("actor", &self.actor)
            .field("particle_id", &self.particle.id)
            .field("peer_id", &self.peer_id)
            .field("prev", &self.prev.len())
            .field("current", &self.current.len())
            .field("results", &self.results.len())
            .finish_non_exhaustive()
    }
}

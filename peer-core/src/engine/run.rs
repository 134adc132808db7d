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
    config::{ByteSize, VmLimits},
    host::{OwnedTetraplet, ParticleContext},
};

/// Bytes of a script that is parsed in a fraction of a millisecond.
const SMALL_SCRIPT: usize = 16 << 10;
/// Bytes of data and results that are read and verified in about a millisecond, whatever they hold.
const SMALL_DATA: usize = 8 << 10;
/// Instructions that take a fraction of a millisecond on small data.
const BRIEF_STEPS: u64 = 500;
/// Bytes that instructions so few make of data so small, unless they mean harm.
const BRIEF_MEMORY: u64 = 1 << 20;
/// The code of a run with too many instructions, or that makes too much, among others.
const CUT_SHORT: i64 = 20_000;

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

    /// Whether the run will hardly take long: what it reads is small.
    /// [`execute_briefly`](Self::execute_briefly) says for sure.
    #[must_use]
    pub fn is_small(&self) -> bool {
        let results = self.results.values().map(|result| result.result.len());
        let data = self.prev.len() + self.current.len() + results.sum::<usize>();
        self.particle.script.len() <= SMALL_SCRIPT && data <= SMALL_DATA
    }

    /// Runs the state machine. A pure function: the same job gives the same result, and takes
    /// nothing but processor time. A panic in it is caught and fails the run.
    #[must_use]
    pub fn execute(self) -> Input {
        let outcome = self.outcome(&self.limits);
        self.finished(outcome)
    }

    /// As [`execute`](Self::execute), as far as a thread that others wait for may go: gives the job
    /// back when it is not [small](Self::is_small), takes more than some hundred instructions or makes
    /// more than a mebibyte.
    ///
    /// # Errors
    /// The job, as if nothing had been done.
    pub fn execute_briefly(self) -> Result<Input, Box<Self>> {
        if !self.is_small() {
            return Err(Box::new(self));
        }
        let brief = VmLimits {
            max_steps: BRIEF_STEPS.min(self.limits.max_steps),
            max_memory: ByteSize(BRIEF_MEMORY.min(self.limits.max_memory.0)),
            ..self.limits.clone()
        };
        let outcome = self.outcome(&brief);
        let cut_short = matches!(&outcome, Ok(outcome) if outcome.ret_code == CUT_SHORT);
        if cut_short && brief != self.limits {
            return Err(Box::new(self));
        }
        Ok(self.finished(outcome))
    }

    fn outcome(&self, limits: &VmLimits) -> std::thread::Result<RunOutcome> {
        catch_unwind(AssertUnwindSafe(|| machine::step(self, limits)))
    }

    fn finished(&self, outcome: std::thread::Result<RunOutcome>) -> Input {
        Input::RunFinished(RunFinished {
            actor: self.actor,
            run_id: self.run_id,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineLimits, Output, Source};

    fn key(seed: u8) -> Arc<KeyPair> {
        Arc::new(KeyPair::from_seed(&[seed; 32]))
    }

    /// The run that a new particle begins with.
    fn job(script: &str, max_steps: u64) -> RunJob {
        let mut limits = EngineLimits::default();
        limits.vm.max_steps = max_steps;
        let mut engine = Engine::new(key(1), limits);
        let particle =
            particle::Particle::new(&key(2), "id".to_owned(), 1_000, 1_000, script.to_owned());
        let source = Source::Peer(key(2).peer_id());
        engine.handle(Input::Particle { particle, source }, 1_000);
        std::iter::from_fn(|| engine.poll_output())
            .find_map(|output| match output {
                Output::Run(job) => Some(job),
                _ => None,
            })
            .expect("a run")
    }

    /// `2^depth` instructions that do nothing, and those that join them.
    fn nulls(depth: usize) -> String {
        (0..depth).fold("(null)".to_owned(), |half, _| {
            format!("(seq {half} {half})")
        })
    }

    fn outcome(input: Input) -> RunOutcome {
        match input {
            Input::RunFinished(finished) => finished.outcome.expect("no panic"),
            _ => panic!("no end of a run"),
        }
    }

    #[test]
    fn a_brief_run_is_a_run() {
        let script = format!(
            "(seq {} (call \"{}\" (\"op\" \"noop\") []))",
            nulls(6),
            key(1).peer_id()
        );
        let whole = outcome(job(&script, 1_000_000).execute());
        let brief = job(&script, 1_000_000).execute_briefly();
        let brief = outcome(brief.expect("it is short enough"));
        assert_eq!(whole.ret_code, 0, "{}", whole.error_message);
        assert_eq!(whole.calls.len(), 1);
        assert_eq!(format!("{whole:?}"), format!("{brief:?}"));
    }

    #[test]
    fn what_takes_longer_is_given_back_as_it_was() {
        let mut large = job("(null)", 1_000_000);
        large.current = Bytes::from(vec![b' '; SMALL_DATA + 1]);
        assert_eq!(
            large.execute_briefly().unwrap_err().current.len(),
            SMALL_DATA + 1
        );
        let spaces = " ".repeat(SMALL_SCRIPT);
        assert!(
            job(&format!("(null){spaces}"), 1_000_000)
                .execute_briefly()
                .is_err()
        );
        let long = job(&nulls(9), 1_000_000);
        assert!(long.is_small());
        let long = long.execute_briefly().expect_err("too many instructions");
        // Each level holds the one before it twice.
        let peer = key(1).peer_id();
        let greedy = (0..20).rev().fold("(null)".to_owned(), |rest, level| {
            let next = level + 1;
            format!(
                "(seq (seq (ap x{level} $s{level}) (ap x{level} $s{level})) \
                 (seq (canon \"{peer}\" $s{level} #s{level}) (seq (ap #s{level} x{next}) {rest})))"
            )
        });
        let greedy = job(&format!("(seq (ap 0 x0) {greedy})"), 1_000_000);
        assert!(greedy.is_small());
        let greedy = greedy.execute_briefly().expect_err("too many bytes");
        assert_eq!(outcome(greedy.execute()).ret_code, 0);
        assert_eq!(outcome(long.execute()).ret_code, 0);
    }

    #[test]
    fn the_limit_of_the_peer_ends_a_brief_run() {
        let mut short = job(&nulls(9), 100);
        short.limits.max_memory = ByteSize(BRIEF_MEMORY);
        let ended = short.execute_briefly();
        assert_eq!(outcome(ended.expect("the end")).ret_code, CUT_SHORT);
    }
}

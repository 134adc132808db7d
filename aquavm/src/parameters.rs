//! What a run is told besides script, data and results.

use std::sync::Arc;

use particle::{KeyPair, data::MIN_INTERPRETER_VERSION};
use semver::Version;

/// Parameters of a run. The same parameters give the same outcome.
#[derive(Clone)]
pub struct RunParameters {
    /// Peer that started the particle: `%init_peer_id%`.
    pub init_peer_id: String,
    /// Peer that executes; its key is [`RunParameters::key`].
    pub current_peer_id: String,
    /// When the particle was made, in milliseconds: `%timestamp%`.
    pub timestamp: u64,
    /// How long it lives, in milliseconds: `%ttl%`.
    pub ttl: u32,
    /// Id of the particle; signatures are salted with it.
    pub particle_id: String,
    /// Key that signs the results of this peer.
    pub key: Key,
    /// How large inputs and what grows from them may be.
    pub limits: Limits,
    /// Which line of interpreters to agree with.
    pub compat: Compat,
    /// Whether CIDs and signatures of the data are checked and signatures of others kept. Off only
    /// for replaying records whose peers have no keys.
    pub check_signatures: bool,
    /// Local policy beyond the protocol.
    pub policy: Policy,
}

/// A secret key: expanded once, or as it travels to an interpreter.
#[derive(Clone)]
pub enum Key {
    /// An expanded key.
    Pair(Arc<KeyPair>),
    /// Format byte (0 is Ed25519, the only accepted one) and secret bytes.
    Raw {
        /// The format byte.
        format: u8,
        /// The secret: a seed of 32 bytes.
        secret: Vec<u8>,
    },
}

/// How large inputs and what grows from them may be. The defaults are the reference's.
///
/// An input above one of the first three is flagged, or refused with code 10 when these limits are
/// hard. The others always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the script.
    pub script: u64,
    /// Bytes of the current data.
    pub particle: u64,
    /// Bytes of the text of each call result.
    pub call_result: u64,
    /// Whether exceeding one of the limits above ends the run with code 10.
    pub hard: bool,
    /// Instructions inside of each other, for scripts that are parsed by [`invoke`](crate::invoke)
    /// (code 1); [`Script::parse_with`](crate::Script::parse_with) takes the limit of others. The
    /// reference nests until its stack ends; nesting takes no stack here.
    pub depth: usize,
    /// States of the new trace (code 20000). The reference has what positions can count.
    pub trace: u32,
    /// Values of a stream (code 20013).
    pub stream: usize,
    /// Instructions executed, each time counted (code 20000): folds in folds can take longer than
    /// anybody waits, without a state or a value. The reference has no bound.
    pub steps: u64,
    /// Bytes that a run makes beside its inputs: values that it puts together, and requests with
    /// their arguments (code 20000). A short script makes large ones of small ones: it doubles a value
    /// again and again, or asks for a thousand calls with it. The reference has what its memory holds.
    pub memory: u64,
}

/// The line of interpreters to agree with. They differ in the fold over a canon map with repeated
/// keys and in the version that the data carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Up to 0.63: such a fold visits every pair. What today's peers and clients run.
    #[default]
    V0_63,
    /// 0.64: such a fold visits the last pair of each key.
    V0_64,
}

/// What one peer may do for itself. All off by default: where a check refuses what other peers
/// accept, peers no longer agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Refuse current data (code 9) when a foreign peer signed states that the script does not
    /// reach: passing the rest on would poison the particle for everybody after us.
    pub refuse_unreached_states: bool,
    /// Do not believe current data that a call addressed to this peer and without an output was
    /// executed: such results are not signed.
    pub ignore_foreign_unused: bool,
    /// Do not believe current data that this peer waits for one of its own requests.
    pub ignore_foreign_requests: bool,
    /// Leave contents out of the new data that nothing refers to.
    pub drop_unreferenced: bool,
    /// Do not sign what only the next run of this peer reads: the data of a run that asks for calls
    /// and names no next peer hold [`UNSIGNED`](particle::data::UNSIGNED) instead, and whoever got
    /// them would refuse them (code 9). The run with the last result signs everything.
    pub defer_signature: bool,
}

impl From<KeyPair> for Key {
    fn from(pair: KeyPair) -> Self {
        Self::Pair(Arc::new(pair))
    }
}

impl Limits {
    /// For scripts whose makers nobody knows: the defaults, with 20 million steps, a million states and
    /// 512 MiB.
    #[must_use]
    pub fn for_strangers() -> Self {
        Self {
            trace: 1_000_000,
            steps: 20_000_000,
            memory: 512 << 20,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    /// 16 MiB, 64 MiB and 32 MiB, soft; 100,000 instructions, 2³² - 1 states, 1023 values, any
    /// number of steps and bytes.
    fn default() -> Self {
        Self {
            script: 16 << 20,
            particle: 64 << 20,
            call_result: 32 << 20,
            hard: false,
            depth: 100_000,
            trace: u32::MAX,
            stream: 1023,
            steps: u64::MAX,
            memory: u64::MAX,
        }
    }
}

impl Compat {
    /// The interpreter version that the data carry.
    #[must_use]
    pub fn interpreter_version(self) -> Version {
        match self {
            Self::V0_63 => Version::new(0, 63, 0),
            Self::V0_64 => Version::new(0, 64, 1),
        }
    }

    /// The oldest interpreter whose data are accepted.
    #[must_use]
    pub fn min_interpreter_version(self) -> Version {
        MIN_INTERPRETER_VERSION
    }
}

impl std::fmt::Debug for RunParameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RunParameters")
            .field("init_peer_id", &self.init_peer_id)
            .field("current_peer_id", &self.current_peer_id)
            .field("timestamp", &self.timestamp)
            .field("ttl", &self.ttl)
            .field("particle_id", &self.particle_id)
            .field("limits", &self.limits)
            .field("compat", &self.compat)
            .field("check_signatures", &self.check_signatures)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

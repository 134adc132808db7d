//! Limits of the particle engine and of the state machine.

use serde::{Deserialize, Serialize};

use super::{ByteSize, HumanDuration};

/// Limits of the particle engine. Every queue is bounded; what exceeds a bound is dropped with a
/// reason that observers see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineLimits {
    /// Particles that may be remembered at a time, in all scopes.
    pub max_actors: usize,
    /// Copies of one particle that may wait for its current run to end.
    pub max_queued_per_particle: usize,
    /// Bytes of data that may wait or be remembered, over all particles.
    pub max_data_total: ByteSize,
    /// Runs of the state machine at a time in one scope; 0 is twice the number of processors.
    pub max_parallel_runs: usize,
    /// Calls of one particle that may be executing at a time; further ones wait their turn.
    pub max_parallel_calls: usize,
    /// Time for one run of the state machine.
    pub run_timeout: HumanDuration,
    /// Time for one call of a function; the particle's own deadline also holds.
    pub call_timeout: HumanDuration,
    /// Largest time to live that is accepted; the protocol knows no limit.
    pub max_ttl: Option<HumanDuration>,
    /// Longest particle id, in bytes.
    pub max_id_length: usize,
    /// Distinct scripts kept parsed.
    pub script_cache_entries: usize,
    /// Bytes of script text kept parsed.
    pub script_cache_size: ByteSize,
    /// Whether the data of a particle is also kept in the store, so that it survives a restart.
    pub persist_data: bool,
    /// Limits handed to the state machine.
    pub vm: VmLimits,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            max_actors: 100_000,
            max_queued_per_particle: 4096,
            max_data_total: ByteSize(1 << 30),
            max_parallel_runs: 0,
            max_parallel_calls: 1024,
            run_timeout: HumanDuration::from_secs(20),
            call_timeout: HumanDuration::from_secs(300),
            max_ttl: None,
            max_id_length: 128,
            script_cache_entries: 1024,
            script_cache_size: ByteSize(32 << 20),
            persist_data: false,
            vm: VmLimits::default(),
        }
    }
}

/// Size limits of the state machine, table `[avm_config]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VmLimits {
    /// Largest script.
    pub air_size_limit: ByteSize,
    /// Largest incoming data.
    pub particle_size_limit: ByteSize,
    /// Largest result of a call.
    pub call_result_size_limit: ByteSize,
    /// Whether exceeding a limit is an error instead of a flag of the outcome.
    pub hard_limit_enabled: bool,
}

impl Default for VmLimits {
    fn default() -> Self {
        Self {
            air_size_limit: ByteSize(8 << 20),
            particle_size_limit: ByteSize(64 << 20),
            call_result_size_limit: ByteSize(32 << 20),
            hard_limit_enabled: false,
        }
    }
}

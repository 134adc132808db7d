//! Limits of the particle engine and of the state machine.

use super::{ByteSize, HumanDuration, Ignored};

settings! {
    /// Limits of the particle engine. Every queue is bounded; what exceeds a bound is dropped with a
    /// reason that observers see.
    pub table EngineLimits {
        /// Particles that may be remembered at a time, in all scopes.
        pub max_actors: usize = 250_000,
        /// Of these, particles that one peer started.
        pub max_actors_per_peer: usize = 125_000,
        /// Copies of one particle that may wait for its current run to end.
        pub max_queued_per_particle: usize = 4096,
        /// Bytes of data that may wait or be remembered, over all particles.
        pub max_data_total: ByteSize = ByteSize(1 << 30),
        /// Runs of the state machine at a time in one scope; 0 is twice the number of processors.
        pub max_parallel_runs: usize = 0,
        /// Calls of one particle that may be executing at a time; further ones wait their turn.
        pub max_parallel_calls: usize = 1024,
        /// Time for one run of the state machine.
        pub run_timeout: HumanDuration = HumanDuration::from_secs(20),
        /// Time for one call of a function; the particle's own deadline also holds.
        pub call_timeout: HumanDuration = HumanDuration::from_secs(300),
        /// Largest time to live that is accepted; the protocol knows no limit.
        pub max_ttl: Option<HumanDuration> = None,
        /// Longest particle id, in bytes.
        pub max_id_length: usize = 128,
        /// Distinct scripts kept parsed.
        pub script_cache_entries: usize = 1024,
        /// Bytes of script text kept parsed.
        pub script_cache_size: ByteSize = ByteSize(32 << 20),
        /// Whether the data of a particle is also kept in the store, so that it survives a restart.
        pub persist_data: bool = false,
        /// Limits handed to the state machine.
        pub vm: VmLimits = VmLimits::default(),
    }
}

settings! {
    /// Size limits of the state machine, table `[avm_config]`.
    pub table VmLimits {
        /// Largest script.
        pub air_size_limit: ByteSize = ByteSize(8 << 20),
        /// Largest incoming data.
        pub particle_size_limit: ByteSize = ByteSize(64 << 20),
        /// Largest result of a call.
        pub call_result_size_limit: ByteSize = ByteSize(32 << 20),
        /// Whether exceeding one of these three is an error instead of a flag of the outcome.
        pub hard_limit_enabled: bool = false,
        /// Instructions of one run, those of loops counted each time; a longer run is an error. It
        /// bounds the time that a script can take.
        pub max_steps: u64 = 20_000_000,
        /// States of a trace; a longer one is an error. It bounds the memory that a script can
        /// take.
        pub max_states: u32 = 1_000_000,
        /// Bytes that one run makes beside its inputs, values and requests; more is an error. It bounds
        /// what a short script makes of small values.
        pub max_memory: ByteSize = ByteSize(512 << 20),
        /// The interpreter is no Wasm module here.
        pub aquavm_heap_size_limit: Ignored = Ignored,
        /// As `aquavm_heap_size_limit`.
        pub wasm_backend: Ignored = Ignored,
    }
}

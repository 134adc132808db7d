//! AquaVM as a Marine module: the functions and records of the published interpreter 0.62, so that it takes the
//! interpreter's place in any host of Marine modules.
//!
//! | function | what it does |
//! |---|---|
//! | `invoke` | one run: `aquavm::invoke`, byte for byte |
//! | `invoke_tracing` | the same |
//! | `ast` | a script as JSON, or what is wrong with it |
//! | `to_human_readable_data` | particle data as JSON, or why they cannot be read |
//!
//! It agrees with interpreters up to 0.63 (`Compat::V0_63`), as the hosts do that load 0.62.
//!
//! # Where it differs on purpose
//!
//! - `invoke_tracing` makes no trace: its last two arguments mean nothing.
//! - `ast` has a form of its own, except for `(null)`, whose `{"Null":null}` is known: see `ast.rs`. Texts of errors
//!   are ours.
//! - `next_peer_pks` is sorted; the order of the published interpreter is random.
//! - It writes no log and asks for no clock: hosts need not offer `log_utf8_string`.

mod ast;
mod readable;

use aquavm::{Compat, Key, Limits, Policy};
use marine_sdk::marine;

/// What a run is told besides script, data and results.
#[marine]
pub struct RunParameters {
    /// Peer that started the particle.
    pub init_peer_id: String,
    /// Peer that executes.
    pub current_peer_id: String,
    /// When the particle was made, in milliseconds.
    pub timestamp: u64,
    /// How long it lives, in milliseconds.
    pub ttl: u32,
    /// Format of the secret key: 0 for Ed25519, which is the only one.
    pub key_format: u8,
    /// The secret key of the peer that executes: a seed of 32 bytes.
    pub secret_key_bytes: Vec<u8>,
    /// Id of the particle.
    pub particle_id: String,
    /// Most bytes of the script.
    pub air_size_limit: u64,
    /// Most bytes of the current data.
    pub particle_size_limit: u64,
    /// Most bytes of the text of one call result.
    pub call_result_size_limit: u64,
    /// Whether to exceed a limit is an error.
    pub hard_limit_enabled: bool,
}

/// What came of a run.
#[marine]
pub struct InterpreterOutcome {
    /// 0, or the code of an error.
    pub ret_code: i64,
    /// What the code means here; empty for 0.
    pub error_message: String,
    /// The new data.
    pub data: Vec<u8>,
    /// Where to send them.
    pub next_peer_pks: Vec<String>,
    /// What to call, encoded.
    pub call_requests: Vec<u8>,
    /// Whether the script is larger than its limit.
    pub air_size_limit_exceeded: bool,
    /// Whether the current data are larger than their limit.
    pub particle_size_limit_exceeded: bool,
    /// Whether the text of a call result is larger than its limit.
    pub call_result_size_limit_exceeded: bool,
}

/// Runs a script over the data that this peer had and the data that came.
#[marine]
pub fn invoke(
    air: &str,
    prev_data: &Vec<u8>,
    data: &Vec<u8>,
    params: RunParameters,
    call_results: &Vec<u8>,
) -> InterpreterOutcome {
    let parameters = parameters(params);
    let outcome = aquavm::invoke(air, prev_data, data, &parameters, call_results);
    InterpreterOutcome {
        ret_code: outcome.ret_code,
        error_message: outcome.error_message,
        data: outcome.data,
        next_peer_pks: outcome.next_peers,
        call_requests: outcome.call_requests,
        air_size_limit_exceeded: outcome.flags.script,
        particle_size_limit_exceeded: outcome.flags.particle,
        call_result_size_limit_exceeded: outcome.flags.call_result,
    }
}

/// The same; the last two arguments mean nothing.
#[marine]
pub fn invoke_tracing(
    air: &str,
    prev_data: &Vec<u8>,
    data: &Vec<u8>,
    params: RunParameters,
    call_results: &Vec<u8>,
    tracing_params: &str,
    tracing_output_mode: u8,
) -> InterpreterOutcome {
    let _ = (tracing_params, tracing_output_mode);
    invoke(air, prev_data, data, params, call_results)
}

/// A script as JSON, or what is wrong with it.
#[marine]
pub fn ast(script: &str) -> String {
    match air_parser::parse(script) {
        Ok(parsed) => ast::json(&parsed),
        Err(errors) => errors.to_string(),
    }
}

/// Particle data as JSON, or why they cannot be read. Neither contents nor signatures are verified.
#[marine]
pub fn to_human_readable_data(data: &Vec<u8>) -> String {
    readable::json(data).unwrap_or_else(|error| error)
}

fn main() {}

fn parameters(params: RunParameters) -> aquavm::RunParameters {
    aquavm::RunParameters {
        init_peer_id: params.init_peer_id,
        current_peer_id: params.current_peer_id,
        timestamp: params.timestamp,
        ttl: params.ttl,
        particle_id: params.particle_id,
        key: Key::Raw {
            format: params.key_format,
            secret: params.secret_key_bytes,
        },
        limits: Limits {
            script: params.air_size_limit,
            particle: params.particle_size_limit,
            call_result: params.call_result_size_limit,
            hard: params.hard_limit_enabled,
            ..Limits::default()
        },
        compat: Compat::V0_63,
        check_signatures: true,
        policy: Policy::default(),
    }
}

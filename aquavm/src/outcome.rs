//! What a run gives, and the results that the next one takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Results of the calls that earlier runs asked for, by call id.
pub type CallResults = BTreeMap<u32, CallResult>;

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResult {
    /// 0 for success.
    pub ret_code: i32,
    /// The result as JSON text; for a failure normally a JSON string.
    pub result: String,
}

/// A call that the host is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// The service.
    pub service_id: String,
    /// The function.
    pub function_name: String,
    /// The arguments: the canonical text of a JSON array.
    pub arguments: String,
    /// For every argument where it came from: one entry for each element of a canon stream, else
    /// one.
    pub tetraplets: Vec<Vec<ArgumentTetraplet>>,
}

/// Where an argument came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArgumentTetraplet {
    /// Peer that produced the value.
    pub peer_pk: String,
    /// Service the value came from.
    pub service_id: String,
    /// Function of the service.
    pub function_name: String,
    /// Path into the function's result.
    pub lens: String,
}

/// What a run gives. `R` is the form of the requests: a map of [`CallRequest`], or the bytes of
/// the interpreter interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<R = BTreeMap<u32, CallRequest>> {
    /// 0, or the code of an error.
    pub ret_code: i64,
    /// The text of the error; empty for success.
    pub error_message: String,
    /// The new data: what to store as the next previous data and to send. The previous data where
    /// nothing was executed; empty only after code 20001 or 30001.
    pub data: Vec<u8>,
    /// Peers to send the data to, sorted, each once, never this one.
    pub next_peers: Vec<String>,
    /// Calls to make.
    pub call_requests: R,
    /// Which of the limits were exceeded.
    pub flags: LimitFlags,
}

/// Which limits a run's inputs exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitFlags {
    /// The script.
    pub script: bool,
    /// The current data.
    pub particle: bool,
    /// A call result.
    pub call_result: bool,
}

impl CallResult {
    /// A success with this JSON text.
    pub fn ok(result: impl Into<String>) -> Self {
        Self {
            ret_code: 0,
            result: result.into(),
        }
    }
}

//! One call, made of both interpreters, and what differs.

use aquavm::{Compat, Outcome};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{
    deviations::{self, Deviation},
    reference::{Ended, Reference},
};
use crate::conformance::{
    aquavm::{compare, has_new_data},
    run::{Call, decoded, requests},
};

/// What both made of a call.
pub(super) struct Answers {
    pub(super) ours: Outcome<Vec<u8>>,
    pub(super) theirs: Ended,
    pub(super) verdict: Verdict,
}

/// Whether both agree.
pub(super) enum Verdict {
    Same,
    /// They differ where we mean to.
    Deviation(&'static Deviation),
    Different(String),
}

/// Makes the call of both.
///
/// # Errors
/// A driver that fails.
pub(super) fn call(reference: &mut Reference, call: &Call) -> Result<Answers, String> {
    let ours = call.invoke();
    let theirs = reference.call(call)?;
    let verdict = match difference(&call.script, &ours, &theirs) {
        None => Verdict::Same,
        Some(text) => match deviations::find(call, &ours, &theirs) {
            Some(deviation) => Verdict::Deviation(deviation),
            None => Verdict::Different(text),
        },
    };
    Ok(Answers {
        ours,
        theirs,
        verdict,
    })
}

fn difference(script: &str, ours: &Outcome<Vec<u8>>, theirs: &Ended) -> Option<String> {
    match theirs {
        Ended::Trapped(trap) => Some(format!(
            "ret_code: {} ({})\nexpected: a trap: {trap}",
            ours.ret_code, ours.error_message
        )),
        Ended::Outcome(theirs) => {
            if let Err(difference) = compare(&record(theirs), script, Compat::V0_63, ours) {
                return Some(difference);
            }
            (!has_new_data(theirs.ret_code) && ours.data != theirs.data)
                .then(|| "data: not the same bytes though nothing was executed".to_owned())
        }
    }
}

/// An outcome in the schema of `vectors/aquavm`.
pub(super) fn record(outcome: &Outcome<Vec<u8>>) -> Value {
    let data = match decoded(&outcome.data) {
        Ok(data) => data,
        Err(error) => json!({ "decode_error": error }),
    };
    let requests = match requests(&outcome.call_requests) {
        Ok(requests) => requests,
        Err(error) => json!({ "decode_error": error }),
    };
    json!({
        "ret_code": outcome.ret_code,
        "error_message": outcome.error_message,
        "data": BASE64.encode(&outcome.data),
        "data_json": data,
        "call_requests": requests,
        "call_requests_raw": BASE64.encode(&outcome.call_requests),
        "next_peer_pks": outcome.next_peers,
        "air_size_limit_exceeded": outcome.flags.script,
        "particle_size_limit_exceeded": outcome.flags.particle,
        "call_result_size_limit_exceeded": outcome.flags.call_result,
    })
}

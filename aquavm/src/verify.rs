//! What particle data prove, without any key.
//!
//! A script and the data of its particle are executed by an observer: a peer that appears nowhere.
//! Every result in the data must have been signed by the peer that the script names, for exactly
//! the service, function and arguments that the script gives, or the data are refused. What is left
//! is told step by step ("What a verifier can prove from particle data" in the protocol
//! description). Nothing here asks a network or a clock.
//!
//! A verifier must check the particle's own signature first, and keep particles apart by it: the
//! signatures in the data cover the particle's id, but neither script nor initiator.
//!
//! ```
//! use aquavm::{CallResult, Limits, RunParameters, Script, step, verify::{Subject, verify}};
//! use particle::KeyPair;
//!
//! let key = KeyPair::from_seed(&[1; 32]);
//! let me = key.peer_id().to_string();
//! let script = Script::parse(r#"(call %init_peer_id% ("math" "add") [2 3] sum)"#)?;
//! let parameters = RunParameters {
//!     init_peer_id: me.clone(),
//!     current_peer_id: me.clone(),
//!     timestamp: 1_700_000_000_000,
//!     ttl: 7_000,
//!     particle_id: "particle-1".to_owned(),
//!     key: key.into(),
//!     limits: Default::default(),
//!     compat: Default::default(),
//!     check_signatures: true,
//!     policy: Default::default(),
//! };
//! let first = step(&script, &[], &[], &parameters, &Default::default());
//! let results = [(1, CallResult::ok("5"))].into();
//! let second = step(&script, &first.data, &[], &parameters, &results);
//!
//! let subject = Subject {
//!     init_peer_id: me.clone(),
//!     particle_id: "particle-1".to_owned(),
//!     timestamp: 1_700_000_000_000,
//!     ttl: 7_000,
//!     compat: Default::default(),
//!     limits: Limits::for_strangers(),
//! };
//! let verification = verify(&script, &second.data, &subject).unwrap();
//! assert_eq!(verification.steps[0].signed_by.as_deref(), Some(&*me));
//! // The same data under another id were signed for something else.
//! let other = Subject { particle_id: "particle-2".to_owned(), ..subject };
//! assert_eq!(verify(&script, &second.data, &other).unwrap_err().code(), 9);
//! # Ok::<(), air_parser::ParseErrors>(())
//! ```

mod observe;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer};

use crate::{
    error::{PreparationError, UncatchableError},
    parameters::{Compat, Limits},
    script::Script,
};

/// The particle that data belong to: what its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Peer that started the particle.
    pub init_peer_id: String,
    /// Id of the particle, which all signatures cover.
    pub particle_id: String,
    /// When the particle was made, in milliseconds.
    pub timestamp: u64,
    /// How long it lives, in milliseconds.
    pub ttl: u32,
    /// Which line of interpreters to agree with.
    pub compat: Compat,
    /// What following the script may take: scripts of others need not end.
    pub limits: Limits,
}

/// What data prove, and what they do not.
///
/// Serialized it keeps the names of fields and variants, these in `snake_case`; JSON texts remain
/// texts, as CIDs are those of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// What the script did, in the order of the trace.
    pub steps: Vec<Step>,
    /// States of the data that the script does not reach: nothing is known of them but who signed.
    pub unreached: Vec<Unreached>,
    /// How far the script got.
    pub ending: Ending,
    /// Who signed how many results.
    pub signers: BTreeMap<String, usize>,
    /// What no particle data can prove, whatever they hold.
    pub caveats: &'static [&'static str],
}

/// One state of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Position in the trace of the data; `None` for what the observer would do next.
    pub position: Option<u32>,
    /// The instruction as the script has it.
    pub instruction: String,
    /// What happened.
    pub event: Event,
    /// The peer whose signature covers the step.
    pub signed_by: Option<String>,
    /// What cannot be proven of the step.
    pub unproven: Vec<Unproven>,
}

/// What happened in a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A call.
    Call {
        /// Peer that the script names.
        peer: String,
        /// Service that it names.
        service: String,
        /// Function that it names.
        function: String,
        /// CID of the JSON array of the arguments; `None` while one of them is unknown.
        argument_hash: Option<String>,
        /// What came of it.
        end: CallEnd,
    },
    /// A canon.
    Canon {
        /// Peer that the script names.
        peer: String,
        /// What it fixed; `None` while it is not made.
        result: Option<CanonResult>,
    },
    /// Two branches, with the states of each.
    Par {
        /// States of the left one.
        left: u32,
        /// States of the right one.
        right: u32,
    },
    /// A fold over a stream, with how many values it visited.
    Fold {
        /// Number of values.
        values: usize,
    },
    /// A value was appended to a stream.
    Ap,
}

/// What a canon fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CanonResult {
    /// CID of the result, which is what is signed.
    pub cid: String,
    /// JSON texts of its elements.
    #[serde(serialize_with = "texts")]
    pub values: Vec<Arc<str>>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// It returned a value.
    Returned {
        /// CID of the result, which is what is signed.
        result: String,
        /// CID of the value.
        value_cid: String,
        /// JSON text of the value.
        #[serde(serialize_with = "text")]
        value: Arc<str>,
    },
    /// The service failed.
    Failed {
        /// CID of the result, which is what is signed.
        result: String,
        /// CID of the description.
        value_cid: String,
        /// JSON text with the code and the message.
        #[serde(serialize_with = "text")]
        value: Arc<str>,
    },
    /// Somebody says that it returned this, which nobody kept.
    Unused {
        /// CID of the value.
        value_cid: String,
    },
    /// Somebody says that the particle was sent to the peer, or that the peer waits for its host.
    Pending {
        /// Who says so.
        sender: String,
    },
    /// Nothing happened yet.
    Next,
}

/// Why something of a step is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Unproven {
    /// Results that nothing takes are not signed.
    #[error("a result without an output is not signed: any peer may have written it")]
    UnusedResult,
    /// States of forwarding are not signed.
    #[error("who forwarded the particle, or waits for its host, is not signed")]
    Forwarding,
    /// Its peer may have left values out.
    #[error("whether the canon holds all values that its peer knew")]
    Completeness,
    /// Its peer may have made values up.
    #[error("where {0} of the canon's values came from: literals have no origin to check")]
    Literals(usize),
    /// Which values a stream has follows from signed results; their order does not.
    #[error("the order of values in a stream is not signed")]
    Order,
}

/// A state that the script does not reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreached {
    /// Position in the trace of the data.
    pub position: u32,
    /// The peer that signed it, for no known reason.
    pub signed_by: Option<String>,
}

/// How far a script got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// To its end: nothing is left to do.
    Complete,
    /// It goes on at others.
    Waiting,
    /// An error reached its root.
    Failed {
        /// The code.
        code: i64,
        /// The text.
        message: String,
    },
}

/// What names stand for after some steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last of those steps; `None` where the script has none.
    pub step: Option<Step>,
    /// JSON texts by name; those of streams are arrays of their values.
    pub variables: BTreeMap<String, String>,
}

/// Why data prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// They cannot be read, or contents, references or signatures are wrong.
    #[error(transparent)]
    Data(#[from] PreparationError),
    /// They are not what this script gives.
    #[error(transparent)]
    Script(#[from] UncatchableError),
}

impl VerifyError {
    /// The code with which a peer refuses such data.
    #[must_use]
    pub fn code(&self) -> i64 {
        match self {
            Self::Data(error) => error.code(),
            Self::Script(error) => error.code(),
        }
    }
}

/// What no particle data can prove.
const CAVEATS: &[&str] = &[
    "that a result is correct: a signature says who answers for it, not how it was made",
    "that all branches are here: the beginning of an execution verifies as well",
    "when, and in which order in time, anything happened",
    "that the results belong to this script: signatures cover the particle's id only, so the \
     particle's own signature has to be checked",
];

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn texts<S: Serializer>(texts: &[Arc<str>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(|text| &**text))
}

/// Says what `data` prove of the particle `subject` with this script.
///
/// # Errors
/// Data that no honest peers can have made: the code is the one with which a peer refuses them.
pub fn verify(
    script: &Script,
    data: &[u8],
    subject: &Subject,
) -> Result<Verification, VerifyError> {
    observe::observe(script, data, subject, None).map(|observed| observed.verification)
}

/// Replays the first `steps` steps: the recorded results stand in for the services.
///
/// # Errors
/// As for [`verify`]; all of the data are checked, not only those steps.
pub fn replay(
    script: &Script,
    data: &[u8],
    subject: &Subject,
    steps: usize,
) -> Result<Snapshot, VerifyError> {
    if steps == 0 {
        verify(script, data, subject)?;
        return Ok(Snapshot {
            step: None,
            variables: BTreeMap::new(),
        });
    }
    let whole = verify(script, data, subject)?;
    let steps = steps.min(whole.steps.len());
    let observed = observe::observe(script, data, subject, Some(steps))?;
    let index = steps.checked_sub(1);
    Ok(Snapshot {
        step: index.and_then(|index| whole.steps.get(index).cloned()),
        variables: observed.variables,
    })
}

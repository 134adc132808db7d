//! Why two traces cannot be merged.

use std::fmt;

use crate::data::{CallState, FoldLore, State, StateKind, Subtrace, Subtraces};

/// Which of the two traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that this peer stored.
    Previous,
    /// The one that arrived.
    Current,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Previous => "previous",
            Self::Current => "current",
        })
    }
}

/// A trace that does not fit the script or the other trace. Its text becomes part of error 20000.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Two states of which at least one belongs to another instruction.
    #[error("previous and current data have incompatible states: '{previous}' '{current}'")]
    IncompatibleStates {
        /// Dump of the previous state.
        previous: String,
        /// Dump of the current state.
        current: String,
    },
    /// A state that belongs to another instruction.
    #[error("state from {side} `{state}` is incompatible with expected {}", expected.name())]
    UnexpectedState {
        /// Whose state.
        side: Side,
        /// Dump of the state.
        state: String,
        /// Kind of the instruction.
        expected: StateKind,
    },
    /// Two results of one call.
    #[error("values in call results are not equal: {previous} != {current}")]
    ValuesNotEqual {
        /// Dump of the previous result.
        previous: String,
        /// Dump of the current result.
        current: String,
    },
    /// A failure and something else for one call.
    #[error("previous and current call results are incompatible: '{previous}' '{current}'")]
    CallsIncompatible {
        /// Dump of the previous state.
        previous: String,
        /// Dump of the current state.
        current: String,
    },
    /// Two results of one canon.
    #[error(
        "canon results Executed(CID(\"{previous}\")) Executed(CID(\"{current}\")) points to \
         incompatible execution states"
    )]
    CanonsDiffer {
        /// CID of the previous result.
        previous: String,
        /// CID of the current result.
        current: String,
    },
    /// An `ap` state without exactly one generation.
    #[error(
        "ApResult {{ res_generations: {generations:?} }} ap result contains inappropriate \
         generation count in destination"
    )]
    GenerationCount {
        /// Its generations.
        generations: Vec<u32>,
    },
    /// A generation that no honest peer writes.
    #[error("generation {generation} is impossible in a trace of {states} states")]
    GenerationTooLarge {
        /// The generation.
        generation: u32,
        /// Length of the trace.
        states: usize,
    },
    /// A result that grows over the limit of the run.
    #[error("the executed trace would have more than the allowed {limit} states")]
    TooLong {
        /// The limit.
        limit: u32,
    },
    /// Sizes of a fold that do not fit 32 bits.
    #[error("the first {count} subtrace descriptors lens of fold {fold} overflows")]
    SubtraceLenOverflow {
        /// How many elements could be summed.
        count: usize,
        /// Dump of the fold.
        fold: String,
    },
    /// A fold that describes a value twice.
    #[error("{fold} contains several subtraces with the same value_pos {position}")]
    SamePosition {
        /// Dump of the fold.
        fold: String,
        /// Position of the value.
        position: u32,
    },
    /// A fold element without exactly two descriptors.
    #[error("fold contains {count} sublore descriptors, but 2 is expected")]
    SubtraceCount {
        /// How many it has.
        count: usize,
    },
    /// A window that begins or ends outside of its trace.
    #[error(
        "executed trace has {trace_len} elements, but tried to set {len} subtrace_len and \
         {position} position"
    )]
    WindowOutside {
        /// Length of the trace.
        trace_len: u32,
        /// Length of the window.
        len: u32,
        /// Begin of the window.
        position: u32,
    },
    /// A window longer than what is left.
    #[error(
        "executed trace has {trace_len} elements and current position is {position}, but tried \
         to set {len} subtrace_len"
    )]
    LenOutside {
        /// Length of the trace.
        trace_len: u32,
        /// Length of the window.
        len: u32,
        /// Position in the trace.
        position: u32,
    },
    /// A fold that refers to a value outside of the trace.
    #[error(
        "requested an element at position '{position}', but executed trace contains only \
         '{trace_len}' elements"
    )]
    NoElement {
        /// The position.
        position: u32,
        /// Length of the trace.
        trace_len: u32,
    },
    /// A fold that refers to a state that is no value of a stream.
    #[error("expected a state of CallResult(Value::Stream) or Ap types but '{state}' obtained")]
    NoStreamState {
        /// Dump of the state.
        state: String,
    },
    /// The end of a par does not fit 32 bits.
    #[error(
        "overflow is occurred while calculating the new position of a previous slider for resolved \
         par ParResult {{ left_size: {left}, right_size: {right} }} and current position \
         {position}'"
    )]
    ParPosOverflow {
        /// Whose state.
        side: Side,
        /// Size of the left branch.
        left: u32,
        /// Size of the right branch.
        right: u32,
        /// Position in the trace.
        position: u32,
    },
    /// A par that is larger than what encloses it.
    #[error(
        "underflow is occurred while calculating the new position of a current slider for resolved \
         par ParResult {{ left_size: {left}, right_size: {right} }} and current subtrace len \
         {remaining}'"
    )]
    ParLenUnderflow {
        /// Whose state.
        side: Side,
        /// Size of the left branch.
        left: u32,
        /// Size of the right branch.
        right: u32,
        /// States left in the enclosing window.
        remaining: u32,
    },
    /// The end of a fold does not fit 32 bits.
    #[error(
        "overflow is occurred while calculating the new position of a previous slider for resolved \
         fold {fold} and current position {position}'"
    )]
    FoldPosOverflow {
        /// Whose state.
        side: Side,
        /// Dump of the fold with its windows widened.
        fold: String,
        /// Position in the trace.
        position: u32,
    },
    /// A fold that is larger than what encloses it.
    #[error(
        "underflow is occurred while calculating the new position of a current slider for resolved \
         fold {fold} and current subtrace len {position}'"
    )]
    FoldLenUnderflow {
        /// Whose state.
        side: Side,
        /// Dump of the fold with its windows widened.
        fold: String,
        /// Position in the trace, which the message calls a length.
        position: u32,
    },
    /// A value of a stream at a position that has no state.
    #[error("trying to change generation of an invalid trace position {position}")]
    InvalidPosition {
        /// The position.
        position: u32,
    },
    /// A value of a stream at a state that has no generation.
    #[error(
        "trying to change generation of a state {state} on {position} position, the state \
         doesn't contain generation"
    )]
    NoGeneration {
        /// Dump of the state.
        state: String,
        /// The position.
        position: u32,
    },
    /// The end of a par that did not start.
    #[error("par queue is empty, while par FSM is requested")]
    NoPar,
    /// An event of a fold that did not start.
    #[error("fold FSM wasn't found")]
    NoFold,
}

/// Readable form of the result that a call state holds, as error texts show it.
#[must_use]
pub fn dump_value(state: &CallState<'_>) -> String {
    DumpState(&State::Call(*state)).value()
}

/// Readable form of a state for error texts.
pub(super) struct DumpState<'t, 'a>(pub(super) &'t State<'a>);

impl DumpState<'_, '_> {
    /// The part of a call state that error texts about calls show.
    pub(super) fn call(&self) -> String {
        let text = self.to_string();
        strip(&text, "Call(").to_owned()
    }

    /// The lower-case form that one error text has.
    pub(super) fn short(&self) -> String {
        match self.0 {
            State::Call(CallState::SentBy(peer)) => format!("request_sent_by({peer})"),
            State::Call(CallState::SentByWithId { peer_id, call_id }) => {
                format!("request_sent_by({peer_id}: {call_id})")
            }
            State::Call(CallState::Failed(cid)) => format!("failed(CID({cid:?}))"),
            State::Call(_) => format!("executed({})", self.value()),
            State::Par { left, right } => format!("par({left}, {right})"),
            _ => self.to_string(),
        }
    }

    /// The value of an executed call.
    pub(super) fn value(&self) -> String {
        let text = self.to_string();
        strip(strip(&text, "Call("), "Executed(").to_owned()
    }
}

/// Readable form of what a fold state holds.
pub(super) struct DumpFold<'l>(pub(super) &'l [FoldLore]);

impl fmt::Display for DumpFold<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FoldResult { lore: [")?;
        for (index, element) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let value_pos = element.value_pos;
            write!(
                f,
                "{comma}FoldSubTraceLore {{ value_pos: {value_pos}, subtraces_desc: ["
            )?;
            match &element.subtraces {
                Subtraces::Pair(before, after) => {
                    write!(f, "{}, {}", DumpSubtrace(*before), DumpSubtrace(*after))?;
                }
                Subtraces::Other(subtraces) => {
                    for (index, subtrace) in subtraces.iter().enumerate() {
                        let comma = if index == 0 { "" } else { ", " };
                        write!(f, "{comma}{}", DumpSubtrace(*subtrace))?;
                    }
                }
            }
            f.write_str("] }")?;
        }
        f.write_str("] }")
    }
}

/// Readable form of one descriptor of a fold.
pub(super) struct DumpSubtrace(pub(super) Subtrace);

impl fmt::Display for DumpSubtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subtrace { begin_pos, len } = self.0;
        write!(
            f,
            "SubTraceDesc {{ begin_pos: {begin_pos}, subtrace_len: {len} }}"
        )
    }
}

fn strip<'t>(text: &'t str, prefix: &str) -> &'t str {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(text)
}

impl fmt::Display for DumpState<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            State::Par { left, right } => {
                write!(
                    f,
                    "Par(ParResult {{ left_size: {left}, right_size: {right} }})"
                )
            }
            State::Call(state) => match state {
                CallState::SentBy(peer) => {
                    write!(f, "Call(RequestSentBy(PeerId({peer:?})))")
                }
                CallState::SentByWithId { peer_id, call_id } => write!(
                    f,
                    "Call(RequestSentBy(PeerIdWithCallId {{ peer_id: {peer_id:?}, call_id: \
                     {call_id} }}))"
                ),
                CallState::Scalar(cid) => write!(f, "Call(Executed(Scalar(CID({cid:?}))))"),
                CallState::Stream { cid, generation } => write!(
                    f,
                    "Call(Executed(Stream {{ cid: CID({cid:?}), generation: {generation} }}))"
                ),
                CallState::Unused(cid) => write!(f, "Call(Executed(Unused(CID({cid:?}))))"),
                CallState::Failed(cid) => write!(f, "Call(Failed(CID({cid:?})))"),
            },
            State::Fold(lore) => write!(f, "Fold({})", DumpFold(lore)),
            State::Ap(generations) => write!(
                f,
                "Ap(ApResult {{ res_generations: {:?} }})",
                generations.as_slice()
            ),
            State::CanonSentBy(peer) => write!(f, "Canon(RequestSentBy({peer:?}))"),
            State::Canon(cid) => write!(f, "Canon(Executed(CID({cid:?})))"),
        }
    }
}

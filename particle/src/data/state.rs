//! The states of a trace.

/// One state of a trace (24 bytes; nothing but malformed or nested parts is on the heap).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// The next `left` states belong to the left branch, the `right` ones after them to the right.
    Par {
        /// States of the left branch, nested ones included.
        left: u32,
        /// States of the right branch, nested ones included.
        right: u32,
    },
    /// State of a call.
    Call(CallState<'a>),
    /// A fold over a stream: which states belong to which value.
    Fold(Box<[FoldLore]>),
    /// A value was appended to a stream.
    Ap(Generations),
    /// This peer forwarded the particle to the peer that is to canonicalise.
    CanonSentBy(&'a str),
    /// The canon result with this CID was made.
    Canon(&'a str),
}

/// State of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState<'a> {
    /// This peer met the call and forwarded the particle to the call's target.
    SentBy(&'a str),
    /// This peer is the target and waits for the result of its own request.
    SentByWithId {
        /// The target.
        peer_id: &'a str,
        /// Id of the request.
        call_id: u32,
    },
    /// Done; CID of a service result whose value is bound to a scalar.
    Scalar(&'a str),
    /// Done; CID of a service result whose value was appended to a stream.
    Stream {
        /// CID of the service result.
        cid: &'a str,
        /// Generation of the value in its stream.
        generation: u32,
    },
    /// Done; CID of the bare value, which is neither stored nor signed.
    Unused(&'a str),
    /// The service failed; CID of a service result whose value describes the failure.
    Failed(&'a str),
}

/// The generations of an `ap`: exactly one in honest data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generations {
    /// The regular form.
    One(u32),
    /// None or several: to be refused by whoever meets the state.
    Other(Box<[u32]>),
}

/// Which states belong to one value of a folded stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldLore {
    /// Position of the state that produced the value.
    pub value_pos: u32,
    /// The states before and after `next`, those of inner iterations left out.
    pub subtraces: Subtraces,
}

/// The descriptors of one iteration: exactly two in honest data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subtraces {
    /// Before `next`, after `next`.
    Pair(Subtrace, Subtrace),
    /// Any other number: to be refused by whoever meets the state.
    Other(Box<[Subtrace]>),
}

/// A run of states in the same trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subtrace {
    /// Position of the first state.
    pub begin_pos: u32,
    /// Number of states.
    pub len: u32,
}

/// The kind of a state, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// [`State::Par`].
    Par,
    /// [`State::Call`].
    Call,
    /// [`State::Fold`].
    Fold,
    /// [`State::Ap`].
    Ap,
    /// [`State::CanonSentBy`] and [`State::Canon`].
    Canon,
}

impl State<'_> {
    /// The kind of the state.
    #[must_use]
    pub fn kind(&self) -> StateKind {
        match self {
            Self::Par { .. } => StateKind::Par,
            Self::Call(_) => StateKind::Call,
            Self::Fold(_) => StateKind::Fold,
            Self::Ap(_) => StateKind::Ap,
            Self::CanonSentBy(_) | Self::Canon(_) => StateKind::Canon,
        }
    }
}

impl StateKind {
    /// The lower-case name of the instruction.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Par => "par",
            Self::Call => "call",
            Self::Fold => "fold",
            Self::Ap => "ap",
            Self::Canon => "canon",
        }
    }
}

impl Generations {
    /// The generations as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(generation) => std::slice::from_ref(generation),
            Self::Other(generations) => generations,
        }
    }
}

impl From<Vec<u32>> for Generations {
    fn from(generations: Vec<u32>) -> Self {
        match generations.as_slice() {
            [generation] => Self::One(*generation),
            _ => Self::Other(generations.into_boxed_slice()),
        }
    }
}

impl From<Vec<Subtrace>> for Subtraces {
    fn from(subtraces: Vec<Subtrace>) -> Self {
        match subtraces.as_slice() {
            [before, after] => Self::Pair(*before, *after),
            _ => Self::Other(subtraces.into_boxed_slice()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_small() {
        assert_eq!(size_of::<State<'_>>(), 24);
        assert_eq!(size_of::<FoldLore>(), 32);
    }
}

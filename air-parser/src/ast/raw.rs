//! The tables as stored. Numbers instead of references keep an entry at 16 to 24 bytes.

use super::Span;

/// An instruction as stored. The first child of number `n` is `n + 1`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    /// Index of the first operand; the operands of the next instruction follow its own.
    pub(crate) values: u32,
    /// Number of the second child; 0 if there is none.
    pub(crate) second: u32,
    /// One more than the last number of the subtree.
    pub(crate) end: u32,
    pub(crate) kind: NodeKind,
}

impl Node {
    pub(super) const EMPTY: Self = Self {
        span: Span::new(0, 0),
        values: 0,
        second: 0,
        end: 0,
        kind: NodeKind::Null,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Call,
    CallWithOutput,
    Canon,
    Ap,
    ApMap,
    Seq,
    Par,
    Xor,
    Match,
    Mismatch,
    FailLiteral,
    Fail,
    Fold,
    Next,
    New,
    Never,
    Null,
}

/// An operand as stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawValue {
    pub(crate) span: Span,
    /// Number of the name for variables, index into the numbers for numbers, length of the name
    /// for the error registers.
    pub(crate) extra: u32,
    pub(crate) kind: RawKind,
    /// Whether the lambda has names between brackets.
    pub(crate) names_inside: bool,
}

impl RawValue {
    pub(super) const EMPTY: Self = Self {
        span: Span::new(0, 0),
        extra: u32::MAX,
        kind: RawKind::EmptyArray,
        names_inside: false,
    };
}

impl RawKind {
    pub(crate) const fn is_variable(self) -> bool {
        matches!(
            self,
            Self::Scalar
                | Self::Stream
                | Self::StreamMap
                | Self::CanonStream
                | Self::CanonStreamMap
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawKind {
    InitPeerId,
    Timestamp,
    Ttl,
    LastError,
    Error,
    Literal,
    Integer,
    Float,
    True,
    False,
    EmptyArray,
    Scalar,
    Stream,
    StreamMap,
    CanonStream,
    CanonStreamMap,
}

//! Tokens and sets of them.

use std::fmt;

use crate::ast::Span;

/// A token with its place.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it is; quotes and lambda included.
    pub span: Span,
    /// Length of the name of a token with a lambda.
    pub(crate) name_len: u32,
}

macro_rules! kinds {
    ($($kind:ident $name:literal $doc:literal)*) => {
        /// Kinds of tokens; `Display` is the name used in messages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TokenKind {
            $(#[doc = $doc] $kind,)*
        }

        impl TokenKind {
            const ALL: &[Self] = &[$(Self::$kind),*];

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

// In the order in which messages list them.
kinds! {
    Open "\"(\"" "`(`"
    Close "\")\"" "`)`"
    OpenSquare "\"[\"" "`[`"
    CloseSquare "\"]\"" "`]`"
    Boolean "Boolean" "`true` or `false`"
    CanonStream "CanonStream" "`#name` or `#$name`"
    CanonStreamMap "CanonStreamMap" "`#%name`"
    CanonStreamMapWithLambda "CanonStreamMapWithLambda" "`#%name.$.key`"
    CanonStreamWithLambda "CanonStreamWithLambda" "`#name.$.[0]`, with a name of at least two characters"
    Error "Error" "`:error:`"
    ErrorWithLambda "ErrorWithLambda" "`:error:.$.message`"
    Float "F64" "a number with a dot"
    Integer "I64" "a number without a dot"
    InitPeerId "InitPeerId" "`%init_peer_id%`"
    LastError "LastError" "`%last_error%`"
    LastErrorWithLambda "LastErrorWithLambda" "`%last_error%.$.message`"
    Literal "Literal" "a string in quotes"
    Scalar "Scalar" "`name`"
    ScalarWithLambda "ScalarWithLambda" "`name.$.field`"
    Stream "Stream" "`$name`"
    StreamMap "StreamMap" "`%name`"
    StreamMapWithLambda "StreamMapWithLambda" "`%name.$.key`, which no instruction takes"
    StreamWithLambda "StreamWithLambda" "`$name.$.[0]`, which no instruction takes"
    Ttl "TTL" "`%ttl%`"
    Timestamp "Timestamp" "`%timestamp%`"
    Ap "ap" "`ap`"
    Call "call" "`call`"
    Canon "canon" "`canon`"
    Fail "fail" "`fail`"
    Fold "fold" "`fold`"
    Match "match" "`match`"
    Mismatch "mismatch" "`mismatch`"
    Never "never" "`never`"
    New "new" "`new`"
    Next "next" "`next`"
    Null "null" "`null`"
    Par "par" "`par`"
    Seq "seq" "`seq`"
    Xor "xor" "`xor`"
    End "<nothing>" "the end of the text"
    Bad "<error>" "a word that is no token; never seen outside of the lexer"
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set(u64);

impl Set {
    pub(crate) const fn of(kinds: &[TokenKind]) -> Self {
        let mut bits = 0;
        let mut rest = kinds;
        while let [kind, tail @ ..] = rest {
            bits |= 1 << *kind as u64;
            rest = tail;
        }
        Self(bits)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, kind: TokenKind) -> Self {
        Self(self.0 & !(1 << kind as u64))
    }

    pub(crate) const fn contains(self, kind: TokenKind) -> bool {
        self.0 & 1 << kind as u64 != 0
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for kind in TokenKind::ALL {
            if self.contains(*kind) {
                write!(f, "{separator}{kind}")?;
                separator = " or ";
            }
        }
        Ok(())
    }
}

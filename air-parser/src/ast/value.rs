//! Operands and variables.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use super::{Span, Symbol};
use crate::{lambda::Lambda, text::write_air_value};

/// An operand with its place. Equality compares the place as well, that of [`ValueKind`] does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value<'s> {
    /// What it is.
    pub kind: ValueKind<'s>,
    /// The whole token, quotes and lambda included.
    pub span: Span,
}

impl Value<'_> {
    /// The value as AIR source; differs from `Display` in floats, which keep their dot.
    #[must_use]
    pub const fn to_air(&self) -> impl fmt::Display {
        struct Air<'v>(ValueKind<'v>);
        impl fmt::Display for Air<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_air_value(f, self.0)
            }
        }
        Air(self.kind)
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// What an operand is. `Display` is the canonical text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueKind<'s> {
    /// `%init_peer_id%`.
    InitPeerId,
    /// `%timestamp%`.
    Timestamp,
    /// `%ttl%`.
    Ttl,
    /// `%last_error%`, perhaps with a lambda.
    LastError(Option<Lambda<'s>>),
    /// `:error:`, perhaps with a lambda.
    Error(Option<Lambda<'s>>),
    /// A string, without its quotes.
    Literal(&'s str),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// `[]`.
    EmptyArray,
    /// A variable, perhaps with a lambda.
    Variable(Variable<'s>, Option<Lambda<'s>>),
}

impl fmt::Display for ValueKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, lambda) = match *self {
            Self::InitPeerId => return f.write_str("%init_peer_id%"),
            Self::Timestamp => return f.write_str("%timestamp%"),
            Self::Ttl => return f.write_str("%ttl%"),
            Self::EmptyArray => return f.write_str("[]"),
            Self::Literal(text) => return write!(f, "\"{text}\""),
            Self::Integer(number) => return write!(f, "{number}"),
            Self::Float(number) => return write!(f, "{number}"),
            Self::Boolean(flag) => return write!(f, "{flag}"),
            Self::LastError(lambda) => ("%last_error%", lambda),
            Self::Error(lambda) => (":error:", lambda),
            Self::Variable(variable, lambda) => (variable.name, lambda),
        };
        f.write_str(name)?;
        lambda.map_or(Ok(()), |lambda| lambda.fmt(f))
    }
}

/// A variable at one place. Equality and hash are those of the name.
#[derive(Clone, Copy, Debug)]
pub struct Variable<'s> {
    /// Name with its sigils (`x`, `$s`, `%m`, `#c`, `#$c`, `#%m`).
    pub name: &'s str,
    /// What the sigils say.
    pub kind: VariableKind,
    /// Number of the name in this script.
    pub symbol: Symbol,
    /// The token; its start decides which `new` a stream belongs to.
    pub span: Span,
}

impl PartialEq for Variable<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Variable<'_> {}

impl Hash for Variable<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Display for Variable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Kinds of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VariableKind {
    /// `name`.
    Scalar,
    /// `$name`.
    Stream,
    /// `%name`.
    StreamMap,
    /// `#name` or `#$name`.
    CanonStream,
    /// `#%name`.
    CanonStreamMap,
}

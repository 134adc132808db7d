//! What is wrong with a script, and how it is shown.

mod render;

use std::fmt;

use crate::{ast::Span, lambda::LambdaErrorKind};

/// Most errors that are kept and shown.
pub(crate) const MAX_ERRORS: usize = 256;

/// Everything that is wrong with a script; at least one error. `Display` is the rendered text:
/// source lines with carets under them.
#[derive(Clone, Debug)]
pub struct ParseErrors {
    errors: Vec<ParseError>,
    rendered: String,
}

impl ParseErrors {
    /// Sorts and locates what was found in `source`.
    pub(crate) fn new(source: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.span);
        let found = faults.len();
        faults.truncate(MAX_ERRORS);
        let mut place = Place::START;
        let errors: Vec<_> = faults
            .into_iter()
            .map(|fault| {
                place.advance(source, fault.span.start as usize);
                place.error(fault)
            })
            .collect();
        let rendered = render::render(source, &errors, found - errors.len());
        Self { errors, rendered }
    }

    /// The errors, in the order of their places; at most 256.
    #[must_use]
    pub fn errors(&self) -> &[ParseError] {
        &self.errors
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

impl std::error::Error for ParseErrors {}

/// An error before its place is known by line and column.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ParseErrorKind,
    pub(crate) span: Span,
}

/// A single error with its place.
pub(crate) fn locate(source: &str, fault: Fault) -> ParseError {
    let mut place = Place::START;
    place.advance(source, fault.span.start as usize);
    place.error(fault)
}

/// A position by line and column.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    line: usize,
    column: usize,
}

impl Place {
    const START: Self = Self {
        offset: 0,
        line: 1,
        column: 1,
    };

    fn advance(&mut self, source: &str, offset: usize) {
        let passed = source.get(self.offset..offset).unwrap_or("");
        self.offset += passed.len();
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count();
        match passed.rfind('\n') {
            Some(newline) => {
                let in_line = passed.get(newline + 1..).unwrap_or("");
                self.column = 1 + in_line.chars().count();
            }
            None => self.column += passed.chars().count(),
        }
    }

    fn error(self, fault: Fault) -> ParseError {
        ParseError {
            kind: fault.kind,
            span: fault.span,
            line: self.line,
            column: self.column,
        }
    }
}

/// One thing that is wrong, with its place. `Display` is the message without the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Which part of the source.
    pub span: Span,
    /// Line of its start, from 1.
    pub line: usize,
    /// Column of its start in characters, from 1.
    pub column: usize,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for ParseError {}

/// What can be wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The text is longer than the options allow.
    #[error("this script is too large: {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Instructions are nested deeper than the options allow.
    #[error("instructions are nested too deeply, at most {limit} levels are allowed")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
    },
    /// A token at a place where the grammar has no use for it.
    #[error("expected {expected}")]
    Unexpected {
        /// What could stand here, in alphabetical order, joined by `or`.
        expected: String,
    },
    /// No closing quote.
    #[error("this string literal has unclosed quote")]
    UnclosedQuote,
    /// A character that no name contains.
    #[error("only alphanumeric, '_', and '-' characters are allowed in this position")]
    NameCharacter,
    /// A sigil without a name.
    #[error("a tagged name should be non empty")]
    EmptyTaggedName,
    /// `#` and a second sigil without a name, or a lambda after a sigil and a name of less than two
    /// characters.
    #[error("a canon name should be non empty")]
    EmptyCanonName,
    /// A character that no lambda contains.
    #[error("invalid character in lambda")]
    LambdaCharacter,
    /// Digits and a dot followed by something else.
    #[error("a digit could contain only digits or one dot")]
    NumberCharacter,
    /// An integer above 9223372036854775807.
    #[error("number too large to fit in target type")]
    IntegerTooLarge,
    /// An integer below -9223372036854775808.
    #[error("number too small to fit in target type")]
    IntegerTooSmall,
    /// A sign without digits.
    #[error("invalid digit found in string")]
    IntegerDigit,
    /// A float that is no number.
    #[error("invalid float literal")]
    Float,
    /// A float of more than eleven characters.
    #[error("this float is too big, a float could contain less than 12 digits")]
    FloatTooBig,
    /// A dot with nothing before it.
    #[error(
        "leading dot without any symbols before - please write 0 if it's float or variable name \
         if it's a lambda"
    )]
    LeadingDot,
    /// A bad lambda.
    #[error("{0}")]
    Lambda(LambdaErrorKind),
    /// A use without a definition before it.
    #[error("variable '{name}' wasn't defined")]
    UndefinedVariable {
        /// Name with its sigils.
        name: String,
    },
    /// `next` outside of a fold over its iterator.
    #[error("iterable '{name}' wasn't defined")]
    UndefinedIterable {
        /// The iterator.
        name: String,
    },
    /// More than one `next` in a fold.
    #[error(
        "multiple next instructions for iterator '{name}' found for one fold, that is prohibited"
    )]
    MultipleNext {
        /// The iterator.
        name: String,
    },
    /// `new` of an iterator.
    #[error("new can't be applied to a '{name}' because it's an iterator")]
    NewIterator {
        /// The iterator.
        name: String,
    },
    /// A fold inside a fold with the same iterator.
    #[error("multiple iterable values found for iterator name '{name}'")]
    NestedIterator {
        /// The iterator.
        name: String,
    },
    /// `(fail 0 …)`.
    #[error("error code 0 with fail is unsupported")]
    FailCodeZero,
    /// Something after `next` in a fold over a stream or a map.
    #[error("fold can not have instructions after next")]
    AfterNext,
}

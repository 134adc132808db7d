//! Scripts: parsed once, checked, names resolved to slots.

mod compile;

use std::{borrow::Cow, num::NonZero, sync::Arc};

use air_parser::{ParseErrors, ParseOptions, TokenKind, parse_syntax, parse_with, tokens};

use crate::parameters::Limits;

/// A script that is ready to run: cheap to clone and to share between threads.
///
/// ```
/// let script = aquavm::Script::parse(r#"(call %init_peer_id% ("op" "noop") [])"#).unwrap();
/// assert!(script.text().starts_with("(call"));
/// assert!(aquavm::Script::parse("(call x (\"op\" \"noop\") [])").is_err());
/// ```
#[derive(Clone)]
pub struct Script(Arc<Program<'static>>);

/// Operations and operands in flat tables. Operations are numbered in source order, so the first
/// operation below number `n` is `n + 1`.
pub(crate) struct Program<'s> {
    text: Cow<'s, str>,
    /// Texts that are not a part of the script as they stand: escaped strings, canonical lambdas.
    pool: String,
    ops: Vec<Op>,
    /// By operation: where its text begins.
    starts: Vec<u32>,
    /// Codes of `fail` with a literal.
    codes: Vec<i64>,
    operands: Vec<Operand>,
    lenses: Vec<Lens>,
    steps: Vec<LensStep>,
    /// Names by slot.
    names: Vec<TextRef>,
    /// By scope of a stream: the scope around it.
    scope_parents: Vec<u32>,
}

/// A slice of the script or of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextRef {
    start: u32,
    end: u32,
    pooled: bool,
}

/// Number of a name.
pub(crate) type Slot = u32;

/// Number of an operation.
pub(crate) type OpId = u32;

/// Number of a lambda, from 1 on: so an operand with or without one takes 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LensId(NonZero<u32>);

/// A stream or a stream map at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamRef {
    /// Its name.
    pub(crate) slot: Slot,
    /// The innermost `new` of that name around the place; 0 for none.
    pub(crate) scope: u32,
}

/// An operation. `operands` is the index of its first operand, which the others follow: most of a
/// script is never executed, so what is read when it is executed takes no room here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Peer, service, function, arguments; the output, if there is one.
    Call {
        operands: u32,
        arguments: u32,
        output: bool,
    },
    /// Peer, source, target.
    Canon {
        operands: u32,
    },
    /// Argument, target.
    Ap {
        operands: u32,
    },
    /// Key, value, map.
    ApMap {
        operands: u32,
    },
    Seq {
        right: OpId,
    },
    Par {
        right: OpId,
        /// Whether a branch is `next` itself.
        next: [bool; 2],
    },
    Xor {
        right: OpId,
    },
    /// Both sides.
    Match {
        operands: u32,
        equal: bool,
    },
    FailLiteral {
        /// Index among the codes.
        code: u32,
        /// Index among the operands.
        message: u32,
    },
    Fail {
        operand: u32,
    },
    /// Iterable, iterator.
    Fold {
        operands: u32,
        last: Option<NonZero<OpId>>,
    },
    Next {
        iterator: Slot,
    },
    NewVariable {
        slot: Slot,
    },
    NewStream {
        slot: Slot,
        scope: u32,
    },
    Never,
    Null,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Output {
    None,
    Scalar(Slot),
    Stream(StreamRef),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum CanonTarget {
    Stream(Slot),
    Map(Slot),
    Scalar(Slot),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    InitPeerId,
    Timestamp,
    Ttl,
    LastError(Option<LensId>),
    Error(Option<LensId>),
    /// A literal: its JSON text.
    Constant(TextRef),
    Scalar(Slot, Option<LensId>),
    Canon(Slot, Option<LensId>),
    CanonMap(Slot, Option<LensId>),
    Stream(StreamRef),
}

/// A lambda.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lens {
    /// Canonical text.
    pub(crate) text: TextRef,
    /// `None` for `.length`.
    path: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum LensStep {
    Index(u32),
    Field(TextRef),
    Scalar(Slot),
}

impl Script {
    /// Parses and checks `text`.
    ///
    /// # Errors
    /// Everything that is wrong with it, with the places.
    pub fn parse(text: &str) -> Result<Self, ParseErrors> {
        Self::parse_with(text, Limits::default().depth)
    }

    /// [`Script::parse`] with another limit of how deep instructions may be nested.
    ///
    /// # Errors
    /// Those of [`Script::parse`].
    pub fn parse_with(text: &str, max_depth: usize) -> Result<Self, ParseErrors> {
        let program = Program::parse(text, max_depth)?;
        Ok(Self(Arc::new(Program {
            text: Cow::Owned(program.text.into_owned()),
            ..program
        })))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    pub(crate) fn program(&self) -> &Program<'static> {
        &self.0
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Script")
            .field("bytes", &self.0.text.len())
            .field("instructions", &self.0.ops.len())
            .finish()
    }
}

impl<'s> Program<'s> {
    /// Parses and checks `text`.
    pub(crate) fn parse(text: &'s str, max_depth: usize) -> Result<Self, ParseErrors> {
        let options = ParseOptions {
            max_depth,
            // Sizes are the business of the run parameters; 4 GiB is what positions can count.
            max_size: u32::MAX as usize,
        };
        let ast = parse_with(text, &options)?;
        Ok(compile::compile(&ast))
    }

    #[inline]
    pub(crate) fn op(&self, id: OpId) -> Op {
        self.ops.get(id as usize).copied().unwrap_or(Op::Null)
    }

    /// The code of a `fail` with a literal.
    pub(crate) fn code(&self, index: u32) -> i64 {
        self.codes.get(index as usize).copied().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn operand(&self, index: u32) -> Operand {
        self.operands
            .get(index as usize)
            .copied()
            .unwrap_or(Operand::Ttl)
    }

    /// The iterator, scalar or canon that an operand names.
    #[inline]
    pub(crate) fn slot(&self, operand: u32) -> Slot {
        match self.operand(operand) {
            Operand::Scalar(slot, _) | Operand::Canon(slot, _) | Operand::CanonMap(slot, _) => slot,
            _ => Slot::MAX,
        }
    }

    /// The stream or map that an operand names.
    #[inline]
    pub(crate) fn stream(&self, operand: u32) -> StreamRef {
        match self.operand(operand) {
            Operand::Stream(stream) => stream,
            _ => StreamRef {
                slot: Slot::MAX,
                scope: 0,
            },
        }
    }

    /// What an operand at the place of an output takes.
    #[inline]
    pub(crate) fn output(&self, operand: u32) -> Output {
        match self.operand(operand) {
            Operand::Scalar(slot, _) => Output::Scalar(slot),
            Operand::Stream(stream) => Output::Stream(stream),
            _ => Output::None,
        }
    }

    #[inline]
    pub(crate) fn canon_target(&self, operand: u32) -> CanonTarget {
        let slot = self.slot(operand);
        match self.operand(operand) {
            Operand::CanonMap(..) => CanonTarget::Map(slot),
            Operand::Scalar(..) => CanonTarget::Scalar(slot),
            _ => CanonTarget::Stream(slot),
        }
    }

    #[inline]
    pub(crate) fn lens(&self, id: LensId) -> Lens {
        let index = id.0.get() as usize - 1;
        self.lenses.get(index).copied().unwrap_or(Lens {
            text: TextRef::EMPTY,
            path: None,
        })
    }

    /// The accessors of a path; `None` for `.length`.
    #[inline]
    pub(crate) fn path(&self, id: LensId) -> Option<&[LensStep]> {
        let (start, end) = self.lens(id).path?;
        self.steps.get(start as usize..end as usize)
    }

    pub(crate) fn lens_text(&self, id: LensId) -> &str {
        self.resolve(self.lens(id).text)
    }

    #[inline]
    pub(crate) fn resolve(&self, text: TextRef) -> &str {
        let source: &str = if text.pooled { &self.pool } else { &self.text };
        source
            .get(text.start as usize..text.end as usize)
            .unwrap_or("")
    }

    /// The string that a literal denotes, where the script has it as it is.
    #[inline]
    pub(crate) fn plain_string(&self, text: TextRef) -> Option<&str> {
        let quoted = (!text.pooled).then(|| self.resolve(text))?;
        quoted.strip_prefix('"')?.strip_suffix('"')
    }

    pub(crate) fn name(&self, slot: Slot) -> &str {
        self.names
            .get(slot as usize)
            .map_or("", |name| self.resolve(*name))
    }

    /// Number of names.
    pub(crate) fn slots(&self) -> usize {
        self.names.len()
    }

    /// Number of scopes of streams, the global one included.
    pub(crate) fn scopes(&self) -> usize {
        self.scope_parents.len()
    }

    #[inline]
    pub(crate) fn scope_parent(&self, scope: u32) -> u32 {
        self.scope_parents.get(scope as usize).copied().unwrap_or(0)
    }

    /// The canonical text of an instruction, made when an error needs it.
    pub(crate) fn instruction_text(&self, id: OpId) -> String {
        let Some(&start) = self.starts.get(id as usize) else {
            return String::new();
        };
        let text = self.text.get(start as usize..).unwrap_or("");
        // A body is not a part of the text, and may be long.
        let head = match self.op(id) {
            Op::Match { .. } | Op::Fold { .. } | Op::NewVariable { .. } | Op::NewStream { .. } => {
                let body = self.starts.get(id as usize + 1).copied();
                let length = body.unwrap_or_default().saturating_sub(start) as usize;
                format!("{} (null))", text.get(..length).unwrap_or(""))
            }
            Op::Seq { .. } => return "seq".to_owned(),
            Op::Par { .. } => return "par".to_owned(),
            Op::Xor { .. } => return "xor".to_owned(),
            _ => first_instruction(text).to_owned(),
        };
        match parse_syntax(&head, &ParseOptions::default()) {
            Ok(ast) => ast.root().to_string(),
            Err(_) => head,
        }
    }
}

/// The instruction without a body at the start of a text.
fn first_instruction(text: &str) -> &str {
    let mut depth = 0_usize;
    for token in tokens(text).map_while(Result::ok) {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close if depth > 1 => depth -= 1,
            TokenKind::Close => return text.get(..token.span.end as usize).unwrap_or(text),
            _ => {}
        }
    }
    text
}

impl TextRef {
    const EMPTY: Self = Self {
        start: 0,
        end: 0,
        pooled: true,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_compact() {
        assert_eq!(size_of::<Op>(), 12);
        assert_eq!(size_of::<Operand>(), 12);
    }

    #[test]
    fn instruction_texts_have_no_bodies() {
        let script = Script::parse(
            r#"(xor (seq (call "A" ("s" "f") [1. +5 x.$[0].a!]) (null))
                 (new $s (seq (ap [ ] x) (match x 2.50 (fold x i (next i))))))"#,
        );
        // `x` is used before its definition.
        assert!(script.is_err());
        let script = Script::parse(
            r#"(seq (ap [ ] x) (xor (seq (call "A" ("s" "f") [1. +5 x.$[0].a!]) (null))
                 (new $s (match x 2.50 (fold x i (next i))))))"#,
        )
        .unwrap();
        let texts: Vec<_> = (0..10)
            .map(|id| script.program().instruction_text(id))
            .collect();
        assert_eq!(
            texts,
            [
                "seq",
                "ap [] x",
                "xor",
                "seq",
                r#"call "A" ("s" "f") [1 5 x.$.[0].a] "#,
                "null",
                "new $s",
                "match x 2.5",
                "fold x i",
                "next i",
            ]
        );
    }

    #[test]
    fn streams_belong_to_the_innermost_new() {
        let script = Script::parse(
            "(seq (ap 1 $s) (seq (new $s (seq (ap 2 $s) (new $s (ap 3 $s)))) (ap 4 $s)))",
        )
        .unwrap();
        let scopes: Vec<_> = script
            .program()
            .ops
            .iter()
            .filter_map(|op| match op {
                Op::Ap { operands } => Some(script.program().stream(operands + 1).scope),
                _ => None,
            })
            .collect();
        assert_eq!(scopes, [0, 1, 2, 0]);
        assert_eq!(script.program().scope_parent(2), 1);
        assert_eq!(script.program().scope_parent(1), 0);
    }
}

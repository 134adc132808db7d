//! Text of instructions: the canonical line and AIR source.

use std::fmt::{self, Write as _};

use crate::ast::{Ast, FailOperand, InstructionId, InstructionKind, Value, ValueKind};

/// A script as AIR source on one line; made by [`Ast::to_air`].
#[derive(Clone, Copy, Debug)]
pub struct AirText<'a, 's> {
    pub(crate) ast: &'a Ast<'s>,
}

impl fmt::Display for AirText<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Numbers at which the open instructions end.
        let mut open: Vec<InstructionId> = Vec::new();
        for instruction in self.ast.instructions() {
            while open.pop_if(|end| *end == instruction.id()).is_some() {
                f.write_char(')')?;
            }
            if !open.is_empty() {
                f.write_char(' ')?;
            }
            f.write_char('(')?;
            write_line(f, instruction.kind(), Style::Air)?;
            open.push(instruction.end());
        }
        for _ in open {
            f.write_char(')')?;
        }
        Ok(())
    }
}

/// The line that goes into error objects.
pub(crate) fn write_canonical(
    f: &mut fmt::Formatter<'_>,
    kind: InstructionKind<'_, '_>,
) -> fmt::Result {
    write_line(f, kind, Style::Canonical)
}

/// A value as source: a float keeps a dot, so that it is read as a float again.
pub(crate) fn write_air_value(f: &mut fmt::Formatter<'_>, value: ValueKind<'_>) -> fmt::Result {
    match value {
        ValueKind::Float(number) if number.fract() == 0.0 => write!(f, "{number}."),
        _ => write!(f, "{value}"),
    }
}

/// Items with a separator between them.
pub(crate) fn write_joined(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = impl fmt::Display>,
    separator: &str,
) -> fmt::Result {
    for (position, item) in items.enumerate() {
        if position > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Canonical,
    Air,
}

/// An instruction without the instructions below it and without parentheses around.
fn write_line(
    f: &mut fmt::Formatter<'_>,
    kind: InstructionKind<'_, '_>,
    style: Style,
) -> fmt::Result {
    let operand = |value| operand(value, style);
    match kind {
        InstructionKind::Call {
            peer,
            service,
            function,
            arguments,
            output,
        } => {
            write!(f, "call {peer} ({service} {function}) [")?;
            write_joined(f, arguments.map(operand), " ")?;
            f.write_char(']')?;
            match output {
                Some(output) => write!(f, " {output}"),
                // The canonical text keeps the space before an output that is not there.
                None if style == Style::Canonical => f.write_char(' '),
                None => Ok(()),
            }
        }
        InstructionKind::Canon {
            peer,
            source,
            target,
        } => write!(f, "canon {peer} {source} {target}"),
        InstructionKind::Ap { argument, target } => {
            write!(f, "ap {} {target}", operand(argument))
        }
        InstructionKind::ApMap { key, argument, map } => {
            write!(f, "ap ({} {}) {map}", operand(key), operand(argument))
        }
        InstructionKind::Match { left, right, .. } => {
            write!(f, "match {} {}", operand(left), operand(right))
        }
        InstructionKind::Mismatch { left, right, .. } => {
            write!(f, "mismatch {} {}", operand(left), operand(right))
        }
        InstructionKind::Fail { operand } => match operand {
            FailOperand::Literal { code, message } => write!(f, "fail {code} \"{message}\""),
            FailOperand::Value(value) => write!(f, "fail {value}"),
        },
        InstructionKind::Fold {
            iterable, iterator, ..
        } => write!(f, "fold {iterable} {iterator}"),
        InstructionKind::Next { iterator } => write!(f, "next {iterator}"),
        InstructionKind::New { variable, .. } => write!(f, "new {variable}"),
        InstructionKind::Seq { .. } => f.write_str("seq"),
        InstructionKind::Par { .. } => f.write_str("par"),
        InstructionKind::Xor { .. } => f.write_str("xor"),
        InstructionKind::Never => f.write_str("never"),
        InstructionKind::Null => f.write_str("null"),
    }
}

/// An operand in either style.
struct Operand<'s>(ValueKind<'s>, Style);
impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Style::Canonical => write!(f, "{}", self.0),
            Style::Air => write_air_value(f, self.0),
        }
    }
}

fn operand(value: Value<'_>, style: Style) -> Operand<'_> {
    Operand(value.kind, style)
}

//! The formatter: a script in an indented notation for people.

use std::fmt;

use crate::{
    ast::{Ast, Instruction, InstructionKind, ValueKind, VariableKind},
    text::write_joined,
};

/// How to format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatOptions {
    /// Spaces per level.
    pub indent: usize,
    /// Whether to show what compilers write for "go to that peer" as `hopon PEER`.
    pub patterns: bool,
    /// Levels that are indented; deeper ones stay at this. Without a bound the output could be
    /// the square of the input.
    pub max_indented: usize,
}

impl Default for FormatOptions {
    fn default() -> Self {
        Self {
            indent: 4,
            patterns: false,
            max_indented: 1000,
        }
    }
}

impl<'s> Ast<'s> {
    /// The script in the indented notation.
    ///
    /// ```
    /// let ast = air_parser::parse(r#"(xor (call "p" ("s" "f") [1] x) (null))"#).unwrap();
    /// assert_eq!(
    ///     ast.format(Default::default()).to_string(),
    ///     "try:\n    x <- call \"p\" (\"s\", \"f\") [1]\ncatch:\n    null\n"
    /// );
    /// ```
    #[must_use]
    pub const fn format(&self, options: FormatOptions) -> Formatted<'_, 's> {
        Formatted { ast: self, options }
    }
}

/// A script in the indented notation; made by [`Ast::format`].
#[derive(Clone, Copy, Debug)]
pub struct Formatted<'a, 's> {
    ast: &'a Ast<'s>,
    options: FormatOptions,
}

/// What is left to write, last first.
enum Task<'a, 's> {
    Instruction(Instruction<'a, 's>, usize),
    Line(&'static str, usize),
}

impl fmt::Display for Formatted<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tasks = vec![Task::Instruction(self.ast.root(), 0)];
        while let Some(task) = tasks.pop() {
            match task {
                Task::Line(text, level) => self.line(f, level, text)?,
                Task::Instruction(instruction, level) => {
                    self.instruction(f, instruction, level, &mut tasks)?;
                }
            }
        }
        Ok(())
    }
}

impl<'a, 's> Formatted<'a, 's> {
    fn instruction(
        &self,
        f: &mut fmt::Formatter<'_>,
        instruction: Instruction<'a, 's>,
        level: usize,
        tasks: &mut Vec<Task<'a, 's>>,
    ) -> fmt::Result {
        match instruction.kind() {
            InstructionKind::Seq { left, right } => {
                tasks.push(Task::Instruction(right, level));
                tasks.push(Task::Instruction(left, level));
                Ok(())
            }
            InstructionKind::Par { left, right } => {
                tasks.push(Task::Instruction(right, level + 1));
                tasks.push(Task::Line("|", level));
                tasks.push(Task::Instruction(left, level + 1));
                self.line(f, level, "par:")
            }
            InstructionKind::Xor { left, right } => {
                tasks.push(Task::Instruction(right, level + 1));
                tasks.push(Task::Line("catch:", level));
                tasks.push(Task::Instruction(left, level + 1));
                self.line(f, level, "try:")
            }
            InstructionKind::Match { body, .. } | InstructionKind::Mismatch { body, .. } => {
                tasks.push(Task::Instruction(body, level + 1));
                self.line(f, level, format_args!("{instruction}:"))
            }
            InstructionKind::New { body, .. } => {
                if self.options.patterns
                    && let Some(peer) = hop(instruction)
                {
                    return self.line(f, level, format_args!("hopon {peer}"));
                }
                tasks.push(Task::Instruction(body, level + 1));
                self.line(f, level, format_args!("{instruction}:"))
            }
            InstructionKind::Fold { body, last, .. } => {
                if let Some(last) = last {
                    tasks.push(Task::Instruction(last, level + 1));
                    tasks.push(Task::Line("last:", level));
                }
                tasks.push(Task::Instruction(body, level + 1));
                self.line(f, level, format_args!("{instruction}:"))
            }
            InstructionKind::Call {
                peer,
                service,
                function,
                arguments,
                output,
            } => {
                self.indent(f, level)?;
                if let Some(output) = output {
                    write!(f, "{output} <- ")?;
                }
                write!(f, "call {peer} ({service}, {function}) [")?;
                write_joined(f, arguments, ", ")?;
                f.write_str("]\n")
            }
            _ => self.line(f, level, instruction),
        }
    }

    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        level: usize,
        text: impl fmt::Display,
    ) -> fmt::Result {
        self.indent(f, level)?;
        writeln!(f, "{text}")
    }

    fn indent(&self, f: &mut fmt::Formatter<'_>, level: usize) -> fmt::Result {
        let level = level.min(self.options.max_indented);
        let mut left = level.saturating_mul(self.options.indent);
        while left > 0 {
            let part = SPACES.get(..left).unwrap_or(SPACES);
            f.write_str(part)?;
            left -= part.len();
        }
        Ok(())
    }
}

const SPACES: &str = "                                                                ";

/// The peer of `(new $s (new #c (canon PEER $s #c)))`, where it doesn't depend on `#c`.
fn hop<'s>(instruction: Instruction<'_, 's>) -> Option<ValueKind<'s>> {
    let InstructionKind::New {
        variable: stream,
        body,
    } = instruction.kind()
    else {
        return None;
    };
    let InstructionKind::New {
        variable: canon,
        body,
    } = body.kind()
    else {
        return None;
    };
    let InstructionKind::Canon {
        peer,
        source,
        target,
    } = body.kind()
    else {
        return None;
    };
    let shadowed = matches!(peer.kind, ValueKind::Variable(variable, _) if variable == canon);
    let matching = stream.kind == VariableKind::Stream && source == stream && target == canon;
    (matching && !shadowed).then_some(peer.kind)
}

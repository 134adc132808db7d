//! The syntax tree: flat, borrowed, cheap to copy.
//!
//! An [`Ast`] owns three flat tables (instructions, values, names) and borrows the source text.
//! What one works with are small `Copy` views into them: [`Instruction`], [`Value`],
//! [`Variable`], [`Lambda`]. No operation of this module recurses, dropping included, so the depth
//! of a script costs nothing.
//!
//! Instructions are numbered in source order (pre-order): the root is 0, the first child of an
//! instruction has the next number, and the instructions below one have the numbers up to
//! [`Instruction::end`]. A pass over a script is therefore a loop over [`Ast::instructions`].
//! Names are numbered too: the same name has the same [`Symbol`] everywhere in a script.

mod raw;
mod value;

use std::fmt;

pub use value::{Value, ValueKind, Variable, VariableKind};

pub(crate) use raw::{Node, NodeKind, RawKind, RawValue};

use crate::{
    lambda::Lambda,
    symbols::SymbolTable,
    text::{AirText, write_canonical},
};

/// A half-open range of byte offsets into the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`.
    #[must_use]
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// Whether `position` lies inside, the first byte excluded: the rule by which streams are
    /// bound to the `new` around them.
    #[must_use]
    pub const fn contains_strictly(self, position: u32) -> bool {
        self.start < position && position < self.end
    }
}

/// Number of an instruction: its place in source order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstructionId(pub(crate) u32);

impl InstructionId {
    /// The number as an index; numbers of a script are dense and start at 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Number of a name. Numbers of a script are dense and start at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(pub(crate) u32);

impl Symbol {
    /// The number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A parsed script.
#[derive(Clone, Debug)]
pub struct Ast<'s> {
    pub(crate) source: &'s str,
    pub(crate) nodes: Vec<Node>,
    pub(crate) values: Vec<RawValue>,
    pub(crate) numbers: Vec<u64>,
    pub(crate) symbols: SymbolTable,
}

impl<'s> Ast<'s> {
    /// The text this was parsed from.
    #[must_use]
    pub const fn source(&self) -> &'s str {
        self.source
    }

    /// The outermost instruction.
    #[must_use]
    pub const fn root(&self) -> Instruction<'_, 's> {
        Instruction { ast: self, id: 0 }
    }

    /// How many instructions there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many operands all instructions have.
    #[must_use]
    pub const fn operand_count(&self) -> usize {
        self.values.len()
    }

    /// Never true: a script has at least one instruction.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The instruction with this number, if there is one.
    #[must_use]
    pub fn get(&self, id: InstructionId) -> Option<Instruction<'_, 's>> {
        (id.index() < self.nodes.len()).then_some(Instruction {
            ast: self,
            id: id.0,
        })
    }

    /// All instructions in source order.
    pub fn instructions(
        &self,
    ) -> impl DoubleEndedIterator<Item = Instruction<'_, 's>> + ExactSizeIterator {
        (0..self.nodes.len()).map(|index| Instruction {
            ast: self,
            id: u32::try_from(index).unwrap_or(u32::MAX),
        })
    }

    /// How many different names there are.
    #[must_use]
    pub fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// The number of a name (sigils included), if it occurs in the script.
    ///
    /// Names between the brackets of a lambda have numbers like any other.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.symbols.find(self.source, name).map(Symbol)
    }

    /// The name with this number; empty for a number of another script.
    #[must_use]
    pub fn name(&self, symbol: Symbol) -> &'s str {
        self.symbols.text(self.source, symbol.0)
    }

    /// The script as AIR text on one line: parsing it gives an equal tree.
    #[must_use]
    pub const fn to_air(&self) -> AirText<'_, 's> {
        AirText { ast: self }
    }

    /// The numbers of an instruction's operands.
    #[inline]
    pub(crate) fn operands(&self, id: u32) -> std::ops::Range<u32> {
        let start = |id: u32| self.nodes.get(id as usize).map(|node| node.values);
        let all = || u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let end = start(id.saturating_add(1)).unwrap_or_else(all);
        start(id).unwrap_or(end)..end
    }

    #[inline]
    fn node(&self, id: u32) -> Node {
        self.nodes.get(id as usize).copied().unwrap_or(Node::EMPTY)
    }

    #[inline]
    fn value(&self, index: u32) -> Value<'s> {
        match self.values.get(index as usize) {
            Some(raw) => self.view(*raw),
            None => Value {
                kind: ValueKind::EmptyArray,
                span: Span::default(),
            },
        }
    }

    #[inline]
    pub(crate) fn slice(&self, start: u32, end: u32) -> &'s str {
        self.source.get(start as usize..end as usize).unwrap_or("")
    }

    #[inline]
    fn variable(&self, raw: RawValue) -> Variable<'s> {
        Variable {
            name: self.symbols.text(self.source, raw.extra),
            kind: match raw.kind {
                RawKind::Stream => VariableKind::Stream,
                RawKind::StreamMap => VariableKind::StreamMap,
                RawKind::CanonStream => VariableKind::CanonStream,
                RawKind::CanonStreamMap => VariableKind::CanonStreamMap,
                _ => VariableKind::Scalar,
            },
            symbol: Symbol(raw.extra),
            span: raw.span,
        }
    }

    #[inline]
    pub(crate) fn view(&self, raw: RawValue) -> Value<'s> {
        let number = || {
            let index = raw.extra as usize;
            self.numbers.get(index).copied().unwrap_or(0)
        };
        let tail = |name_len: u32| {
            let start = raw.span.start.saturating_add(name_len);
            if start >= raw.span.end {
                return None;
            }
            Lambda::from_checked(self.slice(start, raw.span.end))
        };
        let kind = match raw.kind {
            RawKind::InitPeerId => ValueKind::InitPeerId,
            RawKind::Timestamp => ValueKind::Timestamp,
            RawKind::Ttl => ValueKind::Ttl,
            RawKind::True => ValueKind::Boolean(true),
            RawKind::False => ValueKind::Boolean(false),
            RawKind::EmptyArray => ValueKind::EmptyArray,
            RawKind::Literal => ValueKind::Literal(self.slice(
                raw.span.start.saturating_add(1),
                raw.span.end.saturating_sub(1),
            )),
            RawKind::Integer => ValueKind::Integer(number().cast_signed()),
            RawKind::Float => ValueKind::Float(f64::from_bits(number())),
            RawKind::Error => ValueKind::Error(tail(raw.extra)),
            RawKind::LastError => ValueKind::LastError(tail(raw.extra)),
            RawKind::Scalar
            | RawKind::Stream
            | RawKind::StreamMap
            | RawKind::CanonStream
            | RawKind::CanonStreamMap => {
                let variable = self.variable(raw);
                let name_len = u32::try_from(variable.name.len()).unwrap_or(u32::MAX);
                ValueKind::Variable(variable, tail(name_len))
            }
        };
        Value {
            kind,
            span: raw.span,
        }
    }
}

/// Equality modulo spans and layout: the same instructions with the same operands.
impl PartialEq for Ast<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.nodes.len() == other.nodes.len()
            && self
                .instructions()
                .zip(other.instructions())
                .all(|(left, right)| left.same(right))
    }
}

/// One instruction of a script. Its `Display` is the canonical text, one line without the
/// instructions below it.
#[derive(Clone, Copy)]
pub struct Instruction<'a, 's> {
    ast: &'a Ast<'s>,
    id: u32,
}

impl<'a, 's> Instruction<'a, 's> {
    /// Its number.
    #[must_use]
    pub const fn id(self) -> InstructionId {
        InstructionId(self.id)
    }

    /// One more than the last number below it: `id..end` is the whole subtree.
    #[inline]
    #[must_use]
    pub fn end(self) -> InstructionId {
        InstructionId(self.ast.node(self.id).end)
    }

    /// From its `(` to just after its `)`.
    #[inline]
    #[must_use]
    pub fn span(self) -> Span {
        self.ast.node(self.id).span
    }

    /// Its source text.
    #[must_use]
    pub fn source(self) -> &'s str {
        let span = self.span();
        self.ast.slice(span.start, span.end)
    }

    /// What it is, with operands and children.
    #[inline]
    #[must_use]
    pub fn kind(self) -> InstructionKind<'a, 's> {
        let node = self.ast.node(self.id);
        let value = |offset: u32| self.ast.value(node.values.saturating_add(offset));
        let variable = |offset: u32| {
            let index = node.values.saturating_add(offset) as usize;
            let raw = self.ast.values.get(index).copied();
            self.ast.variable(raw.unwrap_or(RawValue::EMPTY))
        };
        let child = |id: u32| Instruction { ast: self.ast, id };
        let first = child(self.id.saturating_add(1));
        let second = child(node.second);
        match node.kind {
            NodeKind::Call | NodeKind::CallWithOutput => {
                let with_output = node.kind == NodeKind::CallWithOutput;
                let operands = self.ast.operands(self.id);
                let end = operands.end.saturating_sub(u32::from(with_output));
                let arguments = Values {
                    ast: self.ast,
                    next: operands.start.saturating_add(3),
                    end,
                };
                InstructionKind::Call {
                    peer: value(0),
                    service: value(1),
                    function: value(2),
                    arguments,
                    output: with_output.then(|| variable(end.saturating_sub(operands.start))),
                }
            }
            NodeKind::Canon => InstructionKind::Canon {
                peer: value(0),
                source: variable(1),
                target: variable(2),
            },
            NodeKind::Ap => InstructionKind::Ap {
                argument: value(0),
                target: variable(1),
            },
            NodeKind::ApMap => InstructionKind::ApMap {
                key: value(0),
                argument: value(1),
                map: variable(2),
            },
            NodeKind::Seq => InstructionKind::Seq {
                left: first,
                right: second,
            },
            NodeKind::Par => InstructionKind::Par {
                left: first,
                right: second,
            },
            NodeKind::Xor => InstructionKind::Xor {
                left: first,
                right: second,
            },
            NodeKind::Match => InstructionKind::Match {
                left: value(0),
                right: value(1),
                body: first,
            },
            NodeKind::Mismatch => InstructionKind::Mismatch {
                left: value(0),
                right: value(1),
                body: first,
            },
            NodeKind::FailLiteral => InstructionKind::Fail {
                operand: FailOperand::Literal {
                    code: match value(0).kind {
                        ValueKind::Integer(code) => code,
                        _ => 0,
                    },
                    message: match value(1).kind {
                        ValueKind::Literal(message) => message,
                        _ => "",
                    },
                },
            },
            NodeKind::Fail => InstructionKind::Fail {
                operand: FailOperand::Value(value(0)),
            },
            NodeKind::Fold => InstructionKind::Fold {
                iterable: value(0),
                iterator: variable(1),
                body: first,
                last: (node.second != 0).then_some(second),
            },
            NodeKind::Next => InstructionKind::Next {
                iterator: variable(0),
            },
            NodeKind::New => InstructionKind::New {
                variable: variable(0),
                body: first,
            },
            NodeKind::Never => InstructionKind::Never,
            NodeKind::Null => InstructionKind::Null,
        }
    }

    fn operands(self) -> Values<'a, 's> {
        let operands = self.ast.operands(self.id);
        Values {
            ast: self.ast,
            next: operands.start,
            end: operands.end,
        }
    }

    /// Same kind, same operands, children at the same numbers.
    fn same(self, other: Instruction<'_, '_>) -> bool {
        let (left, right) = (self.ast.node(self.id), other.ast.node(other.id));
        left.kind == right.kind
            && (left.second, left.end) == (right.second, right.end)
            && self
                .operands()
                .map(|value| value.kind)
                .eq(other.operands().map(|value| value.kind))
    }
}

impl fmt::Display for Instruction<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_canonical(f, self.kind())
    }
}

impl fmt::Debug for Instruction<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.span();
        write!(f, "#{} {self} @{}..{}", self.id, span.start, span.end)
    }
}

/// What an instruction is. Children are views that know their number.
#[derive(Clone, Copy, Debug)]
pub enum InstructionKind<'a, 's> {
    /// `(call PEER (SERVICE FUNCTION) [ARGUMENTS] OUTPUT)`.
    Call {
        /// Where to run.
        peer: Value<'s>,
        /// Which service to call there.
        service: Value<'s>,
        /// Which function of it.
        function: Value<'s>,
        /// What to pass.
        arguments: Values<'a, 's>,
        /// Scalar or stream that takes the result.
        output: Option<Variable<'s>>,
    },
    /// `(canon PEER SOURCE TARGET)`: stream to canon stream, map to canon map, map to scalar.
    Canon {
        /// Where to fix the contents.
        peer: Value<'s>,
        /// A stream or a stream map.
        source: Variable<'s>,
        /// A canon stream (of a stream), a canon map or a scalar (of a map).
        target: Variable<'s>,
    },
    /// `(ap ARGUMENT TARGET)`.
    Ap {
        /// What to assign.
        argument: Value<'s>,
        /// Scalar or stream.
        target: Variable<'s>,
    },
    /// `(ap (KEY ARGUMENT) MAP)`.
    ApMap {
        /// Literal, integer, scalar or canon stream with a lambda.
        key: Value<'s>,
        /// What to insert.
        argument: Value<'s>,
        /// The stream map.
        map: Variable<'s>,
    },
    /// `(seq LEFT RIGHT)`.
    Seq {
        /// Runs first.
        left: Instruction<'a, 's>,
        /// Runs when the left one is complete.
        right: Instruction<'a, 's>,
    },
    /// `(par LEFT RIGHT)`.
    Par {
        /// One branch.
        left: Instruction<'a, 's>,
        /// The other branch.
        right: Instruction<'a, 's>,
    },
    /// `(xor LEFT RIGHT)`.
    Xor {
        /// What is tried.
        left: Instruction<'a, 's>,
        /// What runs when that fails.
        right: Instruction<'a, 's>,
    },
    /// `(match LEFT RIGHT BODY)`.
    Match {
        /// Left operand.
        left: Value<'s>,
        /// Right operand.
        right: Value<'s>,
        /// Runs when they are equal.
        body: Instruction<'a, 's>,
    },
    /// `(mismatch LEFT RIGHT BODY)`.
    Mismatch {
        /// Left operand.
        left: Value<'s>,
        /// Right operand.
        right: Value<'s>,
        /// Runs when they differ.
        body: Instruction<'a, 's>,
    },
    /// `(fail …)`.
    Fail {
        /// With what.
        operand: FailOperand<'s>,
    },
    /// `(fold ITERABLE ITERATOR BODY [LAST])`.
    Fold {
        /// Scalar, canon stream, canon map, stream, stream map or `[]`; what it is shows its
        /// [`ValueKind`].
        iterable: Value<'s>,
        /// The scalar that holds the current item.
        iterator: Variable<'s>,
        /// Runs for an item.
        body: Instruction<'a, 's>,
        /// Runs after the last item.
        last: Option<Instruction<'a, 's>>,
    },
    /// `(next ITERATOR)`.
    Next {
        /// Iterator of a fold around it.
        iterator: Variable<'s>,
    },
    /// `(new VARIABLE BODY)`.
    New {
        /// What is fresh inside.
        variable: Variable<'s>,
        /// The scope.
        body: Instruction<'a, 's>,
    },
    /// `(never)`.
    Never,
    /// `(null)`.
    Null,
}

/// Operand of `fail`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FailOperand<'s> {
    /// `(fail CODE "MESSAGE")`.
    Literal {
        /// Error code; a validated script never has 0 here.
        code: i64,
        /// Error message.
        message: &'s str,
    },
    /// A scalar, a canon stream with a lambda, `%last_error%` or `:error:`.
    Value(Value<'s>),
}

/// The arguments of a call.
#[derive(Clone, Copy)]
pub struct Values<'a, 's> {
    ast: &'a Ast<'s>,
    next: u32,
    end: u32,
}

impl<'s> Iterator for Values<'_, 's> {
    type Item = Value<'s>;

    #[inline]
    fn next(&mut self) -> Option<Value<'s>> {
        if self.next >= self.end {
            return None;
        }
        let value = self.ast.value(self.next);
        self.next += 1;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Values<'_, '_> {}

impl fmt::Debug for Values<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

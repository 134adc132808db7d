//! From the syntax tree to operations.

use std::{fmt::Write as _, num::NonZero};

use air_parser::{
    Accessor, Ast, FailOperand, InstructionKind, Lambda, Span, Value, ValueKind, Variable,
    VariableKind,
};

use super::{Lens, LensId, LensStep, Op, Operand, Program, Slot, StreamRef, TextRef};
use crate::json;

pub(super) fn compile<'s>(ast: &Ast<'s>) -> Program<'s> {
    let symbols = ast.symbol_count();
    let mut compiler = Compiler {
        ast,
        program: Program {
            text: ast.source().into(),
            pool: String::new(),
            ops: Vec::with_capacity(ast.len()),
            starts: Vec::with_capacity(ast.len()),
            codes: Vec::new(),
            operands: Vec::with_capacity(ast.operand_count()),
            lenses: Vec::new(),
            steps: Vec::new(),
            names: vec![TextRef::EMPTY; symbols],
            scope_parents: vec![0],
        },
        scopes: vec![0; symbols],
        open: Vec::new(),
    };
    for instruction in ast.instructions() {
        let id = instruction.id().index() as u32;
        while compiler.open.last().is_some_and(|open| open.end <= id) {
            compiler.close_scope();
        }
        compiler.program.starts.push(instruction.span().start);
        let op = compiler.instruction(instruction.kind(), instruction.end().index() as u32);
        compiler.program.ops.push(op);
    }
    compiler.program
}

struct Compiler<'a, 's> {
    ast: &'a Ast<'s>,
    program: Program<'s>,
    /// By name: the scope that streams of that name belong to here.
    scopes: Vec<u32>,
    open: Vec<OpenScope>,
}

struct OpenScope {
    slot: Slot,
    /// Number of the first instruction after the scope.
    end: u32,
    outer: u32,
}

impl Compiler<'_, '_> {
    fn instruction(&mut self, kind: InstructionKind<'_, '_>, end: u32) -> Op {
        match kind {
            InstructionKind::Call {
                peer,
                service,
                function,
                arguments,
                output,
            } => {
                let operands = self.operand(peer);
                self.operand(service);
                self.operand(function);
                let count = arguments.len() as u32;
                for argument in arguments {
                    self.operand(argument);
                }
                if let Some(output) = output {
                    self.variable(output, None);
                }
                Op::Call {
                    operands,
                    arguments: count,
                    output: output.is_some(),
                }
            }
            InstructionKind::Canon {
                peer,
                source,
                target,
            } => {
                let operands = self.operand(peer);
                self.variable(source, None);
                self.variable(target, None);
                Op::Canon { operands }
            }
            InstructionKind::Ap { argument, target } => {
                let operands = self.operand(argument);
                self.variable(target, None);
                Op::Ap { operands }
            }
            InstructionKind::ApMap { key, argument, map } => {
                let operands = self.operand(key);
                self.operand(argument);
                self.variable(map, None);
                Op::ApMap { operands }
            }
            InstructionKind::Seq { right, .. } => Op::Seq {
                right: right.id().index() as u32,
            },
            InstructionKind::Par { left, right } => Op::Par {
                right: right.id().index() as u32,
                next: [left, right]
                    .map(|branch| matches!(branch.kind(), InstructionKind::Next { .. })),
            },
            InstructionKind::Xor { right, .. } => Op::Xor {
                right: right.id().index() as u32,
            },
            InstructionKind::Match { left, right, .. } => self.comparison(left, right, true),
            InstructionKind::Mismatch { left, right, .. } => self.comparison(left, right, false),
            InstructionKind::Fail { operand } => match operand {
                FailOperand::Literal { code, message } => {
                    self.program.codes.push(code);
                    let message = self.pooled(|pool| pool.push_str(message));
                    Op::FailLiteral {
                        code: self.program.codes.len() as u32 - 1,
                        message: self.push(Operand::Constant(message)),
                    }
                }
                FailOperand::Value(value) => Op::Fail {
                    operand: self.operand(value),
                },
            },
            InstructionKind::Fold {
                iterable,
                iterator,
                last,
                ..
            } => {
                let operands = self.operand(iterable);
                self.variable(iterator, None);
                Op::Fold {
                    operands,
                    last: last.and_then(|last| NonZero::new(last.id().index() as u32)),
                }
            }
            InstructionKind::Next { iterator } => Op::Next {
                iterator: self.slot(iterator),
            },
            InstructionKind::New { variable, .. } => self.new_scope(variable, end),
            InstructionKind::Never => Op::Never,
            InstructionKind::Null => Op::Null,
        }
    }

    fn comparison(&mut self, left: Value<'_>, right: Value<'_>, equal: bool) -> Op {
        let operands = self.operand(left);
        self.operand(right);
        Op::Match { operands, equal }
    }

    fn new_scope(&mut self, variable: Variable<'_>, end: u32) -> Op {
        let slot = self.slot(variable);
        if !matches!(
            variable.kind,
            VariableKind::Stream | VariableKind::StreamMap
        ) {
            return Op::NewVariable { slot };
        }
        let scope = self.program.scope_parents.len() as u32;
        let outer = self.scopes.get(slot as usize).copied().unwrap_or(0);
        self.program.scope_parents.push(outer);
        if let Some(current) = self.scopes.get_mut(slot as usize) {
            *current = scope;
        }
        self.open.push(OpenScope { slot, end, outer });
        Op::NewStream { slot, scope }
    }

    fn close_scope(&mut self) {
        if let Some(open) = self.open.pop()
            && let Some(current) = self.scopes.get_mut(open.slot as usize)
        {
            *current = open.outer;
        }
    }

    fn variable(&mut self, variable: Variable<'_>, lambda: Option<Lambda<'_>>) -> u32 {
        let slot = self.slot(variable);
        let operand = match variable.kind {
            VariableKind::Scalar => Operand::Scalar(slot, self.lens(lambda)),
            VariableKind::CanonStream => Operand::Canon(slot, self.lens(lambda)),
            VariableKind::CanonStreamMap => Operand::CanonMap(slot, self.lens(lambda)),
            VariableKind::Stream | VariableKind::StreamMap => Operand::Stream(StreamRef {
                slot,
                scope: self.scopes.get(slot as usize).copied().unwrap_or(0),
            }),
        };
        self.push(operand)
    }

    fn slot(&mut self, variable: Variable<'_>) -> Slot {
        let slot = variable.symbol.index();
        if let Some(name) = self.program.names.get_mut(slot) {
            let start = variable.span.start;
            *name = TextRef {
                start,
                end: start.saturating_add(variable.name.len() as u32),
                pooled: false,
            };
        }
        slot as Slot
    }

    /// Slot of a name inside a lambda.
    fn accessor_slot(&mut self, name: &str) -> Slot {
        if let Some(symbol) = self.ast.symbol(name) {
            let slot = symbol.index() as Slot;
            if self.program.name(slot).is_empty() {
                let name = self.pooled(|pool| pool.push_str(name));
                if let Some(place) = self.program.names.get_mut(slot as usize) {
                    *place = name;
                }
            }
            return slot;
        }
        // A name that nothing defines: looking it up always fails.
        let name = self.pooled(|pool| pool.push_str(name));
        self.program.names.push(name);
        self.program.names.len() as Slot - 1
    }

    fn operand(&mut self, value: Value<'_>) -> u32 {
        let operand = match value.kind {
            ValueKind::InitPeerId => Operand::InitPeerId,
            ValueKind::Timestamp => Operand::Timestamp,
            ValueKind::Ttl => Operand::Ttl,
            ValueKind::LastError(lambda) => Operand::LastError(self.lens(lambda)),
            ValueKind::Error(lambda) => Operand::Error(self.lens(lambda)),
            ValueKind::Literal(text) => {
                let plain = |byte: u8| byte >= 0x20 && byte != b'\\';
                Operand::Constant(if text.bytes().all(plain) {
                    source(value.span)
                } else {
                    self.pooled(|pool| json::write_string(pool, text))
                })
            }
            ValueKind::Integer(number) => Operand::Constant(self.pooled(|pool| {
                // Writing to a string cannot fail.
                let _ = write!(pool, "{number}");
            })),
            ValueKind::Float(number) => {
                Operand::Constant(self.pooled(|pool| json::write_float(pool, number)))
            }
            ValueKind::Boolean(_) => Operand::Constant(source(value.span)),
            ValueKind::EmptyArray => Operand::Constant(self.pooled(|pool| pool.push_str("[]"))),
            ValueKind::Variable(variable, lambda) => return self.variable(variable, lambda),
        };
        self.push(operand)
    }

    fn push(&mut self, operand: Operand) -> u32 {
        self.program.operands.push(operand);
        self.program.operands.len() as u32 - 1
    }

    fn lens(&mut self, lambda: Option<Lambda<'_>>) -> Option<LensId> {
        let lambda = lambda?;
        let text = self.pooled(|pool| {
            let _ = write!(pool, "{lambda}");
        });
        let path = match lambda {
            Lambda::Length => None,
            Lambda::Path(accessors) => {
                let start = self.program.steps.len() as u32;
                for accessor in accessors {
                    let step = match accessor {
                        Accessor::Index(index) => LensStep::Index(index),
                        Accessor::Field(name) => {
                            LensStep::Field(self.pooled(|pool| pool.push_str(name)))
                        }
                        Accessor::Scalar(name) => LensStep::Scalar(self.accessor_slot(name)),
                    };
                    self.program.steps.push(step);
                }
                Some((start, self.program.steps.len() as u32))
            }
        };
        self.program.lenses.push(Lens { text, path });
        NonZero::new(self.program.lenses.len() as u32).map(LensId)
    }

    fn pooled(&mut self, write: impl FnOnce(&mut String)) -> TextRef {
        let pool = &mut self.program.pool;
        let start = pool.len() as u32;
        write(pool);
        TextRef {
            start,
            end: pool.len() as u32,
            pooled: true,
        }
    }
}

fn source(span: Span) -> TextRef {
    TextRef {
        start: span.start,
        end: span.end,
        pooled: false,
    }
}

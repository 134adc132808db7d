//! The checks behind the grammar: definitions, iterators, what follows `next`.
//!
//! One pass in source order. An instruction is entered at its number and left when the number
//! comes up at which its subtree ends.

use crate::{
    ast::{
        Ast, FailOperand, Instruction, InstructionId, InstructionKind, Span, Symbol, Value,
        ValueKind, Variable, VariableKind,
    },
    error::{Fault, MAX_ERRORS, ParseErrorKind},
    lambda::Accessor,
};

/// Everything that is wrong with a tree, at most [`MAX_ERRORS`] findings of every check.
pub(crate) fn validate(ast: &Ast<'_>) -> Vec<Fault> {
    let mut validator = Validator::new(ast);
    for instruction in ast.instructions() {
        let id = instruction.id().0;
        while let Some(open) = validator.open.pop_if(|open| open.end == id) {
            validator.leave(open);
        }
        validator.enter(instruction);
    }
    while let Some(open) = validator.open.pop() {
        validator.leave(open);
    }
    validator.report_undefined();
    validator.faults
}

struct Validator<'a, 's> {
    ast: &'a Ast<'s>,
    faults: Vec<Fault>,
    /// State of each name.
    names: Vec<Name>,
    open: Vec<Open>,
    /// How each finished child of the open instructions ends.
    marks: Vec<Mark>,
    /// Off after a `xor` with `next` on both sides.
    check_after_next: bool,
    /// First undefined use of each name, in the order in which instructions are left; and
    /// undefined iterables. Empty as long as there is none.
    undefined: Vec<Option<u32>>,
    undefined_iterables: Vec<bool>,
}

#[derive(Clone, Copy, Default)]
struct Name {
    defined: bool,
    /// How many open folds have it as their iterator.
    folds: u32,
    /// How many `next` of it the innermost of those has.
    nexts: u32,
    /// The instruction that has something after `next`.
    suspect: Option<Span>,
}

struct Open {
    end: u32,
    span: Span,
    kind: OpenKind,
}

enum OpenKind {
    Sequence,
    Choice,
    /// `match`, `mismatch`, `new`: ends like its body.
    Wrapper,
    Fold {
        iterator: u32,
        outer_nexts: u32,
        over_stream: bool,
        with_last: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Next(u32),
    Other,
}

impl<'a, 's> Validator<'a, 's> {
    fn new(ast: &'a Ast<'s>) -> Self {
        Self {
            ast,
            faults: Vec::new(),
            names: vec![Name::default(); ast.symbol_count()],
            open: Vec::new(),
            marks: Vec::new(),
            check_after_next: true,
            undefined: Vec::new(),
            undefined_iterables: Vec::new(),
        }
    }

    fn enter(&mut self, instruction: Instruction<'a, 's>) {
        let at = instruction.id().0;
        let kind = match instruction.kind() {
            InstructionKind::Call {
                peer,
                service,
                function,
                arguments,
                output,
            } => {
                self.check(peer, at);
                self.check(service, at);
                self.check(function, at);
                for argument in arguments {
                    self.check(argument, at);
                }
                if let Some(output) = output {
                    self.define(output);
                }
                return self.marks.push(Mark::Other);
            }
            InstructionKind::Canon { target, .. } => {
                self.define(target);
                return self.marks.push(Mark::Other);
            }
            InstructionKind::Ap { argument, target } => {
                self.check(argument, at);
                self.define(target);
                return self.marks.push(Mark::Other);
            }
            InstructionKind::ApMap { key, map, .. } => {
                self.check(key, at);
                self.define(map);
                return self.marks.push(Mark::Other);
            }
            InstructionKind::Fail { operand } => {
                if let FailOperand::Literal { code: 0, .. } = operand {
                    self.report(ParseErrorKind::FailCodeZero, instruction.span());
                }
                return self.marks.push(Mark::Other);
            }
            InstructionKind::Next { iterator } => {
                self.next(iterator, instruction.span());
                return self.marks.push(Mark::Next(iterator.symbol.0));
            }
            InstructionKind::Never | InstructionKind::Null => {
                return self.marks.push(Mark::Other);
            }
            InstructionKind::Seq { .. } | InstructionKind::Par { .. } => OpenKind::Sequence,
            InstructionKind::Xor { .. } => OpenKind::Choice,
            InstructionKind::Match { left, right, .. }
            | InstructionKind::Mismatch { left, right, .. } => {
                self.check(left, at);
                self.check(right, at);
                OpenKind::Wrapper
            }
            InstructionKind::New { variable, .. } => {
                if self.name(variable.symbol).folds > 0 {
                    let name = variable.name.to_owned();
                    self.report(ParseErrorKind::NewIterator { name }, instruction.span());
                }
                self.define(variable);
                OpenKind::Wrapper
            }
            InstructionKind::Fold {
                iterable,
                iterator,
                last,
                ..
            } => {
                self.check(iterable, at);
                self.define(iterator);
                OpenKind::Fold {
                    iterator: iterator.symbol.0,
                    outer_nexts: self.enter_fold(iterator, instruction.span()),
                    over_stream: matches!(
                        iterable.kind,
                        ValueKind::Variable(variable, _)
                            if matches!(variable.kind, VariableKind::Stream | VariableKind::StreamMap)
                    ),
                    with_last: last.is_some(),
                }
            }
        };
        self.open.push(Open {
            end: instruction.end().0,
            span: instruction.span(),
            kind,
        });
    }

    fn leave(&mut self, open: Open) {
        let mark = match open.kind {
            OpenKind::Wrapper => return,
            OpenKind::Sequence => {
                let (right, left) = (self.pop_mark(), self.pop_mark());
                match (left, right) {
                    (Mark::Next(_), _) if left == right => left,
                    (Mark::Next(iterator), _) => {
                        if let Some(name) = self.names.get_mut(iterator as usize) {
                            name.suspect.get_or_insert(open.span);
                        }
                        Mark::Other
                    }
                    (Mark::Other, right) => right,
                }
            }
            OpenKind::Choice => {
                let (right, left) = (self.pop_mark(), self.pop_mark());
                match (left, right) {
                    (Mark::Next(_), Mark::Next(_)) => {
                        self.check_after_next = false;
                        Mark::Other
                    }
                    (Mark::Next(_), Mark::Other) => left,
                    (Mark::Other, right) => right,
                }
            }
            OpenKind::Fold {
                iterator,
                outer_nexts,
                over_stream,
                with_last,
            } => self.leave_fold(iterator, outer_nexts, over_stream, with_last),
        };
        self.marks.push(mark);
    }

    fn enter_fold(&mut self, iterator: Variable<'_>, span: Span) -> u32 {
        let Some(name) = self.names.get_mut(iterator.symbol.index()) else {
            return 0;
        };
        let outer_nexts = std::mem::take(&mut name.nexts);
        name.folds += 1;
        if name.folds > 1 {
            let name = iterator.name.to_owned();
            self.report(ParseErrorKind::NestedIterator { name }, span);
        }
        outer_nexts
    }

    fn leave_fold(
        &mut self,
        iterator: u32,
        outer_nexts: u32,
        over_stream: bool,
        with_last: bool,
    ) -> Mark {
        if with_last {
            self.pop_mark();
        }
        let body = self.pop_mark();
        let mut suspect = None;
        if let Some(name) = self.names.get_mut(iterator as usize) {
            name.folds = name.folds.saturating_sub(1);
            name.nexts = outer_nexts;
            // Forgotten even if this fold is over an array: a later fold over a stream has
            // nothing to do with it.
            suspect = name.suspect.take();
        }
        if !over_stream {
            return Mark::Other;
        }
        if let Some(span) = suspect
            && self.check_after_next
        {
            self.report(ParseErrorKind::AfterNext, span);
        }
        match body {
            Mark::Next(other) if other != iterator => body,
            _ => Mark::Other,
        }
    }

    fn next(&mut self, iterator: Variable<'_>, span: Span) {
        let Some(name) = self.names.get_mut(iterator.symbol.index()) else {
            return;
        };
        name.nexts += 1;
        let (folds, nexts) = (name.folds, name.nexts);
        if folds == 0 {
            self.undefined_iterables.resize(self.names.len(), false);
            if let Some(reported) = self.undefined_iterables.get_mut(iterator.symbol.index())
                && !*reported
            {
                *reported = true;
                let name = iterator.name.to_owned();
                self.report(ParseErrorKind::UndefinedIterable { name }, span);
            }
        } else if nexts > 1 {
            let name = iterator.name.to_owned();
            self.report(ParseErrorKind::MultipleNext { name }, span);
        }
    }

    fn pop_mark(&mut self) -> Mark {
        self.marks.pop().unwrap_or(Mark::Other)
    }

    fn name(&self, symbol: Symbol) -> Name {
        self.names.get(symbol.index()).copied().unwrap_or_default()
    }

    fn define(&mut self, variable: Variable<'_>) {
        if let Some(name) = self.names.get_mut(variable.symbol.index()) {
            name.defined = true;
        }
    }

    /// Checks that the variables of an operand of instruction `at` are defined.
    fn check(&mut self, value: Value<'_>, at: u32) {
        let lambda = match value.kind {
            ValueKind::Variable(variable, lambda) => {
                self.check_name(variable.symbol, at);
                lambda
            }
            ValueKind::Error(lambda) | ValueKind::LastError(lambda) => lambda,
            _ => return,
        };
        let Some(lambda) = lambda else { return };
        for accessor in lambda.accessors() {
            if let Accessor::Scalar(name) = accessor
                && let Some(symbol) = self.ast.symbol(name)
            {
                self.check_name(symbol, at);
            }
        }
    }

    fn check_name(&mut self, symbol: Symbol, at: u32) {
        if self.name(symbol).defined {
            return;
        }
        self.undefined.resize(self.names.len(), None);
        let Some(first) = self.undefined.get_mut(symbol.index()) else {
            return;
        };
        // A use below the one known so far is left before it.
        let known = first.and_then(|id| self.ast.get(InstructionId(id)));
        if known.is_none_or(|known| at < known.end().0) {
            *first = Some(at);
        }
    }

    fn report_undefined(&mut self) {
        let undefined = std::mem::take(&mut self.undefined);
        let uses = (0_u32..).zip(undefined);
        let mut uses: Vec<_> = uses
            .filter_map(|(symbol, at)| Some((at?, symbol)))
            .collect();
        uses.sort_unstable();
        for (at, symbol) in uses.into_iter().take(MAX_ERRORS) {
            if let Some(instruction) = self.ast.get(InstructionId(at)) {
                let name = self.ast.name(Symbol(symbol)).to_owned();
                self.faults.push(Fault {
                    kind: ParseErrorKind::UndefinedVariable { name },
                    span: instruction.span(),
                });
            }
        }
    }

    fn report(&mut self, kind: ParseErrorKind, span: Span) {
        if self.faults.len() < MAX_ERRORS {
            self.faults.push(Fault { kind, span });
        }
    }
}

//! The checks behind the grammar: definitions, iterators, what follows `next`.
//!
//! One pass in source order. An instruction is entered at its number and left when the number
//! comes up at which its subtree ends.

use crate::{
    ast::{Ast, Node, NodeKind, RawKind, RawValue, Span, ValueKind},
    error::{Fault, MAX_ERRORS, ParseErrorKind},
    lambda::Accessor,
};

/// Everything that is wrong with a tree, at most [`MAX_ERRORS`] findings of every check.
pub(crate) fn validate(ast: &Ast<'_>) -> Vec<Fault> {
    let mut validator = Validator::new(ast);
    for (id, node) in (0_u32..).zip(&ast.nodes) {
        validator.leave_before(id);
        validator.enter(id, node);
    }
    validator.leave_before(u32::MAX);
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
    /// Whether a fold that began before had it as its iterator: all that `next` asks for.
    iterated: bool,
    /// How many open folds have it as their iterator.
    folds: u32,
    /// How many `next` of it the innermost of those has.
    nexts: u32,
    /// The instruction that has something after `next`.
    suspect: Option<u32>,
}

/// An instruction whose subtree has not ended.
#[derive(Clone, Copy)]
struct Open {
    id: u32,
    /// Of a fold: how many `next` the fold around it with the same iterator has so far.
    outer_nexts: u32,
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

    fn enter(&mut self, id: u32, node: &Node) {
        let values = self.operands(id);
        let mut outer_nexts = 0;
        match (node.kind, values) {
            (NodeKind::Call, uses) => {
                self.check(uses, id);
                return self.marks.push(Mark::Other);
            }
            // The last operand takes the value; of an entry in a map only the key is checked.
            (NodeKind::CallWithOutput | NodeKind::Ap, [uses @ .., target])
            | (NodeKind::ApMap, [uses @ .., _, target]) => {
                self.check(uses, id);
                self.define(target.extra);
                return self.marks.push(Mark::Other);
            }
            (NodeKind::Canon, [.., target]) => {
                self.define(target.extra);
                return self.marks.push(Mark::Other);
            }
            (NodeKind::Next, [iterator]) => {
                self.next(iterator.extra, node.span);
                return self.marks.push(Mark::Next(iterator.extra));
            }
            (NodeKind::FailLiteral, [code, ..]) => {
                if self.ast.numbers.get(code.extra as usize) == Some(&0) {
                    self.report(ParseErrorKind::FailCodeZero, node.span);
                }
                return self.marks.push(Mark::Other);
            }
            (NodeKind::Seq | NodeKind::Par | NodeKind::Xor, _) => {}
            (NodeKind::Match | NodeKind::Mismatch, uses) => self.check(uses, id),
            (NodeKind::New, [variable]) => {
                if self.name(variable.extra).folds > 0 {
                    let name = self.text(variable.extra);
                    self.report(ParseErrorKind::NewIterator { name }, node.span);
                }
                self.define(variable.extra);
            }
            (NodeKind::Fold, [uses @ .., iterator]) => {
                self.check(uses, id);
                self.define(iterator.extra);
                outer_nexts = self.enter_fold(iterator.extra, node.span);
            }
            _ => return self.marks.push(Mark::Other),
        }
        self.open.push(Open { id, outer_nexts });
    }

    /// Leaves the instructions whose subtrees end before this number.
    fn leave_before(&mut self, id: u32) {
        let ast = self.ast;
        while let Some(open) = self.open.last().copied()
            && let Some(node) = ast.nodes.get(open.id as usize)
            && node.end <= id
        {
            self.open.pop();
            self.leave(open, node);
        }
    }

    fn leave(&mut self, open: Open, node: &Node) {
        let mark = match (node.kind, self.operands(open.id)) {
            (NodeKind::Seq | NodeKind::Par, _) => {
                let (right, left) = (self.pop_mark(), self.pop_mark());
                match (left, right) {
                    (Mark::Next(_), _) if left == right => left,
                    (Mark::Next(iterator), _) => {
                        if let Some(name) = self.names.get_mut(iterator as usize) {
                            name.suspect.get_or_insert(open.id);
                        }
                        Mark::Other
                    }
                    (Mark::Other, right) => right,
                }
            }
            (NodeKind::Xor, _) => {
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
            (NodeKind::Fold, [iterable, iterator]) => {
                let over_stream = matches!(iterable.kind, RawKind::Stream | RawKind::StreamMap);
                let with_last = node.second != 0;
                self.leave_fold(iterator.extra, open.outer_nexts, over_stream, with_last)
            }
            // `match`, `mismatch`, `new` end like their bodies.
            _ => return,
        };
        self.marks.push(mark);
    }

    fn enter_fold(&mut self, iterator: u32, span: Span) -> u32 {
        let Some(name) = self.names.get_mut(iterator as usize) else {
            return 0;
        };
        let outer_nexts = std::mem::take(&mut name.nexts);
        name.folds += 1;
        name.iterated = true;
        if name.folds > 1 {
            let name = self.text(iterator);
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
            suspect = name.suspect;
            if over_stream && body == Mark::Next(iterator) {
                name.suspect = None;
            }
        }
        // What a fold over an array leaves suspect counts against a later fold over a stream with
        // the same iterator. All peers of a particle have to agree, so it stays like this.
        if !over_stream {
            return Mark::Other;
        }
        if let Some(node) = suspect.and_then(|id| self.ast.nodes.get(id as usize))
            && self.check_after_next
        {
            self.report(ParseErrorKind::AfterNext, node.span);
        }
        match body {
            Mark::Next(other) if other != iterator => body,
            _ => Mark::Other,
        }
    }

    fn next(&mut self, iterator: u32, span: Span) {
        let Some(name) = self.names.get_mut(iterator as usize) else {
            return;
        };
        name.nexts += 1;
        let Name {
            iterated,
            folds,
            nexts,
            ..
        } = *name;
        if !iterated {
            self.undefined_iterables.resize(self.names.len(), false);
            if let Some(reported) = self.undefined_iterables.get_mut(iterator as usize)
                && !*reported
            {
                *reported = true;
                let name = self.text(iterator);
                self.report(ParseErrorKind::UndefinedIterable { name }, span);
            }
        } else if folds > 0 && nexts > 1 {
            let name = self.text(iterator);
            self.report(ParseErrorKind::MultipleNext { name }, span);
        }
    }

    fn operands(&self, id: u32) -> &'a [RawValue] {
        let std::ops::Range { start, end } = self.ast.operands(id);
        let values = self.ast.values.get(start as usize..end as usize);
        values.unwrap_or(&[])
    }

    fn pop_mark(&mut self) -> Mark {
        self.marks.pop().unwrap_or(Mark::Other)
    }

    fn name(&self, symbol: u32) -> Name {
        self.names.get(symbol as usize).copied().unwrap_or_default()
    }

    fn text(&self, symbol: u32) -> String {
        self.ast.symbols.text(self.ast.source, symbol).to_owned()
    }

    fn define(&mut self, symbol: u32) {
        if let Some(name) = self.names.get_mut(symbol as usize) {
            name.defined = true;
        }
    }

    /// Checks that the variables of some operands of instruction `at` are defined.
    fn check(&mut self, uses: &[RawValue], at: u32) {
        for value in uses {
            if value.kind.is_variable() {
                self.check_name(value.extra, at);
            }
            if value.names_inside {
                self.check_accessors(*value, at);
            }
        }
    }

    fn check_accessors(&mut self, value: RawValue, at: u32) {
        let (ValueKind::Variable(_, Some(lambda))
        | ValueKind::Error(Some(lambda))
        | ValueKind::LastError(Some(lambda))) = self.ast.view(value).kind
        else {
            return;
        };
        for accessor in lambda.accessors() {
            if let Accessor::Scalar(name) = accessor
                && let Some(symbol) = self.ast.symbol(name)
            {
                self.check_name(symbol.0, at);
            }
        }
    }

    fn check_name(&mut self, symbol: u32, at: u32) {
        if self.name(symbol).defined {
            return;
        }
        self.undefined.resize(self.names.len(), None);
        let Some(first) = self.undefined.get_mut(symbol as usize) else {
            return;
        };
        // A use below the one known so far is left before it.
        let known = first.and_then(|id| self.ast.nodes.get(id as usize));
        if known.is_none_or(|known| at < known.end) {
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
            if let Some(node) = self.ast.nodes.get(at as usize) {
                let name = self.text(symbol);
                self.faults.push(Fault {
                    kind: ParseErrorKind::UndefinedVariable { name },
                    span: node.span,
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

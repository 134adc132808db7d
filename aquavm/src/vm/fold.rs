//! `fold` and `next`.

use std::{collections::VecDeque, rc::Rc};

use particle::{Tetraplet, data::Provenance};

use super::{Flow, Frame, Stop, Vm, or_join};
use crate::{
    arena::Arena,
    error::{CatchableError, Fatal, UncatchableError},
    json::{self, Kind},
    parameters::Compat,
    script::{OpId, Operand, Slot, StreamRef},
    stream::Cursor,
    value::{Aggregate, Elements, Json, Origin},
};

/// A fold that is being executed, found by the name of its iterator.
#[derive(Debug)]
pub(super) struct ActiveFold<'x> {
    pub(super) items: Items<'x>,
    pub(super) cursor: usize,
    body: OpId,
    last: Option<OpId>,
    /// Number of the fold in the merge, for folds over streams.
    stream: Option<usize>,
    tail_seen: bool,
}

/// What a fold iterates over.
#[derive(Debug)]
pub(super) enum Items<'x> {
    /// Elements of a JSON array.
    Array {
        elements: &'x Elements<'x>,
        /// Tetraplet of the array.
        origin: &'x Origin<'x>,
        provenance: Provenance<'x>,
    },
    /// Elements of a canon stream.
    Canon(&'x [Aggregate<'x>]),
    /// Elements of a generation of a stream, pairs of a canon map.
    List(Vec<Aggregate<'x>>),
}

/// The part of a fold over a stream that outlives its nests.
#[derive(Debug)]
pub(super) struct StreamFold<'x> {
    op: OpId,
    stream: StreamRef,
    iterator: Slot,
    last: Option<OpId>,
    /// Number of the fold in the merge.
    number: usize,
    /// Generations of the present round that are still to be visited.
    slices: VecDeque<Vec<Aggregate<'x>>>,
    cursor: Cursor,
    complete: bool,
}

impl<'x> Items<'x> {
    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Array { elements, .. } => elements.texts.len(),
            Self::Canon(elements) => elements.len(),
            Self::List(elements) => elements.len(),
        }
    }

    #[inline]
    fn listed(&self, index: usize) -> Option<&Aggregate<'x>> {
        match self {
            Self::Array { .. } => None,
            Self::Canon(elements) => elements.get(index),
            Self::List(elements) => elements.get(index),
        }
    }

    #[inline]
    pub(super) fn text(&self, arena: &'x Arena, index: usize) -> Result<&'x str, Fatal> {
        match (self, self.listed(index)) {
            (_, Some(element)) => element.value.text(arena),
            (Self::Array { elements, .. }, None) => {
                Ok(elements.texts.get(index).copied().unwrap_or("null"))
            }
            _ => Ok("null"),
        }
    }

    #[inline]
    pub(super) fn provenance(&self, index: usize) -> Provenance<'x> {
        match (self, self.listed(index)) {
            (_, Some(element)) => element.provenance,
            (Self::Array { provenance, .. }, None) => *provenance,
            _ => Provenance::Literal,
        }
    }

    #[inline]
    pub(super) fn origin(&self, arena: &'x Arena, index: usize) -> &'x Origin<'x> {
        match (self, self.listed(index)) {
            (_, Some(element)) => element.origin(arena),
            (Self::Array { origin, .. }, None) => origin.element(arena, index),
            _ => Origin::new(arena, Tetraplet::default()),
        }
    }

    /// What an assignment of the iterator stores.
    #[inline]
    pub(super) fn element(&self, arena: &'x Arena, index: usize) -> Aggregate<'x> {
        if let Some(element) = self.listed(index) {
            return *element;
        }
        let text = match self {
            Self::Array { elements, .. } => elements.texts.get(index).copied().unwrap_or("null"),
            _ => "null",
        };
        let provenance = self.provenance(index);
        let origin = match (provenance, self) {
            (Provenance::ServiceResult(_), Self::Array { origin, .. }) => {
                return Aggregate::element(text, origin, index, provenance);
            }
            // Nothing of the lens would be kept.
            (Provenance::Literal, Self::Array { origin, .. }) => origin,
            _ => self.origin(arena, index),
        };
        Aggregate::squeezed(arena, Json::Text(text), origin, provenance)
    }

    /// Position of the state that produced an element of a stream.
    #[inline]
    fn position(&self, index: usize) -> u32 {
        self.listed(index).map_or(0, |element| element.position)
    }
}

impl<'x> Vm<'_, 'x> {
    pub(super) fn fold(
        &mut self,
        op: OpId,
        operands: u32,
        last: Option<OpId>,
    ) -> Result<Flow, Stop> {
        let (iterable, iterator) = (operands, self.program.slot(operands + 1));
        let items = match self.program.operand(iterable) {
            Operand::Stream(stream) => {
                return Ok(self.stream_fold(op, stream, iterator, last)?);
            }
            Operand::Canon(slot, None) => {
                Items::Canon(or_join!(self, self.canon_stream(slot)).elements)
            }
            Operand::CanonMap(slot, None) => {
                let map = or_join!(self, self.canon_map(slot));
                match self.compat {
                    Compat::V0_63 => Items::Canon(map.canon.elements),
                    Compat::V0_64 => Items::List(
                        map.last_pairs()
                            .into_iter()
                            .filter_map(|pair| map.canon.elements.get(pair as usize).copied())
                            .collect(),
                    ),
                }
            }
            operand => or_join!(self, self.array_items(iterable, operand)),
        };
        if items.len() == 0 {
            return Ok(Flow::Done);
        }
        self.enter_fold(iterator, items, op + 1, last, None)?;
        self.frames.push(Frame::Fold { slot: iterator });
        Ok(Flow::Enter(op + 1))
    }

    fn array_items(&mut self, iterable: u32, operand: Operand) -> Result<Items<'x>, Stop> {
        let text = self.text_of(iterable)?;
        if json::kind(text) != Kind::Array {
            let expression = match operand {
                Operand::Scalar(_, Some(lens)) | Operand::CanonMap(_, Some(lens)) => {
                    self.program.lens_text(lens).to_owned()
                }
                Operand::Scalar(slot, None) => self.name(slot),
                _ => String::new(),
            };
            return Err(CatchableError::FoldOverNonArray {
                expression,
                value: text.to_owned(),
            }
            .into());
        }
        let provenance = match operand {
            Operand::Scalar(slot, _) => self.scalar(slot)?.provenance,
            Operand::CanonMap(slot, _) => Provenance::Canon(self.canon_map(slot)?.canon.cid),
            _ => Provenance::Literal,
        };
        let origin = self.origin_of(iterable)?;
        Ok(Items::Array {
            elements: origin.elements(self.arena, text),
            origin,
            provenance,
        })
    }

    fn enter_fold(
        &mut self,
        iterator: Slot,
        items: Items<'x>,
        body: OpId,
        last: Option<OpId>,
        stream: Option<usize>,
    ) -> Result<(), Fatal> {
        if self.is_iterator(iterator) {
            return Err(UncatchableError::MultipleIterableValues {
                name: self.name(iterator),
            }
            .into());
        }
        if let Some(place) = self.folds.get_mut(iterator as usize) {
            *place = Some(Box::new(ActiveFold {
                items,
                cursor: 0,
                body,
                last,
                stream,
                tail_seen: false,
            }));
        }
        self.scopes.fold_enter();
        Ok(())
    }

    pub(super) fn leave_fold(&mut self, iterator: Slot) {
        if let Some(place) = self.folds.get_mut(iterator as usize) {
            *place = None;
        }
        self.scopes.fold_leave();
    }

    /// `next`: goes on with the following item, or with the last instruction.
    pub(super) fn next(&mut self, op: OpId, slot: Slot) -> Result<Flow, Fatal> {
        let Some(Some(fold)) = self.folds.get_mut(slot as usize) else {
            return Err(UncatchableError::FoldStateNotFound {
                name: self.name(slot),
            }
            .into());
        };
        let stream = fold.stream;
        if let Some(number) = stream {
            let ended = self.merge.iteration_end(number);
            ended.map_err(|error| self.trace_error(op, error))?;
        }
        let Some(Some(fold)) = self.folds.get_mut(slot as usize) else {
            return Ok(Flow::Done);
        };
        if fold.cursor + 1 >= fold.items.len() {
            let last = fold.last;
            match last {
                Some(_) => self.complete = true,
                None if stream.is_some() && !fold.tail_seen => {
                    fold.tail_seen = true;
                    self.complete = false;
                }
                None => {}
            }
            if let Some(number) = stream {
                let back = self.merge.back(number);
                back.map_err(|error| self.trace_error(op, error))?;
            }
            return Ok(last.map_or(Flow::Done, Flow::Enter));
        }
        fold.cursor += 1;
        let (body, position) = (fold.body, fold.items.position(fold.cursor));
        if let Some(number) = stream {
            let started = self.merge.iteration_start(number, position);
            started.map_err(|error| self.trace_error(op, error))?;
        }
        self.scopes.next_before();
        self.frames.push(Frame::Next { slot });
        Ok(Flow::Enter(body))
    }

    /// The iteration that `next` started ended.
    pub(super) fn next_returned(
        &mut self,
        slot: Slot,
        error: Option<Rc<CatchableError>>,
    ) -> Result<Flow, Fatal> {
        self.scopes.next_after();
        if let Some(error) = error {
            // The cursor stays where it is; peers agree on what follows from it.
            return Ok(Flow::Failed(error));
        }
        let Some(Some(fold)) = self.folds.get_mut(slot as usize) else {
            return Ok(Flow::Done);
        };
        fold.cursor = fold.cursor.saturating_sub(1);
        let body = fold.body;
        if let Some(number) = fold.stream {
            let back = self.merge.back(number);
            back.map_err(|error| self.trace_error(body.saturating_sub(1), error))?;
        }
        Ok(Flow::Done)
    }

    fn stream_fold(
        &mut self,
        op: OpId,
        stream: StreamRef,
        iterator: Slot,
        last: Option<OpId>,
    ) -> Result<Flow, Fatal> {
        let program = self.program;
        if self.streams.get(program, stream).is_none() {
            self.complete = false;
            return Ok(Flow::Done);
        }
        let number = self.merge.fold_depth();
        let started = self.merge.fold_start();
        started.map_err(|error| self.trace_error(op, error))?;
        let Some(values) = self.streams.get_mut(program, stream) else {
            return Ok(Flow::Done);
        };
        let (slices, cursor) = values.fold_start();
        self.start_nest(Box::new(StreamFold {
            op,
            stream,
            iterator,
            last,
            number,
            slices: slices.into(),
            cursor,
            complete: false,
        }))
    }

    /// Starts the iterations over the next generation, or ends the fold.
    fn start_nest(&mut self, mut fold: Box<StreamFold<'x>>) -> Result<Flow, Fatal> {
        let Some(slice) = fold.slices.pop_front() else {
            self.complete = fold.complete;
            let ended = self.merge.fold_end();
            ended.map_err(|error| self.trace_error(fold.op, error))?;
            return Ok(Flow::Done);
        };
        let items = Items::List(slice);
        let started = self.merge.iteration_start(fold.number, items.position(0));
        started.map_err(|error| self.trace_error(fold.op, error))?;
        let body = fold.op + 1;
        self.enter_fold(fold.iterator, items, body, fold.last, Some(fold.number))?;
        self.frames.push(Frame::StreamFold(fold));
        Ok(Flow::Enter(body))
    }

    /// The iterations over a generation ended; an error ends them as well, but goes no further.
    pub(super) fn nest_ended(&mut self, mut fold: Box<StreamFold<'x>>) -> Result<Flow, Fatal> {
        self.leave_fold(fold.iterator);
        let ended = self.merge.generation_end(fold.number);
        ended.map_err(|error| self.trace_error(fold.op, error))?;
        fold.complete |= self.complete;
        if fold.slices.is_empty()
            && let Some(stream) = self.streams.get_mut(self.program, fold.stream)
        {
            fold.slices = stream.after_round(&mut fold.cursor).into();
        }
        self.start_nest(fold)
    }
}

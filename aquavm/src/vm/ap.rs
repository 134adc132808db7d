//! `ap`.

use particle::{
    data::{Generations, State},
    merge::{Met, Source, UNNUMBERED},
};

use super::{Bound, Flow, Stop, Vm, or_join};
use crate::{
    error::{CatchableError, Fatal, UncatchableError},
    scope::Shadowing,
    script::{OpId, Output, Slot, StreamRef},
    stream::TooLarge,
    value::{Aggregate, Json, is_map_key},
};

impl<'x> Vm<'_, 'x> {
    pub(super) fn ap(&mut self, op: OpId, operands: u32) -> Result<Flow, Stop> {
        let value = or_join!(self, self.aggregate_of(operands));
        match self.program.output(operands + 1) {
            Output::Scalar(slot) => self.bind(slot, Bound::Scalar(value))?,
            Output::Stream(stream) => {
                let met = self.ap_start(op)?;
                self.append(stream, value, met)?;
                self.push_ap();
            }
            Output::None => {}
        }
        Ok(Flow::Done)
    }

    pub(super) fn ap_map(&mut self, op: OpId, operands: u32) -> Result<Flow, Stop> {
        let map = self.program.stream(operands + 2);
        let mut pair = or_join!(self, self.aggregate_of(operands + 1));
        // The state is taken before the key is known; peers agree on what follows from it.
        let met = self.ap_start(op)?;
        let key = or_join!(self, self.text_of(operands));
        if !is_map_key(key) {
            return Err(CatchableError::MapKey {
                map: self.name(map.slot),
            }
            .into());
        }
        let text = pair.value.text(self.arena)?;
        pair.value = Json::pair(self.arena, key, text);
        self.append(map, pair, met)?;
        self.push_ap();
        Ok(Flow::Done)
    }

    /// Assigns a scalar, canon stream or canon map.
    #[inline]
    pub(super) fn bind(&mut self, slot: Slot, value: Bound<'x>) -> Result<(), Fatal> {
        match self.scopes.set(slot, value) {
            Ok(()) => Ok(()),
            Err(Shadowing) => Err(UncatchableError::ShadowingIsNotAllowed {
                name: self.name(slot),
            }
            .into()),
        }
    }

    /// Adds a value to a stream; its state is about to be written.
    #[inline]
    pub(super) fn append(
        &mut self,
        stream: StreamRef,
        mut value: Aggregate<'x>,
        found: Option<(u32, Source)>,
    ) -> Result<(), Fatal> {
        value.position = self.merge.position();
        let program = self.program;
        let Some(stream) = self.streams.get_or_create(program, stream) else {
            return Ok(());
        };
        let limit = self.limits.stream;
        match stream.add(value, found, limit) {
            Ok(()) => Ok(()),
            Err(TooLarge) => Err(UncatchableError::StreamSizeLimitExceeded {
                // The text of all interpreters names the first size that is too large.
                limit: limit.saturating_add(1),
            }
            .into()),
        }
    }

    #[inline]
    fn ap_start(&mut self, op: OpId) -> Result<Option<(u32, Source)>, Fatal> {
        let met = self.merge.ap_start();
        let met = met.map_err(|error| self.trace_error(op, error))?;
        Ok(met.map(|Met { state, source }| (state, source)))
    }

    #[inline]
    fn push_ap(&mut self) {
        self.merge.push(State::Ap(Generations::One(UNNUMBERED)));
    }
}

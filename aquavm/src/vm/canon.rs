//! `canon`.

use std::rc::Rc;

use particle::{
    Tetraplet,
    data::{Provenance, State},
    merge::CanonState,
};

use super::{Bound, Flow, Stop, Vm, call::dump_tetraplet, or_join};
use crate::{
    error::{Fatal, UncatchableError},
    script::{CanonTarget, OpId, StreamRef},
    stream::Stream,
    value::{Aggregate, Canon, CanonMap, Json, Origin, map_to_object},
};

impl<'x> Vm<'_, 'x> {
    pub(super) fn canon(&mut self, op: OpId, operands: u32) -> Result<Flow, Stop> {
        let peer = operands;
        let source = self.program.stream(operands + 1);
        let target = self.program.canon_target(operands + 2);
        // The state is taken before the peer is known; peers agree on what follows from it.
        let state = self.merge.canon_start();
        let state = state.map_err(|error| self.trace_error(op, error))?;
        match state {
            None => {
                let peer = or_join!(self, self.string_of(peer));
                if peer == self.current_peer {
                    return self.build_canon(source, target);
                }
                self.next_peers.insert(peer);
                self.complete = false;
                self.merge.push(State::CanonSentBy(self.current_peer));
            }
            Some(CanonState::SentBy(sender)) => {
                if self.string_of(peer)? == self.current_peer {
                    return self.build_canon(source, target);
                }
                self.complete = false;
                self.merge.push(State::CanonSentBy(sender));
            }
            Some(CanonState::Executed(cid)) => {
                let peer = self.string_of(peer)?;
                self.restore_canon(peer, cid, target)?;
            }
        }
        Ok(Flow::Done)
    }

    fn restore_canon(
        &mut self,
        peer: &'x str,
        cid: &'x str,
        target: CanonTarget,
    ) -> Result<(), Fatal> {
        let (cid, result) = self.stored_canon(cid)?;
        let origin = self.stored_origin(result.tetraplet)?;
        let expected = Tetraplet::of_peer(peer);
        if origin.tetraplet != expected {
            return Err(UncatchableError::InstructionParametersMismatch {
                parameter: "canon tetraplet",
                expected: dump_tetraplet(&expected),
                stored: dump_tetraplet(&origin.tetraplet),
            }
            .into());
        }
        let elements = self.stored_elements(&result)?;
        self.register(cid, peer);
        self.bind_canon(Canon::new(elements, origin, cid), target)
    }

    fn build_canon(&mut self, source: StreamRef, target: CanonTarget) -> Result<Flow, Stop> {
        let stream = self.streams.get(self.program, source);
        let values = stream.into_iter().flat_map(|stream| stream.values());
        let elements: &'x [Aggregate<'x>] = match target {
            CanonTarget::Scalar(_) => {
                let text = map_to_object(self.arena, values.copied())?;
                let origin = Origin::new(self.arena, Tetraplet::of_peer(self.current_peer));
                let element = Aggregate::new(Json::Text(text), origin, Provenance::Literal);
                self.arena.alloc_slice(&[element])
            }
            CanonTarget::Stream(_) | CanonTarget::Map(_) => {
                let mut elements = Vec::with_capacity(stream.map_or(0, Stream::len));
                elements.extend(values.copied());
                self.arena.alloc_slice(&elements)
            }
        };
        let canon = self.store_canon(elements)?;
        self.register(canon.cid, self.current_peer);
        self.bind_canon(canon, target)?;
        Ok(Flow::Done)
    }

    /// Binds a canon and writes its state.
    fn bind_canon(&mut self, canon: Canon<'x>, target: CanonTarget) -> Result<(), Fatal> {
        let cid = canon.cid;
        match target {
            CanonTarget::Stream(slot) => {
                let canon = self.arena.alloc(canon);
                self.bind(slot, Bound::Canon(canon))?;
            }
            CanonTarget::Map(slot) => {
                let canon = self.arena.alloc(canon);
                let map = CanonMap::new(self.arena, canon)?;
                self.bind(slot, Bound::Map(Rc::new(map)))?;
            }
            CanonTarget::Scalar(slot) => {
                let element = canon
                    .elements
                    .first()
                    .ok_or(UncatchableError::CanonStreamMap)?;
                let provenance = Provenance::Canon(cid);
                let value = Aggregate::new(element.value, canon.origin, provenance);
                self.bind(slot, Bound::Scalar(value))?;
            }
        }
        self.merge.push(State::Canon(cid));
        Ok(())
    }
}

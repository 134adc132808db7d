//! Watching a run: which instruction met or wrote which state, and what names stood for.

use std::collections::BTreeMap;

use particle::Tetraplet;

use super::{Bound, Vm};
use crate::{
    error::Fatal,
    scope::Found,
    script::{Op, OpId},
};

/// What is written down of a run.
#[derive(Debug, Default)]
pub(crate) struct Watch<'x> {
    pub(crate) seen: Vec<Seen<'x>>,
    /// After this many states the run stops.
    pub(crate) limit: Option<usize>,
    /// Set where the run was stopped.
    pub(crate) variables: Option<BTreeMap<String, String>>,
}

/// A state that was written to the result.
#[derive(Debug)]
pub(crate) struct Seen<'x> {
    pub(crate) op: OpId,
    /// Position in the result.
    pub(crate) position: u32,
    /// Position of the state in the current trace, if one was found there.
    pub(crate) found: Option<u32>,
    /// What the script says a call or canon is: peer, service, function.
    pub(crate) target: Option<Tetraplet<'x>>,
    /// Hash of a call's arguments, if they are known.
    pub(crate) argument_hash: Option<&'x str>,
}

impl<'x> Vm<'_, 'x> {
    /// What [`Vm::watched`] has to know from before an instruction.
    pub(super) fn before(&self) -> (u32, Option<u32>) {
        (self.merge.position(), self.merge.next_in_current())
    }

    /// Writes down what an instruction did. Returns whether the run is to stop.
    pub(super) fn watched(
        &mut self,
        op: OpId,
        (position, found): (u32, Option<u32>),
    ) -> Result<bool, Fatal> {
        if self.merge.position() == position {
            return Ok(false);
        }
        let (target, argument_hash) = match self.program.op(op) {
            Op::Call { .. } => (
                self.call_origin.map(|origin| origin.tetraplet),
                self.argument_hash().map(|hash| self.arena.alloc_str(&hash)),
            ),
            // It was resolved before, so it is again.
            Op::Canon { operands } => (self.string_of(operands).ok().map(Tetraplet::of_peer), None),
            _ => (None, None),
        };
        let Some(watch) = &mut self.watch else {
            return Ok(false);
        };
        watch.seen.push(Seen {
            op,
            position,
            found,
            target,
            argument_hash,
        });
        let stop = watch.limit.is_some_and(|limit| watch.seen.len() >= limit);
        if stop {
            let variables = self.variables()?;
            if let Some(watch) = &mut self.watch {
                watch.variables = Some(variables);
            }
        }
        Ok(stop)
    }

    /// The JSON texts of all names that stand for something here. Streams are arrays of their
    /// values.
    fn variables(&self) -> Result<BTreeMap<String, String>, Fatal> {
        let mut variables = BTreeMap::new();
        for slot in 0..self.program.slots() as u32 {
            let bound = match self.scopes.get(slot) {
                Found::Value(bound) => Some(bound),
                Found::Unset | Found::Nothing => None,
            };
            let fold = self.folds.get(slot as usize).and_then(Option::as_deref);
            let text = match (bound, fold, self.streams.innermost(slot)) {
                (_, Some(fold), _) => fold.items.text(self.arena, fold.cursor)?.to_owned(),
                (Some(Bound::Scalar(value)), ..) => value.value.text(self.arena)?.to_owned(),
                (Some(Bound::Canon(canon)), ..) => canon.text(self.arena)?.to_owned(),
                (Some(Bound::Map(map)), ..) => map.text(self.arena)?.to_owned(),
                (None, None, Some(stream)) => {
                    let mut texts = Vec::new();
                    for value in stream.values() {
                        texts.push(value.value.text(self.arena)?);
                    }
                    format!("[{}]", texts.join(","))
                }
                (None, None, None) => continue,
            };
            variables.insert(self.name(slot), text);
        }
        Ok(variables)
    }
}

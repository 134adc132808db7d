//! `call`.

use particle::{
    Tetraplet,
    cid::{CidText, value_cid},
    data::{CallState, Provenance, ServiceResult, State},
    merge::{Met, Source, UNNUMBERED, dump_value},
};

use super::{Bound, Flow, Stop, Vm, or_join};
use crate::{
    error::{CatchableError, Fatal, UncatchableError},
    json,
    requests::Request,
    results::Answer,
    scope::Found,
    script::{OpId, Output, Slot},
    value::{Aggregate, Json, Origin, canonical_text},
};

/// Bytes of a tetraplet in a request, about: three of its texts are short, and peers are 52 bytes.
const TETRAPLET: usize = 128;

/// What a result that is no JSON counts as.
const NOT_JSON: i32 = i32::MAX;

impl<'x> Vm<'_, 'x> {
    pub(super) fn call(
        &mut self,
        op: OpId,
        operands: u32,
        arguments: u32,
        output: Output,
    ) -> Result<Flow, Stop> {
        let peer_pk = or_join!(self, self.string_of(operands));
        let service_id = or_join!(self, self.string_of(operands + 1));
        let function_name = or_join!(self, self.string_of(operands + 2));
        let tetraplet = Tetraplet::of_call(peer_pk, service_id, function_name);
        let origin = match self.recent_call {
            Some(recent) if recent.tetraplet == tetraplet => recent,
            _ => Origin::new(self.arena, tetraplet),
        };
        self.recent_call = Some(origin);
        self.call_origin = Some(origin);
        if let Output::Scalar(slot) = output {
            self.check_output(slot)?;
        }
        let first = operands + 3;
        match self.resolve_arguments(first, arguments) {
            Ok(()) => self.arguments_known = true,
            Err(stop) if stop.is_joinable() => {}
            Err(stop) => return Err(stop),
        }
        let met = self.merge.call_start();
        let met = met.map_err(|error| self.trace_error(op, error))?;
        let met = met.and_then(|met| self.believed(met, origin));
        let Some(Met { state, source }) = met else {
            return self.request(origin, first, arguments, None);
        };
        match state {
            CallState::SentByWithId { peer_id, call_id } if peer_id == self.current_peer => {
                let results = self.results;
                match results.take(call_id) {
                    Some(answer) => return self.finish(origin, output, answer),
                    None => {
                        self.complete = false;
                        self.merge.push(State::Call(state));
                    }
                }
            }
            CallState::SentBy(_) | CallState::SentByWithId { .. } => {
                if peer_pk == self.current_peer {
                    return self.request(origin, first, arguments, Some(state));
                }
                self.complete = false;
                self.merge.push(State::Call(state));
            }
            CallState::Failed(cid) => return Err(self.failed_before(origin, cid)?.into()),
            CallState::Scalar(_) | CallState::Stream { .. } | CallState::Unused(_) => {
                self.restore(origin, output, state, source)?;
            }
        }
        Ok(Flow::Done)
    }

    /// A state of the data as local policy takes it.
    fn believed(
        &self,
        met: Met<CallState<'x>>,
        target: &'x Origin<'x>,
    ) -> Option<Met<CallState<'x>>> {
        let foreign = met.source == Source::Current;
        match met.state {
            CallState::Unused(_)
                if foreign
                    && self.policy.ignore_foreign_unused
                    && target.tetraplet.peer_pk == self.current_peer =>
            {
                None
            }
            CallState::SentByWithId { peer_id, .. }
                if foreign
                    && self.policy.ignore_foreign_requests
                    && peer_id == self.current_peer =>
            {
                Some(Met {
                    state: CallState::SentBy(peer_id),
                    ..met
                })
            }
            _ => Some(met),
        }
    }

    /// An output must be free, and no iterator.
    fn check_output(&self, slot: Slot) -> Result<(), Fatal> {
        let name = || self.name(slot);
        match self.scopes.get(slot) {
            Found::Value(_) if self.is_iterator(slot) => {
                Err(UncatchableError::IterableShadowing { name: name() }.into())
            }
            Found::Value(_) if !self.scopes.may_set(slot) => {
                Err(UncatchableError::ShadowingIsNotAllowed { name: name() }.into())
            }
            Found::Nothing if self.is_iterator(slot) => {
                Err(UncatchableError::IterableShadowing { name: name() }.into())
            }
            _ => Ok(()),
        }
    }

    /// Finds the arguments.
    fn resolve_arguments(&mut self, first: u32, count: u32) -> Result<(), Stop> {
        self.argument_texts.clear();
        let program = self.program;
        // Arguments often are the same again.
        let mut last = None;
        for index in first..first + count {
            let operand = program.operand(index);
            let text = match last {
                Some((same, text)) if same == operand => text,
                _ => self.text_of(index)?,
            };
            last = Some((operand, text));
            self.argument_texts.push(text);
        }
        self.arena.room_for(self.argument_bytes())?;
        Ok(())
    }

    /// Bytes of the arguments, and of what separates them.
    fn argument_bytes(&self) -> usize {
        let texts = self.argument_texts.iter();
        texts.fold(0, |sum, text| sum.saturating_add(text.len() + 1))
    }

    /// The call was not executed before: issue it here, or send the particle to where it belongs.
    fn request(
        &mut self,
        target: &'x Origin<'x>,
        first: u32,
        count: u32,
        remembered: Option<CallState<'x>>,
    ) -> Result<Flow, Stop> {
        self.complete = false;
        if target.tetraplet.peer_pk != self.current_peer {
            self.next_peers.insert(target.tetraplet.peer_pk);
            self.merge
                .push(State::Call(CallState::SentBy(self.current_peer)));
            return Ok(Flow::Done);
        }
        if !self.arguments_known {
            if let Some(state) = remembered {
                self.merge.push(State::Call(state));
            }
            return Ok(Flow::Done);
        }
        let mut origins = Vec::with_capacity(count as usize);
        let mut ends = Vec::with_capacity(count as usize);
        let mut start = 0;
        let mut last = None;
        for index in first..first + count {
            let operand = self.program.operand(index);
            let end = origins.len();
            if last == Some(operand) {
                origins.extend_from_within(start..end);
            } else {
                self.origins_of(index, &mut origins)?;
            }
            last = Some(operand);
            start = end;
            ends.push(origins.len());
        }
        let call_id =
            self.last_call_id
                .checked_add(1)
                .ok_or_else(|| UncatchableError::IntConversion {
                    reason: "out of range integral type conversion attempted".to_owned(),
                })?;
        self.last_call_id = call_id;
        self.arena
            .count(self.argument_bytes() + origins.len() * TETRAPLET);
        self.requests.push(Request {
            id: call_id,
            service_id: target.tetraplet.service_id,
            function_name: target.tetraplet.function_name,
            arguments: &self.argument_texts,
            origins: &origins,
            ends: &ends,
        });
        self.merge.push(State::Call(CallState::SentByWithId {
            peer_id: self.current_peer,
            call_id,
        }));
        Ok(Flow::Done)
    }

    /// The host answered.
    fn finish(
        &mut self,
        target: &'x Origin<'x>,
        output: Output,
        answer: &'x Answer<'x>,
    ) -> Result<Flow, Stop> {
        let hash = self.argument_hash().ok_or_else(unknown_arguments)?;
        let (ret_code, message) = match answer.ret_code {
            // Services that make arrays give their arguments back: a canonical text, hashed already.
            0 if *answer.result == self.arguments && json::is_shallow(&self.arguments) => {
                self.finish_ok(target, &hash, output, &answer.result, &hash)?;
                return Ok(Flow::Done);
            }
            0 => match canonical_text(self.arena, &answer.result) {
                Ok(text) => {
                    let cid = value_cid(text);
                    self.finish_ok(target, &hash, output, text, &cid)?;
                    return Ok(Flow::Done);
                }
                Err(error) => (
                    NOT_JSON,
                    format!(
                        "call_service result 'ret_code: 0, result: '{}'' can't be serialized or \
                         deserialized with an error: {error}",
                        answer.result
                    ),
                ),
            },
            code => (code, answer.result.clone().into_owned()),
        };
        let mut text = "{\"message\":".to_owned();
        json::write_string(&mut text, &message);
        text.push_str(&format!(",\"ret_code\":{ret_code}}}"));
        let text = self.arena.alloc_str(&text);
        let cid = self.store_result(target, &hash, text, &value_cid(text));
        self.register(cid, target.tetraplet.peer_pk);
        self.merge.push(State::Call(CallState::Failed(cid)));
        Err(CatchableError::LocalService { ret_code, message }.into())
    }

    fn finish_ok(
        &mut self,
        origin: &'x Origin<'x>,
        argument_hash: &CidText,
        output: Output,
        text: &'x str,
        value_cid: &CidText,
    ) -> Result<(), Fatal> {
        if let Output::None = output {
            let cid = self.arena.alloc_str(value_cid);
            self.merge.push(State::Call(CallState::Unused(cid)));
            return Ok(());
        }
        let cid = self.store_result(origin, argument_hash, text, value_cid);
        self.register(cid, origin.tetraplet.peer_pk);
        let value = Aggregate::new(Json::Text(text), origin, Provenance::ServiceResult(cid));
        let state = match output {
            Output::Stream(stream) => {
                self.append(stream, value, None)?;
                CallState::Stream {
                    cid,
                    generation: UNNUMBERED,
                }
            }
            Output::Scalar(slot) => {
                self.bind(slot, Bound::Scalar(value))?;
                CallState::Scalar(cid)
            }
            Output::None => return Ok(()),
        };
        self.merge.push(State::Call(state));
        Ok(())
    }

    fn store_result(
        &mut self,
        origin: &'x Origin<'x>,
        argument_hash: &CidText,
        text: &'x str,
        value_cid: &CidText,
    ) -> &'x str {
        let value_cid = self.store_value_behind(text, value_cid);
        let argument_hash = match argument_hash.is(value_cid) {
            true => value_cid,
            false => self.arena.alloc_str(argument_hash),
        };
        let tetraplet_cid = self.store_origin(origin);
        self.store_service_result(ServiceResult {
            value_cid,
            argument_hash,
            tetraplet_cid,
        })
    }

    /// The data hold the result.
    fn restore(
        &mut self,
        target: &'x Origin<'x>,
        output: Output,
        state: CallState<'x>,
        source: Source,
    ) -> Result<(), Fatal> {
        match (output, state) {
            (Output::None, CallState::Unused(_)) => {
                self.merge.push(State::Call(state));
            }
            (Output::Scalar(slot), CallState::Scalar(cid)) => {
                let (cid, value) = self.restored(target, cid)?;
                self.bind(slot, Bound::Scalar(value))?;
                self.merge.push(State::Call(CallState::Scalar(cid)));
            }
            (Output::Stream(stream), CallState::Stream { cid, generation }) => {
                let (cid, value) = self.restored(target, cid)?;
                self.append(stream, value, Some((generation, source)))?;
                self.merge
                    .push(State::Call(CallState::Stream { cid, generation }));
            }
            _ => {
                return Err(UncatchableError::CallResultKind {
                    value: dump_value(&state),
                }
                .into());
            }
        }
        Ok(())
    }

    /// A result of the data, checked against the call.
    fn restored(
        &mut self,
        target: &'x Origin<'x>,
        cid: &'x str,
    ) -> Result<(&'x str, Aggregate<'x>), Fatal> {
        let (cid, result) = self.service_result(cid)?;
        let value = self.stored_value(result.value_cid)?;
        let origin = self.stored_origin(result.tetraplet_cid)?;
        self.check_result(target, &result, origin)?;
        self.register(cid, target.tetraplet.peer_pk);
        let provenance = Provenance::ServiceResult(cid);
        Ok((cid, Aggregate::new(value, origin, provenance)))
    }

    /// CID of the JSON array of the arguments; `None` while one of them may still come.
    pub(super) fn argument_hash(&mut self) -> Option<CidText> {
        self.arguments_known.then(|| {
            self.arguments.clear();
            json::write_array(&mut self.arguments, &self.argument_texts);
            value_cid(&self.arguments)
        })
    }

    /// A result must belong to this call and these arguments.
    fn check_result(
        &mut self,
        target: &Origin<'_>,
        result: &ServiceResult<'_>,
        origin: &Origin<'_>,
    ) -> Result<(), Fatal> {
        let expected = self.argument_hash().ok_or_else(unknown_arguments)?;
        if !expected.is(result.argument_hash) {
            return Err(UncatchableError::InstructionParametersMismatch {
                parameter: "call argument_hash",
                expected: expected.to_string(),
                stored: result.argument_hash.to_owned(),
            }
            .into());
        }
        if target.tetraplet != origin.tetraplet {
            return Err(UncatchableError::InstructionParametersMismatch {
                parameter: "call tetraplet",
                expected: dump_tetraplet(&target.tetraplet),
                stored: dump_tetraplet(&origin.tetraplet),
            }
            .into());
        }
        Ok(())
    }

    /// The data say that the call failed: the same error again.
    fn failed_before(
        &mut self,
        target: &'x Origin<'x>,
        cid: &'x str,
    ) -> Result<CatchableError, Fatal> {
        #[derive(serde::Deserialize)]
        struct CallServiceFailed {
            ret_code: i32,
            message: String,
        }
        let (cid, result) = self.service_result(cid)?;
        let value = self.stored_value(result.value_cid)?;
        let origin = self.stored_origin(result.tetraplet_cid)?;
        self.check_result(target, &result, origin)?;
        let text = value.text(self.arena)?;
        let failed: CallServiceFailed = serde_json::from_str::<serde_json::Value>(text)
            .and_then(serde_json::from_value)
            .map_err(|error| UncatchableError::MalformedCallServiceFailed {
                reason: error.to_string(),
            })?;
        self.complete = false;
        self.register(cid, target.tetraplet.peer_pk);
        self.merge.push(State::Call(CallState::Failed(cid)));
        Ok(CatchableError::LocalService {
            ret_code: failed.ret_code,
            message: failed.message,
        })
    }
}

/// A result for arguments that are not there yet cannot be honest.
fn unknown_arguments() -> UncatchableError {
    UncatchableError::InstructionParametersMismatch {
        parameter: "call argument_hash",
        expected: "undefined arguments".to_owned(),
        stored: "a result".to_owned(),
    }
}

/// Readable form of a tetraplet in error texts.
pub(super) fn dump_tetraplet(tetraplet: &Tetraplet<'_>) -> String {
    let Tetraplet {
        peer_pk,
        service_id,
        function_name,
        lens,
    } = tetraplet;
    format!(
        "SecurityTetraplet {{ peer_pk: {peer_pk:?}, service_id: {service_id:?}, function_name: \
         {function_name:?}, lens: {lens:?} }}"
    )
}

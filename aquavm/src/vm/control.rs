//! `par`, `match`, `mismatch`, `fail`.

use std::rc::Rc;

use particle::data::Provenance;

use super::{Flow, Frame, Stop, Vm, or_join};
use crate::{
    error::{CatchableError, Fatal},
    json::{self, Kind},
    registers::{Register, object_text},
    script::{OpId, Operand},
};

impl<'x> Vm<'_, 'x> {
    pub(super) fn par(
        &mut self,
        op: OpId,
        right: OpId,
        [left_is_next, right_is_next]: [bool; 2],
    ) -> Result<Flow, Fatal> {
        let started = self.merge.par_start();
        started.map_err(|error| self.trace_error(op, error))?;
        self.complete = !left_is_next;
        self.frames.push(Frame::ParLeft {
            right,
            right_is_next,
            op,
        });
        Ok(Flow::Enter(op + 1))
    }

    pub(super) fn par_left_ended(
        &mut self,
        op: OpId,
        right: OpId,
        right_is_next: bool,
        error: Option<Rc<CatchableError>>,
    ) -> Result<Flow, Fatal> {
        let ended = self.merge.par_left_end();
        ended.map_err(|error| self.trace_error(op, error))?;
        self.frames.push(Frame::ParRight {
            left_complete: self.complete && error.is_none(),
            left_failed: error.is_some(),
            op,
        });
        self.complete = !right_is_next;
        Ok(Flow::Enter(right))
    }

    pub(super) fn par_right_ended(
        &mut self,
        op: OpId,
        left_complete: bool,
        left_failed: bool,
        error: Option<Rc<CatchableError>>,
    ) -> Result<Flow, Fatal> {
        let ended = self.merge.par_end();
        ended.map_err(|error| self.trace_error(op, error))?;
        let right_complete = self.complete && error.is_none();
        self.complete = left_complete || right_complete;
        match error {
            Some(error) if left_failed => Ok(Flow::Failed(error)),
            _ => {
                self.registers.par_ok();
                Ok(Flow::Done)
            }
        }
    }

    pub(super) fn comparison(
        &mut self,
        op: OpId,
        operands: u32,
        equal: bool,
    ) -> Result<Flow, Stop> {
        let left = or_join!(self, self.text_of(operands));
        let right = or_join!(self, self.text_of(operands + 1));
        match (json::equal(left, right), equal) {
            (true, true) | (false, false) => Ok(Flow::Enter(op + 1)),
            (false, true) => Err(CatchableError::MatchValuesNotEqual.into()),
            (true, false) => Err(CatchableError::MismatchValuesEqual.into()),
        }
    }

    pub(super) fn fail_literal(&mut self, op: OpId, code: i64, message: u32) -> Result<Flow, Stop> {
        let message = match self.program.operand(message) {
            Operand::Constant(text) => self.program.resolve(text),
            _ => "",
        };
        let object = object_text(
            code,
            &self.program.instruction_text(op),
            message,
            Some(self.init_peer),
        );
        let text = self.arena.alloc_str(&object);
        self.complete = false;
        self.registers.user_error(Register::object(
            text,
            Some(self.literal),
            Provenance::Literal,
        ));
        Err(CatchableError::User { object }.into())
    }

    /// The error that `fail` with a value raises.
    pub(super) fn fail(&mut self, operand: u32) -> Result<Rc<CatchableError>, Stop> {
        let register = match self.program.operand(operand) {
            Operand::LastError(_) => self.registers.last_error.clone(),
            Operand::Error(_) => self.registers.error.clone(),
            _ => {
                let value = self.aggregate_of(operand)?;
                let text = value.value.text(self.arena)?;
                Register::object(text, Some(value.origin(self.arena)), value.provenance)
            }
        };
        let mut register = register;
        let object = register.text(self.program, self.arena);
        check_error_object(object)?;
        self.complete = false;
        self.registers.user_error(register);
        if let Operand::Error(_) = self.program.operand(operand) {
            self.registers.rethrown();
            if let Some(original) = &self.registers.original {
                return Ok(Rc::clone(original));
            }
        }
        Ok(Rc::new(CatchableError::User {
            object: object.to_owned(),
        }))
    }
}

fn check_error_object(text: &str) -> Result<(), CatchableError> {
    let invalid = |message| Err(CatchableError::InvalidErrorObject { message });
    if json::kind(text) != Kind::Object {
        return invalid(format!(
            "scalar should have an object type to be converted into error object, but '{text}' \
             doesn't have"
        ));
    }
    let field = |name| {
        json::object_field(text, name).ok_or_else(|| CatchableError::InvalidErrorObject {
            message: format!("scalar '{text}' must have field with name '{name}'"),
        })
    };
    match field("error_code")?.parse::<i64>() {
        Ok(0) => return invalid("error code must be non-zero, but it is zero".to_owned()),
        Ok(_) => {}
        Err(_) => {
            return invalid(format!(
                "error_code of scalar '{text}' must have integer type"
            ));
        }
    }
    if json::kind(field("message")?) != Kind::String {
        return invalid(format!("message of scalar '{text}' must have string type"));
    }
    Ok(())
}

//! `:error:` and `%last_error%`.

use std::rc::Rc;

use particle::data::Provenance;

use crate::{
    error::CatchableError,
    json,
    script::{OpId, Program},
    value::Origin,
};

/// The object of a register that holds no error.
pub(crate) const NO_ERROR: &str = "{\"error_code\":0,\"message\":\"\"}";

/// What a register holds.
#[derive(Clone, Debug)]
pub(crate) struct Register<'x> {
    object: Object<'x>,
    /// The tetraplet of the call that failed.
    pub(crate) origin: Option<&'x Origin<'x>>,
    pub(crate) provenance: Provenance<'x>,
}

#[derive(Clone, Debug)]
enum Object<'x> {
    /// JSON text.
    Text(&'x str),
    /// An error of the interpreter: its text is made when somebody reads it.
    Recorded {
        error: Rc<CatchableError>,
        op: OpId,
        peer_id: Option<&'x str>,
    },
}

/// Both registers and the rules by which they change ("The two error registers" of the protocol
/// description).
#[derive(Debug)]
pub(crate) struct Registers<'x> {
    pub(crate) last_error: Register<'x>,
    pub(crate) error: Register<'x>,
    /// What `fail :error:` raises again.
    pub(crate) original: Option<Rc<CatchableError>>,
    can_set_last: bool,
    can_set_error: bool,
}

impl<'x> Register<'x> {
    fn no_error() -> Self {
        Self::object(NO_ERROR, None, Provenance::Literal)
    }

    /// A register that holds an object of a script.
    pub(crate) fn object(
        text: &'x str,
        origin: Option<&'x Origin<'x>>,
        provenance: Provenance<'x>,
    ) -> Self {
        Self {
            object: Object::Text(text),
            origin,
            provenance,
        }
    }

    /// The JSON text of the object.
    pub(crate) fn text(
        &mut self,
        program: &Program<'_>,
        arena: &'x crate::arena::Arena,
    ) -> &'x str {
        let (error, op, peer_id) = match &self.object {
            Object::Text(text) => return text,
            Object::Recorded { error, op, peer_id } => (error, *op, *peer_id),
        };
        let text = arena.alloc_str(&object_text(
            error.code(),
            &program.instruction_text(op),
            &error.to_string(),
            peer_id,
        ));
        self.object = Object::Text(text);
        text
    }
}

/// The object that describes an error.
pub(crate) fn object_text(
    code: i64,
    instruction: &str,
    message: &str,
    peer_id: Option<&str>,
) -> String {
    let mut text = format!("{{\"error_code\":{code},\"instruction\":");
    json::write_string(&mut text, instruction);
    text.push_str(",\"message\":");
    json::write_string(&mut text, message);
    if let Some(peer_id) = peer_id {
        text.push_str(",\"peer_id\":");
        json::write_string(&mut text, peer_id);
    }
    text.push('}');
    text
}

/// Where an error happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'x> {
    pub(crate) op: OpId,
    /// Peer of the call or canon, else the one that executes.
    pub(crate) peer_id: &'x str,
    /// Whether the instruction is a call or a canon: only their errors show the peer in `:error:`.
    pub(crate) has_peer: bool,
    pub(crate) origin: Option<&'x Origin<'x>>,
}

impl<'x> Registers<'x> {
    pub(crate) fn new() -> Self {
        Self {
            last_error: Register::no_error(),
            error: Register::no_error(),
            original: None,
            can_set_last: true,
            can_set_error: true,
        }
    }

    /// An instruction failed. The instructions around it would change nothing.
    pub(crate) fn record(&mut self, error: &Rc<CatchableError>, place: Place<'x>) {
        let register = |peer_id| Register {
            object: Object::Recorded {
                error: Rc::clone(error),
                op: place.op,
                peer_id,
            },
            origin: place.origin,
            provenance: Provenance::Literal,
        };
        let is_comparison = matches!(
            **error,
            CatchableError::MatchValuesNotEqual | CatchableError::MismatchValuesEqual
        );
        if self.can_set_last && !is_comparison {
            self.last_error = register(Some(place.peer_id));
            self.can_set_last = false;
        }
        if self.can_set_error {
            self.error = register(place.has_peer.then_some(place.peer_id));
            self.original = None;
        }
        self.can_set_error = false;
    }

    /// The left branch of a `xor` failed.
    pub(crate) fn xor_left_failed(&mut self, error: &Rc<CatchableError>) {
        self.can_set_last = true;
        self.can_set_error = true;
        self.original = Some(Rc::clone(error));
    }

    /// The right branch of a `xor` ended.
    pub(crate) fn xor_right_ended(&mut self, ok: bool) {
        if self.can_set_error {
            self.error = Register::no_error();
            self.original = None;
        }
        self.can_set_error |= ok;
    }

    /// A `par` ended and one of its branches did not fail.
    pub(crate) fn par_ok(&mut self) {
        self.can_set_last = true;
    }

    /// `fail` with an object.
    pub(crate) fn user_error(&mut self, register: Register<'x>) {
        self.last_error = register;
        self.can_set_last = false;
    }

    /// `fail :error:` keeps the register.
    pub(crate) fn rethrown(&mut self) {
        self.can_set_error = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> Rc<CatchableError> {
        Rc::new(CatchableError::User {
            object: String::new(),
        })
    }

    fn place(op: OpId) -> Place<'static> {
        Place {
            op,
            peer_id: "A",
            has_peer: false,
            origin: None,
        }
    }

    fn op(register: &Register<'_>) -> Option<OpId> {
        match register.object {
            Object::Recorded { op, .. } => Some(op),
            Object::Text(_) => None,
        }
    }

    #[test]
    fn xor_clears_error_but_not_last_error() {
        let mut registers = Registers::new();
        registers.record(&error(), place(1));
        registers.xor_left_failed(&error());
        assert_eq!(op(&registers.error), Some(1));
        registers.xor_right_ended(true);
        assert_eq!(op(&registers.error), None);
        assert_eq!(op(&registers.last_error), Some(1));
        registers.record(&error(), place(2));
        assert_eq!(op(&registers.last_error), Some(2));
    }

    #[test]
    fn comparisons_leave_last_error_alone() {
        let mut registers = Registers::new();
        registers.record(&Rc::new(CatchableError::MatchValuesNotEqual), place(1));
        assert_eq!(op(&registers.error), Some(1));
        assert_eq!(op(&registers.last_error), None);
    }

    #[test]
    fn an_absorbed_error_stays() {
        let mut registers = Registers::new();
        registers.record(&error(), place(1));
        registers.par_ok();
        registers.record(&Rc::new(CatchableError::MatchValuesNotEqual), place(2));
        assert_eq!(op(&registers.error), Some(1));
    }
}

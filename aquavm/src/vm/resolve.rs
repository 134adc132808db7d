//! Operands: their texts, where they came from, what an assignment keeps of them.

use std::{borrow::Cow, rc::Rc};

use particle::{Tetraplet, data::Provenance};

use super::{Bound, Stop, Vm, fold::ActiveFold};
use crate::{
    error::{CatchableError, LambdaError, UncatchableError},
    json::{self, Kind},
    registers::Register,
    scope::Found,
    script::{LensId, LensStep, Operand, Slot},
    value::{Aggregate, Canon, CanonMap, Json, Origin, number_text},
};

/// Which register.
#[derive(Clone, Copy)]
enum Which {
    Error,
    LastError,
}

/// What a scalar or an iterator stands for.
enum Named<'v, 'x> {
    Scalar(&'v Aggregate<'x>),
    Iterator(&'v ActiveFold<'x>),
}

impl<'x> Vm<'_, 'x> {
    /// The canonical JSON text of an operand.
    pub(super) fn text_of(&mut self, operand: u32) -> Result<&'x str, Stop> {
        match self.program.operand(operand) {
            Operand::InitPeerId => Ok(self.init_peer_text),
            Operand::Timestamp => Ok(self.timestamp_text),
            Operand::Ttl => Ok(self.ttl_text),
            Operand::Constant(text) => Ok(self.program.resolve(text)),
            Operand::Error(lens) => self.register_text(Which::Error, lens),
            Operand::LastError(lens) => self.register_text(Which::LastError, lens),
            Operand::Scalar(slot, None) => self.scalar_text(slot),
            Operand::Scalar(slot, lens) => {
                let text = self.scalar_text(slot)?;
                self.through(text, lens)
            }
            Operand::Canon(slot, lens) => {
                let canon = self.canon_stream(slot)?;
                match lens {
                    None => Ok(canon.text(self.arena)?),
                    Some(lens) => self.canon_through(canon, lens).map(|(text, _)| text),
                }
            }
            Operand::CanonMap(slot, lens) => {
                let map = self.canon_map(slot)?;
                match lens {
                    None => Ok(map.text(self.arena)?),
                    Some(lens) => self.map_through(&map, lens).map(|(text, _)| text),
                }
            }
            // The grammar has no such operand.
            Operand::Stream(stream) => Err(self.not_found(stream.slot)),
        }
    }

    /// The text of a part of a call triplet or of a canon's peer, which must be a string.
    pub(super) fn string_of(&mut self, operand: u32) -> Result<&'x str, Stop> {
        if let Operand::Constant(text) = self.program.operand(operand)
            && let Some(string) = self.program.plain_string(text)
        {
            return Ok(string);
        }
        let text = self.text_of(operand)?;
        if json::kind(text) == Kind::String {
            return Ok(match json::unescape(text) {
                Cow::Borrowed(text) => text,
                Cow::Owned(text) => self.arena.alloc_str(&text),
            });
        }
        let name = match self.program.operand(operand) {
            Operand::Scalar(slot, _) | Operand::Canon(slot, _) | Operand::CanonMap(slot, _) => {
                self.name(slot)
            }
            _ => String::new(),
        };
        Err(CatchableError::NonStringTriplet {
            name,
            value: text.to_owned(),
        }
        .into())
    }

    /// Appends the tetraplets of an operand whose text was found before.
    pub(super) fn origins_of(
        &mut self,
        operand: u32,
        out: &mut Vec<&'x Origin<'x>>,
    ) -> Result<(), Stop> {
        match self.program.operand(operand) {
            Operand::Canon(slot, None) => {
                let canon = self.canon_stream(slot)?;
                out.extend(canon.elements.iter().map(|value| value.origin(self.arena)));
            }
            Operand::CanonMap(slot, None) => {
                let map = self.canon_map(slot)?;
                let elements = map.canon.elements.iter();
                out.extend(elements.map(|value| value.origin(self.arena)));
            }
            _ => out.push(self.origin_of(operand)?),
        }
        Ok(())
    }

    /// The tetraplet of an operand that is one value.
    pub(super) fn origin_of(&mut self, operand: u32) -> Result<&'x Origin<'x>, Stop> {
        Ok(match self.program.operand(operand) {
            Operand::Error(_) => self.registers.error.origin.unwrap_or(self.literal),
            Operand::LastError(_) => self.registers.last_error.origin.unwrap_or(self.literal),
            Operand::Scalar(slot, lens) => self.scalar_origin(slot, lens)?,
            Operand::Canon(slot, lens) => {
                let canon = self.canon_stream(slot)?;
                match lens {
                    None => canon.origin,
                    Some(lens) => self.canon_through(canon, lens)?.1.origin(self.arena),
                }
            }
            Operand::CanonMap(slot, lens) => {
                let map = self.canon_map(slot)?;
                match lens {
                    None => map.canon.origin,
                    Some(lens) => self.map_through(&map, lens)?.1,
                }
            }
            _ => self.literal,
        })
    }

    /// What an assignment of the operand stores.
    pub(super) fn aggregate_of(&mut self, operand: u32) -> Result<Aggregate<'x>, Stop> {
        match self.program.operand(operand) {
            Operand::Error(lens) => self.register_aggregate(Which::Error, lens),
            Operand::LastError(lens) => self.register_aggregate(Which::LastError, lens),
            Operand::Scalar(slot, None) => self.scalar(slot),
            Operand::Scalar(slot, Some(lens)) => {
                let provenance = self.scalar_provenance(slot)?;
                let text = self.scalar_text(slot)?;
                let text = self.through(text, Some(lens))?;
                let origin = self.scalar_origin(slot, Some(lens))?;
                Ok(self.squeezed(text, origin, provenance))
            }
            Operand::Canon(slot, lens) => {
                let canon = self.canon_stream(slot)?;
                match lens {
                    None => Ok(self.squeezed(
                        canon.text(self.arena)?,
                        canon.origin,
                        Provenance::Canon(canon.cid),
                    )),
                    Some(lens) => {
                        let (text, source) = self.canon_through(canon, lens)?;
                        Ok(self.squeezed(text, source.origin(self.arena), source.provenance))
                    }
                }
            }
            Operand::CanonMap(slot, lens) => {
                let map = self.canon_map(slot)?;
                let provenance = Provenance::Canon(map.canon.cid);
                match lens {
                    None => {
                        let text = map.text(self.arena)?;
                        Ok(self.squeezed(text, map.canon.origin, provenance))
                    }
                    Some(lens) => {
                        let (text, origin) = self.map_through(&map, lens)?;
                        Ok(self.squeezed(text, origin, provenance))
                    }
                }
            }
            _ => {
                let text = self.text_of(operand)?;
                Ok(self.squeezed(text, self.literal, Provenance::Literal))
            }
        }
    }

    #[inline]
    fn squeezed(
        &self,
        text: &'x str,
        origin: &'x Origin<'x>,
        provenance: Provenance<'x>,
    ) -> Aggregate<'x> {
        Aggregate::squeezed(self.arena, Json::Text(text), origin, provenance)
    }

    // Registers.

    fn register_text(&mut self, which: Which, lens: Option<LensId>) -> Result<&'x str, Stop> {
        let (program, arena) = (self.program, self.arena);
        let text = self.error_register(which).text(program, arena);
        self.through(text, lens)
    }

    fn register_aggregate(
        &mut self,
        which: Which,
        lens: Option<LensId>,
    ) -> Result<Aggregate<'x>, Stop> {
        let text = self.register_text(which, lens)?;
        let literal = self.literal;
        let register = self.error_register(which);
        let origin = register.origin.unwrap_or(literal);
        let provenance = register.provenance;
        Ok(self.squeezed(text, origin, provenance))
    }

    fn error_register(&mut self, which: Which) -> &mut Register<'x> {
        match which {
            Which::Error => &mut self.registers.error,
            Which::LastError => &mut self.registers.last_error,
        }
    }

    // Variables.

    pub(super) fn not_found(&self, slot: Slot) -> Stop {
        CatchableError::VariableNotFound {
            name: self.name(slot),
        }
        .into()
    }

    fn not_set(&self, slot: Slot) -> Stop {
        CatchableError::NotSetAfterNew {
            name: self.name(slot),
        }
        .into()
    }

    /// Whether an active fold iterates with this name.
    #[inline]
    pub(super) fn is_iterator(&self, slot: Slot) -> bool {
        matches!(self.folds.get(slot as usize), Some(Some(_)))
    }

    /// What a scalar or an iterator stands for.
    #[inline]
    fn named(&self, slot: Slot) -> Result<Named<'_, 'x>, Stop> {
        let fold = self.folds.get(slot as usize).and_then(Option::as_deref);
        match (self.scopes.get(slot), fold) {
            // Assignments do not look at iterators, so both can be there.
            (Found::Value(_), Some(_)) => Err(UncatchableError::IterableShadowing {
                name: self.name(slot),
            }
            .into()),
            (Found::Value(Bound::Scalar(value)), None) => Ok(Named::Scalar(value)),
            (Found::Unset, _) => Err(self.not_set(slot)),
            (Found::Nothing, Some(fold)) => Ok(Named::Iterator(fold)),
            (Found::Value(_) | Found::Nothing, None) => Err(self.not_found(slot)),
        }
    }

    /// A scalar or the current element of an iterator as an assignment keeps it.
    #[inline]
    pub(super) fn scalar(&self, slot: Slot) -> Result<Aggregate<'x>, Stop> {
        Ok(match self.named(slot)? {
            Named::Scalar(value) => *value,
            Named::Iterator(fold) => fold.items.element(self.arena, fold.cursor),
        })
    }

    #[inline]
    pub(super) fn scalar_text(&self, slot: Slot) -> Result<&'x str, Stop> {
        Ok(match self.named(slot)? {
            Named::Scalar(value) => value.value.text(self.arena)?,
            Named::Iterator(fold) => fold.items.text(self.arena, fold.cursor)?,
        })
    }

    #[inline]
    fn scalar_provenance(&self, slot: Slot) -> Result<Provenance<'x>, Stop> {
        Ok(match self.named(slot)? {
            Named::Scalar(value) => value.provenance,
            Named::Iterator(fold) => fold.items.provenance(fold.cursor),
        })
    }

    #[inline]
    fn scalar_origin(&self, slot: Slot, lens: Option<LensId>) -> Result<&'x Origin<'x>, Stop> {
        let origin = match self.named(slot)? {
            Named::Scalar(value) => value.origin(self.arena),
            Named::Iterator(fold) => fold.items.origin(self.arena, fold.cursor),
        };
        let Some(lens) = lens else {
            return Ok(origin);
        };
        let text = self.program.lens_text(lens);
        if self.program.path(lens).is_none() {
            let tetraplet = Tetraplet {
                lens: text,
                ..Tetraplet::default()
            };
            return Ok(Origin::new(self.arena, tetraplet));
        }
        Ok(self.with_lens(origin, text))
    }

    /// A tetraplet with `text` behind its lens.
    pub(super) fn with_lens(&self, origin: &'x Origin<'x>, text: &'x str) -> &'x Origin<'x> {
        let lens = if origin.tetraplet.lens.is_empty() {
            text
        } else {
            self.arena.concat(&[origin.tetraplet.lens, text])
        };
        Origin::new(
            self.arena,
            Tetraplet {
                lens,
                ..origin.tetraplet
            },
        )
    }

    pub(super) fn canon_stream(&self, slot: Slot) -> Result<&'x Canon<'x>, Stop> {
        match self.scopes.get(slot) {
            Found::Value(Bound::Canon(canon)) => Ok(canon),
            Found::Unset => Err(self.not_set(slot)),
            _ => Err(self.not_found(slot)),
        }
    }

    pub(super) fn canon_map(&self, slot: Slot) -> Result<Rc<CanonMap<'x>>, Stop> {
        match self.scopes.get(slot) {
            Found::Value(Bound::Map(map)) => Ok(Rc::clone(map)),
            Found::Unset => Err(self.not_set(slot)),
            _ => Err(self.not_found(slot)),
        }
    }

    // Lambdas on canon streams and maps.

    /// What a lambda selects of a canon stream, and the element it is a part of.
    pub(super) fn canon_through(
        &mut self,
        canon: &'x Canon<'x>,
        lens: LensId,
    ) -> Result<(&'x str, Aggregate<'x>), Stop> {
        let Some(path) = self.program.path(lens) else {
            let text = number_text(self.arena, canon.elements.len());
            let tetraplet = Tetraplet {
                service_id: ".length",
                ..Tetraplet::of_peer(self.current_peer)
            };
            let origin = Origin::new(self.arena, tetraplet);
            let provenance = Provenance::Canon(canon.cid);
            return Ok((text, Aggregate::new(Json::Text(text), origin, provenance)));
        };
        let Some((first, rest)) = path.split_first() else {
            return Err(self.empty_path());
        };
        let index = self.stream_index(*first)?;
        let Some(element) = canon.elements.get(index as usize) else {
            return Err(stream_too_short(canon.elements.len(), index).into());
        };
        let text = element.value.text(self.arena)?;
        Ok((self.walk(text, rest)?, *element))
    }

    /// What a lambda selects of a canon map, and its tetraplet.
    pub(super) fn map_through(
        &mut self,
        map: &CanonMap<'x>,
        lens: LensId,
    ) -> Result<(&'x str, &'x Origin<'x>), Stop> {
        let Some(path) = self.program.path(lens) else {
            let text = number_text(self.arena, map.canon.elements.len());
            let tetraplet = Tetraplet {
                lens: "length",
                ..Tetraplet::of_peer(self.current_peer)
            };
            return Ok((text, Origin::new(self.arena, tetraplet)));
        };
        let Some((first, rest)) = path.split_first() else {
            return Err(self.empty_path());
        };
        let key = self.map_key(*first)?;
        let pairs = map.pairs(key);
        let whole = |vm: &Self| {
            let tetraplet = Tetraplet {
                lens: vm.program.lens_text(lens),
                ..Tetraplet::of_peer(map.canon.peer())
            };
            Origin::new(vm.arena, tetraplet)
        };
        if pairs.is_empty() {
            return Ok(("[]", whole(self)));
        }
        let Some((second, rest)) = rest.split_first() else {
            return Ok((map.values_text(self.arena, key)?, whole(self)));
        };
        let index = self.stream_index(*second)?;
        let Some(&position) = pairs.get(index as usize) else {
            return Err(stream_too_short(pairs.len(), index).into());
        };
        let (Some(text), Some(element)) = (
            map.value(self.arena, position)?,
            map.canon.elements.get(position as usize),
        ) else {
            return Err(stream_too_short(pairs.len(), index).into());
        };
        let text = self.walk(text, rest)?;
        if rest.is_empty() {
            return Ok((text, element.origin(self.arena)));
        }
        let mut lens_text = String::new();
        for step in rest {
            lens_text.push('.');
            self.push_step(&mut lens_text, *step);
        }
        let lens_text = self.arena.alloc_str(&lens_text);
        Ok((text, self.with_lens(element.origin(self.arena), lens_text)))
    }

    fn push_step(&self, out: &mut String, step: LensStep) {
        match step {
            LensStep::Index(index) => {
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
            LensStep::Field(name) => out.push_str(self.program.resolve(name)),
            LensStep::Scalar(slot) => {
                out.push('[');
                out.push_str(self.program.name(slot));
                out.push(']');
            }
        }
    }

    /// The key that a first accessor names, as JSON text.
    fn map_key(&mut self, step: LensStep) -> Result<&'x str, Stop> {
        match step {
            LensStep::Index(index) => Ok(number_text(self.arena, index as usize)),
            LensStep::Field(name) => {
                let mut key = String::new();
                json::write_string(&mut key, self.program.resolve(name));
                Ok(self.arena.alloc_str(&key))
            }
            LensStep::Scalar(slot) => {
                let Named::Scalar(value) = self.named(slot)? else {
                    return Err(CatchableError::from(LambdaError::IterableMapKey).into());
                };
                let text = value.value.text(self.arena)?;
                if crate::value::is_map_key(text) {
                    return Ok(text);
                }
                let value = text.to_owned();
                Err(CatchableError::from(LambdaError::NotMapKey { value }).into())
            }
        }
    }

    fn empty_path(&self) -> Stop {
        // A path has at least one accessor.
        CatchableError::VariableNotFound {
            name: String::new(),
        }
        .into()
    }
}

fn stream_too_short(size: usize, index: u32) -> CatchableError {
    LambdaError::StreamTooShort { size, index }.into()
}

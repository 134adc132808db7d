//! Lambdas on JSON values.

use super::{Stop, Vm};
use crate::{
    error::{CatchableError, LambdaError},
    json::{self, Kind},
    script::{LensId, LensStep},
    value::number_text,
};

impl<'x> Vm<'_, 'x> {
    /// What a lambda, if there is one, selects of a value.
    #[inline]
    pub(super) fn through(&mut self, text: &'x str, lens: Option<LensId>) -> Result<&'x str, Stop> {
        let Some(lens) = lens else {
            return Ok(text);
        };
        match self.program.path(lens) {
            Some(path) => self.walk(text, path),
            None if json::kind(text) == Kind::Array => {
                Ok(number_text(self.arena, json::array_len(text)))
            }
            None => Err(CatchableError::LengthOfNonArray {
                value: text.to_owned(),
            }
            .into()),
        }
    }

    /// Follows accessors.
    pub(super) fn walk(&mut self, text: &'x str, path: &[LensStep]) -> Result<&'x str, Stop> {
        path.iter().try_fold(text, |text, step| match *step {
            LensStep::Index(index) => element(text, index),
            LensStep::Field(name) => field(text, self.program.resolve(name)),
            LensStep::Scalar(slot) => {
                let accessor = self.scalar_text(slot)?;
                match json::kind(accessor) {
                    Kind::String => field(text, &json::unescape(accessor)),
                    Kind::Number => element(text, index(accessor)?),
                    _ => Err(lambda(LambdaError::NotAccessor {
                        value: accessor.to_owned(),
                    })),
                }
            }
        })
    }

    /// The index that the first accessor of a stream names.
    pub(super) fn stream_index(&mut self, step: LensStep) -> Result<u32, Stop> {
        match step {
            LensStep::Index(index) => Ok(index),
            LensStep::Field(name) => Err(lambda(LambdaError::FieldOfStream {
                field: self.program.resolve(name).to_owned(),
            })),
            LensStep::Scalar(slot) => {
                let accessor = self.scalar_text(slot)?;
                if json::kind(accessor) == Kind::Number {
                    return index(accessor);
                }
                Err(lambda(LambdaError::NotStreamAccessor {
                    value: accessor.to_owned(),
                }))
            }
        }
    }
}

fn element(text: &str, index: u32) -> Result<&str, Stop> {
    let value = || text.to_owned();
    if json::kind(text) != Kind::Array {
        let value = value();
        return Err(lambda(LambdaError::NotArray { value, index }));
    }
    json::array_nth(text, index).ok_or_else(|| {
        let value = value();
        lambda(LambdaError::NoElement { value, index })
    })
}

fn field<'t>(text: &'t str, name: &str) -> Result<&'t str, Stop> {
    let value = || text.to_owned();
    let field = || name.to_owned();
    if json::kind(text) != Kind::Object {
        let (value, field) = (value(), field());
        return Err(lambda(LambdaError::NotObject { value, field }));
    }
    json::object_field(text, name).ok_or_else(|| {
        let (value, field) = (value(), field());
        lambda(LambdaError::NoField { value, field })
    })
}

fn index(number: &str) -> Result<u32, Stop> {
    number.parse().map_err(|_| {
        lambda(LambdaError::NotIndex {
            number: number.to_owned(),
        })
    })
}

fn lambda(error: LambdaError) -> Stop {
    CatchableError::from(error).into()
}

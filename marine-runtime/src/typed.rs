//! Rust values in calls, for hosts that know the interface of a service.
//!
//! The macro `bindings!` of `aquamarine-marine-runtime-macros` makes a client with one method for each function, and a
//! struct for each record; this module is what its code is made of. By hand:
//!
//! ```
//! use marine_runtime::{IValue, typed::Typed};
//!
//! assert_eq!(vec![1_u8, 2].into_value(), IValue::ByteArray(vec![1, 2]));
//! let error = u64::from_value(IValue::String("7".to_owned())).unwrap_err();
//! assert_eq!(error.to_string(), "expected u64, found string");
//! ```

mod agreement;
mod caller;

use std::fmt;

use crate::IValue;

pub use agreement::{Difference, check};
pub use caller::{Caller, TypedError, result};

#[doc(hidden)]
pub use serde;

/// A Rust type with an interface type.
pub trait Typed: Sized {
    /// What the interface calls it.
    const NAME: &'static str;

    /// The value as one of the interface.
    fn into_value(self) -> IValue;

    /// The value that `value` stands for.
    ///
    /// # Errors
    /// A value of another type.
    fn from_value(value: IValue) -> Result<Self, Mismatch>;

    /// An array of such values.
    fn array_into_value(values: Vec<Self>) -> IValue {
        IValue::Array(values.into_iter().map(Self::into_value).collect())
    }

    /// The values of an array.
    ///
    /// # Errors
    /// Something else than an array, or an item of another type.
    fn array_from_value(value: IValue) -> Result<Vec<Self>, Mismatch> {
        match value {
            IValue::Array(values) => values
                .into_iter()
                .enumerate()
                .map(|(index, value)| {
                    Self::from_value(value).map_err(|error| error.within(Step::Item(index)))
                })
                .collect(),
            // An empty array of unknown items.
            IValue::ByteArray(bytes) if bytes.is_empty() => Ok(Vec::new()),
            other => Err(Mismatch::new(format!("an array of {}", Self::NAME), &other)),
        }
    }
}

/// A value that has not the type it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// From the innermost outwards.
    path: Vec<Step>,
    expected: String,
    found: String,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(&'static str),
    Item(usize),
}

impl Mismatch {
    fn new(expected: impl Into<String>, found: &IValue) -> Self {
        Self {
            path: Vec::new(),
            expected: expected.into(),
            found: shape(found),
        }
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) if is_first => write!(formatter, "field {name}")?,
                Step::Field(name) => write!(formatter, ".{name}")?,
                Step::Item(index) if is_first => write!(formatter, "item {index}")?,
                Step::Item(index) => write!(formatter, "[{index}]")?,
            }
            is_first = false;
        }
        if !is_first {
            formatter.write_str(": ")?;
        }
        write!(
            formatter,
            "expected {}, found {}",
            self.expected, self.found
        )
    }
}

impl std::error::Error for Mismatch {}

/// The fields of a record, one after the other: for generated code.
#[derive(Debug)]
pub struct Fields {
    values: std::vec::IntoIter<IValue>,
}

impl Fields {
    /// The fields of the record `name`, which has `count` of them.
    ///
    /// # Errors
    /// Something else than a record, or one with more or fewer fields.
    pub fn of(name: &str, count: usize, value: IValue) -> Result<Self, Mismatch> {
        match value {
            IValue::Record(values) if values.len() == count => Ok(Self {
                values: values.into_iter(),
            }),
            other => Err(Mismatch::new(
                format!("record {name} with {count} fields"),
                &other,
            )),
        }
    }

    /// The next field.
    ///
    /// # Errors
    /// A value of another type.
    pub fn take<T: Typed>(&mut self, name: &'static str) -> Result<T, Mismatch> {
        match self.values.next() {
            Some(value) => T::from_value(value),
            None => Err(Mismatch {
                path: Vec::new(),
                expected: T::NAME.to_owned(),
                found: "nothing".to_owned(),
            }),
        }
        .map_err(|error| error.within(Step::Field(name)))
    }
}

/// What kind of value it is, without its content.
fn shape(value: &IValue) -> String {
    match value {
        IValue::Boolean(_) => "bool".to_owned(),
        IValue::S8(_) => "i8".to_owned(),
        IValue::S16(_) => "i16".to_owned(),
        IValue::S32(_) => "i32".to_owned(),
        IValue::S64(_) => "i64".to_owned(),
        IValue::U8(_) => "u8".to_owned(),
        IValue::U16(_) => "u16".to_owned(),
        IValue::U32(_) => "u32".to_owned(),
        IValue::U64(_) => "u64".to_owned(),
        IValue::F32(_) => "f32".to_owned(),
        IValue::F64(_) => "f64".to_owned(),
        IValue::String(_) => "string".to_owned(),
        IValue::ByteArray(bytes) => format!("{} bytes", bytes.len()),
        IValue::Array(values) => format!("an array of {} items", values.len()),
        IValue::I32(_) => "core i32".to_owned(),
        IValue::I64(_) => "core i64".to_owned(),
        IValue::Record(values) => format!("a record with {} fields", values.len()),
    }
}

macro_rules! scalars {
    ($($ty:ty, $name:literal, $variant:ident $(, $core:ident)?;)*) => {$(
        impl Typed for $ty {
            const NAME: &'static str = $name;

            fn into_value(self) -> IValue {
                IValue::$variant(self)
            }

            fn from_value(value: IValue) -> Result<Self, Mismatch> {
                match value {
                    IValue::$variant(value) => Ok(value),
                    $(IValue::$core(value) => Ok(value),)?
                    other => Err(Mismatch::new($name, &other)),
                }
            }
        }
    )*};
}

scalars! {
    bool, "bool", Boolean;
    i8, "i8", S8;
    i16, "i16", S16;
    i32, "i32", S32, I32;
    i64, "i64", S64, I64;
    u16, "u16", U16;
    u32, "u32", U32;
    u64, "u64", U64;
    f32, "f32", F32;
    f64, "f64", F64;
    String, "string", String;
}

impl Typed for u8 {
    const NAME: &'static str = "u8";

    fn into_value(self) -> IValue {
        IValue::U8(self)
    }

    fn from_value(value: IValue) -> Result<Self, Mismatch> {
        match value {
            IValue::U8(value) => Ok(value),
            other => Err(Mismatch::new(Self::NAME, &other)),
        }
    }

    fn array_into_value(values: Vec<Self>) -> IValue {
        IValue::ByteArray(values)
    }

    fn array_from_value(value: IValue) -> Result<Vec<Self>, Mismatch> {
        match value {
            IValue::ByteArray(bytes) => Ok(bytes),
            IValue::Array(values) => values
                .into_iter()
                .enumerate()
                .map(|(index, value)| {
                    Self::from_value(value).map_err(|error| error.within(Step::Item(index)))
                })
                .collect(),
            other => Err(Mismatch::new("bytes", &other)),
        }
    }
}

impl<T: Typed> Typed for Vec<T> {
    const NAME: &'static str = "an array";

    fn into_value(self) -> IValue {
        T::array_into_value(self)
    }

    fn from_value(value: IValue) -> Result<Self, Mismatch> {
        T::array_from_value(value)
    }
}

/// What a function returns: one value or none.
pub trait Output: Sized {
    /// The result of a call.
    ///
    /// # Errors
    /// Another number of values, or a value of another type.
    fn from_values(values: Vec<IValue>) -> Result<Self, Mismatch>;
}

impl Output for () {
    fn from_values(values: Vec<IValue>) -> Result<Self, Mismatch> {
        match values.first() {
            None => Ok(()),
            Some(value) => Err(Mismatch::new("no result", value)),
        }
    }
}

impl<T: Typed> Output for T {
    fn from_values(values: Vec<IValue>) -> Result<Self, Mismatch> {
        match values.into_iter().next() {
            Some(value) => T::from_value(value),
            None => Err(Mismatch {
                path: Vec::new(),
                expected: T::NAME.to_owned(),
                found: "no result".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Point {
        x: i32,
        tags: Vec<String>,
    }

    impl Typed for Point {
        const NAME: &'static str = "Point";

        fn into_value(self) -> IValue {
            IValue::Record(vec![self.x.into_value(), self.tags.into_value()])
        }

        fn from_value(value: IValue) -> Result<Self, Mismatch> {
            let mut fields = Fields::of("Point", 2, value)?;
            Ok(Self {
                x: fields.take("x")?,
                tags: fields.take("tags")?,
            })
        }
    }

    #[test]
    fn values_come_back() {
        let point = || Point {
            x: -1,
            tags: vec!["a".to_owned()],
        };
        let nested = vec![vec![point()], Vec::new()];
        let value = nested.into_value();
        assert_eq!(
            Vec::<Vec<Point>>::from_value(value).unwrap(),
            vec![vec![point()], Vec::new()]
        );
        assert_eq!(
            vec![vec![1_u8]].into_value(),
            IValue::Array(vec![IValue::ByteArray(vec![1])])
        );
        assert_eq!(
            Vec::<u8>::from_value(IValue::Array(vec![IValue::U8(3)])).unwrap(),
            vec![3]
        );
    }

    #[test]
    fn a_mismatch_says_where() {
        let point = IValue::Record(vec![
            IValue::S32(1),
            IValue::Array(vec![IValue::String(String::new()), IValue::U8(1)]),
        ]);
        let error = Vec::<Point>::from_value(IValue::Array(vec![point])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "item 0.tags[1]: expected string, found u8"
        );
        let error = Point::from_value(IValue::Record(vec![IValue::S32(1)])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected record Point with 2 fields, found a record with 1 fields"
        );
        assert_eq!(
            <() as Output>::from_values(vec![IValue::U8(1)])
                .unwrap_err()
                .to_string(),
            "expected no result, found u8"
        );
    }
}

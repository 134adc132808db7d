//! Rust types as types of the interface.

use super::{AbiError, Type, Value, decode, encode};
use crate::{
    AccessType, Address, Bytes32, CapacityConstant, CommitmentStatus, DealConstant, DealStatus,
    OnChainCid, U256,
};

/// A Rust type that stands for a type of the interface.
pub trait Abi: Sized {
    /// The type of the interface.
    fn abi_type() -> Type;

    /// The value of the interface.
    fn to_value(&self) -> Value;

    /// Reads a value of the interface.
    ///
    /// # Errors
    /// A value of another type.
    fn from_value(value: Value) -> Result<Self, AbiError>;
}

/// A list of parameters: what a call sends, what it returns, what an error tells.
pub trait List: Sized {
    /// The types, in order.
    fn types() -> Vec<Type>;

    /// The values, in order.
    fn to_values(&self) -> Vec<Value>;

    /// Reads the values.
    ///
    /// # Errors
    /// Another number of values, or one of another type.
    fn from_values(values: Vec<Value>) -> Result<Self, AbiError>;

    /// The bytes.
    fn to_abi_bytes(&self) -> Vec<u8> {
        // The values have the types of the same list, so encoding them cannot fail.
        encode(&Self::types(), &self.to_values()).unwrap_or_default()
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// Those of [`decode`].
    fn from_abi_bytes(bytes: &[u8]) -> Result<Self, AbiError> {
        Self::from_values(decode(&Self::types(), bytes)?)
    }
}

/// A [`List`] whose members have names.
pub trait Fields: List {
    /// The names as the contracts spell them.
    const FIELDS: &'static [&'static str];
}

/// The next value of a list, for the tables of structs.
pub(crate) fn next<T: Abi>(values: &mut std::vec::IntoIter<Value>) -> Result<T, AbiError> {
    T::from_value(values.next().ok_or(AbiError::Count {
        expected: 1,
        actual: 0,
    })?)
}

/// Fails unless there are as many values as types.
pub(crate) fn check_count(expected: usize, values: &[Value]) -> Result<(), AbiError> {
    if values.len() == expected {
        Ok(())
    } else {
        Err(AbiError::Count {
            expected,
            actual: values.len(),
        })
    }
}

fn mismatch<T: Abi>(value: &Value) -> AbiError {
    AbiError::Mismatch {
        expected: T::abi_type().to_string(),
        actual: value.kind(),
    }
}

macro_rules! words {
    ($($rust:ty, $abi:expr, $variant:ident, $to:expr, $from:expr;)*) => {$(
        impl Abi for $rust {
            fn abi_type() -> Type {
                $abi
            }

            fn to_value(&self) -> Value {
                Value::$variant($to(self))
            }

            fn from_value(value: Value) -> Result<Self, AbiError> {
                match value {
                    Value::$variant(inner) => $from(inner),
                    other => Err(mismatch::<Self>(&other)),
                }
            }
        }
    )*};
}

words! {
    U256, Type::Uint(256), Uint, |value: &U256| *value, Ok;
    u64, Type::Uint(64), Uint, |value: &u64| U256::from(*value), small;
    u8, Type::Uint(8), Uint, |value: &u8| U256::from(*value), small;
    bool, Type::Bool, Bool, |value: &bool| *value, Ok;
    Address, Type::Address, Address, |value: &Address| *value, Ok;
    Bytes32, Type::FixedBytes(32), FixedBytes, |value: &Bytes32| value.0.to_vec(),
        |bytes: Vec<u8>| fixed(bytes).map(Bytes32);
    [u8; 4], Type::FixedBytes(4), FixedBytes, |value: &[u8; 4]| value.to_vec(), fixed;
    Vec<u8>, Type::Bytes, Bytes, |value: &Vec<u8>| value.clone(), Ok;
    String, Type::String, String, |value: &String| value.clone(), Ok;
    CommitmentStatus, Type::Uint(8), Uint, |value: &CommitmentStatus| number(*value), variant;
    DealStatus, Type::Uint(8), Uint, |value: &DealStatus| number(*value), variant;
    AccessType, Type::Uint(8), Uint, |value: &AccessType| number(*value), variant;
    CapacityConstant, Type::Uint(8), Uint, |value: &CapacityConstant| number(*value), variant;
    DealConstant, Type::Uint(8), Uint, |value: &DealConstant| number(*value), variant;
}

fn number(value: impl Into<u8>) -> U256 {
    U256::from(value.into())
}

fn small<T: Abi + TryFrom<u64>>(value: U256) -> Result<T, AbiError> {
    u64::try_from(value)
        .ok()
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| mismatch::<T>(&Value::Uint(value)))
}

fn variant<T: Abi + TryFrom<u8, Error = crate::UnknownVariant>>(
    value: U256,
) -> Result<T, AbiError> {
    Ok(T::try_from(small::<u8>(value)?)?)
}

fn fixed<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], AbiError> {
    bytes.try_into().map_err(|_| AbiError::Mismatch {
        expected: format!("bytes{N}"),
        actual: "fixed bytes",
    })
}

/// Types that lists are made of: all but single bytes, because `Vec<u8>` is a byte string.
pub trait Element: Abi {}

impl<T: Element> Element for Vec<T> {}
impl Element for Vec<u8> {}

impl<T: Element> Abi for Vec<T> {
    fn abi_type() -> Type {
        Type::List(Box::new(T::abi_type()))
    }

    fn to_value(&self) -> Value {
        Value::List(self.iter().map(Abi::to_value).collect())
    }

    fn from_value(value: Value) -> Result<Self, AbiError> {
        match value {
            Value::List(values) => values.into_iter().map(Abi::from_value).collect(),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

macro_rules! elements {
    ($($type:ty)*) => {$( impl $crate::abi::Element for $type {} )*};
}

elements! { U256 bool Address Bytes32 [u8; 4] String OnChainCid CommitmentStatus }

/// Tuples as lists of parameters.
macro_rules! tuples {
    ($(($($name:ident),*))*) => {$(
        impl<$($name: Abi),*> List for ($($name,)*) {
            fn types() -> Vec<Type> {
                vec![$($name::abi_type()),*]
            }

            #[allow(non_snake_case, reason = "the names of the types name the values too")]
            fn to_values(&self) -> Vec<Value> {
                let ($($name,)*) = self;
                vec![$($name.to_value()),*]
            }

            fn from_values(values: Vec<Value>) -> Result<Self, AbiError> {
                check_count([$(stringify!($name)),*].len(), &values)?;
                let mut values = values.into_iter();
                Ok(($(next::<$name>(&mut values)?,)*))
            }
        }
    )*};
}

tuples! { (A) (A, B) (A, B, C) }

impl List for () {
    fn types() -> Vec<Type> {
        Vec::new()
    }

    fn to_values(&self) -> Vec<Value> {
        Vec::new()
    }

    fn from_values(values: Vec<Value>) -> Result<Self, AbiError> {
        check_count(0, &values)
    }
}

/// Structs that are parameters: `Abi` from `List`.
macro_rules! structs {
    ($($(#[$meta:meta])* $name:ident {
        $( $(#[$field_meta:meta])* $field:ident $abi_name:literal : $type:ty, )*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

        $crate::abi::fields!($name { $($field $abi_name : $type,)* });

        impl $crate::abi::Element for $name {}

        impl $crate::abi::Abi for $name {
            fn abi_type() -> $crate::abi::Type {
                $crate::abi::Type::Tuple(<Self as $crate::abi::List>::types())
            }

            fn to_value(&self) -> $crate::abi::Value {
                $crate::abi::Value::Tuple($crate::abi::List::to_values(self))
            }

            fn from_value(value: $crate::abi::Value) -> Result<Self, $crate::abi::AbiError> {
                $crate::abi::List::from_values($crate::abi::tuple_members(value)?)
            }
        }
    )*};
}
pub(crate) use structs;

/// The members of a tuple.
pub(crate) fn tuple_members(value: Value) -> Result<Vec<Value>, AbiError> {
    match value {
        Value::Tuple(values) => Ok(values),
        other => Err(AbiError::Mismatch {
            expected: "a tuple".into(),
            actual: other.kind(),
        }),
    }
}

/// `List` for a struct.
macro_rules! list {
    ($name:ident { $($field:ident : $type:ty,)* }) => {
        impl $crate::abi::List for $name {
            fn types() -> Vec<$crate::abi::Type> {
                vec![$(<$type as $crate::abi::Abi>::abi_type()),*]
            }

            fn to_values(&self) -> Vec<$crate::abi::Value> {
                vec![$($crate::abi::Abi::to_value(&self.$field)),*]
            }

            fn from_values(
                values: Vec<$crate::abi::Value>,
            ) -> Result<Self, $crate::abi::AbiError> {
                $crate::abi::check_count(
                    <Self as $crate::abi::Fields>::FIELDS.len(),
                    &values,
                )?;
                #[allow(unused_mut, unused_variables, reason = "some lists are empty")]
                let mut values = values.into_iter();
                Ok(Self { $($field: $crate::abi::next(&mut values)?,)* })
            }
        }
    };
}
pub(crate) use list;

/// `List` and `Fields` for a struct.
macro_rules! fields {
    ($name:ident { $($field:ident $abi_name:literal : $type:ty,)* }) => {
        $crate::abi::list!($name { $($field : $type,)* });

        impl $crate::abi::Fields for $name {
            const FIELDS: &'static [&'static str] = &[$($abi_name),*];
        }
    };
}
pub(crate) use fields;

/// [`fields!`] with the names of the Rust members.
macro_rules! named_fields {
    ($name:ident { $($field:ident : $type:ty,)* }) => {
        $crate::abi::list!($name { $($field : $type,)* });

        impl $crate::abi::Fields for $name {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}
pub(crate) use named_fields;

impl Abi for OnChainCid {
    fn abi_type() -> Type {
        Type::Tuple(vec![Type::FixedBytes(4), Type::FixedBytes(32)])
    }

    fn to_value(&self) -> Value {
        Value::Tuple(vec![self.prefixes.to_value(), self.hash.to_value()])
    }

    fn from_value(value: Value) -> Result<Self, AbiError> {
        let (prefixes, hash) = List::from_values(tuple_members(value)?)?;
        Ok(Self { prefixes, hash })
    }
}

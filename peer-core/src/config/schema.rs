//! The table of keys: what parses a configuration also describes it.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IgnoredAny};

use super::{ByteSize, CompatMode, HumanDuration, KeyFormat, NetworkName};

/// What a value of a key may be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number, which may have a fraction.
    Number,
    /// A text; what it has to say.
    Text(&'static str),
    /// Several of one kind; given more than once, the last list counts.
    List(Box<Kind>),
    /// A table of names of the user's choice.
    Map(Box<Kind>),
    /// A table of these keys.
    Table(Vec<Key>),
    /// Anything: a key of the published peer that has no effect here.
    Ignored,
}

/// One key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in its table.
    pub name: &'static str,
    /// What it means, in lines of Markdown.
    pub meaning: &'static str,
    /// What its value may be.
    pub kind: Kind,
}

/// A type that a key can have.
pub trait Setting {
    /// What values of the type look like.
    fn kind() -> Kind;
}

/// A key of the published peer that has no effect here: any value is accepted, none is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored;

impl Serialize for Ignored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl Kind {
    /// The kind of the key at the end of a path, through tables and maps.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else {
            return Some(self);
        };
        match self {
            Self::Table(keys) => keys.iter().find(|key| key.name == *first)?.kind.at(rest),
            Self::Map(kind) => kind.at(rest),
            Self::Ignored => Some(self),
            _ => None,
        }
    }
}

macro_rules! kinds {
    ($($type:ty => $kind:expr;)*) => {
        $(impl Setting for $type {
            fn kind() -> Kind {
                $kind
            }
        })*
    };
}

kinds! {
    bool => Kind::Boolean;
    u16 => Kind::Integer;
    u32 => Kind::Integer;
    u64 => Kind::Integer;
    usize => Kind::Integer;
    String => Kind::Text("text");
    PathBuf => Kind::Text("path");
    IpAddr => Kind::Text("IP address");
    HumanDuration => Kind::Text("duration");
    ByteSize => Kind::Text("size");
    NetworkName => Kind::Text("`dar`, `stage`, `kras`, 64 hexadecimal digits, or a table with these as `custom`");
    CompatMode => Kind::Text("`aqua` or `nox`");
    KeyFormat => Kind::Text("`ed25519` or `secp256k1`");
    Ignored => Kind::Ignored;
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> Kind {
        T::kind()
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn kind() -> Kind {
        Kind::Map(Box::new(T::kind()))
    }
}

/// Tables of keys as types that parse and describe themselves. `table` has a default for every
/// key; the keys of an `entry` without `serde(default)` have to be given.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub table $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])*
                pub $key:ident: $type:ty = $default:expr,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)*)])*
                pub $key: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        settings!(@describe $name { $($key: $type = concat!($($doc, "\n"),+);)* });
    };
    (
        $(#[$meta:meta])*
        pub entry $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])*
                pub $key:ident: $type:ty,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)*)])*
                pub $key: $type,
            )*
        }

        settings!(@describe $name { $($key: $type = concat!($($doc, "\n"),+);)* });
    };
    (@describe $name:ident { $($key:ident: $type:ty = $meaning:expr;)* }) => {
        impl $crate::config::Setting for $name {
            fn kind() -> $crate::config::Kind {
                $crate::config::Kind::Table(vec![
                    $($crate::config::Key {
                        // A key may be a word of Rust.
                        name: stringify!($key).trim_start_matches("r#"),
                        meaning: $meaning,
                        kind: <$type as $crate::config::Setting>::kind(),
                    },)*
                ])
            }
        }
    };
}

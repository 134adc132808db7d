//! The JSON descriptions that the SDK leaves in a module.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// One annotated item.
#[derive(Debug, Deserialize)]
#[serde(tag = "ast_type")]
pub(super) enum Item {
    Function {
        signature: Signature,
    },
    Record {
        name: String,
        fields: Fields,
    },
    ExternMod {
        namespace: String,
        imports: Vec<ImportedFunction>,
    },
}

#[derive(Debug, Deserialize)]
pub(super) struct Signature {
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
    pub(super) output_types: Vec<Ty>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) ty: Ty,
}

#[derive(Debug, Deserialize)]
pub(super) enum Fields {
    Named(Vec<Field>),
    Unnamed(IgnoredAny),
    Unit,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(super) struct Field {
    pub(super) name: Option<String>,
    pub(super) ty: Ty,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImportedFunction {
    pub(super) link_name: Option<String>,
    pub(super) signature: Signature,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(super) enum Ty {
    Boolean(Passed),
    I8(Passed),
    I16(Passed),
    I32(Passed),
    I64(Passed),
    U8(Passed),
    U16(Passed),
    U32(Passed),
    U64(Passed),
    F32(Passed),
    F64(Passed),
    Utf8Str(Passed),
    Utf8String(Passed),
    Vector(Box<Ty>, Passed),
    Record(String, Passed),
}

/// Whether a value or a reference is passed: the interface is the same.
#[derive(Debug, PartialEq)]
pub(super) struct Passed;

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

//! Rust types that have an interface type.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Error, GenericArgument, Ident, PathArguments, Result, ReturnType, Type, spanned::Spanned,
};

/// Where a type stands; what is allowed there differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// An argument of an exported or imported function.
    Argument,
    /// The result of an exported function.
    Result,
    /// The result of an imported function.
    ImportedResult,
    /// A field of a record.
    Field,
    /// What a vector holds.
    Element,
}

/// How a value is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    Value,
    Reference,
    MutableReference,
}

/// The kinds of interface types, as far as Rust has a type for them.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A number or `bool`, by its Rust name.
    Scalar(&'static str),
    Str,
    String,
    Vector(Box<Kind>),
    /// A record, by the last segment of its path.
    Record(Ident),
}

/// A type as it stands in a signature or a record.
#[derive(Clone, Debug)]
pub(crate) struct MarineType {
    pub(crate) kind: Kind,
    pub(crate) passing: Passing,
    /// The type without the reference.
    pub(crate) ty: Type,
}

impl MarineType {
    /// Reads a type, or says why it cannot stand here.
    pub(crate) fn parse(ty: &Type, position: Position) -> Result<Self> {
        let (passing, inner) = match bare(ty) {
            Type::Reference(reference) => {
                if !matches!(position, Position::Argument | Position::Result) {
                    return Err(Error::new_spanned(ty, reference_refusal(position)));
                }
                let passing = match reference.mutability {
                    Some(_) => Passing::MutableReference,
                    None => Passing::Reference,
                };
                (passing, bare(&reference.elem))
            }
            other => (Passing::Value, other),
        };
        let kind = parse_kind(inner)?;
        if matches!(kind, Kind::Str) && passing == Passing::Value {
            return Err(Error::new_spanned(
                ty,
                "`str` has no size of its own: take `&str` as an argument, use `String` elsewhere",
            ));
        }
        Ok(Self {
            kind,
            passing,
            ty: inner.clone(),
        })
    }

    /// Reads what a function returns; `None` for nothing.
    pub(crate) fn parse_output(output: &ReturnType, position: Position) -> Result<Option<Self>> {
        match output {
            ReturnType::Default => Ok(None),
            ReturnType::Type(_, ty) => match bare(ty) {
                Type::Tuple(tuple) if tuple.elems.is_empty() => Ok(None),
                _ => Self::parse(ty, position).map(Some),
            },
        }
    }

    /// The type that owns such a value: `String` for `&str`.
    pub(crate) fn owned(&self) -> TokenStream {
        match self.kind {
            Kind::Str => quote!(::std::string::String),
            _ => {
                let ty = &self.ty;
                quote!(#ty)
            }
        }
    }

    /// The record at the bottom of the type, if there is one, with the name it goes by here.
    pub(crate) fn record(&self) -> Option<(Type, &Ident)> {
        let mut kind = &self.kind;
        let mut ty = self.ty.clone();
        loop {
            match kind {
                Kind::Record(name) => return Some((ty, name)),
                Kind::Vector(element) => {
                    ty = vector_element(&ty)?.clone();
                    kind = element;
                }
                _ => return None,
            }
        }
    }
}

/// Checks that a name fits the interface section.
pub(crate) fn check_name(name: &Ident) -> Result<()> {
    if bare_name(name).len() > 255 {
        return Err(Error::new(
            name.span(),
            "a name in an interface has at most 255 bytes",
        ));
    }
    Ok(())
}

/// The name as the interface shows it: without `r#`.
pub(crate) fn bare_name(name: &Ident) -> String {
    let text = name.to_string();
    match text.strip_prefix("r#") {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// Looks through the invisible groups of `macro_rules!` and through parentheses.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

fn reference_refusal(position: Position) -> &'static str {
    match position {
        Position::ImportedResult => {
            "an imported function hands over what it returns: not a reference"
        }
        Position::Field => "a field of a record owns its value: not a reference",
        _ => "a vector owns what it holds: not a reference",
    }
}

fn parse_kind(ty: &Type) -> Result<Kind> {
    let Type::Path(path) = ty else {
        return Err(Error::new_spanned(ty, shape_refusal(ty)));
    };
    if let Some(qself) = &path.qself {
        return Err(Error::new(
            qself.span(),
            "name the type directly: `#[marine]` sees names, not what they resolve to",
        ));
    }
    let Some(last) = path.path.segments.last() else {
        return Err(Error::new_spanned(ty, "expected a type"));
    };
    let name = bare_name(&last.ident);
    if name == "Vec" {
        let Some(element) = vector_element(ty) else {
            return Err(Error::new_spanned(
                ty,
                "expected `Vec<T>` with one type in angle brackets",
            ));
        };
        let element = MarineType::parse(element, Position::Element)?;
        return Ok(Kind::Vector(Box::new(element.kind)));
    }
    if let Some(refusal) = name_refusal(&name) {
        return Err(Error::new_spanned(ty, refusal));
    }
    if let Some(segment) = path.path.segments.iter().find(|s| !s.arguments.is_none()) {
        return Err(Error::new_spanned(
            segment,
            "a type with generics or lifetimes has no interface type; only `Vec<T>` takes a parameter",
        ));
    }
    const SCALARS: [&str; 11] = [
        "bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64",
    ];
    if let Some(scalar) = SCALARS.into_iter().find(|scalar| *scalar == name) {
        return Ok(Kind::Scalar(scalar));
    }
    match name.as_str() {
        "str" => Ok(Kind::Str),
        "String" => Ok(Kind::String),
        _ => {
            check_name(&last.ident)?;
            Ok(Kind::Record(last.ident.clone()))
        }
    }
}

fn vector_element(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = bare(ty) else {
        return None;
    };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    let mut arguments = arguments.args.iter();
    match (arguments.next(), arguments.next()) {
        (Some(GenericArgument::Type(element)), None) => Some(element),
        _ => None,
    }
}

fn shape_refusal(ty: &Type) -> &'static str {
    match ty {
        Type::Tuple(_) => "a tuple has no interface type: make a struct with `#[marine]`",
        Type::Array(_) => "an array of fixed length has no interface type: use `Vec<T>`",
        Type::Slice(_) => "a slice has no interface type: use `Vec<T>`",
        Type::Reference(_) => "a reference to a reference has no interface type",
        Type::Ptr(_) | Type::BareFn(_) => "pointers have no interface type",
        Type::ImplTrait(_) | Type::TraitObject(_) => {
            "a trait has no interface type: name a concrete type"
        }
        Type::Never(_) => "a function of an interface returns",
        Type::Infer(_) => "the type must be written out",
        _ => "this type has no interface type",
    }
}

/// Well-known names that would otherwise pass for a record.
fn name_refusal(name: &str) -> Option<&'static str> {
    Some(match name {
        "usize" | "isize" => {
            "the size of `usize` and `isize` depends on the machine: use `u32`, `u64`, `i32` or `i64`"
        }
        "u128" | "i128" => "interface types end at 64 bits: use `Vec<u8>` or `String`",
        "char" => "`char` has no interface type: use `u32` or `String`",
        "Option" => "`Option` has no interface type: use `Vec<T>` with at most one item",
        "Result" => "`Result` has no interface type: return a record with a field for the error",
        "Box" | "Rc" | "Arc" | "Cow" => {
            "smart pointers have no interface type: use the value itself"
        }
        "HashMap" | "BTreeMap" => "maps have no interface type: use a vector of records",
        "HashSet" | "BTreeSet" | "VecDeque" => {
            "this collection has no interface type: use `Vec<T>`"
        }
        "OsString" | "PathBuf" | "Path" | "CString" => {
            "this text has no interface type: use `String` or `Vec<u8>`"
        }
        "Self" => "`Self` is not known here: name the type",
        _ => return None,
    })
}

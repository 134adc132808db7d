//! Types of interfaces as types of Rust.

use std::collections::BTreeMap;

use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// The type that `text` of an interface stands for; the records have identifiers.
pub(crate) fn rust_type(
    text: &str,
    records: &BTreeMap<&str, Ident>,
) -> Result<TokenStream, String> {
    let mut item = text;
    let mut arrays = 0;
    while let Some(inner) = item.strip_prefix("[]") {
        item = inner;
        arrays += 1;
    }
    // A record is called before a scalar of its name.
    let mut ty = match (records.get(item), item) {
        (Some(record), _) => quote!(#record),
        (None, "bool") => quote!(::core::primitive::bool),
        (None, "i8") => quote!(::core::primitive::i8),
        (None, "i16") => quote!(::core::primitive::i16),
        (None, "i32") => quote!(::core::primitive::i32),
        (None, "i64") => quote!(::core::primitive::i64),
        (None, "u8") => quote!(::core::primitive::u8),
        (None, "u16") => quote!(::core::primitive::u16),
        (None, "u32") => quote!(::core::primitive::u32),
        (None, "u64") => quote!(::core::primitive::u64),
        (None, "f32") => quote!(::core::primitive::f32),
        (None, "f64") => quote!(::core::primitive::f64),
        (None, "string") => quote!(::std::string::String),
        (None, _) => return Err(format!("there is no type {text}")),
    };
    for _ in 0..arrays {
        ty = quote!(::std::vec::Vec<#ty>);
    }
    Ok(ty)
}

//! `#[marine]` on a struct: the struct itself, its packed form, and the description.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Fields, ItemStruct, Result};

use crate::description;
use crate::function::{MAX_ITEMS, record_checks};
use crate::types::{MarineType, Position, bare_name, check_name};

pub(crate) fn expand(record: &ItemStruct) -> Result<TokenStream> {
    let generics = &record.generics;
    if !generics.params.is_empty() || generics.where_clause.is_some() {
        return Err(Error::new_spanned(
            generics,
            "a record cannot have generics or lifetimes: its layout is fixed",
        ));
    }
    check_name(&record.ident)?;
    let fields = match &record.fields {
        Fields::Named(fields) if !fields.named.is_empty() => &fields.named,
        Fields::Named(_) | Fields::Unit => {
            return Err(Error::new_spanned(
                &record.ident,
                "a record needs at least one field",
            ));
        }
        Fields::Unnamed(fields) => {
            return Err(Error::new_spanned(
                fields,
                "the fields of a record need names: the interface shows them",
            ));
        }
    };
    if fields.len() > MAX_ITEMS {
        return Err(Error::new_spanned(
            &record.ident,
            format!("a record has at most {MAX_ITEMS} fields"),
        ));
    }

    let mut described = Vec::with_capacity(fields.len());
    let (mut names, mut types) = (Vec::new(), Vec::new());
    for field in fields {
        if let Some(attribute) = field.attrs.iter().find(|a| a.path().is_ident("cfg")) {
            return Err(Error::new_spanned(
                attribute,
                "a field of a record cannot depend on `cfg`: its layout is fixed",
            ));
        }
        let Some(name) = &field.ident else {
            return Err(Error::new_spanned(
                field,
                "the fields of a record need names",
            ));
        };
        check_name(name)?;
        described.push((
            bare_name(name),
            MarineType::parse(&field.ty, Position::Field)?,
        ));
        names.push(name);
        types.push(&field.ty);
    }

    let record_name = &record.ident;
    let name = bare_name(record_name);
    let checks = record_checks(described.iter().map(|(_, ty)| ty));
    let section = description::section(&name, &description::record(&name, &described));
    Ok(quote! {
        #record
        #checks
        #[automatically_derived]
        #[allow(unsafe_code, reason = "generated: a record is rebuilt from its packed form")]
        impl ::marine_sdk::abi::Record for #record_name {
            const NAME: &'static str = #name;
            const PACKED_SIZE: usize = 0 #(+ <#types as ::marine_sdk::abi::Value>::SIZE)*;

            fn pack(&self, body: &mut ::marine_sdk::abi::Body) {
                #(::marine_sdk::abi::Value::store(&self.#names, body);)*
            }

            unsafe fn unpack(cells: &mut ::marine_sdk::abi::Cells<'_>) -> Self {
                Self {
                    // SAFETY: the caller says that the cells are those of this record, in order.
                    #(#names: unsafe { ::marine_sdk::abi::Value::load(cells) },)*
                }
            }
        }
        #section
    })
}

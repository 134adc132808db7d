//! The procedural macros behind `aquamarine-marine-sdk`, which re-exports them with their documentation.
//!
//! ```
//! use marine_sdk::marine;
//!
//! #[marine]
//! pub fn double(number: u32) -> u32 {
//!     2 * number
//! }
//!
//! fn main() {
//!     assert_eq!(double(21), 42);
//! }
//! ```

mod build_time;
mod description;
mod extern_block;
mod function;
mod record;
mod types;

use proc_macro::TokenStream;
use syn::{Error, Item};

/// Makes a function, a struct or an `extern "C"` block part of the module's interface.
///
/// The crate page of `marine_sdk` describes the three forms and the types they take.
#[proc_macro_attribute]
pub fn marine(attributes: TokenStream, item: TokenStream) -> TokenStream {
    match expand(attributes.into(), item.into()) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}

/// The time of this expansion as RFC 3339 text in UTC: a string literal.
///
/// `SOURCE_DATE_EPOCH` (seconds since 1970) replaces the clock, so that a build can be repeated.
#[doc(hidden)]
#[proc_macro]
pub fn build_time(_input: TokenStream) -> TokenStream {
    let text = build_time::now();
    quote::quote!(#text).into()
}

fn expand(
    attributes: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    if !attributes.is_empty() {
        return Err(Error::new_spanned(
            attributes,
            "`#[marine]` takes no parameters",
        ));
    }
    match syn::parse2(item)? {
        Item::Fn(function) => function::expand(&function),
        Item::Struct(record) => record::expand(&record),
        Item::ForeignMod(block) => extern_block::expand(&block),
        other => Err(Error::new_spanned(
            &other,
            "`#[marine]` applies to a function, a struct or an `extern \"C\"` block",
        )),
    }
}

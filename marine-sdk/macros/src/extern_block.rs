//! `#[marine]` on an `extern` block: safe functions that call another module or the host, and the description.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Attribute, Error, Expr, ExprLit, ForeignItem, ForeignItemFn, Ident, ItemForeignMod, Lit,
    LitStr, Meta, Result,
};

use crate::description;
use crate::function::{arguments, record_checks};
use crate::types::{Kind, MarineType, Position, bare_name, check_name};

/// The namespace of host functions in the current version of the host interface.
const HOST_NAMESPACE: &str = "__marine_host_api_v3";

struct Import<'a> {
    item: &'a ForeignItemFn,
    link_name: Option<String>,
    arguments: Vec<(Ident, MarineType)>,
    output: Option<MarineType>,
}

pub(crate) fn expand(block: &ItemForeignMod) -> Result<TokenStream> {
    if block
        .abi
        .name
        .as_ref()
        .is_none_or(|name| name.value() != "C")
    {
        return Err(Error::new_spanned(
            &block.abi,
            "a block of imported functions is `extern \"C\"`",
        ));
    }
    let namespace = namespace(block)?;
    let imports = block
        .items
        .iter()
        .map(|item| match item {
            ForeignItem::Fn(function) => import(function),
            other => Err(Error::new_spanned(other, "a module imports functions only")),
        })
        .collect::<Result<Vec<_>>>()?;

    let described: Vec<_> = imports
        .iter()
        .map(|import| {
            let signature = description::Signature {
                name: bare_name(&import.item.sig.ident),
                arguments: import
                    .arguments
                    .iter()
                    .map(|(name, ty)| (bare_name(name), ty))
                    .collect(),
                output: import.output.as_ref(),
            };
            (import.link_name.clone(), signature)
        })
        .collect();
    let section = description::section(
        &section_item(&namespace),
        &description::extern_block(&namespace, &described),
    );
    let checks = record_checks(imports.iter().flat_map(|import| {
        let arguments = import.arguments.iter().map(|(_, ty)| ty);
        arguments.chain(&import.output)
    }));
    let functions = imports.iter().map(|import| wrapper(&namespace, import));
    Ok(quote! {
        #checks
        #(#functions)*
        #section
    })
}

/// The module whose functions the block declares.
fn namespace(block: &ItemForeignMod) -> Result<String> {
    let mut found: Option<String> = None;
    for attribute in &block.attrs {
        refuse_cfg(attribute)?;
        let namespace = if attribute.path().is_ident("host_import") {
            if !matches!(attribute.meta, Meta::Path(_)) {
                return Err(Error::new_spanned(
                    attribute,
                    "`#[host_import]` takes no parameters",
                ));
            }
            HOST_NAMESPACE.to_owned()
        } else if attribute.path().is_ident("module_import") {
            module_name(attribute)?
        } else {
            continue;
        };
        if found.replace(namespace).is_some() {
            return Err(Error::new_spanned(
                attribute,
                "a block has one `#[module_import(\"name\")]` or one `#[host_import]`",
            ));
        }
    }
    found.ok_or_else(|| {
        Error::new_spanned(
            &block.abi,
            "say where the functions come from: `#[module_import(\"name\")]` for another module, `#[host_import]` for the host",
        )
    })
}

fn refuse_cfg(attribute: &Attribute) -> Result<()> {
    if attribute.path().is_ident("cfg") {
        return Err(Error::new_spanned(
            attribute,
            "the interface cannot depend on this: put `#[cfg]` above `#[marine]`, with a block of its own",
        ));
    }
    Ok(())
}

fn module_name(attribute: &Attribute) -> Result<String> {
    let Ok(name) = attribute.parse_args::<LitStr>() else {
        return Err(Error::new_spanned(
            attribute,
            "expected the module's name: `#[module_import(\"name\")]`",
        ));
    };
    let value = name.value();
    if value.is_empty() || value.len() > 255 {
        return Err(Error::new_spanned(
            name,
            "a module's name has 1 to 255 bytes",
        ));
    }
    if value.starts_with("wasi_") {
        return Err(Error::new_spanned(
            name,
            "this name belongs to the system interface: no module can have it",
        ));
    }
    Ok(value)
}

fn import(item: &ForeignItemFn) -> Result<Import<'_>> {
    check_name(&item.sig.ident)?;
    if let Some(variadic) = &item.sig.variadic {
        return Err(Error::new_spanned(
            variadic,
            "an imported function cannot be variadic",
        ));
    }
    if !item.sig.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.sig.generics,
            "an imported function cannot have generics or lifetimes",
        ));
    }
    let mut link_name = None;
    for attribute in &item.attrs {
        refuse_cfg(attribute)?;
        if !attribute.path().is_ident("link_name") {
            continue;
        }
        match &attribute.meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(name),
                    ..
                }) if (1..=255).contains(&name.value().len()) => link_name = Some(name.value()),
                other => {
                    return Err(Error::new_spanned(
                        other,
                        "expected a name of 1 to 255 bytes",
                    ));
                }
            },
            other => {
                return Err(Error::new_spanned(other, "expected `link_name = \"name\"`"));
            }
        }
    }
    Ok(Import {
        item,
        link_name,
        arguments: arguments(&item.sig)?,
        output: MarineType::parse_output(&item.sig.output, Position::ImportedResult)?,
    })
}

/// The name of the section for a block. A second block for the same module gets a name of its own: the linker would
/// join two sections of one name, which published build tools cannot read.
fn section_item(namespace: &str) -> String {
    static BLOCKS: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
    let Ok(mut blocks) = BLOCKS.lock() else {
        return namespace.to_owned();
    };
    let count = blocks.entry(namespace.to_owned()).or_default();
    *count += 1;
    match *count {
        1 => namespace.to_owned(),
        n => format!("{namespace}__{n}"),
    }
}

fn wrapper(namespace: &str, import: &Import<'_>) -> TokenStream {
    let item = import.item;
    let attributes = item
        .attrs
        .iter()
        .filter(|attribute| !attribute.path().is_ident("link_name"));
    let visibility = &item.vis;
    let name = &item.sig.ident;
    let link_name = import.link_name.clone().unwrap_or_else(|| bare_name(name));
    let result = &item.sig.output;

    let mut parameters = TokenStream::new();
    let mut core_parameters = TokenStream::new();
    let mut lowers = TokenStream::new();
    let mut passes = TokenStream::new();
    for (index, (argument, ty)) in import.arguments.iter().enumerate() {
        let first = format_ident!("argument_{index}_pointer");
        let second = format_ident!("argument_{index}_length");
        let owned = ty.owned();
        let declared = declared(ty);
        parameters.extend(quote!(#argument: #declared,));
        let borrowed = ty.passing != crate::types::Passing::Value;
        match ty.kind {
            Kind::Scalar(_) => {
                core_parameters
                    .extend(quote!(#first: <#owned as ::marine_sdk::abi::Scalar>::Core,));
                let value = if borrowed {
                    quote!(*#argument)
                } else {
                    quote!(#argument)
                };
                lowers.extend(quote! {
                    let #first = <#owned as ::marine_sdk::abi::Scalar>::to_core(#value);
                });
                passes.extend(quote!(#first,));
            }
            Kind::Record(_) => {
                core_parameters.extend(quote!(#first: usize,));
                lowers.extend(quote! {
                    let #first = <#owned as ::marine_sdk::abi::Record>::lower(&#argument);
                });
                passes.extend(quote!(#first,));
            }
            Kind::Str => {
                core_parameters.extend(quote!(#first: usize, #second: usize,));
                lowers.extend(quote! {
                    let (#first, #second) = ::marine_sdk::abi::lower_str(#argument);
                });
                passes.extend(quote!(#first, #second,));
            }
            Kind::String | Kind::Vector(_) => {
                core_parameters.extend(quote!(#first: usize, #second: usize,));
                lowers.extend(quote! {
                    let (#first, #second) = <#owned as ::marine_sdk::abi::Buffer>::lower(&#argument);
                });
                passes.extend(quote!(#first, #second,));
            }
        }
    }
    let (core, call) = match &import.output {
        None => (quote!(), quote!(unsafe { import(#passes) })),
        Some(output) => {
            let ty = output.owned();
            match output.kind {
                Kind::Scalar(_) => (
                    quote!(-> <#ty as ::marine_sdk::abi::Scalar>::Core),
                    quote!(<#ty as ::marine_sdk::abi::Scalar>::from_core(unsafe { import(#passes) })),
                ),
                Kind::Record(_) => (
                    quote!(),
                    quote!(unsafe {
                        import(#passes);
                        ::marine_sdk::abi::take_record::<#ty>()
                    }),
                ),
                _ => (
                    quote!(),
                    quote!(unsafe {
                        import(#passes);
                        ::marine_sdk::abi::take_buffer::<#ty>()
                    }),
                ),
            }
        }
    };
    let names = import.arguments.iter().map(|(name, _)| name);
    quote! {
        #(#attributes)*
        #[allow(
            unsafe_code,
            clippy::too_many_arguments,
            clippy::needless_pass_by_value,
            reason = "generated: values cross the module's border as addresses"
        )]
        #visibility fn #name(#parameters) #result {
            ::marine_sdk::in_module_or! {{
                #[link(wasm_import_module = #namespace)]
                unsafe extern "C" {
                    #[link_name = #link_name]
                    fn import(#core_parameters) #core;
                }
                #lowers
                // SAFETY: the arguments live until the call is over, and its results were lowered for this module.
                #call
            } {
                let _ = (#(#names,)*);
                ::marine_sdk::abi::outside_marine(#namespace, #link_name)
            }}
        }
    }
}

fn declared(ty: &MarineType) -> TokenStream {
    let inner = &ty.ty;
    match ty.passing {
        crate::types::Passing::Value => quote!(#inner),
        crate::types::Passing::Reference => quote!(&#inner),
        crate::types::Passing::MutableReference => quote!(&mut #inner),
    }
}

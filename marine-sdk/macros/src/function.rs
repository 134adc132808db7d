//! `#[marine]` on a function: the function itself, an export that speaks the module's binary interface, and the
//! description.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Error, FnArg, GenericParam, Ident, ItemFn, Pat, Result, Signature, spanned::Spanned};

use crate::description;
use crate::types::{Kind, MarineType, Passing, Position, bare_name, check_name};

/// More does not fit the interface section: a list there is counted in seven bits.
pub(crate) const MAX_ITEMS: usize = 127;

/// Names that the module's own machinery exports.
const RESERVED: [&str; 11] = [
    "_initialize",
    "_start",
    "allocate",
    "get_result_ptr",
    "get_result_size",
    "main",
    "memory",
    "release_objects",
    "set_result_ptr",
    "set_result_size",
    "__main_void",
];

/// Functions of the C library that Rust's standard library calls. An export of such a name would take their place.
const C_LIBRARY: &str = "abort access accept aligned_alloc calloc ceil chdir clock_gettime close closedir cos dup exit \
    exp fcntl fdopendir floor fmod free fstat fstatat fsync ftruncate futimens getcwd getenv ioctl isatty link linkat \
    listen log lseek lstat malloc memcmp memcpy memmove memset mkdir mkdirat nanosleep open openat opendir poll \
    posix_memalign pow pread preadv pwrite pwritev read readdir readlink readv realloc realpath recv remove rename \
    renameat rmdir round sched_yield send setenv shutdown sin sqrt stat strerror_r strlen symlink tan time trunc \
    unlink unlinkat unsetenv usleep utimensat write writev";

pub(crate) fn expand(function: &ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    check_export(signature)?;
    let name = bare_name(&signature.ident);
    let arguments = arguments(signature)?;
    let output = MarineType::parse_output(&signature.output, Position::Result)?;

    let description = description::function(&description::Signature {
        name: name.clone(),
        arguments: arguments
            .iter()
            .map(|(name, ty)| (bare_name(name), ty))
            .collect(),
        output: output.as_ref(),
    });
    let section = description::section(&name, &description);
    let checks = record_checks(arguments.iter().map(|(_, ty)| ty).chain(&output));
    let export = export(&signature.ident, &name, &arguments, output.as_ref());
    Ok(quote! {
        #function
        #checks
        #export
        #section
    })
}

/// The named arguments of a signature with their types.
pub(crate) fn arguments(signature: &Signature) -> Result<Vec<(Ident, MarineType)>> {
    if signature.inputs.len() > MAX_ITEMS {
        return Err(Error::new_spanned(
            &signature.inputs,
            format!("a function of an interface has at most {MAX_ITEMS} arguments"),
        ));
    }
    signature
        .inputs
        .iter()
        .map(|input| match input {
            FnArg::Receiver(receiver) => Err(Error::new_spanned(
                receiver,
                "a method cannot be part of an interface: write a function without `self`",
            )),
            FnArg::Typed(argument) => match &*argument.pat {
                Pat::Ident(pattern) => {
                    check_name(&pattern.ident)?;
                    let ty = MarineType::parse(&argument.ty, Position::Argument)?;
                    Ok((pattern.ident.clone(), ty))
                }
                other => Err(Error::new_spanned(
                    other,
                    "an argument of an interface needs a name: the interface shows it",
                )),
            },
        })
        .collect()
}

/// Checks, on every target, that what looks like a record is one, under its own name.
pub(crate) fn record_checks<'a>(types: impl Iterator<Item = &'a MarineType>) -> TokenStream {
    let checks = types.filter_map(MarineType::record).map(|(ty, name)| {
        let name = bare_name(name);
        quote_spanned!(ty.span()=> const _: () = ::marine_sdk::abi::assert_name::<#ty>(#name);)
    });
    quote!(#(#checks)*)
}

fn check_export(signature: &Signature) -> Result<()> {
    check_name(&signature.ident)?;
    let refuse = |tokens: &dyn quote::ToTokens, text: &str| {
        Err(Error::new_spanned(tokens.to_token_stream(), text))
    };
    if let Some(token) = &signature.constness {
        return refuse(token, "an exported function cannot be `const`");
    }
    if let Some(token) = &signature.asyncness {
        return refuse(
            token,
            "an exported function cannot be `async`: a call runs to its end",
        );
    }
    if let Some(token) = &signature.unsafety {
        return refuse(
            token,
            "an exported function cannot be `unsafe`: its caller is not Rust",
        );
    }
    if let Some(abi) = &signature.abi {
        return refuse(
            abi,
            "an exported function has the Rust calling convention: remove `extern`",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "an exported function cannot be variadic");
    }
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            return refuse(
                parameter,
                "an exported function cannot be generic: name the types",
            );
        }
    }
    if let Some(clause) = &signature.generics.where_clause {
        return refuse(clause, "an exported function cannot have a `where` clause");
    }
    if RESERVED.contains(&bare_name(&signature.ident).as_str()) {
        return refuse(
            &signature.ident,
            "this name belongs to the module's binary interface: choose another",
        );
    }
    let name = bare_name(&signature.ident);
    if C_LIBRARY.split_whitespace().any(|taken| taken == name) {
        return refuse(
            &signature.ident,
            "the C library in every module has a function of this name, and the export would replace it: choose another",
        );
    }
    Ok(())
}

fn export(
    function: &Ident,
    name: &str,
    arguments: &[(Ident, MarineType)],
    output: Option<&MarineType>,
) -> TokenStream {
    let mut parameters = TokenStream::new();
    let mut lifts = TokenStream::new();
    let mut passes = TokenStream::new();
    let mut parks = TokenStream::new();
    for (index, (_, argument)) in arguments.iter().enumerate() {
        let value = format_ident!("argument_{index}");
        let first = format_ident!("argument_{index}_pointer");
        let second = format_ident!("argument_{index}_length");
        let ty = argument.owned();
        match argument.kind {
            Kind::Scalar(_) => {
                parameters.extend(quote!(#first: <#ty as ::marine_sdk::abi::Scalar>::Core,));
                lifts.extend(quote! {
                    let mut #value = <#ty as ::marine_sdk::abi::Scalar>::from_core(#first);
                });
            }
            Kind::Record(_) => {
                parameters.extend(quote!(#first: usize,));
                lifts.extend(quote! {
                    // SAFETY: the host lowered this record for this call and gave it away.
                    let mut #value = unsafe { <#ty as ::marine_sdk::abi::Record>::lift(#first) };
                });
            }
            Kind::Str | Kind::String | Kind::Vector(_) => {
                parameters.extend(quote!(#first: usize, #second: usize,));
                lifts.extend(quote! {
                    // SAFETY: the host lowered this value for this call and gave it away.
                    let mut #value =
                        unsafe { <#ty as ::marine_sdk::abi::Buffer>::lift(#first, #second) };
                });
            }
        }
        match argument.passing {
            Passing::Value => passes.extend(quote!(#value,)),
            Passing::Reference => passes.extend(quote!(&#value,)),
            Passing::MutableReference => passes.extend(quote!(&mut #value,)),
        }
        if argument.passing != Passing::Value {
            parks.extend(quote!(::marine_sdk::abi::park(#value);));
        }
    }

    let call = quote!(#function(#passes));
    let (core, finish) = match output {
        None => (quote!(), call),
        Some(output) => {
            let ty = output.owned();
            let borrowed = output.passing != Passing::Value;
            let (core, finish) = match output.kind {
                Kind::Scalar(_) => {
                    let value = if borrowed { quote!(*#call) } else { call };
                    return finished(
                        name,
                        &parameters,
                        &lifts,
                        &quote!(-> <#ty as ::marine_sdk::abi::Scalar>::Core),
                        &quote!(<#ty as ::marine_sdk::abi::Scalar>::to_core(#value)),
                    );
                }
                Kind::Str => (quote!(), quote!(::marine_sdk::abi::return_str(#call);)),
                Kind::Record(_) if borrowed => (
                    quote!(),
                    quote!(::marine_sdk::abi::return_borrowed_record::<#ty>(#call);),
                ),
                Kind::Record(_) => (
                    quote!(),
                    quote!(::marine_sdk::abi::return_record::<#ty>(#call);),
                ),
                _ if borrowed => (
                    quote!(),
                    quote!(::marine_sdk::abi::return_borrowed_buffer::<#ty>(#call);),
                ),
                _ => (
                    quote!(),
                    quote!(::marine_sdk::abi::return_buffer::<#ty>(#call);),
                ),
            };
            // What a returned reference points to must outlive the call: into the list with it.
            let parks = if borrowed { parks } else { quote!() };
            (core, quote!(#finish #parks))
        }
    };
    finished(name, &parameters, &lifts, &core, &finish)
}

fn finished(
    name: &str,
    parameters: &TokenStream,
    lifts: &TokenStream,
    core: &TokenStream,
    finish: &TokenStream,
) -> TokenStream {
    quote! {
        ::marine_sdk::in_module! {
            #[allow(
                unsafe_code,
                unused_mut,
                clippy::needless_borrows_for_generic_args,
                reason = "generated: values cross the module's border as addresses"
            )]
            const _: () = {
                #[unsafe(export_name = #name)]
                extern "C" fn export(#parameters) #core {
                    #lifts
                    #finish
                }
            };
        }
    }
}

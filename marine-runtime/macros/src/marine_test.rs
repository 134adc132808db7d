//! `#[marine_test]`.

use std::{
    env,
    path::{Path, PathBuf},
};

use marine_runtime::{Interface, RecordSignature};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Error, Expr, ExprLit, FnArg, Item, ItemFn, ItemMod, Lit, Meta, Result, Token, parse::Parser,
    punctuated::Punctuated, spanned::Spanned as _,
};

use crate::{
    bindings::tracked,
    names::Scope,
    service::{TestedService, prepare},
    stubs::{Stubs, generated},
};

/// Names in the modules of stubs that records cannot have.
const TAKEN: [&str; 4] = ["ModuleInterface", "Modules", "ServiceInterface", "modules"];

/// What one service's arguments say.
struct Choice {
    config: Option<(String, Span)>,
    builds: bool,
    /// Where `modules_dir` stands, which is not used any more.
    modules_dir: Option<Span>,
}

/// The services of a test.
enum Services {
    /// One, whose modules are the test's arguments.
    Single(Choice),
    /// Several by name.
    Several(Vec<(Ident, Choice)>),
}

pub(crate) fn expand(
    arguments: TokenStream,
    item: TokenStream,
    file: Option<PathBuf>,
) -> Result<TokenStream> {
    let services = services(arguments)?;
    let place = Place::of(file);
    match (services, syn::parse2(item)?) {
        (Services::Single(choice), Item::Fn(function)) => single(&choice, function, &place),
        (Services::Single(_), other) => Err(Error::new(
            place_of(&other),
            "a test with one service is a function; for a module name the services: `#[marine_test(name(config_path = \"…\"))]`",
        )),
        (Services::Several(services), Item::Fn(function)) => {
            check(&function)?;
            if let Some(argument) = function.sig.inputs.first() {
                return Err(Error::new_spanned(
                    argument,
                    "a test with named services takes no arguments: make them with `marine_test_env::NAME::ServiceInterface::new()`",
                ));
            }
            let environment = several(&services, &place)?;
            let ItemFn {
                attrs,
                vis,
                sig,
                block,
            } = function;
            let attrs = without_test(&attrs);
            Ok(quote! {
                #(#attrs)*
                #[::core::prelude::v1::test]
                #vis #sig {
                    #environment
                    #block
                }
            })
        }
        (Services::Several(services), Item::Mod(module)) => {
            let environment = several(&services, &place)?;
            let ItemMod {
                attrs,
                vis,
                ident,
                content,
                ..
            } = module;
            let Some((_, items)) = content else {
                return Err(Error::new_spanned(
                    ident,
                    "the tests must be in this file: `mod name { … }`",
                ));
            };
            Ok(quote! {
                #(#attrs)*
                #vis mod #ident {
                    #environment
                    #(#items)*
                }
            })
        }
        (Services::Several(_), other) => Err(Error::new(
            place_of(&other),
            "`#[marine_test]` applies to a function or a module",
        )),
    }
}

/// The name of an item, or all of it.
fn place_of(item: &Item) -> Span {
    match item {
        Item::Const(item) => item.ident.span(),
        Item::Enum(item) => item.ident.span(),
        Item::Mod(item) => item.ident.span(),
        Item::Static(item) => item.ident.span(),
        Item::Struct(item) => item.ident.span(),
        Item::Trait(item) => item.ident.span(),
        Item::Type(item) => item.ident.span(),
        other => other.span(),
    }
}

/// Where the test is.
struct Place {
    /// Folder of the package.
    package: PathBuf,
    /// Folder of the test's file.
    folder: PathBuf,
}

impl Place {
    fn of(file: Option<PathBuf>) -> Self {
        let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
        // The compiler's folder is that of the workspace.
        let file = file.map(|file| env::current_dir().unwrap_or_default().join(file));
        let folder = file.as_deref().and_then(Path::parent);
        Self {
            folder: folder.unwrap_or(&package).to_owned(),
            package,
        }
    }

    fn prepare(&self, choice: &Choice) -> Result<TestedService> {
        let config = choice
            .config
            .as_ref()
            .map(|(config, _)| self.folder.join(config));
        let span = choice
            .config
            .as_ref()
            .map_or_else(Span::call_site, |(_, span)| *span);
        prepare(&self.package, config.as_deref(), choice.builds)
            .map_err(|error| Error::new(span, error))
    }
}

fn services(arguments: TokenStream) -> Result<Services> {
    let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(arguments)?;
    if !metas.iter().any(|meta| matches!(meta, Meta::List(_))) {
        return choice(metas.iter()).map(Services::Single);
    }
    let mut services = Vec::new();
    for meta in &metas {
        let Meta::List(list) = meta else {
            return Err(Error::new_spanned(
                meta,
                "expected a further service: `name(config_path = \"…\")`",
            ));
        };
        let name = list.path.require_ident()?.clone();
        if services.iter().any(|(other, _)| *other == name) {
            return Err(Error::new_spanned(
                name,
                "there are two services of this name",
            ));
        }
        let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
        services.push((name, choice(inner.iter())?));
    }
    Ok(Services::Several(services))
}

fn choice<'a>(metas: impl Iterator<Item = &'a Meta>) -> Result<Choice> {
    let mut choice = Choice {
        config: None,
        builds: true,
        modules_dir: None,
    };
    let mut seen = Vec::new();
    for meta in metas {
        let unknown = || {
            Error::new_spanned(
                meta,
                "expected `config_path = \"…\"` or `build = false`, or services by name: `name(config_path = \"…\")`",
            )
        };
        let Meta::NameValue(pair) = meta else {
            return Err(unknown());
        };
        let Expr::Lit(ExprLit { lit, .. }) = &pair.value else {
            return Err(unknown());
        };
        let name = pair.path.require_ident()?;
        if seen.contains(&name) {
            return Err(Error::new_spanned(name, "this is said twice"));
        }
        seen.push(name);
        match (name.to_string().as_str(), lit) {
            ("config_path", Lit::Str(path)) => choice.config = Some((path.value(), path.span())),
            ("modules_dir", Lit::Str(_)) => choice.modules_dir = Some(name.span()),
            ("build", Lit::Bool(builds)) => choice.builds = builds.value,
            _ => return Err(unknown()),
        }
    }
    Ok(choice)
}

/// A function that gets the modules of one service.
fn single(choice: &Choice, function: ItemFn, place: &Place) -> Result<TokenStream> {
    check(&function)?;
    let mut types = Vec::new();
    for argument in &function.sig.inputs {
        match argument {
            FnArg::Typed(argument) => types.push(&argument.ty),
            FnArg::Receiver(receiver) => {
                return Err(Error::new_spanned(receiver, "a test has no `self`"));
            }
        }
    }
    let service = place.prepare(choice)?;
    let (modules, _) = modules(&service).map_err(|error| Error::new(Span::call_site(), error))?;
    let start = start(&service);
    let tracked = tracked(&service.files).map_err(|error| Error::new(Span::call_site(), error))?;
    let environment = environment(&quote!(#modules #start #tracked));
    let warning = warning(choice);

    let attrs = without_test(&function.attrs);
    let (vis, name) = (&function.vis, &function.sig.ident);
    let (inputs, output, block) = (&function.sig.inputs, &function.sig.output, &function.block);
    let names: Vec<_> = (0..types.len())
        .map(|index| format_ident!("module_{index}", span = Span::mixed_site()))
        .collect();
    let service = Ident::new("service", Span::mixed_site());
    Ok(quote! {
        #(#attrs)*
        #[::core::prelude::v1::test]
        #vis fn #name() #output {
            #environment
            #warning
            fn test(#inputs) #output #block
            let #service = marine_test_env::__start();
            #(let #names = <#types>::new(&#service);)*
            ::core::mem::drop(#service);
            test(#(#names,)*)
        }
    })
}

/// The stubs of several services.
fn several(services: &[(Ident, Choice)], place: &Place) -> Result<TokenStream> {
    let mut items = TokenStream::new();
    let mut warnings = TokenStream::new();
    for (name, choice) in services {
        let service = place.prepare(choice)?;
        let stubs = service_interface(&service).map_err(|error| Error::new(name.span(), error))?;
        let tracked = tracked(&service.files).map_err(|error| Error::new(name.span(), error))?;
        items.extend(quote!(pub mod #name { #stubs #tracked }));
        warnings.extend(warning(choice));
    }
    let environment = environment(&items);
    Ok(quote!(#environment #warnings))
}

fn environment(items: &TokenStream) -> TokenStream {
    let allowed = generated();
    quote! {
        #allowed
        pub mod marine_test_env { #items }
    }
}

/// Modules of stubs, one for each module of the service, and their names.
fn modules(service: &TestedService) -> std::result::Result<(TokenStream, Vec<Ident>), String> {
    let mut scope = Scope::with(&["__start"]);
    let mut items = TokenStream::new();
    let mut done: Vec<(Ident, &Interface, Stubs<'_>)> = Vec::new();
    for (name, interface) in &service.modules {
        let ident = scope.name(name);
        let stubs = Stubs::new(interface, &TAKEN);
        let mut content = stubs
            .module_interface(name)
            .map_err(|error| format!("module {name}: {error}"))?;
        for record in &interface.record_types {
            let known = done.iter().find_map(|(module, other, stubs)| {
                let same = other
                    .record_types
                    .iter()
                    .find(|same| are_equal(record, interface, same, other, 0))?;
                Some((module, stubs.record_name(same)?))
            });
            content.extend(match (known, stubs.record_name(record)) {
                (Some((module, theirs)), Some(ours)) if theirs == ours => {
                    quote!(pub use super::#module::#theirs;)
                }
                (Some((module, theirs)), Some(ours)) => {
                    quote!(pub use super::#module::#theirs as #ours;)
                }
                _ => stubs
                    .record(record)
                    .map_err(|error| format!("module {name}: {error}"))?,
            });
        }
        items.extend(quote!(pub mod #ident { #content }));
        done.push((ident, interface, stubs));
    }
    let names = done.into_iter().map(|(ident, ..)| ident).collect();
    Ok((items, names))
}

/// Whether two records have the same name, fields and records in them.
fn are_equal(
    one: &RecordSignature,
    first: &Interface,
    other: &RecordSignature,
    second: &Interface,
    depth: usize,
) -> bool {
    let find = |interface: &Interface, ty: &str| -> Option<RecordSignature> {
        let name = ty.trim_start_matches("[]");
        let mut records = interface.record_types.iter();
        records.find(|record| record.name == name).cloned()
    };
    // Interfaces from modules have no records that contain themselves; text might.
    depth < 128
        && one.name == other.name
        && one.fields == other.fields
        && one.fields.iter().all(
            |field| match (find(first, &field.ty), find(second, &field.ty)) {
                (Some(one), Some(other)) => are_equal(&one, first, &other, second, depth + 1),
                (None, None) => true,
                _ => false,
            },
        )
}

/// The function that starts a service.
fn start(service: &TestedService) -> TokenStream {
    let TestedService {
        config,
        name,
        folder,
        cache,
        ..
    } = service;
    let (folder, cache) = (folder.to_string_lossy(), cache.to_string_lossy());
    quote! {
        #[must_use]
        pub fn __start() -> ::marine_runtime::testing::TestService {
            ::marine_runtime::testing::TestService::start(#config, #name, #folder, #cache)
        }
    }
}

/// `ServiceInterface` with what belongs to it.
fn service_interface(service: &TestedService) -> std::result::Result<TokenStream, String> {
    let (modules, names) = modules(service)?;
    let start = start(service);
    let Some(((module, interface), facade)) = service.modules.last().zip(names.last()) else {
        return Err(format!(
            "{}: a service needs at least one module",
            service.name
        ));
    };
    let stubs = Stubs::new(interface, &TAKEN);
    let mut scope = Scope::with(&["new", "new_cp"]);
    let methods = stubs.methods(&["cp"])?;
    let methods = methods
        .iter()
        .map(|method| stubs.pair_of_methods(method, &mut scope, module, &quote!(self.service)));
    let records = interface
        .record_types
        .iter()
        .filter_map(|record| stubs.record_name(record));
    Ok(quote! {
        /// The modules of the service.
        pub mod modules { #modules }
        #(pub use self::modules::#facade::#records;)*
        #start

        /// All modules of one service.
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        pub struct Modules {
            #(pub #names: self::modules::#names::ModuleInterface,)*
        }

        /// A service: the functions of its facade.
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        pub struct ServiceInterface {
            /// Its modules.
            pub modules: Modules,
            service: ::marine_runtime::testing::TestService,
        }

        impl ServiceInterface {
            /// Starts a service of its own.
            #[must_use]
            pub fn new() -> Self {
                let service = __start();
                let modules = Modules {
                    #(#names: self::modules::#names::ModuleInterface::new(&service),)*
                };
                Self { modules, service }
            }

            #(#methods)*
        }

        impl ::core::default::Default for ServiceInterface {
            fn default() -> Self {
                Self::new()
            }
        }
    })
}

/// A warning of the compiler when the arguments have something that is not used.
fn warning(choice: &Choice) -> TokenStream {
    let Some(span) = choice.modules_dir else {
        return TokenStream::new();
    };
    let modules_dir = Ident::new("modules_dir", span);
    quote! {
        const _: () = {
            #[deprecated(note = "not used: the configuration says where modules are")]
            const fn #modules_dir() {}
            #modules_dir()
        };
    }
}

fn check(function: &ItemFn) -> Result<()> {
    if let Some(token) = &function.sig.asyncness {
        return Err(Error::new_spanned(
            token,
            "calls of modules block: a test is not `async`",
        ));
    }
    if !function.sig.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &function.sig.generics,
            "a test has no generics",
        ));
    }
    Ok(())
}

fn without_test(attributes: &[syn::Attribute]) -> Vec<&syn::Attribute> {
    attributes
        .iter()
        .filter(|attribute| !attribute.path().is_ident("test"))
        .collect()
}

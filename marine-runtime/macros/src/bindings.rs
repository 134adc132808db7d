//! `bindings!`.

use std::{fs, path::PathBuf};

use marine_runtime::{Interface, ModuleInfo, ModuleSource, ServiceConfig};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Error, Ident, LitStr, Result, Token, Visibility,
    parse::{Parse, ParseStream},
};

use crate::stubs::{Stubs, generated};

/// `pub mod name = "file";`
struct Binding {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
    file: LitStr,
}

struct Bindings(Vec<Binding>);

impl Parse for Bindings {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut bindings = Vec::new();
        while !input.is_empty() {
            let attributes = input.call(Attribute::parse_outer)?;
            let visibility = input.parse()?;
            input.parse::<Token![mod]>()?;
            let name = input.parse()?;
            input.parse::<Token![=]>()?;
            let file = input.parse()?;
            input.parse::<Token![;]>()?;
            bindings.push(Binding {
                attributes,
                visibility,
                name,
                file,
            });
        }
        if bindings.is_empty() {
            return Err(input.error("expected `mod name = \"file\";`"));
        }
        Ok(Self(bindings))
    }
}

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let Bindings(bindings) = syn::parse2(input)?;
    let modules = bindings.iter().map(module).collect::<Result<Vec<_>>>()?;
    Ok(quote!(#(#modules)*))
}

fn module(binding: &Binding) -> Result<TokenStream> {
    let Binding {
        attributes,
        visibility,
        name,
        file,
    } = binding;
    let fail = |message: String| Error::new(file.span(), message);
    let path = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join(file.value());
    let (interface, files) = load(&path).map_err(fail)?;
    let taken = ["Client", "INTERFACE"];
    let items = Stubs::new(&interface, &taken).client().map_err(fail)?;
    let tracked = tracked(&files).map_err(fail)?;
    let allowed = generated();
    Ok(quote! {
        #(#attributes)*
        #allowed
        #visibility mod #name {
            #items
            #tracked
        }
    })
}

/// An interface, and the files it comes from.
fn load(path: &std::path::Path) -> std::result::Result<(Interface, Vec<PathBuf>), String> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("wasm") => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let module =
                ModuleInfo::decode(&name, &bytes).map_err(|error| format!("{shown}: {error}"))?;
            Ok((Interface::of(&module.interface), vec![path.to_owned()]))
        }
        Some("json") => {
            let interface =
                serde_json::from_slice(&bytes).map_err(|error| format!("{shown}: {error}"))?;
            Ok((interface, vec![path.to_owned()]))
        }
        Some("toml") => {
            let config = ServiceConfig::load(path).map_err(|error| error.to_string())?;
            match config.modules.last().map(|module| &module.source) {
                Some(ModuleSource::File(facade)) => {
                    let (interface, mut files) = load_wasm(facade)?;
                    files.push(path.to_owned());
                    Ok((interface, files))
                }
                _ => Err(format!("{shown}: the service has no module")),
            }
        }
        _ => Err(format!(
            "{shown}: expected a module (.wasm), the configuration of a service (.toml) or an interface (.json)"
        )),
    }
}

fn load_wasm(path: &std::path::Path) -> std::result::Result<(Interface, Vec<PathBuf>), String> {
    match path.extension() {
        Some(extension) if extension == "wasm" => load(path),
        _ => Err(format!("{}: not a module (.wasm)", path.display())),
    }
}

/// Items that tell the compiler of files, so that it expands the macro again when one changes.
pub(crate) fn tracked(files: &[PathBuf]) -> std::result::Result<TokenStream, String> {
    let texts = files
        .iter()
        .map(|file| {
            let file =
                fs::canonicalize(file).map_err(|error| format!("{}: {error}", file.display()))?;
            file.to_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("{}: the path is not UTF-8", file.display()))
        })
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(quote!(#(const _: &[::core::primitive::u8] = ::core::include_bytes!(#texts);)*))
}

//! Typed clients for Marine services, and tests of modules.
//!
//! [`bindings!`] is for hosts, [`macro@marine_test`] for authors of modules. The code of both names
//! `::marine_runtime`, the library of `aquamarine-marine-runtime`.

mod bindings;
mod marine_test;
mod names;
mod service;
mod stubs;
mod types;

use proc_macro::TokenStream;

/// Makes a module with a client for a service: one typed method for each function, a struct for each record.
///
/// ```ignore
/// marine_runtime_macros::bindings! {
///     /// Notes.
///     pub mod notes = "modules/notes.wasm";
/// }
///
/// let mut client = notes::Client::new(service)?;
/// client.set_parameters(parameters).set_timeout(Some(Duration::from_secs(5)));
/// let saved: notes::Saved = client.save("title", "text")?;
/// ```
///
/// The file is a module (`.wasm`), the configuration of a service (`.toml`, whose last module is meant) or an interface
/// as peers publish it (`.json`). A relative path begins at the folder of `Cargo.toml`.
///
/// - `Client::new`, or `TryFrom`, checks that the service has the functions and records of the file; the error names
///   the first difference.
/// - A client is a `marine_runtime::typed::Caller`, which sets call parameters, timeout and deadline of the calls.
/// - Records are `Clone`, `Debug`, `Default`, `PartialEq`, `Serialize` and `Deserialize`, with public fields.
/// - Words that Rust reserves become `r#word`; what is no Rust name has `_` in place of the letters that do not fit.
#[proc_macro]
pub fn bindings(input: TokenStream) -> TokenStream {
    bindings::expand(input.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// A test that has modules built and loaded as a service.
///
/// - `#[marine_test]` on a function: the service of `Config.toml` beside `Cargo.toml` or, without one, of the module
///   of this package alone.
/// - `#[marine_test(config_path = "…")]`: the service of this configuration; the path begins at the folder of the
///   test's file.
/// - `#[marine_test(one(config_path = "…"), two(config_path = "…"))]` on a function or a module: several services.
///
/// The arguments of a function with one service are stubs of its modules, each of the type
/// `marine_test_env::MODULE::ModuleInterface` (dashes become underscores). With several services a test makes what it
/// needs: `marine_test_env::SERVICE::ServiceInterface::new()` has the functions of the facade, and those of all modules
/// in `modules`. Each function `f` also is there as `f_cp`, whose last argument are call parameters. Records are structs
/// in `marine_test_env::MODULE` and `marine_test_env::SERVICE`.
///
/// Modules that belong to the cargo workspace are built, for release, before the test is compiled; others are loaded
/// from where the configuration says. `build = false` among the arguments turns this off. Every test has a service of
/// its own, with a random id, relative mapped directories in a folder that goes away with it. A failed call panics.
#[proc_macro_attribute]
pub fn marine_test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let file = proc_macro::Span::call_site().local_file();
    marine_test::expand(arguments.into(), item.into(), file)
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

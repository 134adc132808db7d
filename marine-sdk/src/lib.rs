//! Guest side of Marine: write compute functions in Rust.
//!
//! A Marine module is a WebAssembly file whose functions take and return numbers, texts, vectors and records. The
//! attribute [`marine`] makes a function part of a module's interface:
//!
//! ```
//! use marine_sdk::{marine, module_manifest};
//!
//! module_manifest!();
//!
//! #[marine]
//! pub struct Answer {
//!     pub text: String,
//!     pub words: u32,
//!     pub history: Vec<String>,
//! }
//!
//! #[marine]
//! pub fn answer(question: &str, history: Vec<String>) -> Answer {
//!     Answer {
//!         text: format!("You asked: {question}"),
//!         words: question.split_whitespace().count() as u32,
//!         history,
//!     }
//! }
//!
//! fn main() {
//! #   assert_eq!(answer("Is it so?", Vec::new()).words, 3);
//! }
//! ```
//!
//! A module is a program (`main.rs`) built for `wasm32-wasip1`; `main` runs once, when the module is loaded. A build
//! tool then turns the descriptions that [`marine`] leaves in the file into the interface section that runtimes read.
//!
//! # What `#[marine]` applies to
//!
//! - **A function** becomes an export of the module under its name. It stays an ordinary function, so `cargo test` on
//!   the development machine tests it.
//! - **A struct** with named fields becomes a record that functions and other records may use. Records are known by
//!   name: use them under the name they were declared with.
//! - **An `extern "C"` block** becomes safe functions that call another module of the service
//!   (`#[module_import("name")]`) or a program that the host has mounted (`#[host_import]`). `#[link_name = "…"]`
//!   gives the name that the other side knows a function by.
//!
//! ```
//! use marine_sdk::{MountedBinaryResult, marine};
//!
//! #[marine]
//! #[module_import("storage")]
//! extern "C" {
//!     /// Keeps a value and returns how many there are.
//!     pub fn put(key: &str, value: &Vec<u8>) -> u32;
//! }
//!
//! #[marine]
//! #[host_import]
//! extern "C" {
//!     /// Runs the program that the host has mounted as `curl`.
//!     fn curl(arguments: Vec<String>) -> MountedBinaryResult;
//! }
//! # fn main() {}
//! ```
//!
//! # Types
//!
//! | Rust | argument | result | field, item of a vector |
//! |---|---|---|---|
//! | `bool`, `i8` … `i64`, `u8` … `u64`, `f32`, `f64` | yes, also by reference | yes | yes |
//! | `String` | yes, also by reference | yes | yes |
//! | `&str` | yes | of exported functions | no |
//! | `Vec<T>` of any type here | yes, also by reference | yes | yes |
//! | a struct with `#[marine]` | yes, also by reference | yes | yes |
//!
//! Everything else is refused with an error at the type. Where a value may be missing, use a vector with at most one
//! item: it has the same form as an option of Aqua.
//!
//! # Layout of the crate
//!
//! [`get_call_parameters`] says who calls and where the arguments come from, [`MountedBinaryResult`] is what a mounted
//! program returns, [`module_manifest!`] records who made the module, and `WasmLoggerBuilder` (feature `logger`) sends
//! the messages of the `log` macros to the host. The module `abi` is for the code that the macros generate.
//!
//! On targets other than wasm32, and without the default feature `marine-abi`, nothing of a module's binary interface
//! exists: functions of other modules cannot be called, [`get_call_parameters`] returns what `set_call_parameters` was
//! given, and log messages are printed.

// The macros name this crate by an absolute path; inside the crate that path must exist too.
extern crate self as marine_sdk;

#[doc(hidden)]
pub mod abi;
mod call_parameters;
#[cfg(all(feature = "debug", feature = "marine-abi", target_arch = "wasm32"))]
mod debug;
#[cfg(all(feature = "marine-abi", target_arch = "wasm32"))]
mod exports;
#[cfg(all(
    any(feature = "debug", feature = "logger"),
    feature = "marine-abi",
    target_arch = "wasm32"
))]
mod host_log;
#[cfg(feature = "logger")]
mod logger;
#[doc(hidden)]
pub mod manifest;
mod mounted_binary;

/// Items that are there in a module only.
#[cfg(all(feature = "marine-abi", target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! in_module {
    ($($items:item)*) => {
        $($items)*
    };
}

/// Items that are there in a module only.
#[cfg(not(all(feature = "marine-abi", target_arch = "wasm32")))]
#[doc(hidden)]
#[macro_export]
macro_rules! in_module {
    ($($items:item)*) => {};
}

/// The first block in a module, the second elsewhere.
#[cfg(all(feature = "marine-abi", target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! in_module_or {
    ({ $($inside:tt)* } { $($outside:tt)* }) => {{ $($inside)* }};
}

/// The first block in a module, the second elsewhere.
#[cfg(not(all(feature = "marine-abi", target_arch = "wasm32")))]
#[doc(hidden)]
#[macro_export]
macro_rules! in_module_or {
    ({ $($inside:tt)* } { $($outside:tt)* }) => {{ $($outside)* }};
}

/// Tells the host's log what crosses the module's border: with the feature `debug`.
#[cfg(all(feature = "marine-abi", target_arch = "wasm32"))]
macro_rules! trace {
    ($($message:tt)*) => {{
        #[cfg(feature = "debug")]
        $crate::debug::trace(format_args!($($message)*));
    }};
}
#[cfg(all(feature = "marine-abi", target_arch = "wasm32"))]
use trace;

pub use marine_sdk_macros::marine;
/// The older name of [`macro@marine`].
pub use marine_sdk_macros::marine as fce;

#[cfg(not(all(feature = "marine-abi", target_arch = "wasm32")))]
pub use call_parameters::set_call_parameters;
pub use call_parameters::{
    CallParameters, ParticleParameters, SecurityTetraplet, get_call_parameters,
};
#[cfg(feature = "logger")]
pub use logger::{TargetMap, WasmLoggerBuilder};
pub use mounted_binary::{BINARY_SUCCESS_CODE, MountedBinaryResult, MountedBinaryStringResult};

//! Development tasks, as a library so that `xtask/tests` can call them.

pub mod agreement;
pub mod bench;
pub mod ci;
pub mod conformance;
#[cfg(feature = "marine")]
pub mod embedded;
pub mod fuzz;
#[cfg(feature = "marine")]
pub mod guest;
pub mod interop;
#[cfg(feature = "peer")]
pub mod sim;
pub mod tidy;
#[cfg(feature = "marine")]
mod toolchain;

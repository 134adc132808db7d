//! Development tasks, as a library so that `xtask/tests` can call them.

pub mod ci;
pub mod conformance;
pub mod interop;
pub mod tidy;

//! Shared parts of the examples: starting peers in one process, reading scripts, showing results.
//!
//! The examples themselves are in `src/bin`, one concept a file.

pub mod diagram;
pub mod failure;
pub mod local;
pub mod log;
pub mod path;
pub mod samples;
pub mod script;
pub mod signals;
pub mod survey;
pub mod table;

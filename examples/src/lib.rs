//! Shared parts of the examples: starting peers in one process, reading scripts, showing results.
//!
//! The examples themselves are in `src/bin`, one concept a file. They share for instance how
//! arguments and scripts are read, so that every mistake is explained alike:
//!
//! ```
//! assert!(examples::script::check("(null)", "typed.air").is_ok());
//! assert!(examples::script::check("(null", "typed.air").is_err());
//! ```

pub mod diagram;
pub mod failure;
pub mod local;
pub mod log;
pub mod market;
pub mod path;
pub mod provider;
pub mod samples;
pub mod script;
pub mod signals;
pub mod spells;
pub mod survey;
pub mod table;
pub mod traces;

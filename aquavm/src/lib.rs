//! The AquaVM state machine: executes AIR over mergeable, signed particle data.
//!
//! A [`Script`] travels with the data of its particle from peer to peer. Every peer runs it with
//! [`step`]: what happened before is found in the data, what concerns the peer itself becomes call
//! requests, what concerns others the names of the next peers. The machine waits for nothing,
//! reads no clock and holds no connection; the same inputs give the same bytes everywhere.
//!
//! ```
//! use aquavm::{CallResult, CallResults, RunParameters, Script, step};
//! use particle::KeyPair;
//!
//! let key = KeyPair::from_seed(&[1; 32]);
//! let me = key.peer_id().to_string();
//! let script = Script::parse(
//!     r#"(seq (call %init_peer_id% ("math" "add") [2 3] sum)
//!             (call %init_peer_id% ("console" "print") [sum]))"#,
//! )?;
//! let parameters = RunParameters {
//!     init_peer_id: me.clone(),
//!     current_peer_id: me,
//!     timestamp: 1_700_000_000_000,
//!     ttl: 7_000,
//!     particle_id: "particle-1".to_owned(),
//!     key: key.into(),
//!     limits: Default::default(),
//!     compat: Default::default(),
//!     check_signatures: true,
//!     policy: Default::default(),
//! };
//! // The first run asks for the sum.
//! let first = step(&script, &[], &[], &parameters, &CallResults::new());
//! assert_eq!(first.call_requests[&1].arguments, "[2,3]");
//! // The second has it, and asks to print it.
//! let results = [(1, CallResult::ok("5"))].into();
//! let second = step(&script, &first.data, &[], &parameters, &results);
//! assert_eq!(second.ret_code, 0);
//! assert_eq!(second.call_requests[&2].arguments, "[5]");
//! assert_eq!(second.call_requests[&2].tetraplets[0][0].service_id, "math");
//! # Ok::<(), air_parser::ParseErrors>(())
//! ```
//!
//! Hosts that speak the bytes of the interpreter interface use [`invoke`].

mod arena;
mod error;
mod json;
mod outcome;
mod parameters;
mod registers;
mod requests;
mod results;
mod run;
mod scope;
mod script;
mod stream;
mod value;
pub mod verify;
mod vm;

pub use error::{CatchableError, FarewellError, LambdaError, PreparationError, UncatchableError};
pub use outcome::{ArgumentTetraplet, CallRequest, CallResult, CallResults, LimitFlags, Outcome};
pub use parameters::{Compat, Key, Limits, Policy, RunParameters};
pub use requests::{decode_call_requests, decode_call_results, encode_call_results};
pub use run::{invoke, invoke_script, step};
pub use script::Script;

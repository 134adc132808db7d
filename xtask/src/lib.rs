//! Development tasks, as a library so that `xtask/tests` can call them.
//!
//! ```
//! use particle::data::{CallState, Data, State};
//! use xtask::agreement::Knowledge;
//!
//! // Which peer says that a call was requested is left open by the protocol.
//! let seen_by = |peer| Data {
//!     trace: vec![State::Call(CallState::SentBy(peer))],
//!     ..Data::default()
//! };
//! let [one, other] = [seen_by("A"), seen_by("B")];
//! assert!(Knowledge::of(&one).compare(&Knowledge::of(&other)).is_ok());
//! ```

pub mod agreement;
pub mod bench;
pub mod chain;
pub mod conformance;
pub mod crash;
pub mod detection;
#[cfg(feature = "marine")]
pub mod embedded;
pub mod fuzz;
#[cfg(feature = "marine")]
pub mod guest;
#[cfg(feature = "peer")]
pub mod host;
pub mod interop;
#[cfg(feature = "marine")]
pub mod interpreter;
#[cfg(feature = "marine")]
pub mod mutate;
pub mod packages;
mod random;
#[cfg(feature = "peer")]
pub mod sim;
pub mod tidy;

/// Whether the environment variable `AQUAMARINE_REQUIRE` names `what`: then tests that cannot run
/// without it fail instead of saying so.
#[must_use]
pub fn is_required(what: &str) -> bool {
    std::env::var("AQUAMARINE_REQUIRE")
        .is_ok_and(|wanted| wanted.split([',', ' ']).any(|word| word == what))
}

//! Types of the compute marketplace: what contracts keep and tell, how ids are derived, how
//! programs become content that a deal can name, and how executed particles become lottery tickets.
//!
//! ```
//! use deal_types::{Bytes32, PeerKey, contract::{CommitmentActivated, Event, MarketEvent}, U256};
//!
//! // A log entry as a node of the chain reports it.
//! let log = CommitmentActivated {
//!     peer_id: Bytes32([1; 32]),
//!     commitment_id: Bytes32([2; 32]),
//!     start_epoch: U256::from(2),
//!     end_epoch: U256::from(62),
//!     unit_ids: vec![Bytes32([3; 32])],
//! }
//! .encode();
//!
//! match MarketEvent::decode(&log.topics, &log.data)? {
//!     MarketEvent::CommitmentActivated(event) => {
//!         println!("{} proves from epoch {}", PeerKey::from_word(event.peer_id), event.start_epoch);
//!     }
//!     other => println!("{}", other.signature()),
//! }
//! # Ok::<_, deal_types::contract::ContractError>(())
//! ```
//!
//! # Layout
//!
//! | module | what |
//! |---|---|
//! | [`abi`] | the binary interface of contracts: types, values, codec |
//! | [`contract`] | every event, call and error of the contracts as a struct |
//! | [`market`] | what the contracts keep |
//! | [`unixfs`] | files as content-addressed blocks |
//! | `distributive` | worker definitions and all that they name (feature `json`) |
//! | [`sim`] | the market as a simulation, without a chain |
//! | `chain` | one account's connection to the chain, as a trait; following it; a chain in memory (feature `chain`) |
//! | [`peer_chain`] | what a peer asks of the chain, as a trait |
//! | [`golden`] | tickets for executed particles: encodings, trees, luck |
//!
//! # Features
//!
//! `json` (default) brings serde and everything whose form is JSON. Without it the crate needs two
//! hash functions and an integer type. `chain` brings keys of accounts,
//! following a chain, a chain inside the process; `rpc` the client of a node on top of it.
//!
//! # Invariants
//!
//! Nothing but `chain` and stores of blocks reads a clock, a disk or a network. No input makes it panic, and what it allocates
//! is bounded by the length of its input.

pub mod abi;
#[cfg(feature = "chain")]
pub mod chain;
mod cid;
pub mod contract;
#[cfg(feature = "json")]
pub mod distributive;
mod enums;
mod epoch;
pub mod golden;
mod hash;
#[cfg(feature = "rpc")]
pub mod http;
#[cfg(feature = "json")]
mod json;
pub mod market;
pub mod peer_chain;
mod primitives;
pub mod rlp;
pub mod sim;
pub mod unixfs;

pub use cid::{Cid, CidError, Codec, OnChainCid};
pub use enums::{
    AccessType, CapacityConstant, CommitmentStatus, DealConstant, DealStatus, UnknownVariant,
};
pub use epoch::{
    EpochClock, PRECISION, address_topic, commitment_id, flt_collateral_per_unit,
    next_global_nonce, offer_id,
};
pub use hash::{keccak256, keccak256_of, sha256, sha256_of};
#[cfg(feature = "json")]
pub use json::decimal;
pub use primitives::{Address, Bytes32, ParseError, PeerKey, U256};

//! A market on one machine: a chain in memory, three providers with prover and peer, a staker, and
//! a developer whose deal they serve. The binary `marketplace` tells its story.
//!
//! Nothing is acted: proofs are found and verified with the network's RandomX, modules come out of
//! the distributive that the deal names, calls run as Wasm on libp2p peers, and every amount is read
//! off the chain. Time on the chain is made by the program, so nobody waits for epochs.

pub mod developer;
pub mod golden;
pub mod ledger;
pub mod provider;
pub mod report;
pub mod spell;

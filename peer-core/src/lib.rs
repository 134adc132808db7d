//! The Aquamarine peer: particle engine, builtins, services, network, simulator.
//!
//! A peer is a sans-IO [`engine`] (particles, call results and the time go in; runs, calls,
//! particles to send come out), a [`host::FunctionHost`] that answers the calls of scripts, and a
//! driver that moves both: the libp2p network on tokio, or the deterministic simulator.

#![forbid(unsafe_code)]

pub mod builtins;
pub mod clock;
pub mod config;
pub mod connectivity;
pub mod engine;
pub mod host;
pub mod proof;
pub mod records;
pub mod services;
pub mod simulator;
pub mod store;

#[cfg(feature = "network")]
pub mod client;
#[cfg(feature = "network")]
pub mod network;
#[cfg(feature = "network")]
pub mod peer;

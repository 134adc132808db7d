//! The Aquamarine peer: particle engine, builtins, services, network, simulator.
//!
//! A peer is a sans-IO [`engine`] (particles, call results and the time go in; runs, calls,
//! particles to send come out), a [`host::FunctionHost`] that answers the calls of scripts, and a
//! driver that moves both: the libp2p network on tokio, or the deterministic simulator.
//!
//! A peer with a function of one's own, and a client that calls it:
//!
//! ```
//! # #[cfg(feature = "network")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{net::Ipv4Addr, sync::Arc};
//! use particle::KeyPair;
//! use peer_core::{
//!     client::{Client, Request},
//!     config::PeerConfig,
//!     host::{FunctionOutcome, NativeFunctions},
//!     peer::Peer,
//! };
//!
//! let config = PeerConfig {
//!     listen_ip: Ipv4Addr::LOCALHOST.into(),
//!     tcp_port: 0,
//!     websocket_port: 0,
//!     ..PeerConfig::default()
//! };
//! let host = NativeFunctions::new().with("text", "length", |call| {
//!     match call.arguments().next::<String>("text") {
//!         Ok(text) => FunctionOutcome::value(&text.chars().count()),
//!         Err(error) => FunctionOutcome::error(&error.to_json_text()),
//!     }
//! });
//! let peer = Peer::builder(KeyPair::from_seed(&[1; 32]))
//!     .config(config)
//!     .functions(Arc::new(host))
//!     .start()
//!     .await?;
//!
//! let script = r#"
//!     (seq
//!         (seq
//!             (call %init_peer_id% ("getDataSrv" "-relay-") [] relay)
//!             (call relay ("text" "length") ["aquamarine"] length))
//!         (call %init_peer_id% ("callbackSrv" "response") [length]))"#;
//! let relay = &peer.network().listen_addresses()[0];
//! let client = Client::connect(KeyPair::from_seed(&[2; 32]), relay).await?;
//! let length = client.call(Request::new(script)).await?;
//! assert_eq!(length, 10);
//!
//! client.stop().await;
//! peer.stop().await;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "network"))]
//! # fn main() {}
//! ```
//!
//! The page of [`simulator`] has the same without sockets.

#![forbid(unsafe_code)]

pub mod builtins;
#[cfg(feature = "capacity")]
pub mod capacity;
#[cfg(feature = "marine")]
pub mod chain;
pub mod clock;
pub mod config;
pub mod connectivity;
#[cfg(all(feature = "marine", feature = "network"))]
pub mod content;
pub mod counters;
#[cfg(feature = "marine")]
pub mod deployment;
pub mod engine;
#[cfg(feature = "marine")]
pub mod golden;
pub mod host;
#[cfg(feature = "identify")]
pub mod identify;
pub mod proof;
pub mod records;
pub mod services;
pub mod simulator;
#[cfg(feature = "marine")]
pub mod spells;
pub mod store;
#[cfg(feature = "marine")]
pub mod system;
#[cfg(feature = "marine")]
pub mod workers;

#[cfg(feature = "network")]
pub mod client;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod metrics;
#[cfg(feature = "network")]
pub mod network;
#[cfg(feature = "otel")]
pub mod otel;
#[cfg(feature = "network")]
pub mod peer;

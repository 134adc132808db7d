//! A client: a peer behind a relay that starts scripts and answers what they ask of their
//! initiator.
//!
//! Scripts compiled from Aqua call `getDataSrv` for their arguments and the relay's id,
//! `callbackSrv.response` with their result and `errorHandlingSrv.error` with an error nobody
//! caught. The client answers these for the particles it made, runs the state machine itself, and
//! sends every particle to its relay, which sends on.
//!
//! ```no_run
//! use particle::KeyPair;
//! use peer_core::client::{Client, Request};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let relay = "/ip4/127.0.0.1/tcp/7001/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
//! let client = Client::connect(KeyPair::from_seed(&[7; 32]), relay).await?;
//! let script = r#"(seq
//!     (call %init_peer_id% ("getDataSrv" "name") [] name)
//!     (call %init_peer_id% ("callbackSrv" "response") [name])
//! )"#;
//! let result = client.call(Request::new(script).argument("name", &"Ada")?).await?;
//! assert_eq!(result, "Ada");
//! client.stop().await;
//! # Ok(())
//! # }
//! ```

mod calls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use particle::{KeyPair, Particle, PeerId};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use thiserror::Error;
use tokio::sync::oneshot;

use self::calls::{Calls, Pending};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{NetworkConfig, PeerConfig};
use crate::host::FunctionHost;
use crate::network::{DialError, peer_of_address};
use crate::peer::{Observer, Peer, PeerError};

/// Time to live of a particle when the request does not say; that of the JS client.
pub const DEFAULT_TTL: Duration = Duration::from_secs(7);
/// Connections without traffic are kept this long: a client waits for its relay.
const IDLE: Duration = Duration::from_secs(3600);

/// Why there is no client.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The client's own peer did not start.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The relay's address does not end in `/p2p/<peer id>`.
    #[error("the relay address `{address}` does not end in /p2p/<peer id>")]
    RelayAddress {
        /// The address.
        address: String,
    },
    /// The relay does not answer.
    #[error("the relay does not answer: {0}")]
    Relay(#[from] DialError),
}

/// Why a script did not return a result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The script has errors; nothing was sent.
    #[error("the script has errors\n{message}")]
    Script {
        /// The errors with their places.
        message: String,
    },
    /// The script ended with an error that it reported itself.
    #[error("{}", error_text(.0))]
    Error(Value),
    /// The state machine refused the script or the data here at the client.
    #[error("script interpretation failed with code {code}: {message}")]
    Interpreter {
        /// The code.
        code: i64,
        /// The message that belongs to it.
        message: String,
    },
    /// The particle did not reach the relay.
    #[error("could not send the particle: {reason}")]
    NotSent {
        /// Why.
        reason: String,
    },
    /// No answer came within the particle's time to live.
    #[error("the particle expired after its ttl of {ttl:?}")]
    Expired {
        /// The time to live.
        ttl: Duration,
    },
    /// The client was stopped.
    #[error("the client is stopped")]
    Stopped,
}

/// A script with everything it needs.
#[derive(Clone)]
pub struct Request {
    script: String,
    arguments: BTreeMap<String, Box<RawValue>>,
    ttl: Duration,
    callbacks: Option<Arc<dyn FunctionHost>>,
}

impl Request {
    /// A script without arguments.
    pub fn new(script: impl Into<String>) -> Self {
        Self {
            script: script.into(),
            arguments: BTreeMap::new(),
            ttl: DEFAULT_TTL,
            callbacks: None,
        }
    }

    /// Adds an argument, by the name the script asks for.
    ///
    /// # Errors
    /// The value has no JSON form.
    pub fn argument<T: Serialize + ?Sized>(
        mut self,
        name: &str,
        value: &T,
    ) -> Result<Self, serde_json::Error> {
        self.arguments.insert(name.to_owned(), to_raw_value(value)?);
        Ok(self)
    }

    /// Sets how long the particle lives, which is also how long the client waits.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets who answers the other functions of `callbackSrv`: arguments of the script that are
    /// functions themselves.
    #[must_use]
    pub fn callbacks(mut self, callbacks: Arc<dyn FunctionHost>) -> Self {
        self.callbacks = Some(callbacks);
        self
    }
}

/// What a client is made of.
pub struct ClientBuilder {
    key: KeyPair,
    relay: String,
    config: PeerConfig,
    functions: Vec<Arc<dyn FunctionHost>>,
    observers: Vec<Arc<dyn Observer>>,
}

impl ClientBuilder {
    /// Adds functions that scripts of anybody may call at this client.
    #[must_use]
    pub fn functions(mut self, functions: Arc<dyn FunctionHost>) -> Self {
        self.functions.push(functions);
        self
    }

    /// Adds an observer of the client's own peer.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Starts the client's own peer and dials the relay.
    ///
    /// # Errors
    /// The relay's address is malformed or does not answer.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let Some(relay) = peer_of_address(&self.relay) else {
            return Err(ClientError::RelayAddress {
                address: self.relay,
            });
        };
        let mut network: NetworkConfig = self.config.network();
        network.listen.clear();
        network.connection_idle_timeout.0 = IDLE;
        let calls = Arc::new(Calls::new(relay));
        let mut builder = Peer::builder(self.key.clone())
            .config(self.config)
            .network(network)
            .behind(relay)
            .functions(calls.clone())
            .observer(calls.clone());
        for functions in self.functions {
            builder = builder.functions(functions);
        }
        for observer in self.observers {
            builder = builder.observer(observer);
        }
        let peer = builder.start().await?;
        if let Err(error) = peer.network().dial(&self.relay).await {
            peer.stop().await;
            return Err(error.into());
        }
        Ok(Client {
            key: self.key,
            relay,
            relay_address: self.relay,
            peer,
            calls,
        })
    }
}

/// A client connected to its relay.
#[derive(Debug)]
pub struct Client {
    key: KeyPair,
    relay: PeerId,
    relay_address: String,
    peer: Peer,
    calls: Arc<Calls>,
}

/// A script that was started.
#[derive(Debug)]
pub struct Call {
    /// Id of the particle.
    pub particle_id: String,
    /// When it was made.
    pub started: SystemTime,
    ttl: Duration,
    result: oneshot::Receiver<Result<Value, CallError>>,
    /// Forgets the call when nobody waits for it any more.
    _pending: Pending,
}

impl Client {
    /// What is needed for a client of the relay with this address, `…/p2p/<peer id>`.
    pub fn builder(key: KeyPair, relay: &str) -> ClientBuilder {
        ClientBuilder {
            key,
            relay: relay.to_owned(),
            config: PeerConfig::default(),
            functions: Vec::new(),
            observers: Vec::new(),
        }
    }

    /// Connects to a relay.
    ///
    /// # Errors
    /// The relay's address is malformed or does not answer.
    pub async fn connect(key: KeyPair, relay: &str) -> Result<Self, ClientError> {
        Self::builder(key, relay).connect().await
    }

    /// The id of the client.
    pub fn peer_id(&self) -> PeerId {
        self.key.peer_id()
    }

    /// The id of the relay.
    pub fn relay(&self) -> PeerId {
        self.relay
    }

    /// The client's own peer.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Starts a script and waits for its result: what it gave to `callbackSrv.response`, several
    /// arguments as an array, none as null.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, request: Request) -> Result<Value, CallError> {
        self.start(request).await?.result().await
    }

    /// Starts a script.
    ///
    /// # Errors
    /// The script has errors, or the relay cannot be reached any more.
    pub async fn start(&self, request: Request) -> Result<Call, CallError> {
        air_parser::parse(&request.script).map_err(|errors| CallError::Script {
            message: errors.to_string(),
        })?;
        // A relay that was restarted is dialed again, as JS clients do with each particle.
        if !self.peer.network().is_connected(&self.relay) {
            self.peer
                .network()
                .dial(&self.relay_address)
                .await
                .map_err(|error| CallError::NotSent {
                    reason: error.to_string(),
                })?;
        }
        let particle_id = random_id();
        let started = SystemTime::now();
        let ttl = u32::try_from(request.ttl.as_millis()).unwrap_or(u32::MAX);
        let (reply, result) = oneshot::channel();
        let responds = request.script.contains("(\"callbackSrv\" \"response\")");
        let pending = self.calls.add(
            &particle_id,
            request.arguments,
            request.callbacks,
            responds,
            reply,
        );
        let particle = Particle::new(
            &self.key,
            particle_id.clone(),
            SystemClock.now_ms(),
            ttl,
            request.script,
        );
        self.peer.submit(particle);
        Ok(Call {
            particle_id,
            started,
            ttl: request.ttl,
            result,
            _pending: pending,
        })
    }

    /// Disconnects and stops.
    pub async fn stop(&self) {
        self.peer.stop().await;
    }
}

impl Call {
    /// Waits for the result.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn result(self) -> Result<Value, CallError> {
        let Self {
            ttl,
            result,
            _pending,
            ..
        } = self;
        match tokio::time::timeout(ttl, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallError::Stopped),
            Err(_) => Err(CallError::Expired { ttl }),
        }
    }
}

/// A random (version 4) UUID.
fn random_id() -> String {
    let bits = rand::random::<u128>();
    let bits = bits & !(0xf << 76) | (0x4 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts
        .map(|range| hex.get(range).unwrap_or_default())
        .join("-")
}

/// The message of an error object, or whatever the script reported, as JSON.
fn error_text(error: &Value) -> String {
    match error.get("message").and_then(Value::as_str) {
        Some(message) => match error.get("peer_id").and_then(Value::as_str) {
            Some(peer) => format!("the script failed at {peer}: {message}"),
            None => format!("the script failed: {message}"),
        },
        None => format!("the script failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_four() {
        let id = random_id();
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!(
            parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
        assert!(parts[2].starts_with('4'), "{id}");
        assert!(parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
        assert_ne!(id, random_id());
    }

    #[test]
    fn errors_of_scripts_are_readable() {
        let error = serde_json::json!({"message": "no", "peer_id": "P", "error_code": 10000});
        assert_eq!(
            CallError::Error(error).to_string(),
            "the script failed at P: no"
        );
        assert_eq!(
            CallError::Error(Value::from(7)).to_string(),
            "the script failed: 7"
        );
    }
}

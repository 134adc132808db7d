//! Functions that scripts call: who answers a call, with what, and how answers compose.
//!
//! ```
//! use std::sync::Arc;
//! use peer_core::host::{FunctionOutcome, HostChain, NativeFunctions};
//!
//! let functions = NativeFunctions::new().with("greeting", "hello", |call| {
//!     let mut arguments = call.arguments();
//!     match arguments.next::<String>("name") {
//!         Ok(name) => FunctionOutcome::value(&format!("Hello, {name}!")),
//!         Err(error) => FunctionOutcome::error(&error.to_json_text()),
//!     }
//! });
//! let host = HostChain::new().with(Arc::new(functions));
//! # let _ = host;
//! ```

mod arguments;
mod initiator;
mod native;
mod scope;

pub use self::{
    arguments::{ArgumentError, Arguments},
    initiator::{Ending, Initiator},
    native::NativeFunctions,
    scope::PeerScope,
};

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use futures::FutureExt as _;
use particle::{PeerId, Signature};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Answers the calls that scripts make on a peer.
///
/// A host says [`FunctionOutcome::NotDefined`] for what it does not know, so that hosts can be
/// chained. Calls of one particle run concurrently; a host that needs them one by one queues them
/// itself. An engine stops waiting for a call at its deadline and drops the future then.
#[async_trait]
pub trait FunctionHost: Send + Sync {
    /// Answers one call.
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome;
}

/// The particle that a call belongs to.
#[derive(Clone, Debug)]
pub struct ParticleContext {
    /// Id of the particle; any text its maker chose.
    pub id: String,
    /// Who made and signed the particle: the only identity that permissions look at.
    pub init_peer_id: PeerId,
    /// When it was made, in milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// How long it lives, in milliseconds.
    pub ttl: u32,
    /// Its script.
    pub script: Arc<str>,
    /// Its signature, already verified.
    pub signature: Signature,
}

impl ParticleContext {
    /// The last millisecond at which the particle is alive; nothing when it was never valid,
    /// because the sum does not fit.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.timestamp.checked_add(self.ttl.into())
    }
}

/// One call of a function, as a script made it.
#[derive(Clone, Debug)]
pub struct FunctionCall {
    /// The particle.
    pub particle: Arc<ParticleContext>,
    /// The peer that hosts the scope.
    pub host_id: PeerId,
    /// The scope that executes the call: the host itself or one of its workers.
    pub peer_id: PeerId,
    /// Number of the call within the particle at this peer.
    pub call_id: u32,
    /// The service, by id or alias.
    pub service_id: String,
    /// The function.
    pub function_name: String,
    /// The arguments as JSON texts.
    pub arguments: Vec<Box<RawValue>>,
    /// Where each argument came from; an argument made of several values has several.
    pub tetraplets: Vec<Vec<OwnedTetraplet>>,
    /// When nobody waits for the answer any longer, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
}

impl FunctionCall {
    /// A reader over the arguments.
    #[must_use]
    pub fn arguments(&self) -> Arguments<'_> {
        Arguments::new(&self.arguments)
    }

    /// The scope that executes the call.
    #[must_use]
    pub fn scope(&self) -> PeerScope {
        PeerScope::of(self.peer_id, self.host_id)
    }
}

/// Where a value came from: peer, service, function, and the path into the function's result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnedTetraplet {
    /// The peer that produced the value.
    pub peer_pk: String,
    /// The service; empty for a literal.
    pub service_id: String,
    /// The function; empty for a literal.
    pub function_name: String,
    /// The path into the result; older peers call it `json_path`.
    #[serde(alias = "json_path")]
    pub lens: String,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum FunctionOutcome {
    /// A result, as JSON.
    Ok(Box<RawValue>),
    /// A function that returns nothing; the script receives an empty text.
    Empty,
    /// The function failed; the script can catch it.
    ServiceError {
        /// A code other than 0.
        ret_code: i32,
        /// What happened, as JSON, normally a text.
        message: Box<RawValue>,
    },
    /// This host has no such function.
    NotDefined,
}

impl FunctionOutcome {
    /// A result made of anything that has a JSON form.
    #[must_use]
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Self {
        match serde_json::value::to_raw_value(value) {
            Ok(raw) => Self::Ok(raw),
            Err(error) => Self::error(&format!("the result has no JSON form: {error}")),
        }
    }

    /// A failure with code 1 and this text.
    #[must_use]
    pub fn error(text: &str) -> Self {
        Self::ServiceError {
            ret_code: 1,
            message: json_text(text),
        }
    }

    /// A failure with code 1 and the text of a typed error: how it displays, then how it debugs.
    #[must_use]
    pub fn typed_error<E: std::error::Error>(error: &E) -> Self {
        Self::error(&typed_error_text(error))
    }

    /// The code and JSON text that the state machine is given for `call`.
    #[must_use]
    pub fn into_result(self, call: &FunctionCall) -> (i32, String) {
        match self {
            Self::Ok(raw) => (0, raw_into_string(raw)),
            Self::Empty => (0, "\"\"".to_owned()),
            Self::ServiceError { ret_code, message } => {
                // Code 0 would turn the message into a result.
                let ret_code = if ret_code == 0 { 1 } else { ret_code };
                (ret_code, raw_into_string(message))
            }
            Self::NotDefined => {
                let text = format!(
                    "Service with id '{}' not found (function {})",
                    call.service_id, call.function_name
                );
                (1, raw_into_string(json_text(&text)))
            }
        }
    }
}

/// Runs a call on `host`; a panic in it becomes an error of the call.
pub async fn call_isolated(host: &dyn FunctionHost, call: &FunctionCall) -> FunctionOutcome {
    match AssertUnwindSafe(host.call(call)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => {
            let reason = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no reason given".to_owned());
            tracing::error!(
                particle_id = %call.particle.id,
                service_id = %call.service_id,
                function_name = %call.function_name,
                %reason,
                "a function panicked"
            );
            FunctionOutcome::error(&format!(
                "function {} of service '{}' panicked: {reason}",
                call.function_name, call.service_id
            ))
        }
    }
}

/// Hosts that are asked one after the other until one knows the function.
#[derive(Clone, Default)]
pub struct HostChain {
    hosts: Vec<Arc<dyn FunctionHost>>,
}

impl HostChain {
    /// A chain without hosts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a host that is asked after those already there.
    #[must_use]
    pub fn with(mut self, host: Arc<dyn FunctionHost>) -> Self {
        self.hosts.push(host);
        self
    }
}

impl fmt::Debug for HostChain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "HostChain({} hosts)", self.hosts.len())
    }
}

#[async_trait]
impl FunctionHost for HostChain {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        for host in &self.hosts {
            match host.call(call).await {
                FunctionOutcome::NotDefined => {}
                outcome => return outcome,
            }
        }
        FunctionOutcome::NotDefined
    }
}

/// `Error: {Display}` and `{Debug}` in two lines: how typed errors look to scripts.
pub(crate) fn typed_error_text<E: std::error::Error>(error: &E) -> String {
    format!("Error: {error}\n{error:?}")
}

/// A text as JSON.
pub(crate) fn json_text(text: &str) -> Box<RawValue> {
    // Texts always have a JSON form.
    serde_json::value::to_raw_value(text).unwrap_or_default()
}

fn raw_into_string(raw: Box<RawValue>) -> String {
    Box::<str>::from(raw).into_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use futures::executor::block_on;
    use particle::KeyPair;
    use serde_json::{Value, json};

    use super::*;

    /// A call of `service_id.function_name` with these arguments, of a particle that was made by
    /// the key of seed 1 and lives from 1,000 to 8,000.
    pub(crate) fn call(service_id: &str, function_name: &str, arguments: &[Value]) -> FunctionCall {
        let host_id = KeyPair::from_seed(&[2; 32]).peer_id();
        FunctionCall {
            particle: Arc::new(ParticleContext {
                id: "particle".to_owned(),
                init_peer_id: KeyPair::from_seed(&[1; 32]).peer_id(),
                timestamp: 1_000,
                ttl: 7_000,
                script: "(null)".into(),
                signature: Signature::from_bytes([0; 64]),
            }),
            host_id,
            peer_id: host_id,
            call_id: 1,
            service_id: service_id.to_owned(),
            function_name: function_name.to_owned(),
            arguments: arguments
                .iter()
                .map(|argument| serde_json::value::to_raw_value(argument).unwrap())
                .collect(),
            tetraplets: Vec::new(),
            deadline_ms: 8_000,
        }
    }

    fn answer(host: &dyn FunctionHost, call: &FunctionCall) -> (i32, String) {
        block_on(call_isolated(host, call)).into_result(call)
    }

    #[test]
    fn hosts_are_asked_in_order() {
        let first = NativeFunctions::new().with("a", "x", |_| FunctionOutcome::value(&1));
        let second = NativeFunctions::new()
            .with("a", "x", |_| FunctionOutcome::value(&2))
            .with_async("a", "y", |_| async { FunctionOutcome::Empty });
        let host = HostChain::new()
            .with(Arc::new(first))
            .with(Arc::new(second));
        assert_eq!(answer(&host, &call("a", "x", &[])), (0, "1".to_owned()));
        assert_eq!(answer(&host, &call("a", "y", &[])), (0, "\"\"".to_owned()));
        let missing = r#""Service with id 'a' not found (function z)""#;
        assert_eq!(answer(&host, &call("a", "z", &[])), (1, missing.to_owned()));
    }

    #[test]
    fn a_panic_fails_only_its_call() {
        let host = NativeFunctions::new()
            .with("a", "sync", |_| panic!("on {}", "purpose"))
            .with_async("a", "async", |_| async { panic!("later") });
        let (code, text) = answer(&host, &call("a", "sync", &[]));
        assert_eq!(code, 1);
        assert!(text.contains("panicked: on purpose"), "{text}");
        assert!(answer(&host, &call("a", "async", &[])).1.contains("later"));
    }

    #[test]
    fn an_error_never_has_code_zero() {
        let host = NativeFunctions::new().with("a", "x", |_| FunctionOutcome::ServiceError {
            ret_code: 0,
            message: json_text("broken"),
        });
        assert_eq!(
            answer(&host, &call("a", "x", &[])),
            (1, "\"broken\"".to_owned())
        );
    }

    #[test]
    fn tetraplets_have_two_spellings() {
        for key in ["lens", "json_path"] {
            let text =
                json!({"peer_pk": "p", "service_id": "s", "function_name": "f", key: ".$.a"});
            let tetraplet: OwnedTetraplet = serde_json::from_value(text).unwrap();
            assert_eq!(tetraplet.lens, ".$.a");
        }
    }
}

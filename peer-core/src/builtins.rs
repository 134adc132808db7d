//! The functions that every peer has: `peer`, `kad`, `op`, `debug`, `math`, `cmp`, `array`,
//! `json` (§3 of the peer description, builtin services).
//!
//! A function that is not in these tables is not an error here: the next host is asked.

mod array;
mod json;
mod kad;
mod math;
mod op;
mod peer;

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use particle::PeerId;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::{
    clock::Clock,
    config::CompatMode,
    connectivity::Connectivity,
    host::{
        ArgumentError, Arguments, FunctionCall, FunctionHost, FunctionOutcome, typed_error_text,
    },
    services::{Services, spell_of_particle},
};

/// The builtin functions of a peer.
pub struct Builtins {
    connectivity: Arc<dyn Connectivity>,
    clock: Arc<dyn Clock>,
    node: NodeInfo,
    guard: Guard,
    compat: Compat,
}

/// What `peer.identify` says about a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeInfo {
    /// Announced multiaddresses.
    pub external_addresses: Vec<String>,
    /// Version of the peer.
    pub node_version: String,
    /// Version of the AIR interpreter that the peer's data names.
    pub air_version: String,
    /// Version of the spell service.
    pub spell_version: String,
    /// Paths of binaries that effectors may run.
    pub allowed_binaries: Vec<String>,
    /// Always null: virtual machines are not offered.
    pub vm_info: Option<()>,
}

impl Default for NodeInfo {
    fn default() -> Self {
        Self {
            external_addresses: Vec::new(),
            node_version: env!("CARGO_PKG_VERSION").to_owned(),
            air_version: "0.63.0".to_owned(),
            spell_version: "0.7.5".to_owned(),
            allowed_binaries: Vec::new(),
            vm_info: None,
        }
    }
}

/// What a stranger is told who calls a protected function.
const GUARDED: &str = "This function is only available to the host or worker spells";

/// Who may call the protected functions: the host, those named here, and worker spells (§2.10 of
/// the peer description).
#[derive(Clone, Debug, Default)]
pub struct Guard {
    managers: BTreeSet<PeerId>,
    services: Option<Arc<Services>>,
}

impl Guard {
    /// A guard that lets the host and these peers pass.
    #[must_use]
    pub fn new(managers: impl IntoIterator<Item = PeerId>) -> Self {
        Self {
            managers: managers.into_iter().collect(),
            services: None,
        }
    }

    /// Lets particles of worker spells pass, which are among these services.
    #[must_use]
    pub fn with_services(mut self, services: Arc<Services>) -> Self {
        self.services = Some(services);
        self
    }

    /// Whether the call's particle may call protected functions.
    #[must_use]
    pub fn allows(&self, call: &FunctionCall) -> bool {
        let init_peer_id = call.particle.init_peer_id;
        init_peer_id == call.host_id || self.is_manager(init_peer_id) || self.is_worker_spell(call)
    }

    /// Only a local scope has services, and only its key signs particles in its name.
    fn is_worker_spell(&self, call: &FunctionCall) -> bool {
        let particle = &call.particle;
        match (&self.services, spell_of_particle(&particle.id)) {
            (Some(services), Some(id)) => services.is_worker_spell(particle.init_peer_id, id),
            _ => false,
        }
    }

    /// Whether a peer is one of those named here.
    #[must_use]
    pub fn is_manager(&self, peer_id: PeerId) -> bool {
        self.managers.contains(&peer_id)
    }

    /// Refuses strangers.
    pub(crate) fn check(&self, call: &FunctionCall) -> Result<(), Failure> {
        match self.allows(call) {
            true => Ok(()),
            false => Err(GUARDED.into()),
        }
    }
}

/// Where the published peer deviates from what its functions promise, in ways that scripts see
/// (§3 and §14 of the peer description). By default nothing of it is imitated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// `op.sha256_string` puts the text itself where the digest belongs, as the published peer
    /// does, instead of hashing it, as JS clients do.
    pub unhashed_sha256_string: bool,
    /// `peer.get_contact` answers with a bare contact, or nothing, as the published peer does,
    /// instead of an option, as the published Aqua declaration says.
    pub bare_contact: bool,
    /// `peer.is_connected` is true for every peer with known addresses, as the published peer has
    /// it, instead of those with a connection and the peer itself.
    pub known_is_connected: bool,
}

impl Compat {
    /// Everything as the published peer does it.
    pub const NOX: Self = Self {
        unhashed_sha256_string: true,
        bare_contact: true,
        known_is_connected: true,
    };
}

impl From<CompatMode> for Compat {
    fn from(mode: CompatMode) -> Self {
        match mode {
            CompatMode::Aqua => Self::default(),
            CompatMode::Nox => Self::NOX,
        }
    }
}

impl Builtins {
    /// The builtins of a peer in this network, with this clock.
    #[must_use]
    pub fn new(connectivity: Arc<dyn Connectivity>, clock: Arc<dyn Clock>) -> Self {
        Self {
            connectivity,
            clock,
            node: NodeInfo::default(),
            guard: Guard::default(),
            compat: Compat::default(),
        }
    }

    /// Sets what `peer.identify` answers.
    #[must_use]
    pub fn with_node_info(mut self, node: NodeInfo) -> Self {
        self.node = node;
        self
    }

    /// Sets who may call the protected functions.
    #[must_use]
    pub fn with_guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Sets the deviations.
    #[must_use]
    pub fn with_compat(mut self, compat: Compat) -> Self {
        self.compat = compat;
        self
    }

    async fn answer(&self, call: &FunctionCall) -> Answer {
        let function = call.function_name.as_str();
        let arguments = call.arguments();
        match call.service_id.as_str() {
            "peer" => peer::call(self, call, function, arguments).await,
            "kad" => kad::call(self.connectivity.as_ref(), function, arguments).await,
            "op" => op::call(function, &call.arguments, self.compat),
            "debug" => op::debug(function, &call.arguments),
            "math" => math::math(function, arguments),
            "cmp" => math::cmp(function, arguments),
            "array" => array::call(function, &call.arguments),
            "json" => json::call(function, arguments),
            _ => Ok(FunctionOutcome::NotDefined),
        }
    }
}

impl fmt::Debug for Builtins {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builtins")
            .field("node", &self.node)
            .field("guard", &self.guard)
            .field("compat", &self.compat)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl FunctionHost for Builtins {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        self.answer(call)
            .await
            .unwrap_or_else(Failure::into_outcome)
    }
}

/// What a builtin answers; a failure becomes code 1 with a text.
pub(crate) type Answer = Result<FunctionOutcome, Failure>;

/// The text of a failed call.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A typed error: displayed, then debugged.
    pub(crate) fn typed<E: std::error::Error>(error: &E) -> Self {
        Self(typed_error_text(error))
    }

    pub(crate) fn into_outcome(self) -> FunctionOutcome {
        FunctionOutcome::error(&self.0)
    }

    #[cfg(feature = "marine")]
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<ArgumentError> for Failure {
    fn from(error: ArgumentError) -> Self {
        Self::typed(&error)
    }
}

pub(crate) fn value<T: Serialize + ?Sized>(value: &T) -> Answer {
    Ok(FunctionOutcome::value(value))
}

/// Strict functions take exactly `expected` arguments.
fn check_arity(arguments: &Arguments<'_>, expected: usize) -> Result<(), Failure> {
    let given = arguments.remaining();
    if given == expected {
        return Ok(());
    }
    Err(format!("expected {expected} arguments, got {given}").into())
}

/// The elements of an argument, when it is an array.
fn elements(raw: &RawValue) -> Option<Vec<Box<RawValue>>> {
    serde_json::from_str(raw.get()).ok()
}

/// Errors of texts in base58 and what is inside.
#[derive(Debug, thiserror::Error)]
enum DecodeError {
    #[error("decode base58 failed: {0}")]
    Base58(bs58::decode::Error),
    #[error("decode from bytes to UTF8 failed: {0}")]
    Utf8(std::string::FromUtf8Error),
    #[error("Invalid multihash: {0}")]
    Multihash(&'static str),
}

/// Base58 takes time quadratic in the length of the text, so that is bounded.
const MAX_BASE58: usize = 64 << 10;

fn from_base58(text: &str) -> Result<Vec<u8>, Failure> {
    if text.len() > MAX_BASE58 {
        return Err(format!(
            "base58 text of {} bytes is too long, expected at most {MAX_BASE58} bytes",
            text.len()
        )
        .into());
    }
    bs58::decode(text)
        .into_vec()
        .map_err(|error| Failure::typed(&DecodeError::Base58(error)))
}

fn to_base58(bytes: &[u8]) -> Result<String, Failure> {
    if bytes.len() > MAX_BASE58 {
        return Err(format!(
            "{} bytes are too many for base58, expected at most {MAX_BASE58}",
            bytes.len()
        )
        .into());
    }
    Ok(bs58::encode(bytes).into_string())
}

/// SHA-256 as the multihash code table numbers it.
const SHA2_256: u8 = 0x12;
/// Longest digest that a multihash of the protocol holds.
const MAX_DIGEST: usize = 64;

/// The multihash that says `digest` is a SHA-256, whether it is one or not.
fn wrap_multihash(digest: &[u8]) -> Result<Vec<u8>, Failure> {
    let length = u8::try_from(digest.len())
        .ok()
        .filter(|&length| usize::from(length) <= MAX_DIGEST)
        .ok_or_else(|| Failure::typed(&DecodeError::Multihash("digest longer than 64 bytes")))?;
    Ok([&[SHA2_256, length], digest].concat())
}

/// A value as compact JSON with sorted keys.
fn compact(raw: &RawValue) -> String {
    serde_json::from_str::<Value>(raw.get())
        .map_or_else(|_| raw.get().to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{connectivity::Contact, host::tests::call};

    /// A clock that stands at 5,000 and notes what was slept.
    #[derive(Default)]
    pub(super) struct StoppedClock(pub(super) std::sync::Mutex<Vec<u64>>);

    #[async_trait]
    impl Clock for StoppedClock {
        fn now_ms(&self) -> u64 {
            5_999
        }

        async fn sleep(&self, duration: std::time::Duration) {
            self.0.lock().unwrap().push(duration.as_millis() as u64);
        }
    }

    /// One peer that is connected, and known by one address.
    pub(super) struct OnePeer(pub(super) PeerId);

    #[async_trait]
    impl Connectivity for OnePeer {
        async fn is_connected(&self, peer_id: &str) -> bool {
            peer_id == self.0.to_string()
        }

        async fn connect(&self, contact: Contact) -> Result<bool, String> {
            Ok(contact.peer_id == self.0.to_string() && !contact.addresses.is_empty())
        }

        async fn get_contact(&self, peer_id: &str) -> Option<Contact> {
            (peer_id == self.0.to_string()).then(|| Contact {
                peer_id: peer_id.to_owned(),
                addresses: vec!["/memory/1".to_owned()],
            })
        }

        async fn neighborhood(&self, key: &[u8], count: usize) -> Vec<String> {
            // The key is told apart by its length.
            vec![self.0.to_string(), key.len().to_string(), count.to_string()]
        }
    }

    pub(super) fn builtins(peer: PeerId) -> Builtins {
        Builtins::new(Arc::new(OnePeer(peer)), Arc::new(StoppedClock::default()))
    }

    /// Calls a builtin: the result, or the text of the failure.
    pub(super) fn ask(name: &str, arguments: &[Value]) -> Result<Value, String> {
        let peer = particle::KeyPair::from_seed(&[3; 32]).peer_id();
        ask_of(&builtins(peer), name, arguments)
    }

    pub(super) fn ask_of(
        builtins: &Builtins,
        name: &str,
        arguments: &[Value],
    ) -> Result<Value, String> {
        let (service, function) = name.split_once('.').unwrap();
        let call = call(service, function, arguments);
        let (code, text) = block_on(builtins.call(&call)).into_result(&call);
        let answer: Value = serde_json::from_str(&text).unwrap();
        match (code, answer) {
            (0, answer) => Ok(answer),
            (1, Value::String(text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    /// Checks rows of function, arguments and answer.
    pub(super) fn check(rows: &[(&str, Value, Result<Value, &str>)]) {
        for (name, arguments, expected) in rows {
            let answer = ask(name, arguments.as_array().unwrap());
            match (&answer, expected) {
                // A text that ends with … gives only the beginning.
                (Err(text), Err(beginning)) if beginning.ends_with('…') => assert!(
                    text.starts_with(beginning.trim_end_matches('…')),
                    "{name} {arguments}: {text}"
                ),
                _ => assert_eq!(
                    answer,
                    expected.clone().map_err(str::to_owned),
                    "{name} {arguments}"
                ),
            }
        }
    }

    #[test]
    fn unknown_functions_are_left_to_others() {
        for name in [
            "op.foo",
            "peer.foo",
            "kad.foo",
            "json.foo",
            "debug.foo",
            "srv.list",
        ] {
            let (service, function) = name.split_once('.').unwrap();
            let text = format!("Service with id '{service}' not found (function {function})");
            assert_eq!(ask(name, &[]), Err(text));
        }
        for name in ["math.foo", "cmp.foo", "array.foo"] {
            assert!(ask(name, &[]).unwrap_err().ends_with("(function foo)"));
        }
    }
}

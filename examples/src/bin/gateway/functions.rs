//! The functions that a gateway offers, and who runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::limits::KeyConfig;
use crate::types::{self, Argument, Type};

/// The settings of a gateway: one TOML file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Address of the relay, with `/p2p/<peer id>` at its end.
    pub(crate) relay: String,
    /// Address and port for HTTP; port 0 is any.
    #[serde(default = "default_listen")]
    pub(crate) listen: String,
    /// Secret key of the gateway's client in base64 or base58; a new one at each start when absent.
    pub(crate) key: Option<String>,
    /// Calls that may be running at a time.
    #[serde(default = "default_max_calls")]
    pub(crate) max_calls: usize,
    /// The functions.
    pub(crate) functions: Vec<FunctionConfig>,
    /// Routes whose requests become particles.
    #[serde(default)]
    pub(crate) listeners: Vec<ListenerConfig>,
    /// Who may call; everybody when there are none.
    #[serde(default)]
    pub(crate) keys: Vec<KeyConfig>,
}

/// A function, an entry of `[[functions]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionConfig {
    /// The function's name.
    pub(crate) name: String,
    /// A file with compiled functions, `.jsonl` or `.jsonl.gz`.
    pub(crate) record: PathBuf,
    /// How long it may take, in milliseconds.
    #[serde(default = "default_ttl")]
    pub(crate) ttl_ms: u32,
    /// What it does, for the OpenAPI document.
    #[serde(default)]
    pub(crate) description: String,
}

/// A route, an entry of `[[listeners]]`: its function gets [`request`]s.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerConfig {
    /// The path, such as `/hooks/push`.
    pub(crate) route: String,
    /// The function, whose only argument is the request.
    pub(crate) function: String,
}

fn default_listen() -> String {
    "127.0.0.1:8080".to_owned()
}

fn default_max_calls() -> usize {
    256
}

fn default_ttl() -> u32 {
    7_000
}

impl Config {
    /// Reads a file; the paths in it are relative to its folder.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
        let mut config: Self =
            toml::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        for function in &mut config.functions {
            function.record = folder.join(&function.record);
        }
        Ok(config)
    }
}

/// What the function of a listener is given: all texts, the query as it stands in the address.
pub(crate) fn request(method: &str, path: &str, query: &str, body: &str) -> Value {
    json!({ "method": method, "path": path, "query": query, "body": body })
}

/// A function with its types.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) air: String,
    pub(crate) ttl: Duration,
    pub(crate) arguments: Vec<(String, Argument)>,
    pub(crate) results: Vec<Type>,
}

impl Function {
    /// A function from the compiler's descriptions.
    pub(crate) fn new(
        config: &FunctionConfig,
        air: String,
        arguments: &Value,
        results: &Value,
    ) -> Result<Self, String> {
        let named = |error: String| format!("function `{}`: {error}", config.name);
        Ok(Self {
            name: config.name.clone(),
            description: config.description.clone(),
            air,
            ttl: Duration::from_millis(config.ttl_ms.into()),
            arguments: types::arguments(arguments).map_err(named)?,
            results: types::results(results).map_err(named)?,
        })
    }

    /// The arguments that are values.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.arguments
            .iter()
            .filter_map(|(name, argument)| match argument {
                Argument::Value(value) => Some((name.as_str(), value)),
                Argument::Events(_) => None,
            })
    }

    /// The arguments that are events, with the types of what each one brings.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&str, &[Type])> {
        self.arguments
            .iter()
            .filter_map(|(name, argument)| match argument {
                Argument::Value(_) => None,
                Argument::Events(types) => Some((name.as_str(), types.as_slice())),
            })
    }

    /// The arguments of a call, by their names, from what an HTTP client sent.
    pub(crate) fn read(
        &self,
        given: &Map<String, Value>,
    ) -> Result<BTreeMap<String, Value>, String> {
        let known: Vec<&str> = self.values().map(|(name, _)| name).collect();
        if let Some(name) = given.keys().find(|name| !known.contains(&name.as_str())) {
            let known = known.join(", ");
            return Err(format!("there is no argument `{name}`, expected {known}"));
        }
        self.values()
            .map(|(name, value)| {
                let given = given.get(name).unwrap_or(&Value::Null);
                Ok((name.to_owned(), value.to_script(given, name)?))
            })
            .collect()
    }

    /// The arguments of a call whose only one is this request; the error says why they do not fit.
    pub(crate) fn read_request(&self, request: Value) -> Result<BTreeMap<String, Value>, String> {
        let [(name, Argument::Value(_))] = self.arguments.as_slice() else {
            let name = &self.name;
            return Err(format!(
                "the function `{name}` must have one argument, the request"
            ));
        };
        self.read(&Map::from_iter([(name.clone(), request)]))
    }

    /// A result as the HTTP client gets it.
    pub(crate) fn result(&self, value: Value) -> Value {
        match (self.results.as_slice(), value) {
            ([only], value) => only.to_http(value),
            (types, Value::Array(values)) => typed(types, values),
            (_, value) => value,
        }
    }

    /// What an event brings, as the HTTP client gets it.
    pub(crate) fn event(&self, name: &str, values: Vec<Value>) -> Value {
        let types = self.events().find(|(event, _)| *event == name);
        typed(types.map(|(_, types)| types).unwrap_or_default(), values)
    }
}

fn typed(types: &[Type], values: Vec<Value>) -> Value {
    let types = types.iter().map(Some).chain(std::iter::repeat(None));
    let pairs = values.into_iter().zip(types);
    pairs
        .map(|(value, kind)| match kind {
            Some(kind) => kind.to_http(value),
            None => value,
        })
        .collect()
}

/// A call of one of the caller's functions.
#[derive(Debug)]
pub(crate) struct Event {
    /// The argument that was called.
    pub(crate) name: String,
    pub(crate) values: Vec<Value>,
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CallFailure {
    /// The script reported this.
    Script(Value),
    /// It took longer than it may.
    Expired,
    /// It did not get to the relay.
    NotSent(String),
}

/// Who runs functions.
#[async_trait]
pub(crate) trait Caller: Send + Sync {
    /// Starts a function; its events go to the channel, where there is one.
    async fn start(
        &self,
        function: &Function,
        arguments: BTreeMap<String, Value>,
        events: Option<mpsc::Sender<Event>>,
    ) -> Result<Box<dyn Started>, CallFailure>;
}

/// A function that runs; dropping it forgets it.
#[async_trait]
pub(crate) trait Started: Send {
    /// The id of its particle.
    fn particle(&self) -> &str;

    /// Waits for the result.
    async fn result(self: Box<Self>) -> Result<Value, CallFailure>;
}

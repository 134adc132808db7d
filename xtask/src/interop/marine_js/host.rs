//! The published JS host, driven by `xtask/harness/avm/services.mjs`.

use std::path::PathBuf;

use marine_runtime::CallParameters;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::interop::driver::Driver;

/// A variable that modules find in their environment.
pub(super) const VARIABLE: (&str, &str) = ("GREETING", "hello");

/// A running host, with one service at a time.
pub(super) struct Host(Driver);

/// What a module logged.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct LogLine {
    pub(super) service: String,
    pub(super) level: String,
    pub(super) message: String,
}

/// The result of a call as JSON text or its error, and what was logged meanwhile.
pub(super) type Answer = (Result<String, String>, Vec<LogLine>);

impl Host {
    pub(super) fn start() -> Result<Self, String> {
        Driver::start("services.mjs", None).map(Self)
    }

    /// A new service of these modules, in place of the last one.
    pub(super) fn load(&mut self, modules: &[(&str, PathBuf)], mask: i32) -> Result<(), String> {
        let (key, value) = VARIABLE;
        let modules: Vec<_> = modules
            .iter()
            .map(|(name, path)| {
                json!({"name": name, "path": path, "logging_mask": mask, "envs": {key: value}})
            })
            .collect();
        let answer = self.0.ask(&json!({ "load": modules }))?;
        match answer.get("loaded") {
            Some(Value::Bool(true)) => Ok(()),
            _ => Err(format!("the JS host does not load {modules:?}: {answer}")),
        }
    }

    /// Calls the facade.
    ///
    /// # Errors
    /// A driver that fails.
    pub(super) fn call(
        &mut self,
        function: &str,
        arguments: &str,
        parameters: &CallParameters,
    ) -> Result<Answer, String> {
        let request = json!({"call": function, "arguments": arguments, "parameters": parameters});
        let mut answer = self.0.ask(&request)?;
        let log = answer.get_mut("log").map(Value::take).unwrap_or_default();
        let log = serde_json::from_value(log).map_err(|error| format!("{function}: {error}"))?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        match (text("result"), text("error")) {
            (Some(result), None) => Ok((Ok(result), log)),
            (None, Some(error)) => Ok((Err(error), log)),
            _ => Err(format!("{function}: the driver answers {answer}")),
        }
    }
}

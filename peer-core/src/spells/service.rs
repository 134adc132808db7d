//! The service of a spell, as the host calls it (§6.6 of the peer description).

use std::{any::type_name, sync::Arc};

use particle::Signature;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use thiserror::Error;
use uuid::Uuid;

use super::{SpellId, SpellParts, TriggerConfig};
use crate::host::{FunctionCall, FunctionHost as _, FunctionOutcome, ParticleContext};

/// Time for one call, in milliseconds: a spell that has to be loaded first may be slow.
const CALL_MS: u32 = 60_000;

/// Why the service of a spell did not do what the host wanted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpellError {
    /// No such service, or no such function.
    #[error("Spell {id} not found (function {function})")]
    NotFound {
        /// The spell.
        id: String,
        /// The function.
        function: &'static str,
    },
    /// A function that should return something.
    #[error("Call {id}.{function} didn't return any result")]
    NoResult {
        /// The spell.
        id: String,
        /// The function.
        function: &'static str,
    },
    /// The call failed.
    #[error("Error while calling {id}.{function}: {reason}")]
    Call {
        /// The spell.
        id: String,
        /// The function.
        function: &'static str,
        /// Why.
        reason: String,
    },
    /// A result of another form.
    #[error("Result of the call {id}.{function} cannot be parsed to the {expected} type: {reason}")]
    Parse {
        /// The spell.
        id: String,
        /// The function.
        function: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The service says no.
    #[error("Call {id}.{function} executed with the error: {reason}")]
    Execution {
        /// The spell.
        id: String,
        /// The function.
        function: &'static str,
        /// What it says.
        reason: String,
    },
}

/// What every result of the service has.
#[derive(Deserialize)]
struct Verdict {
    success: bool,
    error: String,
}

/// The service of a spell.
pub struct SpellService<'a> {
    parts: &'a SpellParts,
    spell: SpellId,
}

impl<'a> SpellService<'a> {
    pub(super) fn new(parts: &'a SpellParts, spell: SpellId) -> Self {
        Self { parts, spell }
    }

    /// Sets the script.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn set_script(&self, script: &str) -> Result<(), SpellError> {
        self.do_as_scope("set_script", &[json!(script)]).await
    }

    /// The script.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn script(&self) -> Result<String, SpellError> {
        let call = self.as_scope("get_script", &[]);
        self.value("get_script", &call).await
    }

    /// Sets what the spell is triggered by, as its script reads it.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn set_trigger_config(&self, config: &TriggerConfig) -> Result<(), SpellError> {
        self.do_as_scope("set_trigger_config", &[json!(config)])
            .await
    }

    /// Sets first data: the members of an object.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn set_json_fields(&self, object: &Value) -> Result<(), SpellError> {
        let mut call = self.as_scope("set_json_fields", &[json!(object.to_string())]);
        // As the spell itself, which may write everything.
        let particle = ParticleContext {
            id: format!("spell_{}_0", self.spell.id),
            ..(*call.particle).clone()
        };
        call.particle = Arc::new(particle);
        self.execute("set_json_fields", &call).await.map(drop)
    }

    /// Sets a text.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn set_string(&self, key: &str, value: &str) -> Result<(), SpellError> {
        self.do_as_scope("set_string", &[json!(key), json!(value)])
            .await
    }

    /// A number; nothing when there is none.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn get_u32(&self, key: &str) -> Result<Option<u32>, SpellError> {
        let call = self.as_scope("get_u32", &[json!(key)]);
        self.value_opt("get_u32", &call).await
    }

    /// Sets a number.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn set_u32(&self, key: &str, value: u32) -> Result<(), SpellError> {
        self.do_as_scope("set_u32", &[json!(key), json!(value)])
            .await
    }

    /// A text, read by a particle; nothing when there is none.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn get_string(
        &self,
        of: &FunctionCall,
        key: &str,
    ) -> Result<Option<String>, SpellError> {
        let call = self.of_particle(of, "get_string", &[json!(key)]);
        self.value_opt("get_string", &call).await
    }

    /// Lets a particle store an error or a response.
    ///
    /// # Errors
    /// See [`SpellError`].
    pub async fn write(
        &self,
        of: &FunctionCall,
        function: &'static str,
        arguments: &[Value],
    ) -> Result<(), SpellError> {
        let call = self.of_particle(of, function, arguments);
        self.execute(function, &call).await.map(drop)
    }

    async fn do_as_scope(
        &self,
        function: &'static str,
        arguments: &[Value],
    ) -> Result<(), SpellError> {
        let call = self.as_scope(function, arguments);
        self.execute(function, &call).await.map(drop)
    }

    /// A call in the name of the scope, which owns the spell.
    fn as_scope(&self, function: &str, arguments: &[Value]) -> FunctionCall {
        let now_ms = self.parts.clock.now_ms();
        let particle = ParticleContext {
            id: format!("host-call_{}", Uuid::new_v4()),
            init_peer_id: self.spell.scope,
            timestamp: now_ms,
            ttl: CALL_MS,
            script: "".into(),
            signature: Signature::from_bytes([0_u8; 0]),
        };
        FunctionCall {
            particle: Arc::new(particle),
            host_id: self.parts.host_id,
            peer_id: self.spell.scope,
            call_id: 0,
            service_id: self.spell.id.clone(),
            function_name: function.to_owned(),
            arguments: raw(arguments),
            tetraplets: vec![Vec::new(); arguments.len()],
            deadline_ms: now_ms.saturating_add(CALL_MS.into()),
        }
    }

    fn of_particle(&self, of: &FunctionCall, function: &str, values: &[Value]) -> FunctionCall {
        FunctionCall {
            service_id: self.spell.id.clone(),
            function_name: function.to_owned(),
            arguments: raw(values),
            tetraplets: vec![Vec::new(); values.len()],
            ..of.clone()
        }
    }

    async fn value<T: DeserializeOwned>(
        &self,
        function: &'static str,
        call: &FunctionCall,
    ) -> Result<T, SpellError> {
        let result = self.execute(function, call).await?;
        self.parse(function, result.get("value"))
    }

    async fn value_opt<T: DeserializeOwned>(
        &self,
        function: &'static str,
        call: &FunctionCall,
    ) -> Result<Option<T>, SpellError> {
        let result = self.execute(function, call).await?;
        match result.get("absent") {
            Some(Value::Bool(true)) => Ok(None),
            _ => self.parse(function, result.get("value")).map(Some),
        }
    }

    /// A successful result, as an object.
    async fn execute(
        &self,
        function: &'static str,
        call: &FunctionCall,
    ) -> Result<Value, SpellError> {
        let id = self.spell.id.clone();
        let raw = match self.parts.services.call(call).await {
            FunctionOutcome::Ok(raw) => raw,
            FunctionOutcome::Empty => return Err(SpellError::NoResult { id, function }),
            FunctionOutcome::NotDefined => return Err(SpellError::NotFound { id, function }),
            FunctionOutcome::ServiceError { message, .. } => {
                let reason = serde_json::from_str(message.get());
                let reason = reason.unwrap_or_else(|_| message.get().to_owned());
                return Err(SpellError::Call {
                    id,
                    function,
                    reason,
                });
            }
        };
        let result = serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
        let verdict: Verdict = self.parse(function, &result)?;
        match verdict.success {
            true => Ok(result),
            false => Err(SpellError::Execution {
                id,
                function,
                reason: verdict.error,
            }),
        }
    }

    fn parse<T: DeserializeOwned>(
        &self,
        function: &'static str,
        value: impl Serialize,
    ) -> Result<T, SpellError> {
        let value = serde_json::to_value(value).and_then(serde_json::from_value);
        value.map_err(|error| SpellError::Parse {
            id: self.spell.id.clone(),
            function,
            expected: type_name::<T>(),
            reason: error.to_string(),
        })
    }
}

fn raw(arguments: &[Value]) -> Vec<Box<serde_json::value::RawValue>> {
    let arguments = arguments.iter();
    arguments
        // A tree always has a text.
        .map(|argument| serde_json::value::to_raw_value(argument).unwrap_or_default())
        .collect()
}

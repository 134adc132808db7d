//! Results as callers get them: what there is, whether it went well, and why not.

use crate::{
    error::SpellError,
    records::{
        AllErrorsResult, BoolValue, CIDv1Value, GetLogsResult, GetMailboxResult, Log,
        MailboxMessage, ParticleErrors, PopMailboxResult, ScriptValue, StringListValue,
        StringValue, TriggerConfig, TriggerConfigValue, U32Value, UnitValue,
    },
};

/// A result whose value is in a field of the record.
macro_rules! answers {
    ($($record:ident { $field:ident: $value:ty })*) => {
        $(
            impl From<Result<$value, SpellError>> for $record {
                fn from(result: Result<$value, SpellError>) -> Self {
                    match result {
                        Ok($field) => Self { $field, success: true, ..Self::default() },
                        Err(error) => Self { error: error.to_string(), ..Self::default() },
                    }
                }
            }
        )*
    };
}

answers! {
    StringListValue { value: Vec<String> }
    BoolValue { value: bool }
    ScriptValue { value: String }
    CIDv1Value { value: String }
    TriggerConfigValue { config: TriggerConfig }
    GetMailboxResult { messages: Vec<MailboxMessage> }
    GetLogsResult { logs: Vec<Log> }
    AllErrorsResult { particle_errors: Vec<ParticleErrors> }
}

impl From<Result<(), SpellError>> for UnitValue {
    fn from(result: Result<(), SpellError>) -> Self {
        match result {
            Ok(()) => Self {
                success: true,
                error: String::new(),
            },
            Err(error) => Self {
                success: false,
                error: error.to_string(),
            },
        }
    }
}

impl From<Result<Option<String>, SpellError>> for StringValue {
    fn from(result: Result<Option<String>, SpellError>) -> Self {
        match result {
            Ok(value) => Self {
                absent: value.is_none(),
                value: value.unwrap_or_default(),
                success: true,
                error: String::new(),
            },
            Err(error) => Self {
                error: error.to_string(),
                ..Self::default()
            },
        }
    }
}

impl From<Result<Option<u32>, SpellError>> for U32Value {
    fn from(result: Result<Option<u32>, SpellError>) -> Self {
        match result {
            Ok(value) => Self {
                absent: value.is_none(),
                value: value.unwrap_or_default(),
                success: true,
                error: String::new(),
            },
            Err(error) => Self {
                error: error.to_string(),
                ..Self::default()
            },
        }
    }
}

impl From<Result<Option<MailboxMessage>, SpellError>> for PopMailboxResult {
    fn from(result: Result<Option<MailboxMessage>, SpellError>) -> Self {
        match result {
            Ok(message) => Self {
                absent: message.is_none(),
                message: message.into_iter().collect(),
                success: true,
                error: String::new(),
            },
            Err(error) => Self {
                error: error.to_string(),
                ..Self::default()
            },
        }
    }
}

//! `vault`: files of the particle (§3.10, §5).

use super::Inner;
use crate::{
    builtins::{Answer, Failure, value},
    host::{FunctionCall, FunctionOutcome},
};

pub(super) fn call(inner: &Inner, call: &FunctionCall) -> Answer {
    let mut arguments = call.arguments();
    match call.function_name.as_str() {
        "put" => {
            let data: String = arguments.next("data")?;
            let put = inner.vault.put(call, inner.clock.now_ms(), &data);
            value(&put.map_err(|error| Failure::typed(&error))?)
        }
        "cat" => {
            let path: String = arguments.next("path")?;
            let read = inner.vault.read(call, &path).map_err(|error| {
                tracing::debug!(%path, %error, "a vault file was not read");
            });
            match read.map(String::from_utf8) {
                Ok(Ok(text)) => value(&text),
                _ => Err(format!("Error reading vault file `{path}`").into()),
            }
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

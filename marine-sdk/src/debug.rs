//! What crosses the module's border, in the host's log.

use std::fmt;

/// The level of these messages.
const TRACE: i32 = 5;

pub(crate) fn trace(message: fmt::Arguments<'_>) {
    crate::host_log::send(TRACE, 0, &format!("marine-sdk: {message}"));
}

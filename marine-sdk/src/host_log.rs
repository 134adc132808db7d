//! The host's log.
#![allow(unsafe_code, reason = "the host's function takes an address")]

/// Sends a message; `level` is 1 for errors to 5 for traces.
pub(crate) fn send(level: i32, target: i32, message: &str) {
    #[link(wasm_import_module = "__marine_host_api_v3")]
    unsafe extern "C" {
        fn log_utf8_string(level: i32, target: i32, pointer: usize, length: usize);
    }
    // SAFETY: the host reads the message during the call.
    unsafe { log_utf8_string(level, target, message.as_ptr() as usize, message.len()) }
}

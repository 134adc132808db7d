//! Hashes of RandomX, of the stock variant and of the network's.

use std::collections::BTreeMap;

use ccp::{
    GlobalNonce, LocalNonce, PuzzleKey, ResultHash, UnitId,
    randomx::{Cache, Hasher, Parameters},
};

use super::{Report, expect};

#[derive(serde::Deserialize)]
pub(super) struct Records {
    ccp_pipeline: Vec<Pipeline>,
    fluence_raw: Vec<Raw>,
    standard_raw: Vec<Raw>,
}

#[derive(serde::Deserialize)]
struct Pipeline {
    global_nonce: GlobalNonce,
    cu_id: UnitId,
    randomx_key: PuzzleKey,
    local_nonce: LocalNonce,
    result_hash: ResultHash,
}

#[derive(serde::Deserialize)]
struct Raw {
    key: String,
    input: Option<String>,
    input_ascii: Option<String>,
    hash: String,
}

/// A hash to compute.
struct Job {
    name: String,
    parameters: Parameters,
    input: Vec<u8>,
    expected: String,
}

pub(super) fn replay(records: &Records, report: &mut Report) -> Result<(), String> {
    for (key, jobs) in jobs(records, report)? {
        let cache = Cache::new(&key, Parameters::NETWORK).map_err(|error| error.to_string())?;
        run(&key, cache, jobs, report);
    }
    Ok(())
}

/// The same in a wasm32 build.
#[cfg(feature = "marine")]
pub(super) fn replay_wasm(records: &Records, report: &mut Report) -> Result<(), String> {
    let Some(mut machine) = super::wasm::Machine::start()? else {
        report.skip("randomx.json (wasm32)", "there is no toolchain for it");
        return Ok(());
    };
    for (key, jobs) in jobs(records, report)? {
        let mut prepared = None;
        for job in jobs {
            if prepared != Some(job.parameters) {
                machine.prepare(&key, job.parameters)?;
                prepared = Some(job.parameters);
            }
            let outcome = machine
                .hash(&job.input)
                .and_then(|hash| expect("hash", hash, job.expected));
            report.record(format!("{} (wasm32)", job.name), outcome);
        }
    }
    Ok(())
}

/// What is to be hashed with each key.
fn jobs(records: &Records, report: &mut Report) -> Result<BTreeMap<Vec<u8>, Vec<Job>>, String> {
    // Filling a cache takes most of the time, and one serves every variant.
    let mut jobs = BTreeMap::<Vec<u8>, Vec<Job>>::new();
    for (index, record) in records.ccp_pipeline.iter().enumerate() {
        let key = PuzzleKey::new(&record.global_nonce, &record.cu_id);
        let name = format!("randomx.json: pipeline {index}");
        report.record(
            format!("{name} key"),
            expect("key", key, record.randomx_key),
        );
        jobs.entry(key.0.to_vec()).or_default().push(Job {
            name: format!("{name} hash"),
            parameters: Parameters::NETWORK,
            input: record.local_nonce.0.to_vec(),
            expected: record.result_hash.to_string(),
        });
    }
    for (variant, parameters, records) in [
        ("network", Parameters::NETWORK, &records.fluence_raw),
        ("stock", Parameters::STOCK, &records.standard_raw),
    ] {
        for (index, record) in records.iter().enumerate() {
            let input = match (&record.input, &record.input_ascii) {
                (Some(digits), None) => unhex(digits)?,
                (None, Some(text)) => text.as_bytes().to_vec(),
                _ => return Err(format!("{variant} {index}: neither input nor input_ascii")),
            };
            jobs.entry(unhex(&record.key)?).or_default().push(Job {
                name: format!("randomx.json: {variant} {index}"),
                parameters,
                input,
                expected: record.hash.clone(),
            });
        }
    }
    Ok(jobs)
}

fn run(key: &[u8], mut cache: Cache, jobs: Vec<Job>, report: &mut Report) {
    for job in jobs {
        native(key, &job, report);
        cache = cache.with_parameters(job.parameters);
        let hash = hex::encode(Hasher::new(&cache).hash(&job.input));
        report.record(job.name, expect("hash", hash, job.expected));
    }
}

/// The same by the C++ library, which has the parameters of the network only.
#[cfg(feature = "native")]
fn native(key: &[u8], job: &Job, report: &mut Report) {
    if job.parameters != Parameters::NETWORK {
        return;
    }
    let outcome = ccp::NativePuzzle::default()
        .hash(key, &job.input)
        .map_err(|error| error.to_string())
        .and_then(|hash| expect("hash", hash.to_string(), job.expected.clone()));
    report.record(format!("{} (native)", job.name), outcome);
}

#[cfg(not(feature = "native"))]
fn native(_: &[u8], _: &Job, _: &mut Report) {}

fn unhex(digits: &str) -> Result<Vec<u8>, String> {
    hex::decode(digits).map_err(|error| format!("{digits:?}: {error}"))
}

//! `--record`: what the published interpreter makes of scenarios of our own, in the schema of
//! `vectors/aquavm` with one field more, `interpreter`.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use aquavm::{Key, Outcome, decode_call_results, encode_call_results};
use data_encoding::BASE64;
use flate2::{Compression, write::GzEncoder};
use particle::cid::value_cid;
use serde_json::{Value, json};

use super::{
    both::{self, Verdict},
    crafted, generate,
    network::{Carry, Difference, Network, Scenario, parameters, peer_ids, with_ids, with_names},
    reference::{Ended, Reference},
    scenarios::{self, Meeting, Row},
};
use crate::{
    conformance::{aquavm::has_new_data, run::Call},
    random::Random,
};

/// Most steps of a scenario that is kept.
const STEPS: usize = 10;
/// Scenarios of the generator.
const GENERATED: usize = 300;
/// Largest generated scenario that is kept, in bytes of its records.
const GENERATED_BYTES: usize = 24 << 10;

/// Records by file.
#[derive(Default)]
struct Records {
    lines: BTreeMap<String, Vec<String>>,
    scenarios: usize,
    codes: BTreeMap<i64, usize>,
}

/// One scenario on its way into the records.
struct Recording<'r> {
    name: String,
    version: &'r str,
    lines: Vec<String>,
    codes: Vec<i64>,
}

/// Plays everything and writes the files; false where ours differs.
pub(super) fn write(folder: &Path, seed: u64) -> Result<bool, String> {
    let mut reference = Reference::start(None)?;
    let version = reference.version.clone();
    let mut records = Records::default();
    let mut differences = 0;
    let mut differs = |name: &str, difference: Difference| {
        differences += 1;
        println!("{name}: {}", difference.action);
        println!("    {}", with_names(&difference.what));
    };
    for row in scenarios::rows()? {
        let mut recording = Recording::new(&format!("{}::{}", row.group, row.name), &version);
        if let Some(difference) = play_row(&mut reference, &row, &mut recording)? {
            differs(&recording.name, difference);
        }
        records.keep(row.group, recording);
    }
    for case in crafted::all() {
        let mut recording = Recording::new(&format!("{}::{}", case.group, case.name), &version);
        if let Some(difference) = play_crafted(&mut reference, &case, &mut recording)? {
            differs(&recording.name, difference);
        }
        records.keep(case.group, recording);
    }
    let mut number = 0;
    let mut kept = 0;
    while kept < GENERATED {
        let mut random = Random::of_part(seed, number);
        let size = 6 + random.below(16);
        let scenario = Scenario {
            script: generate::script(&mut random, size),
            probing: random.chance(30),
            ..scenario("", random.next())
        };
        let mut recording = Recording::new(&format!("generated::{number}"), &version);
        number += 1;
        let played =
            Network::new(&scenario).play(&mut reference, &scenario, &mut |call, ended| {
                recording.add(call, ended)
            })?;
        if let Some(difference) = played.difference {
            differs(&recording.name, difference);
        }
        let size: usize = recording.lines.iter().map(String::len).sum();
        if recording.lines.len() > 2 && size < GENERATED_BYTES {
            kept += 1;
            records.keep("generated", recording);
        }
    }
    records.write(folder)?;
    for (code, count) in &records.codes {
        println!("code {code}: {count}");
    }
    let calls: usize = records.lines.values().map(Vec::len).sum();
    println!(
        "{} scenarios, {calls} calls, {differences} differences",
        records.scenarios
    );
    Ok(differences == 0)
}

fn scenario(script: &str, seed: u64) -> Scenario {
    Scenario {
        script: script.to_owned(),
        seed,
        steps: STEPS,
        carry: Carry::Theirs,
        probing: false,
        strays: false,
    }
}

/// A seed that goes with a name.
fn seed_of(name: &str) -> u64 {
    value_cid(name).as_str().bytes().fold(0, |seed: u64, byte| {
        seed.wrapping_mul(31).wrapping_add(u64::from(byte))
    })
}

fn play_row(
    reference: &mut Reference,
    row: &Row,
    recording: &mut Recording<'_>,
) -> Result<Option<Difference>, String> {
    let own = scenario(row.script, seed_of(&recording.name));
    let mut network = Network::new(&own);
    let mut observer = |call: &Call, ended: &Ended| recording.add(call, ended);
    let Some(Meeting { late, from, script }) = &row.meets else {
        let played = network.play(reference, &own, &mut observer)?;
        return Ok(played.difference);
    };
    let other = scenario(script, own.seed);
    let mut elsewhere = Network::new(&other);
    let played = elsewhere.play(reference, &other, &mut |_, _| {})?;
    if played.difference.is_some() {
        return Ok(played.difference);
    }
    if *late {
        let played = network.play(reference, &own, &mut observer)?;
        if played.difference.is_some() {
            return Ok(played.difference);
        }
    }
    network.send_to_first(elsewhere.data_of(*from));
    Ok(network.play(reference, &own, &mut observer)?.difference)
}

fn play_crafted(
    reference: &mut Reference,
    case: &crafted::Crafted,
    recording: &mut Recording<'_>,
) -> Result<Option<Difference>, String> {
    let honest = scenario(case.script, seed_of(&recording.name));
    let mut network = Network::new(&honest);
    let played = network.play(reference, &honest, &mut |_, _| {})?;
    if played.difference.is_some() {
        return Ok(played.difference);
    }
    let mut call = Call {
        script: with_ids(case.script),
        previous: Vec::new(),
        current: network.data_of(case.from),
        parameters: parameters(0, &peer_ids(), &format!("particle-{:x}", honest.seed)),
        results: encode_call_results(&Default::default()),
    };
    crafted::apply(&case.change, &mut call);
    let answers = both::call(reference, &call)?;
    match answers.verdict {
        Verdict::Same => recording.add(&call, &answers.theirs),
        Verdict::Deviation(deviation) => println!("{}: {}", recording.name, deviation.what),
        Verdict::Different(what) => {
            return Ok(Some(Difference {
                step: 1,
                action: "A runs on crafted input".to_owned(),
                what,
                call,
            }));
        }
    }
    Ok(None)
}

impl<'r> Recording<'r> {
    fn new(name: &str, version: &'r str) -> Self {
        Self {
            name: name.to_owned(),
            version,
            lines: Vec::new(),
            codes: Vec::new(),
        }
    }

    fn add(&mut self, call: &Call, ended: &Ended) {
        let Ended::Outcome(outcome) = ended else {
            return;
        };
        self.codes.push(outcome.ret_code);
        let parameters = &call.parameters;
        let (format, secret) = match &parameters.key {
            Key::Raw { format, secret } => (*format, hex::encode(secret)),
            Key::Pair(pair) => (0, hex::encode(pair.secret_bytes())),
        };
        let record = json!({
            "test": format!("own::{}", self.name),
            "seq": self.lines.len() + 1,
            "interpreter": self.version,
            "signatures": true,
            "air": call.script,
            "params": {
                "init_peer_id": parameters.init_peer_id,
                "current_peer_id": parameters.current_peer_id,
                "timestamp": parameters.timestamp,
                "ttl": parameters.ttl,
                "key_format": format,
                "secret_key_hex": secret,
                "particle_id": parameters.particle_id,
                "air_size_limit": parameters.limits.script,
                "particle_size_limit": parameters.limits.particle,
                "call_result_size_limit": parameters.limits.call_result,
                "hard_limit_enabled": parameters.limits.hard,
            },
            "prev_data": BASE64.encode(&call.previous),
            "data": BASE64.encode(&call.current),
            "call_results": call_results(&call.results),
            "call_results_raw": BASE64.encode(&call.results),
            "outcome": both::record(outcome),
            "byte_stable": byte_stable(outcome),
        });
        self.lines.push(record.to_string());
    }
}

/// Results in the schema of the records.
fn call_results(bytes: &[u8]) -> Value {
    let results = match decode_call_results(bytes) {
        Ok(results) => results,
        Err(error) => return json!({ "decode_error": error }),
    };
    let results = results.into_iter().map(|(id, result)| {
        let value = match serde_json::from_str::<Value>(&result.result) {
            Ok(value) => json!({"ret_code": result.ret_code, "result": value}),
            Err(_) => json!({"ret_code": result.ret_code, "result_text": result.result}),
        };
        (id.to_string(), value)
    });
    Value::Object(results.collect())
}

/// What comes out equal in every run: all that has no order.
fn byte_stable(outcome: &Outcome<Vec<u8>>) -> Vec<&'static str> {
    let record = &both::record(outcome);
    let few = |value: &Value| value.as_object().is_none_or(|map| map.len() < 2);
    let part = |pointer: &str| record.pointer(pointer).unwrap_or(&Value::Null);
    let stores = part("/data_json/cid_info").as_object();
    let few_entries =
        few(part("/data_json/signatures")) && stores.is_none_or(|stores| stores.values().all(few));
    let mut stable = Vec::new();
    if few_entries || !has_new_data(outcome.ret_code) {
        stable.push("data");
    }
    if few(part("/call_requests")) {
        stable.push("call_requests_raw");
    }
    if outcome.next_peers.len() < 2 {
        stable.push("next_peer_pks");
    }
    stable
}

impl Records {
    fn keep(&mut self, group: &str, recording: Recording<'_>) {
        if recording.lines.is_empty() {
            return;
        }
        self.scenarios += 1;
        for code in recording.codes {
            *self.codes.entry(code).or_default() += 1;
        }
        let file = match group.split_once('-') {
            Some(("code", _)) => "errors",
            Some(("merge", _)) => "merge",
            _ if matches!(group, "data" | "foreign" | "limits") => "data",
            _ if group == "generated" => group,
            _ => "instructions",
        };
        let lines = self.lines.entry(format!("{file}.jsonl.gz")).or_default();
        lines.extend(recording.lines);
    }

    fn write(&self, folder: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        for (name, lines) in &self.lines {
            let mut packed = GzEncoder::new(Vec::new(), Compression::best());
            for line in lines {
                writeln!(packed, "{line}").map_err(failed)?;
            }
            let packed = packed.finish().map_err(failed)?;
            println!("{name}: {} calls, {} bytes", lines.len(), packed.len());
            fs::write(folder.join(name), packed).map_err(failed)?;
        }
        Ok(())
    }
}

//! Corpora: what a search starts with, and what is kept of it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER};
use flate2::{Compression, write::GzEncoder};
use particle::{KeyPair, Particle, data::Envelope, frame};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{PACKAGE, Target, entries};
use crate::{
    conformance::{files_below, read_text},
    tidy::workspace_root,
};

/// Our own recordings; those of others must not get into a corpus.
const RECORDS: [&str; 3] = ["air", "particle-data", "aquavm-own"];

/// Bytes of a kept corpus: a test replays it at every change.
const MAX_KEPT: usize = 96 << 10;

/// Numbers of records, networks behind them, that a run starts with.
const STEPS: u16 = 2700;

/// The kept inputs of a target with a name each: the corpus, then what broke a promise once.
///
/// # Errors
/// A file cannot be read.
pub fn committed(target: Target) -> Result<Vec<(String, Vec<u8>)>, String> {
    let root = workspace_root();
    let mut inputs = Vec::new();
    let path = packed(&root, target);
    if path.exists() {
        for (index, line) in read_text(&path)?.lines().enumerate() {
            let input = BASE64.decode(line.as_bytes());
            let input = input.map_err(|error| format!("{}: {error}", path.display()))?;
            inputs.push((format!("{} {}", target.name(), index + 1), input));
        }
    }
    let crashes = root.join(PACKAGE).join("crashes").join(target.name());
    if crashes.exists() {
        for path in entries(&crashes)? {
            let input = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            inputs.push((path.display().to_string(), input));
        }
    }
    Ok(inputs)
}

/// Puts records and the kept corpus into the folder that a search works in.
pub(super) fn plant(root: &Path, target: Target, folder: &Path) -> Result<(), String> {
    let mut inputs = seeds(root, target)?;
    inputs.extend(committed(target)?.into_iter().map(|(_, input)| input));
    for input in inputs {
        let name = HEXLOWER.encode(&Sha256::digest(&input));
        let path = folder.join(name);
        fs::write(&path, input).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Keeps the inputs in `folder`, the shortest first. Returns how many.
pub(super) fn pack(root: &Path, target: Target, folder: &Path) -> Result<usize, String> {
    let mut inputs = entries(folder)?
        .into_iter()
        .map(|path| fs::read(&path).map_err(|error| format!("{}: {error}", path.display())))
        .collect::<Result<Vec<_>, _>>()?;
    inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    let path = packed(root, target);
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        let mut file = GzEncoder::new(File::create(&path)?, Compression::best());
        let (mut kept, mut size) = (0, 0);
        for input in &inputs {
            size += input.len();
            if size > MAX_KEPT {
                break;
            }
            kept += 1;
            writeln!(file, "{}", BASE64.encode(input))?;
        }
        file.finish()?;
        Ok(kept)
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
}

/// One input a line, in base64.
fn packed(root: &Path, target: Target) -> PathBuf {
    let file = format!("{}.txt.gz", target.name());
    root.join(PACKAGE).join("corpus").join(file)
}

/// What the records hold of the kind.
fn seeds(root: &Path, target: Target) -> Result<BTreeSet<Vec<u8>>, String> {
    let names: &[&str] = match target {
        Target::Script => &["air", "script"],
        Target::Envelope | Target::Archive => &["data", "prev_data", "current_data"],
        Target::CallResults => &["call_results_raw", "call_results_bytes"],
        // The records themselves are part of the target; an input names one by its number.
        Target::Step => {
            let numbers = 0..STEPS;
            return Ok(numbers
                .map(|number| [&[0][..], &number.to_be_bytes()].concat())
                .collect());
        }
        Target::Section => return modules(root),
        Target::Adapter | Target::Wasi | Target::Json => return Ok(plain()),
        Target::Identify | Target::Builtins => return Ok(plain()),
        Target::Frame => return Ok(frames()),
    };
    let mut seeds = BTreeSet::new();
    for records in RECORDS {
        for file in files_below(&root.join("xtask/vectors").join(records))? {
            for line in read_text(&file)?.lines() {
                if let Ok(record) = serde_json::from_str(line) {
                    collect(&record, names, &mut |text| {
                        seeds.extend(seed(target, text));
                    });
                }
            }
        }
    }
    Ok(seeds)
}

/// Interface sections, descriptions and slim copies of our own modules.
fn modules(root: &Path) -> Result<BTreeSet<Vec<u8>>, String> {
    let mut seeds = BTreeSet::new();
    for path in files_below(&root.join("examples/wasm"))? {
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let wasm = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut slim = wasm.get(..8).unwrap_or_default().to_vec();
        for section in sections(&wasm) {
            if section.id == 0 {
                let Some((length, rest)) = section.body.split_first() else {
                    continue;
                };
                let Some((name, payload)) = rest.split_at_checked(usize::from(*length)) else {
                    continue;
                };
                let kind: u8 = match name {
                    b"interface-types" => 0,
                    name if name.starts_with(b"__m_generated") => 3,
                    b"__fluence_wasm_module_manifest" => 2,
                    _ => 1,
                };
                seeds.insert([&[kind], payload].concat());
                if name.len() > 20 {
                    continue;
                }
            }
            // Types, imports, functions, memories, exports; no code.
            if [0, 1, 2, 3, 5, 7].contains(&section.id) && section.whole.len() < 1500 {
                slim.extend_from_slice(section.whole);
            }
        }
        seeds.insert([&[1], &slim[..]].concat());
    }
    Ok(seeds)
}

/// A section of a Wasm file.
struct Section<'a> {
    id: u8,
    whole: &'a [u8],
    body: &'a [u8],
}

/// The sections of a Wasm file, as far as it is one.
fn sections(wasm: &[u8]) -> Vec<Section<'_>> {
    let mut found = Vec::new();
    let mut rest = wasm.get(8..).unwrap_or_default();
    while let Some((id, tail)) = rest.split_first() {
        let (mut size, mut digits) = (0, 0);
        for byte in tail.iter().take(5) {
            size |= usize::from(byte & 0x7f) << (7 * digits);
            digits += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some((whole, others)) = rest.split_at_checked(1 + digits + size) else {
            break;
        };
        found.push(Section {
            id: *id,
            whole,
            body: whole.get(1 + digits..).unwrap_or_default(),
        });
        rest = others;
    }
    found
}

/// Inputs for targets that read choices: each is one byte, again and again, behind another.
fn plain() -> BTreeSet<Vec<u8>> {
    let pairs = (0..=u8::MAX).flat_map(|first| [0, 1, 3, 17, 0x41].map(|second| (first, second)));
    pairs
        .map(|(first, second)| [vec![first], vec![second; 24]].concat())
        .collect()
}

/// Particles as peers write them, and with their bytes as numbers, as JS clients do.
fn frames() -> BTreeSet<Vec<u8>> {
    let key = KeyPair::from_seed(&[1; 32]);
    let mut frames = BTreeSet::new();
    for (id, ttl, size) in [("", 0, 0), ("id", 7_000, 3), ("a-long-name", u32::MAX, 300)] {
        let mut particle = Particle::new(&key, id.to_owned(), 1, ttl, "(null)".to_owned());
        particle.data = vec![9; size].into();
        frames.insert(frame::encode(&particle));
        let mut numbers = frame::encode_payload(&particle);
        // The data are the last field: its header makes way for that of an array.
        numbers.truncate(numbers.len() - size - 2 - usize::from(size > 255));
        numbers.extend([0xdc, (size >> 8) as u8, size as u8]);
        numbers.extend(vec![9; size]);
        let mut length = numbers.len();
        let mut framed = Vec::new();
        while length >= 0x80 {
            framed.push(length as u8 | 0x80);
            length >>= 7;
        }
        framed.push(length as u8);
        framed.extend(numbers);
        frames.insert(framed);
    }
    frames
}

/// Visits the texts of these names.
fn collect(value: &Value, names: &[&str], visit: &mut impl FnMut(&str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, names, visit)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if names.contains(&name.as_str()) => visit(text),
                    _ => collect(value, names, visit),
                }
            }
        }
        _ => {}
    }
}

fn seed(target: Target, text: &str) -> Option<Vec<u8>> {
    if target == Target::Script {
        return Some(text.into());
    }
    let text = text.as_bytes();
    // The two kinds of records write bytes in one way each.
    let bytes = HEXLOWER
        .decode(text)
        .or_else(|_| BASE64.decode(text))
        .ok()?;
    match target {
        Target::Archive => Some(Envelope::decode(&bytes).ok()?.archive.into_owned()),
        _ => Some(bytes),
    }
}

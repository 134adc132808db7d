//! Replays `vectors/marine`.

mod ast;
mod conversion;
mod interpreter;
mod loader;
mod lowering;
mod published;
mod rehearsal;
mod running;
mod service;

use std::path::{Path, PathBuf};

use marine_runtime::Engine;

use super::{Report, read_text};

/// Replays `files`; published modules are fetched for it.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match name.strip_suffix(".gz").unwrap_or(&name) {
            "loader.json" => loader::replay(&read(file)?, report)?,
            "json-conversion.json" => conversion::replay(&read(file)?, report)?,
            "call-parameters-lowering.json" => lowering::replay(&read(file)?, report)?,
            "published-modules.json" => {
                let document = read(file)?;
                published::read(&document, report);
                published::load(&document, report)?;
                rehearsal::rehearse(&document, report);
            }
            "published-runs.json" => running::replay(&read(file)?, file, report)?,
            _ => report.unknown.push(file.clone()),
        }
    }
    Ok(())
}

/// Reads the published modules of `file` without running them.
///
/// # Errors
/// A file that cannot be read.
pub fn read_published(file: &Path) -> Result<Report, String> {
    let mut report = Report::default();
    published::read(&read(file)?, &mut report);
    Ok(report)
}

/// Runs the adapters of the published modules of `file` as plans and as instructions, and compares.
///
/// # Errors
/// A file that cannot be read.
pub fn rehearse_published(file: &Path) -> Result<Report, String> {
    let mut report = Report::default();
    rehearsal::rehearse(&read(file)?, &mut report);
    Ok(report)
}

/// Published modules, as far as they can be had.
#[derive(Clone, Debug)]
pub struct PublishedModules {
    /// Their titles and bytes.
    pub modules: Vec<(String, std::sync::Arc<[u8]>)>,
    /// Why others are missing.
    pub missing: Vec<String>,
}

/// The distinct published modules that the records of `file` name.
///
/// # Errors
/// A file that cannot be read.
pub fn published_modules(file: &Path) -> Result<PublishedModules, String> {
    let document: published::Document = read(file)?;
    let mut report = Report::default();
    let modules = document.distinct(&mut report);
    let missing = report.skipped.into_iter().chain(report.failures);
    let missing = missing.map(|(title, reason)| format!("{title}: {reason}"));
    Ok(PublishedModules {
        modules,
        missing: missing.collect(),
    })
}

fn engines() -> Result<Vec<Engine>, String> {
    let wasmtime = Engine::wasmtime().map_err(|error| error.to_string())?;
    Ok(vec![Engine::wasmer(), wasmtime])
}

/// A JSON file.
fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, String> {
    serde_json::from_str(&read_text(file)?).map_err(|error| format!("{}: {error}", file.display()))
}

/// Fails unless both sides are equal.
fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    actual: T,
    expected: T,
) -> Result<(), String> {
    if actual == expected {
        Ok(())
    } else {
        Err(format!(
            "{what}: {actual:?} where {expected:?} was expected"
        ))
    }
}

/// Bytes written as hex digits.
fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
            u8::from_str_radix(pair, 16).map_err(|error| format!("hex {pair:?}: {error}"))
        })
        .collect()
}

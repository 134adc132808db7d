//! Replays `vectors/ccp-and-deals`.

mod chain;
mod content;
mod golden;
mod market;
mod randomx;
#[cfg(feature = "marine")]
mod wasm;

use std::path::{Path, PathBuf};

use super::{Report, read_text};

/// Replays `files`, and the one golden ticket, which the protocol description has in its text.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match name.strip_suffix(".gz").unwrap_or(&name) {
            "randomx.json" => randomx::replay(&read(file)?, report)?,
            "unixfs-cid.json" => content::replay(&read(file)?, report)?,
            "chain-abi.json" => chain::replay_interfaces(&read(file)?, report)?,
            "chain-g2-logs.json" => chain::replay_logs(&read(file)?, report)?,
            _ => report.unknown.push(file.clone()),
        }
    }
    golden::replay(report);
    Ok(())
}

/// Replays the hashes in a wasm32 build of the portable verifier.
#[cfg(feature = "marine")]
pub(super) fn replay_wasm(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    let hashes = |file: &&PathBuf| file.file_name().is_some_and(|name| name == "randomx.json");
    for file in files.iter().filter(hashes) {
        randomx::replay_wasm(&read(file)?, report)?;
    }
    Ok(())
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

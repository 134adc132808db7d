//! Scripts and arguments from outside, checked before anything is sent.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::{Failure, Result};

/// A script of at most this many bytes is read.
const MAX_SCRIPT: u64 = 8 * 1024 * 1024;

/// Reads a script and checks it.
///
/// # Errors
/// The file cannot be read, or the script has errors: the message has line, column and a caret.
pub fn read(path: &Path) -> Result<String> {
    let cannot = |error: std::io::Error| {
        Failure::input(format_args!(
            "cannot read the script {}: {error}",
            path.display()
        ))
    };
    let file = fs::File::open(path).map_err(cannot)?;
    let mut text = String::new();
    file.take(MAX_SCRIPT + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > MAX_SCRIPT {
        let message = format!(
            "the script {} is longer than {MAX_SCRIPT} bytes",
            path.display()
        );
        return Err(Failure::input(message));
    }
    check(&text, &path.display().to_string())?;
    Ok(text)
}

/// Checks a script that comes from `origin`.
///
/// # Errors
/// The script has errors.
pub fn check(text: &str, origin: &str) -> Result<()> {
    match air_parser::parse(text) {
        Ok(_) => Ok(()),
        Err(errors) => Err(Failure::input(format_args!(
            "the script {origin} has errors\n{errors}"
        ))),
    }
}

/// Reads `{"name": value, …}`: the arguments of a script by their names.
///
/// # Errors
/// The text is not a JSON object.
pub fn arguments(text: &str) -> Result<BTreeMap<String, Value>> {
    serde_json::from_str(text).map_err(|error| {
        Failure::input(format_args!("the arguments are not a JSON object: {error}"))
    })
}

/// A function compiled from Aqua, with what the compiler knows about it: a line of a recording.
#[derive(Clone, Debug, Deserialize)]
pub struct Record {
    /// The function's name.
    pub function: String,
    /// The script.
    pub air: String,
    /// The compiler's description of the arguments.
    #[serde(default)]
    pub arguments: Value,
    /// The compiler's description of the results.
    #[serde(default)]
    pub returns: Value,
    /// Where the Aqua text came from.
    #[serde(default)]
    pub source: String,
}

/// Reads all records of a `.jsonl` or `.jsonl.gz` file.
///
/// # Errors
/// The file cannot be read or a line is no record.
pub fn records(path: &Path) -> Result<Vec<Record>> {
    let shown = path.display();
    let cannot =
        |error: std::io::Error| Failure::input(format_args!("cannot read {shown}: {error}"));
    let file = fs::File::open(path).map_err(cannot)?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut records = Vec::new();
    for (number, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.map_err(cannot)?;
        if line.trim().is_empty() {
            continue;
        }
        let record = serde_json::from_str(&line).map_err(|error| {
            Failure::input(format_args!(
                "{shown}, line {}: no compiled function: {error}",
                number + 1
            ))
        })?;
        records.push(record);
    }
    Ok(records)
}

/// The record of one function.
///
/// # Errors
/// As [`records`], and when the file has no such function; the message names the closest.
pub fn record(path: &Path, function: &str) -> Result<Record> {
    let records = records(path)?;
    let known: Vec<String> = records
        .iter()
        .map(|record| record.function.clone())
        .collect();
    records
        .into_iter()
        .find(|record| record.function == function)
        .ok_or_else(|| {
            let similar: Vec<&str> = known
                .iter()
                .filter(|name| name.to_lowercase().contains(&function.to_lowercase()))
                .map(String::as_str)
                .take(5)
                .collect();
            let hint = if similar.is_empty() {
                String::new()
            } else {
                format!("; there are {}", similar.join(", "))
            };
            let count = known.len();
            Failure::input(format_args!(
                "{} has {count} functions, none is called `{function}`{hint}",
                path.display()
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_is_shown_with_its_place() {
        let message = check("(seq\n  (null)\n  (nil)\n)", "x.air")
            .unwrap_err()
            .to_string();
        assert!(message.contains("x.air"), "{message}");
        assert!(message.contains('3') && message.contains('^'), "{message}");
    }

    #[test]
    fn arguments_are_an_object() {
        assert_eq!(arguments(r#"{"a": [1]}"#).unwrap().len(), 1);
        assert!(arguments("[1]").is_err());
    }
}

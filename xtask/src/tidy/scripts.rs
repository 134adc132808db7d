//! No script of the recordings that others wrote may be copied into the tree: a committed list of
//! their hashes finds it again in any `.air`, JSON or source file.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::conformance::{files_below, read_text};

/// Where the hashes are kept, one a line: the first 8 bytes of SHA-256, in hex.
const LIST: &str = "xtask/recorded-scripts.txt";
/// Shorter scripts are written again by chance.
const MIN_LENGTH: usize = 120;

/// Writes the list from folders of recordings; returns how many scripts it has.
pub(super) fn write_list(root: &Path, folders: &[PathBuf]) -> Result<usize, String> {
    let mut hashes = BTreeSet::new();
    for folder in folders {
        for file in files_below(folder)? {
            for script in scripts_of(&file)? {
                hashes.extend(fingerprint(&script));
            }
        }
    }
    let mut text = String::new();
    for hash in &hashes {
        text.push_str(hash);
        text.push('\n');
    }
    fs::write(root.join(LIST), text).map_err(|error| format!("{LIST}: {error}"))?;
    Ok(hashes.len())
}

/// Findings: files that hold a listed script.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, String> {
    let list = fs::read_to_string(root.join(LIST)).map_err(|error| format!("{LIST}: {error}"))?;
    let listed: BTreeSet<&str> = list.lines().collect();
    let mut findings = Vec::new();
    for file in files {
        let copied = scripts_of(&root.join(file))?
            .iter()
            .filter_map(|script| fingerprint(script))
            .any(|hash| listed.contains(hash.as_str()));
        if copied {
            findings.push(format!(
                "{}: holds a recorded script of others",
                file.display()
            ));
        }
    }
    Ok(findings)
}

/// The hash of a script whose layout does not matter; `None` when it is too short to tell.
fn fingerprint(script: &str) -> Option<String> {
    let normal = script.split_whitespace().collect::<Vec<_>>().join(" ");
    if normal.len() < MIN_LENGTH {
        return None;
    }
    let digest = Sha256::digest(normal.as_bytes());
    Some(
        digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}

/// Whatever looks like a script in a file of a kind that can hold one.
fn scripts_of(file: &Path) -> Result<Vec<String>, String> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let mut scripts = Vec::new();
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("air") => scripts.push(read_text(file)?),
        Some("jsonl") => {
            for line in read_text(file)?.lines() {
                if let Ok(value) = serde_json::from_str(line) {
                    collect(&value, &mut scripts);
                }
            }
        }
        Some("json") => {
            if let Ok(value) = serde_json::from_str(&read_text(file)?) {
                collect(&value, &mut scripts);
            }
        }
        Some("rs" | "md" | "ts" | "js" | "mjs") => scripts.extend(quoted(&read_text(file)?)),
        _ => {}
    }
    Ok(scripts)
}

fn collect(value: &Value, scripts: &mut Vec<String>) {
    match value {
        Value::String(text) if text.trim_start().starts_with('(') => scripts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, scripts)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, scripts)),
        _ => {}
    }
}

/// Balanced pieces of program text that begin with `(` at the start of a line or after a quote.
fn quoted(text: &str) -> Vec<String> {
    let text = text.replace("\\\"", "\"").replace("\\n", "\n");
    let mut scripts = Vec::new();
    let mut before = '\n';
    let mut indented = true;
    let mut skip_to = 0;
    for (at, c) in text.char_indices() {
        let begins = c == '(' && (indented || matches!(before, '"' | '`' | '\''));
        if begins
            && at >= skip_to
            && let Some(script) = balanced(text.get(at..).unwrap_or(""))
        {
            skip_to = at + script.len();
            scripts.push(script.to_owned());
        }
        indented = c == '\n' || (indented && c.is_whitespace());
        before = c;
    }
    scripts
}

/// The text from `(` to the bracket that closes it.
fn balanced(text: &str) -> Option<&str> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return text.get(..=at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_found_again_in_other_layout_and_inside_source() {
        let script = format!(
            "(seq {} (null))",
            "(call \"peer\" (\"service\" \"function\") [])".repeat(4)
        );
        let hash = fingerprint(&script);
        assert!(hash.is_some());
        assert_eq!(fingerprint(&script.replace(' ', "\n  ")), hash);
        let source = format!("let a = \"{}\";", script.replace('"', "\\\""));
        assert!(
            quoted(&source)
                .iter()
                .any(|found| fingerprint(found) == hash)
        );
    }

    #[test]
    fn short_scripts_are_nobodys() {
        assert_eq!(fingerprint("(null)"), None);
    }
}

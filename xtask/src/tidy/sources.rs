//! File sizes, names, paths, READMEs and lints.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

/// A source file over this many lines wants to be two.
const MAX_LINES: usize = 800;
/// A tracked file over this many bytes wants to be made, not kept.
const MAX_BYTES: u64 = 2 << 20;
/// Says in a source file why it is longer than `MAX_LINES`.
const LONG_FILE_REASON: &str = "// long file: ";

/// Folders of the top level; hidden ones aside there are no others.
const TOP_FOLDERS: &[&str] = &[
    "air-parser",
    "aquavm",
    "ccp",
    "deal-types",
    "examples",
    "marine-runtime",
    "marine-sdk",
    "particle",
    "peer-core",
    "xtask",
];

/// Words that say nothing in the name of a type, and endings that no crate should have.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Util", "Utils"];

/// Folders whose crates must also keep machine paths and service hosts out of their text.
/// Written in pieces, so that this file does not find itself.
fn forbidden_texts() -> Vec<String> {
    let hosts = [
        ["crates", ".io"],
        ["npmjs", ".org"],
        ["npmjs", ".com"],
        ["pypi", ".org"],
        ["debian", ".org"],
    ];
    let paths = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/tmp", "/wt"],
        ["/home", "/"],
    ];
    hosts
        .iter()
        .chain(&paths)
        .map(|parts| parts.concat())
        .collect()
}

/// Findings about the files themselves.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, String> {
    let forbidden = forbidden_texts();
    let mut findings = top_level(files);
    for file in files {
        let path = root.join(file);
        let shown = file.display();
        let size = fs::metadata(&path)
            .map_err(|error| format!("{shown}: {error}"))?
            .len();
        if size > MAX_BYTES {
            findings.push(format!(
                "{shown}: {size} bytes, at most {MAX_BYTES} are kept"
            ));
        }
        if file.file_name().is_some_and(|name| name == "mod.rs") {
            findings.push(format!("{shown}: use `foo.rs` beside `foo/`"));
        }
        // Lock files name the registry by design.
        if file
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if let Some(found) = forbidden.iter().find(|needle| mentions(line, needle)) {
                findings.push(format!("{shown}:{}: mentions `{found}`", number + 1));
            }
        }
        if file.extension().is_some_and(|extension| extension == "rs") {
            findings.extend(source(file, &text));
        }
    }
    findings.extend(crates(root, files)?);
    Ok(findings)
}

/// Whether `line` has `needle` where no longer name or path contains it.
fn mentions(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
    })
}

fn top_level(files: &[PathBuf]) -> Vec<String> {
    let folders: BTreeSet<String> = files
        .iter()
        .filter(|file| file.components().count() > 1)
        .filter_map(|file| file.components().next())
        .filter_map(|component| match component {
            Component::Normal(name) => name.to_str().map(str::to_owned),
            _ => None,
        })
        .filter(|name| !name.starts_with('.') && !TOP_FOLDERS.contains(&name.as_str()))
        .collect();
    folders
        .into_iter()
        .map(|name| format!("{name}/: nothing new at the top level"))
        .collect()
}

fn source(file: &Path, text: &str) -> Vec<String> {
    let shown = file.display();
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES && !text.contains(LONG_FILE_REASON) {
        findings.push(format!(
            "{shown}: {lines} lines, at most {MAX_LINES} without a reason"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let declares = words.any(|word| matches!(word, "struct" | "enum" | "trait"));
        let name = words.next().unwrap_or_default();
        if declares && EMPTY_NAMES.iter().any(|ending| name.ends_with(ending)) {
            findings.push(format!("{shown}:{}: `{name}` says nothing", number + 1));
        }
    }
    findings
}

/// Each package has a README, the workspace lints, and a name that says something.
fn crates(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut findings = Vec::new();
    let manifests = files.iter().filter(|file| {
        file.file_name().is_some_and(|name| name == "Cargo.toml") && file.components().count() > 1
    });
    for manifest in manifests {
        let folder = manifest.parent().unwrap_or(manifest);
        let shown = manifest.display();
        let text =
            fs::read_to_string(root.join(manifest)).map_err(|error| format!("{shown}: {error}"))?;
        if !text.contains("[package]") {
            continue;
        }
        let excluded = [
            "aquavm/marine",
            "aquavm/wasm",
            "ccp/wasm",
            "examples/guests",
            "xtask/harness",
            "xtask/fuzz",
            "deal-types/evm-tests",
        ];
        if excluded.iter().any(|prefix| folder.starts_with(prefix)) {
            continue;
        }
        if !text.contains("[lints]\nworkspace = true") {
            findings.push(format!("{shown}: the workspace lints are not on"));
        }
        if !root.join(folder).join("README.md").is_file() {
            findings.push(format!("{}: no README.md", folder.display()));
        }
        if text
            .lines()
            .any(|line| line.starts_with("name = ") && line.ends_with("-utils\""))
        {
            findings.push(format!("{shown}: a `-utils` crate says nothing"));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_over_long_file_is_found_unless_it_says_why() {
        let long = "\n".repeat(MAX_LINES + 1);
        assert_eq!(source(Path::new("a.rs"), &long).len(), 1);
        assert!(
            source(
                Path::new("a.rs"),
                &format!("{LONG_FILE_REASON}a table\n{long}")
            )
            .is_empty()
        );
    }

    #[test]
    fn an_empty_name_is_found() {
        let empty = ["Peer", "Manager"].concat();
        assert_eq!(
            source(Path::new("a.rs"), &format!("pub struct {empty} {{")).len(),
            1
        );
        assert!(source(Path::new("a.rs"), "pub struct Peer {").is_empty());
    }

    #[test]
    fn a_foreign_top_folder_is_found() {
        assert_eq!(top_level(&[PathBuf::from("tools/a.rs")]).len(), 1);
        assert!(top_level(&[PathBuf::from("README.md"), PathBuf::from(".ci/run")]).is_empty());
    }

    #[test]
    fn a_path_is_found_only_at_its_beginning() {
        let path = ["/ro", "ot/"].concat();
        assert!(mentions(&format!("see {path}x"), &path));
        assert!(!mentions(&format!("data{path}x"), &path));
    }
}

//! Arrows between crates point down only, and serde_json keeps the features that argument
//! hashes depend on.

use std::{path::Path, process::Command};

use serde::Deserialize;

/// Prefix of the package names of this workspace.
const PREFIX: &str = "aquamarine-";

/// Each crate with the crates it may depend on, dev-dependencies included.
const LAYERS: &[(&str, &[&str])] = &[
    ("air-parser", &[]),
    ("particle", &[]),
    ("deal-types", &["particle"]),
    ("aquavm", &["air-parser", "particle", "deal-types"]),
    ("ccp", &["air-parser", "particle", "deal-types"]),
    // The example of the macros runs with the SDK: the two are one layer.
    ("marine-sdk-macros", &["marine-sdk"]),
    (
        "marine-sdk",
        &["air-parser", "particle", "deal-types", "marine-sdk-macros"],
    ),
    (
        "marine-runtime",
        &[
            "air-parser",
            "particle",
            "deal-types",
            "aquavm",
            "ccp",
            "marine-sdk",
        ],
    ),
    ("marine-runtime-macros", &["marine-runtime"]),
    (
        "peer-core",
        &[
            "air-parser",
            "particle",
            "deal-types",
            "aquavm",
            "ccp",
            "marine-runtime",
            "marine-runtime-macros",
            "marine-sdk",
        ],
    ),
    (
        "examples",
        &[
            "air-parser",
            "particle",
            "deal-types",
            "aquavm",
            "ccp",
            "marine-runtime",
            "marine-runtime-macros",
            "marine-sdk",
            "peer-core",
        ],
    ),
];

/// Features of serde_json that change how numbers or keys are written.
const FORBIDDEN_JSON_FEATURES: &[&str] =
    &["preserve_order", "arbitrary_precision", "float_roundtrip"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    features: Vec<String>,
}

/// Findings about dependencies.
pub(super) fn check(root: &Path) -> Result<Vec<String>, String> {
    let metadata = metadata(root)?;
    let mut findings = Vec::new();
    let members = metadata
        .packages
        .iter()
        .filter(|package| metadata.workspace_members.contains(&package.id));
    for package in members {
        // `xtask` may see everything: tests that cross layers live there.
        let Some(name) = package.name.strip_prefix(PREFIX) else {
            continue;
        };
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            findings.push(format!("package `{}` has no layer", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(target) = dependency.name.strip_prefix(PREFIX) else {
                continue;
            };
            if !allowed.contains(&target) {
                findings.push(format!(
                    "`{name}` must not depend on `{target}`: arrows point down"
                ));
            }
        }
    }
    for package in metadata
        .packages
        .iter()
        .filter(|package| package.name == "serde_json")
    {
        let enabled = metadata
            .resolve
            .nodes
            .iter()
            .filter(|node| node.id == package.id);
        for feature in enabled.flat_map(|node| &node.features) {
            if FORBIDDEN_JSON_FEATURES.contains(&feature.as_str()) {
                findings.push(format!(
                    "serde_json has feature `{feature}`: argument hashes change"
                ));
            }
        }
    }
    Ok(findings)
}

fn metadata(root: &Path) -> Result<Metadata, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

//! `published-modules.json`: modules from the registries, fetched once, checked by hash.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use marine_runtime::{
    Interface,
    module::{InterfaceSection, Outline, with_custom_section},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Report, ast, expect};

#[derive(Deserialize)]
pub(super) struct Document {
    modules: Vec<Module>,
}

#[derive(Deserialize)]
struct Module {
    source: String,
    package: String,
    version: String,
    path: String,
    module_name: String,
    sha256: String,
    size: usize,
    it_version: String,
    sdk_version: String,
    manifest: Option<Value>,
    it_section: SectionNote,
    core_exports: Option<Vec<String>>,
    non_wasi_imports: Option<Vec<ImportNote>>,
    wasi_imports: Option<BTreeMap<String, Vec<String>>>,
    interface: Option<Value>,
    it_ast: Option<Value>,
}

#[derive(Deserialize)]
struct SectionNote {
    payload_len: usize,
}

#[derive(Deserialize)]
struct ImportNote {
    namespace: String,
    name: String,
}

/// Modules by package, version and module name.
pub(super) type Fetched = BTreeMap<(String, String, String), Vec<u8>>;

/// Checks every module; what was fetched is there to be run.
pub(super) fn replay(document: &Document, report: &mut Report) -> Result<Fetched, String> {
    let mut fetched = Fetched::new();
    let mut unreachable = BTreeMap::new();
    for module in &document.modules {
        let name = format!(
            "published-modules.json: {} {} {}",
            module.package, module.version, module.path
        );
        match fetch(module, &mut unreachable) {
            Ok(bytes) => {
                report.record(name, check(module, &bytes));
                let key = (
                    module.package.clone(),
                    module.version.clone(),
                    module.module_name.clone(),
                );
                fetched.insert(key, bytes);
            }
            Err(reason) => report.skip(name, reason),
        }
    }
    Ok(fetched)
}

fn check(module: &Module, bytes: &[u8]) -> Result<(), String> {
    let outline = Outline::read(&module.module_name, bytes).map_err(|error| error.to_string())?;
    expect("size", bytes.len(), module.size)?;
    let sdk = outline.sdk_version().map_err(|error| error.to_string())?;
    expect("SDK version", sdk.to_string(), module.sdk_version.clone())?;
    let manifest = outline
        .manifest()
        .map_err(|error| error.to_string())?
        .map(|manifest| {
            json!({
                "authors": manifest.authors,
                "version": manifest.version.to_string(),
                "description": manifest.description,
                "repository": manifest.repository,
                "build_time": manifest.build_time,
            })
        });
    expect("manifest", manifest, module.manifest.clone())?;
    let payload = outline
        .interface_section()
        .map_err(|error| error.to_string())?;
    expect(
        "size of the section",
        payload.len(),
        module.it_section.payload_len,
    )?;
    let section = InterfaceSection::decode(payload).map_err(|error| error.to_string())?;
    expect(
        "IT version",
        section.version.to_string(),
        module.it_version.clone(),
    )?;
    section.validate().map_err(|error| error.to_string())?;
    let encoded = section.encode().map_err(|error| error.to_string())?;
    if encoded != payload {
        return Err("the section is encoded to other bytes".to_owned());
    }
    // Replacing a section by itself changes nothing but its place.
    let replaced = with_custom_section(marine_runtime::module::INTERFACE_SECTION, bytes, &encoded)
        .map_err(|error| error.to_string())?;
    expect(
        "size after replacing the section",
        replaced.len(),
        bytes.len(),
    )?;
    if let Some(expected) = &module.it_ast {
        expect("section", &ast::section(&section), expected)?;
    }
    if let Some(expected) = &module.interface {
        expect("interface", &json!(Interface::of(&section)), expected)?;
    }
    if let Some(expected) = &module.core_exports {
        let mut actual: Vec<&str> = outline.exports().to_vec();
        let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        actual.sort_unstable();
        expected.sort_unstable();
        expect("exports", actual, expected)?;
    }
    let (wasi, other): (Vec<&_>, Vec<&_>) = outline
        .imports()
        .iter()
        .partition(|import| import.namespace.starts_with("wasi_"));
    if let Some(expected) = &module.non_wasi_imports {
        let mut actual: Vec<_> = other
            .iter()
            .map(|import| (import.namespace, import.name))
            .collect();
        let mut expected: Vec<_> = expected
            .iter()
            .map(|import| (import.namespace.as_str(), import.name.as_str()))
            .collect();
        actual.sort_unstable();
        expected.sort_unstable();
        expect("imports", actual, expected)?;
    }
    if let Some(expected) = &module.wasi_imports {
        let mut actual: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for import in wasi {
            let names = actual.entry(import.namespace.to_owned()).or_default();
            names.push(import.name.to_owned());
        }
        actual.values_mut().for_each(|names| names.sort_unstable());
        let mut expected = expected.clone();
        expected
            .values_mut()
            .for_each(|names| names.sort_unstable());
        expect("imports from WASI", actual, expected)?;
    }
    Ok(())
}

/// The module from the cache folder, or from its registry.
fn fetch(module: &Module, unreachable: &mut BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let cache = cache_folder();
    let cached = cache.join(format!("{}.wasm", module.sha256));
    if let Ok(bytes) = fs::read(&cached)
        && sha256(&bytes) == module.sha256
    {
        return Ok(bytes);
    }
    let package = format!("{} {}", module.package, module.version);
    if let Some(reason) = unreachable.get(&package) {
        return Err(reason.clone());
    }
    let unpacked = match module.source.as_str() {
        "npm" => from_npm(module, &cache),
        source if source.starts_with("crates.") => from_crates(module, &cache),
        other => Err(format!("unknown source {other}")),
    };
    let folder = unpacked.inspect_err(|reason| {
        unreachable.insert(package, reason.clone());
    })?;
    let path = folder.join(&module.path);
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let found = sha256(&bytes);
    if found != module.sha256 {
        return Err(format!("has the hash {found} instead of {}", module.sha256));
    }
    fs::write(&cached, &bytes).map_err(|error| format!("{}: {error}", cached.display()))?;
    Ok(bytes)
}

fn cache_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    root.join("target/marine-modules")
}

/// Lets cargo download a package as a dependency of an empty one, and asks where it put it.
fn from_crates(module: &Module, cache: &Path) -> Result<PathBuf, String> {
    let folder = cache.join(format!("fetch-{}-{}", module.package, module.version));
    let manifest = folder.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nfetched = {{ package = \"{}\", version = \"={}\", default-features = false }}\n",
        module.package, module.version
    );
    write(&manifest, &text)?;
    write(&folder.join("src/lib.rs"), "")?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(&manifest)
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "cannot be fetched: {}",
            message.lines().last().unwrap_or_default()
        ));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    packages
        .into_iter()
        .flatten()
        .find(|package| package.get("name").and_then(Value::as_str) == Some(&module.package))
        .and_then(|package| package.get("manifest_path")?.as_str())
        .and_then(|path| Path::new(path).parent())
        .map(Path::to_owned)
        .ok_or_else(|| "cargo does not say where it is".to_owned())
}

/// Lets npm download a package and unpacks it.
fn from_npm(module: &Module, cache: &Path) -> Result<PathBuf, String> {
    let name = module.package.replace(['@', '/'], "-");
    let folder = cache.join(format!("npm{name}-{}", module.version));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let output = Command::new("npm")
        .args([
            "pack",
            "--silent",
            &format!("{}@{}", module.package, module.version),
        ])
        .current_dir(&folder)
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("needs npm: {error}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "cannot be fetched: {}",
            message.lines().last().unwrap_or_default()
        ));
    }
    let archive = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let unpacked = Command::new("tar")
        .args(["xzf", &archive])
        .current_dir(&folder)
        .status()
        .map_err(|error| format!("tar: {error}"))?;
    if unpacked.success() {
        Ok(folder)
    } else {
        Err(format!("{archive} cannot be unpacked"))
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let describe = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(describe)?;
    }
    fs::write(path, text).map_err(describe)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

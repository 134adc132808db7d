//! The service of a test: its configuration, and its modules as they are now.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use marine_runtime::{
    ConfigError, Interface, ModuleInfo, ModuleSource, ServiceConfig,
    build::{self, BuildOptions, Built, Flags, Workspace},
};

/// Where the packages with modules keep what is built for tests, below cargo's folder.
const FOLDER: &str = "marine";
/// The configuration that a test without `config_path` has.
const DEFAULT_CONFIG: &str = "Config.toml";

/// A service that tests can start.
#[derive(Clone)]
pub(crate) struct TestedService {
    /// The configuration, in which built modules are loaded from where they are.
    pub(crate) config: String,
    /// What messages call it.
    pub(crate) name: String,
    /// Where its relative paths begin.
    pub(crate) folder: PathBuf,
    /// Where machine code is kept.
    pub(crate) cache: PathBuf,
    /// Its modules, the facade last.
    pub(crate) modules: Vec<(String, Interface)>,
    /// What all this was made of.
    pub(crate) files: Vec<PathBuf>,
}

/// Prepares the service of a configuration or, without one, of the package in `package`. A failure is remembered:
/// every test of a crate would have the same.
pub(crate) fn prepare(
    package: &Path,
    config: Option<&Path>,
    builds: bool,
) -> Result<TestedService, String> {
    type Key = (PathBuf, Option<PathBuf>, bool);
    static PREPARED: Mutex<BTreeMap<Key, Result<TestedService, String>>> =
        Mutex::new(BTreeMap::new());
    let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (package.to_owned(), config.map(Path::to_owned), builds);
    prepared
        .entry(key)
        .or_insert_with(|| {
            let default = package.join(DEFAULT_CONFIG);
            match config {
                Some(config) => configured(package, config, builds),
                None if default.is_file() => configured(package, &default, builds),
                None => alone(package),
            }
        })
        .clone()
}

/// The service of a configuration.
fn configured(package: &Path, path: &Path, builds: bool) -> Result<TestedService, String> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let folder = path.parent().unwrap_or(package);
    // For its lines in messages: the text that is used below is another one.
    if let Err(error @ ConfigError::Parse { .. }) = ServiceConfig::from_toml(&text, &name, folder) {
        return Err(error.to_string());
    }
    let mut config: toml::Table = text.parse().map_err(|error| format!("{name}: {error}"))?;
    let workspace = Workspace::of(folder)
        .or_else(|_| Workspace::of(package))
        .map_err(|error| error.to_string())?;
    let mut files = vec![path.to_owned()];
    if builds {
        files.extend(build_modules(&workspace, &mut config)?);
    }
    let config = config.to_string();
    finish(&workspace, config, name, folder, files)
}

/// The service of a package's only module.
fn alone(package: &Path) -> Result<TestedService, String> {
    let workspace = Workspace::of(package).map_err(|error| error.to_string())?;
    let manifest = package.join("Cargo.toml");
    let Some(found) = workspace
        .packages
        .iter()
        .find(|other| is_same(&other.manifest_path, &manifest))
    else {
        return Err(format!("cargo does not know {}", manifest.display()));
    };
    let binaries: Vec<_> = found.binaries().collect();
    let name = match binaries.as_slice() {
        [only] => *only,
        [] => {
            return Err(format!(
                "package {} has no program that could be a module: write src/main.rs, or say `config_path = \"…\"`",
                found.name
            ));
        }
        several => {
            return Err(format!(
                "package {} has several modules ({}): write a {DEFAULT_CONFIG} and say `config_path = \"…\"`",
                found.name,
                several.join(", ")
            ));
        }
    };
    let mut module = toml::Table::new();
    module.insert("name".to_owned(), name.into());
    let mut config = toml::Table::new();
    config.insert("module".to_owned(), vec![toml::Value::Table(module)].into());
    let files = build_modules(&workspace, &mut config)?;
    let shown = format!("module {name}");
    finish(&workspace, config.to_string(), shown, package, files)
}

/// Builds those modules of `config` that belong to the workspace, and has them loaded from where they are. The result
/// is what they were made of.
fn build_modules(workspace: &Workspace, config: &mut toml::Table) -> Result<Vec<PathBuf>, String> {
    let Some(toml::Value::Array(modules)) = config.get_mut("module") else {
        return Ok(Vec::new());
    };
    let mut arguments = Vec::new();
    let mut wanted = Vec::new();
    for (index, module) in modules.iter().enumerate() {
        let text = |key| module.get(key).and_then(toml::Value::as_str);
        let name = text("name").unwrap_or_default();
        let file = text("file_name").map(|file| file.strip_suffix(".wasm").unwrap_or(file));
        let stem = file.unwrap_or(name);
        let owner = workspace.packages.iter().find_map(|package| {
            let binary = package.binaries().find(|binary| are_same(binary, stem))?;
            Some((package, binary))
        });
        if let Some((package, binary)) = owner {
            arguments.extend(["-p", &package.name, "--bin", binary].map(str::to_owned));
            wanted.push((index, binary.to_owned()));
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let below = workspace.target_directory.join(FOLDER);
    let options = BuildOptions {
        arguments,
        target_dir: Some(below.join("build")),
        flags: Flags::Own,
        shows_output: false,
        ..BuildOptions::new(&workspace.workspace_root)
    };
    let built =
        build::build_into(&options, &below.join("modules")).map_err(|error| error.to_string())?;
    let mut files = vec![workspace.workspace_root.join("Cargo.lock")];
    for (index, binary) in &wanted {
        let Some(Built { path, sources, .. }) = built.iter().find(|built| built.name == *binary)
        else {
            return Err(format!(
                "program {binary} does not link marine-sdk: it is no module"
            ));
        };
        files.extend(sources.iter().cloned());
        let path = path
            .to_str()
            .ok_or_else(|| format!("{}: the path is not UTF-8", path.display()))?;
        if let Some(toml::Value::Table(module)) = modules.get_mut(*index) {
            module.remove("file_name");
            module.insert("load_from".to_owned(), path.into());
        }
    }
    if wanted.len() == modules.len() {
        // It need not exist.
        config.remove("modules_dir");
    }
    Ok(files)
}

fn finish(
    workspace: &Workspace,
    config: String,
    name: String,
    folder: &Path,
    mut files: Vec<PathBuf>,
) -> Result<TestedService, String> {
    let parsed =
        ServiceConfig::from_toml(&config, &name, folder).map_err(|error| error.to_string())?;
    if parsed.modules.is_empty() {
        return Err(format!("{name}: a service needs at least one module"));
    }
    let mut modules = Vec::with_capacity(parsed.modules.len());
    for module in parsed.modules {
        let ModuleSource::File(path) = &module.source else {
            continue;
        };
        let failed = |error: &dyn std::fmt::Display| format!("module {}: {error}", module.name);
        let wasm =
            fs::read(path).map_err(|error| failed(&format!("{}: {error}", path.display())))?;
        let info = ModuleInfo::decode(&module.name, &wasm).map_err(|error| failed(&error))?;
        files.push(path.clone());
        modules.push((module.name, Interface::of(&info.interface)));
    }
    files.retain(|file| file.is_file());
    files.sort();
    files.dedup();
    Ok(TestedService {
        config,
        name,
        folder: folder.to_owned(),
        cache: workspace.target_directory.join(FOLDER).join("cache"),
        modules,
        files,
    })
}

/// Whether two names are the same to cargo.
fn are_same(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

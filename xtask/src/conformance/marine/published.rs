//! `published-modules.json`: modules of the registries, read and loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use marine_runtime::{
    AdapterSurvey, Interface,
    backend::{CoreSignature, CoreType},
    module::{INTERFACE_SECTION, InterfaceSection, Outline, Type, with_custom_section},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Report, ast, engines, expect,
    service::{Bytes, Loaded, Stage},
};
use crate::packages::{self, FetchError, PackageFile, Registry};

#[derive(Deserialize)]
pub(super) struct Document {
    modules: Vec<Module>,
}

/// One module.
#[derive(Deserialize)]
pub(super) struct Module {
    #[serde(flatten)]
    pub(super) file: FileNote,
    pub(super) module_name: String,
    size: usize,
    it_version: String,
    sdk_version: String,
    manifest: Option<Value>,
    it_section: SectionNote,
    memory: MemoryNote,
    allocate_core_signature: SignatureNote,
    /// The record of the same file, which has the rest.
    same_as: Option<String>,
    core_exports: Option<Vec<String>>,
    non_wasi_imports: Option<Vec<ImportNote>>,
    wasi_imports: Option<BTreeMap<String, Vec<String>>>,
    interface: Option<Value>,
    it_ast: Option<Value>,
    all_records: Option<Value>,
}

/// Where a file is published.
#[derive(Deserialize)]
pub(super) struct FileNote {
    source: String,
    pub(super) package: String,
    pub(super) version: String,
    path: String,
    pub(super) sha256: String,
}

#[derive(Deserialize)]
struct SectionNote {
    payload_len: usize,
    file_offset: usize,
    subsection_order: Vec<u8>,
    longest_list: usize,
    n_types: usize,
    n_adapters: usize,
}

#[derive(Deserialize)]
struct MemoryNote {
    min_pages: u64,
    max_pages: Option<u64>,
}

#[derive(Deserialize)]
struct SignatureNote {
    params: Vec<String>,
    results: Vec<String>,
}

#[derive(Deserialize)]
struct ImportNote {
    namespace: String,
    name: String,
    #[serde(flatten)]
    signature: SignatureNote,
}

impl FileNote {
    /// The file, kept or fetched.
    pub(super) fn fetch(&self) -> Result<Bytes, FetchError> {
        let file = PackageFile {
            registry: if self.source == "npm" {
                Registry::Npm
            } else {
                Registry::Cargo
            },
            package: &self.package,
            version: &self.version,
            path: &self.path,
            sha256: &self.sha256,
        };
        packages::fetch(&file).map(Arc::from)
    }

    /// How the records name it.
    pub(super) fn title(&self) -> String {
        format!(
            "{}:{}@{}/{}",
            self.source, self.package, self.version, self.path
        )
    }
}

impl Document {
    /// The modules that can be had, each with its bytes; the report says which cannot.
    pub(super) fn fetch(&self, report: &mut Report) -> Vec<(&Module, Bytes)> {
        let mut fetched = Vec::with_capacity(self.modules.len());
        for module in &self.modules {
            match module.file.fetch() {
                Ok(bytes) => fetched.push((module, bytes)),
                Err(error) if error.is_unreachable() => {
                    report.skip(module.file.title(), error.to_string());
                }
                Err(error) => report.record(module.file.title(), Err(error.to_string())),
            }
        }
        fetched
    }

    /// Titles and bytes of the files that can be had, each once.
    pub(super) fn distinct(&self, report: &mut Report) -> Vec<(String, Bytes)> {
        let fetched = self.fetch(report).into_iter();
        let mut seen = BTreeSet::new();
        fetched
            .filter(|(module, _)| seen.insert(module.file.sha256.as_str()))
            .map(|(module, bytes)| (module.file.title(), bytes))
            .collect()
    }
}

/// Compares what every module says about itself with its record.
pub(super) fn read(document: &Document, report: &mut Report) {
    for (module, bytes) in document.fetch(report) {
        report.record(module.file.title(), document.check(module, &bytes));
    }
}

/// Starts a service of every module and those that it calls, on every engine.
pub(super) fn load(document: &Document, report: &mut Report) -> Result<(), String> {
    let fetched = document.fetch(&mut Report::default());
    for engine in engines()? {
        // The engine compiles a file once while a service of it lives.
        let mut alive = Vec::new();
        for (module, bytes) in &fetched {
            let name = format!("{} on {}", module.file.title(), engine.backend().name());
            let outcome = start(module, bytes, &fetched).and_then(|modules| {
                let stage = Stage::new()?;
                let service = stage.start(&engine, &modules)?;
                if let Some(expected) = &module.interface {
                    expect("interface", &json!(service.interface()), expected)?;
                }
                alive.push((service, stage));
                Ok(())
            });
            report.record(name, outcome);
        }
    }
    Ok(())
}

/// The modules of the service whose facade is `module`: those that it calls are in its package.
fn start(
    module: &Module,
    bytes: &Bytes,
    fetched: &[(&Module, Bytes)],
) -> Result<Vec<Loaded>, String> {
    let mut modules = Vec::new();
    let outline = Outline::read(&module.module_name, bytes).map_err(|error| error.to_string())?;
    for import in outline.imports() {
        let found = fetched.iter().find(|(other, _)| {
            other.module_name == import.namespace
                && other.file.package == module.file.package
                && other.file.version == module.file.version
        });
        if let Some((other, bytes)) = found
            && !modules
                .iter()
                .any(|loaded: &Loaded| loaded.name == other.module_name)
        {
            modules.push(Loaded::new(&other.module_name, bytes)?);
        }
    }
    modules.push(Loaded::new(&module.module_name, bytes)?);
    Ok(modules)
}

impl Document {
    fn check(&self, module: &Module, bytes: &[u8]) -> Result<(), String> {
        let outline =
            Outline::read(&module.module_name, bytes).map_err(|error| error.to_string())?;
        let section = check_head(module, bytes, &outline)?;
        // The rest of a file that is there several times stands with one of its records.
        let details = match &module.same_as {
            None => module,
            Some(title) => {
                let same = self.modules.iter().find(|m| m.file.title() == *title);
                let same = same.ok_or_else(|| format!("there is no record of {title}"))?;
                expect("hash", &module.file.sha256, &same.file.sha256)?;
                same
            }
        };
        check_section(details, &section)?;
        check_core(details, &outline)?;
        let survey =
            AdapterSurvey::of(&module.module_name, bytes).map_err(|error| error.to_string())?;
        // Written by hand: its core function is of another type than its adapter's form asks for.
        let by_hand = |name: &str| name == "sqlite3_column_blob";
        let others: Vec<_> = survey
            .interpreted
            .iter()
            .filter(|name| !by_hand(name))
            .collect();
        expect("interpreted adapters", others, Vec::new())?;
        expect(
            "adapters",
            survey.planned + survey.interpreted.len(),
            section.adapters.len(),
        )
    }
}

/// Versions, manifest, and the interface section in bytes.
fn check_head(
    module: &Module,
    bytes: &[u8],
    outline: &Outline<'_>,
) -> Result<InterfaceSection, String> {
    let failed = |error: &dyn std::error::Error| error.to_string();
    expect("size", bytes.len(), module.size)?;
    let sdk = outline.sdk_version().map_err(|error| failed(&error))?;
    expect("SDK version", sdk.to_string(), module.sdk_version.clone())?;
    let manifest = outline.manifest().map_err(|error| failed(&error))?;
    let manifest = manifest.map(|manifest| {
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
        .map_err(|error| failed(&error))?;
    let note = &module.it_section;
    expect("size of the section", payload.len(), note.payload_len)?;
    let offset = payload.as_ptr().addr() - bytes.as_ptr().addr();
    expect("place of the section", offset, note.file_offset)?;
    let section = InterfaceSection::decode(payload).map_err(|error| failed(&error))?;
    let version = section.version.to_string();
    expect("IT version", version, module.it_version.clone())?;
    section.validate().map_err(|error| failed(&error))?;
    let encoded = section.encode().map_err(|error| failed(&error))?;
    if encoded != payload {
        return Err("the section is encoded to other bytes".to_owned());
    }
    expect(
        "order of groups",
        groups(&section),
        note.subsection_order.clone(),
    )?;
    expect("longest list", longest_list(&section), note.longest_list)?;
    expect("types", section.types.len(), note.n_types)?;
    expect("adapters", section.adapters.len(), note.n_adapters)?;
    // Replacing a section by itself changes nothing but its place, and the length in front of it,
    // which some tools write with more bytes than it needs.
    let replaced =
        with_custom_section(INTERFACE_SECTION, bytes, &encoded).map_err(|error| failed(&error))?;
    let shorter = bytes.len().checked_sub(replaced.len());
    if shorter.is_none_or(|bytes| bytes > 4) {
        expect("size after replacing", replaced.len(), bytes.len())?;
    }
    let again = Outline::read(&module.module_name, &replaced).map_err(|error| failed(&error))?;
    let payload = again.interface_section().map_err(|error| failed(&error))?;
    if payload != encoded {
        return Err("the replaced section is another".to_owned());
    }
    Ok(section)
}

fn check_section(module: &Module, section: &InterfaceSection) -> Result<(), String> {
    if let Some(expected) = &module.it_ast {
        expect("section", &ast::section(section), expected)?;
    }
    if let Some(expected) = &module.interface {
        expect("interface", &json!(Interface::of(section)), expected)?;
    }
    if let Some(expected) = &module.all_records {
        let records = section.types.iter().enumerate();
        let records = records.filter_map(|(id, ty)| match ty {
            Type::Record(record) => Some(json!({ "id": id, "name": record.name })),
            Type::Function(_) => None,
        });
        expect("records", &Value::Array(records.collect()), expected)?;
    }
    Ok(())
}

/// Imports, exports and memory of the core module.
fn check_core(module: &Module, outline: &Outline<'_>) -> Result<(), String> {
    let memory = outline.memory().ok_or("there is no memory")?;
    expect("memory", memory.minimum, module.memory.min_pages)?;
    expect("maximum of memory", memory.maximum, module.memory.max_pages)?;
    let allocate = outline.export_signature("allocate");
    module.allocate_core_signature.check("allocate", allocate)?;
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
        expect("number of imports", other.len(), expected.len())?;
        for note in expected {
            let import = other
                .iter()
                .find(|import| import.namespace == note.namespace && import.name == note.name)
                .ok_or_else(|| format!("{} of {} isn't imported", note.name, note.namespace))?;
            note.signature
                .check(&note.name, outline.import_signature(import))?;
        }
    }
    if let Some(expected) = &module.wasi_imports {
        let mut actual: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for import in wasi {
            let names = actual.entry(import.namespace.to_owned()).or_default();
            names.push(import.name.to_owned());
        }
        actual.values_mut().for_each(|names| names.sort_unstable());
        let mut expected = expected.clone();
        for names in expected.values_mut() {
            names.sort_unstable();
        }
        expect("imports from WASI", actual, expected)?;
    }
    Ok(())
}

impl SignatureNote {
    fn check(&self, function: &str, actual: Option<&CoreSignature>) -> Result<(), String> {
        let actual = actual.ok_or_else(|| format!("{function} is no function of numbers"))?;
        let names = |types: &[CoreType]| -> Vec<String> {
            let lower = |ty: &CoreType| format!("{ty:?}").to_lowercase();
            types.iter().map(lower).collect()
        };
        expect(function, &names(&actual.parameters), &self.params)?;
        expect(function, &names(&actual.results), &self.results)
    }
}

/// Kinds of the groups that a section has, as they are written.
fn groups(section: &InterfaceSection) -> Vec<u8> {
    let sizes = [
        (0, section.types.len()),
        (1, section.imports.len()),
        (2, section.adapters.len()),
        (3, section.exports.len()),
        (4, section.implementations.len()),
    ];
    let there = sizes.iter().filter(|(_, size)| *size > 0);
    std::iter::once(5)
        .chain(there.map(|(kind, _)| *kind))
        .collect()
}

/// Elements of the longest list: arguments, outputs, fields or instructions.
fn longest_list(section: &InterfaceSection) -> usize {
    let types = section.types.iter().map(|ty| match ty {
        Type::Function(function) => function.arguments.len().max(function.outputs.len()),
        Type::Record(record) => record.fields.len(),
    });
    let adapters = section.adapters.iter();
    let adapters = adapters.map(|adapter| adapter.instructions.len());
    types.chain(adapters).max().unwrap_or_default()
}

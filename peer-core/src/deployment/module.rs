//! Modules: their files, what they need, and what they are allowed (§4.1, §4.2 of the peer
//! description).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use deal_types::{Cid, unixfs};
use marine_runtime::{Interface, ModuleError, module::Outline};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{
    config::EffectorConfig,
    records::{self, RecordError},
    store::{Change, Durability, Store, StoreError, Table},
};

/// Keys of modules in the table of services.
const PREFIX: &str = "module/";

/// Why a module was not taken, or cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModuleStoreError {
    /// The text is not base64.
    #[error("Error while decoding module bytes from base64: {0}")]
    Base64(data_encoding::DecodeError),
    /// The bytes are no module.
    #[error("{0}")]
    Module(#[from] ModuleError),
    /// A module that runs programs, which this host does not allow it.
    #[error(
        "Config error: requested module effector {name} with CID {cid} is forbidden on this host"
    )]
    Forbidden {
        /// Its name.
        name: String,
        /// Its content identifier.
        cid: String,
    },
    /// A module that runs a program which is not on the list.
    #[error(
        "Module {name} with CID {cid} requested a binary `{binary}` which isn't in the configured list of binaries"
    )]
    UnknownBinary {
        /// Its name.
        name: String,
        /// Its content identifier.
        cid: String,
        /// The import.
        binary: String,
    },
    /// The file cannot be written.
    #[error("Error saving module {path:?}: {source}")]
    Save {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("Module wasn't found on path {path:?}: {source}")]
    Load {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No such module.
    #[error("Module with CID {cid} wasn't found")]
    Missing {
        /// The content identifier.
        cid: String,
    },
    /// The table of modules.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry of that table.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What a host keeps about a module besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRecord {
    /// Its name, by which other modules import it.
    pub name: String,
    /// Whether it logs.
    pub logger_enabled: bool,
    /// The programs it may run: name of the import, path.
    pub binaries: BTreeMap<String, PathBuf>,
}

/// The configuration of a module as scripts write it (§3.7): of an uploaded one only the name
/// counts. Members that are obsolete or unknown are ignored; maps are objects or lists of pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ModuleDescription {
    /// Its name.
    pub name: String,
    /// Where to load it from.
    #[serde(default)]
    pub load_from: Option<String>,
    /// The name of its file.
    #[serde(default)]
    pub file_name: Option<String>,
    /// Whether it logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logger_enabled: Option<bool>,
    /// Which targets it logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging_mask: Option<i32>,
    /// Environment and directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasi: Option<WasiDescription>,
    /// Programs it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted_binaries: Option<Pairs>,
}

/// Environment and directories of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct WasiDescription {
    /// Environment variables.
    #[serde(default)]
    pub envs: Option<Pairs>,
    /// Directories.
    #[serde(default)]
    pub mapped_dirs: Option<Pairs>,
}

/// Keys and values: written as an object, read from one or from a list of pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pairs(pub BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Object(BTreeMap<String, Value>),
            Pairs(Vec<(String, Value)>),
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Object(object)) => Ok(Self(object)),
            Ok(Form::Pairs(pairs)) => Ok(Self(pairs.into_iter().collect())),
            Err(_) => Err(de::Error::custom("expected an object or a list of pairs")),
        }
    }
}

/// The modules of a host.
pub struct Modules {
    folder: PathBuf,
    store: Arc<dyn Store>,
    effectors: BTreeMap<String, EffectorConfig>,
    /// Programs for modules that are not on the list, on a host of developers.
    unlisted: Option<BTreeMap<String, PathBuf>>,
}

impl Modules {
    /// Modules whose files are in this folder, which is made.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(
        folder: impl Into<PathBuf>,
        store: Arc<dyn Store>,
        effectors: BTreeMap<String, EffectorConfig>,
    ) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            store,
            effectors,
            unlisted: None,
        })
    }

    /// Gives modules that are not on the list of effectors these programs instead of a refusal.
    #[must_use]
    pub fn with_unlisted(mut self, binaries: Option<BTreeMap<String, PathBuf>>) -> Self {
        self.unlisted = binaries;
        self
    }

    /// Takes a module in; the result is its content identifier. It is on disk when this returns.
    ///
    /// # Errors
    /// Bytes that are no module, programs that this host does not allow it, a disk that does not
    /// take it.
    pub fn add(&self, name: &str, bytes: &[u8]) -> Result<String, ModuleStoreError> {
        self.add_with(name, bytes, |cid, needed| self.binaries(name, cid, needed))
    }

    /// [`Modules::add`] of a module of the host itself, which gets these programs.
    ///
    /// # Errors
    /// As [`Modules::add`], and a program that the module needs and does not get.
    pub fn add_own(
        &self,
        name: &str,
        bytes: &[u8],
        binaries: &BTreeMap<String, PathBuf>,
    ) -> Result<String, ModuleStoreError> {
        self.add_with(name, bytes, |cid, needed| {
            if needed.is_empty() {
                return Ok(BTreeMap::new());
            }
            check_binaries(name, cid, needed, binaries)
        })
    }

    fn add_with(
        &self,
        name: &str,
        bytes: &[u8],
        binaries: impl FnOnce(
            &str,
            &BTreeSet<&str>,
        ) -> Result<BTreeMap<String, PathBuf>, ModuleStoreError>,
    ) -> Result<String, ModuleStoreError> {
        let cid = unixfs::cid_of(bytes).to_string();
        let outline = Outline::read(name, bytes)?;
        let mut logger_enabled = false;
        let mut needed = BTreeSet::new();
        for import in outline.imports() {
            if !is_host(import.namespace) {
                continue;
            }
            match import.name {
                "log_utf8_string" => logger_enabled = true,
                "get_call_parameters" => {}
                binary => {
                    needed.insert(binary);
                }
            }
        }
        let record = ModuleRecord {
            name: name.to_owned(),
            logger_enabled,
            binaries: binaries(&cid, &needed)?,
        };
        let path = self.path(&cid);
        // A module that is there with all it needs is not written again.
        if path.exists() && self.record(&cid).is_ok_and(|known| known == record) {
            return Ok(cid);
        }
        write_atomically(&path, bytes).map_err(|source| ModuleStoreError::Save { path, source })?;
        let change = Change::put(Table::Services, key(&cid), records::encode(&record)?);
        self.store.apply(&[change], Durability::Disk)?;
        Ok(cid)
    }

    /// The programs that a module with these needs may run.
    fn binaries(
        &self,
        name: &str,
        cid: &str,
        needed: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, PathBuf>, ModuleStoreError> {
        if needed.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut effectors = self.effectors.values();
        let listed = effectors.find(|effector| effector.wasm_cid == cid);
        let allowed = listed.map(|effector| &effector.allowed_binaries);
        match allowed.or(self.unlisted.as_ref()) {
            Some(binaries) => check_binaries(name, cid, needed, binaries),
            None => Err(ModuleStoreError::Forbidden {
                name: name.to_owned(),
                cid: cid.to_owned(),
            }),
        }
    }

    /// What is kept about a module.
    ///
    /// # Errors
    /// No such module, or a store that cannot be read.
    pub fn record(&self, cid: &str) -> Result<ModuleRecord, ModuleStoreError> {
        let missing = || ModuleStoreError::Missing {
            cid: cid.to_owned(),
        };
        // In its usual form, so that it cannot be a path either.
        let cid: Cid = cid.parse().map_err(|_| missing())?;
        let record = self.store.get(Table::Services, &key(&cid.to_string()))?;
        Ok(records::decode(&record.ok_or_else(missing)?)?)
    }

    /// The bytes of a module.
    ///
    /// # Errors
    /// No such module, or a file that cannot be read.
    pub fn bytes(&self, cid: &str) -> Result<Vec<u8>, ModuleStoreError> {
        self.record(cid)?;
        let path = self.path(cid);
        fs::read(&path).map_err(|source| ModuleStoreError::Load { path, source })
    }

    /// The interface of a module.
    ///
    /// # Errors
    /// As [`Modules::bytes`], and a module without an interface.
    pub fn interface(&self, cid: &str) -> Result<Value, ModuleStoreError> {
        let bytes = self.bytes(cid)?;
        let info = marine_runtime::ModuleInfo::decode(cid, &bytes)?;
        Ok(Interface::of(&info.interface).to_json_with_field_pairs())
    }

    /// All modules, in the order of their identifiers.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn list(&self) -> Result<Vec<Value>, ModuleStoreError> {
        let entries = self.store.scan(Table::Services, PREFIX.as_bytes())?;
        entries
            .into_iter()
            .map(|(key, record)| {
                let key = String::from_utf8_lossy(&key).into_owned();
                let cid = key.strip_prefix(PREFIX).unwrap_or(&key);
                let record: ModuleRecord = records::decode(&record)?;
                let mut config = match serde_json::to_value(record.describe()) {
                    Ok(Value::Object(config)) => config,
                    _ => Map::new(),
                };
                for member in ["name", "load_from", "file_name"] {
                    config.remove(member);
                }
                Ok(json!({ "name": record.name, "hash": cid, "config": config }))
            })
            .collect()
    }

    /// Where the bytes of a module are.
    #[must_use]
    pub fn path(&self, cid: &str) -> PathBuf {
        self.folder.join(format!("{cid}.wasm"))
    }
}

impl ModuleRecord {
    fn describe(&self) -> ModuleDescription {
        let binaries = self.binaries.iter();
        let binaries = binaries.map(|(name, path)| (name.clone(), json!(path)));
        ModuleDescription {
            name: self.name.clone(),
            logger_enabled: Some(self.logger_enabled),
            mounted_binaries: (!self.binaries.is_empty()).then(|| Pairs(binaries.collect())),
            ..ModuleDescription::default()
        }
    }
}

impl std::fmt::Debug for Modules {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Modules({})", self.folder.display())
    }
}

/// All of these programs, when a module needs no other.
fn check_binaries(
    name: &str,
    cid: &str,
    needed: &BTreeSet<&str>,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<BTreeMap<String, PathBuf>, ModuleStoreError> {
    match needed
        .iter()
        .find(|binary| !binaries.contains_key(**binary))
    {
        Some(binary) => Err(ModuleStoreError::UnknownBinary {
            name: name.to_owned(),
            cid: cid.to_owned(),
            binary: (*binary).to_owned(),
        }),
        None => Ok(binaries.clone()),
    }
}

/// Whether a module imports the host's functions and programs from there.
fn is_host(namespace: &str) -> bool {
    namespace == "host" || namespace.starts_with("__marine_host_api_v")
}

fn key(cid: &str) -> Vec<u8> {
    format!("{PREFIX}{cid}").into_bytes()
}

/// A crash leaves the old file or the new one.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let draft = folder.join(format!(".{}", uuid::Uuid::new_v4()));
    let written = (|| {
        let mut file = fs::File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    const ECHO: &[u8] = include_bytes!("../../../examples/wasm/echo.wasm");
    /// A module that runs programs.
    const FACADE: &str = r#"(module (import "host" "curl" (func)))"#;

    fn modules(effectors: &[(&str, &str, &str)]) -> (tempfile::TempDir, Modules) {
        let folder = tempfile::tempdir().unwrap();
        let effectors = effectors.iter().map(|(cid, name, path)| {
            let allowed_binaries = [((*name).to_owned(), PathBuf::from(path))].into();
            let effector = EffectorConfig {
                wasm_cid: (*cid).to_owned(),
                allowed_binaries,
            };
            ((*name).to_owned(), effector)
        });
        let store = Arc::new(MemoryStore::default());
        let modules = Modules::open(folder.path(), store, effectors.collect()).unwrap();
        (folder, modules)
    }

    #[test]
    fn a_module_is_kept_under_its_content() {
        let (folder, modules) = modules(&[]);
        let cid = modules.add("echo", ECHO).unwrap();
        assert_eq!(cid, unixfs::cid_of(ECHO).to_string());
        assert_eq!(modules.bytes(&cid).unwrap(), ECHO);
        assert_eq!(modules.record(&cid).unwrap().name, "echo");
        let interface = modules.interface(&cid).unwrap();
        assert!(
            !interface["function_signatures"]
                .as_array()
                .unwrap()
                .is_empty()
        );
        // Nothing but the file is left in the folder.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let listed = modules.list().unwrap();
        assert_eq!(listed[0]["hash"], json!(cid));
        assert!(listed[0]["config"]["logger_enabled"].is_boolean());
        for cid in [
            "../echo",
            "",
            "bafkreifdehdwcppttfsqaju4kodgn5wgbefrarbzc72k4sore2bwpeq2fa",
        ] {
            assert!(matches!(
                modules.bytes(cid),
                Err(ModuleStoreError::Missing { .. })
            ));
        }
    }

    #[test]
    fn programs_are_for_those_on_the_list() {
        let bytes = wat::parse_str(FACADE).unwrap();
        let cid = unixfs::cid_of(&bytes).to_string();
        let (_folder, none) = modules(&[]);
        let error = none.add("curl", &bytes).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "Config error: requested module effector curl with CID {cid} is forbidden on this \
                 host"
            )
        );
        let (_folder, other) = modules(&[(&cid, "ipfs", "/usr/bin/ipfs")]);
        let error = other.add("curl", &bytes).unwrap_err().to_string();
        assert!(error.contains("requested a binary `curl`"), "{error}");
        let (_folder, allowed) = modules(&[(&cid, "curl", "/usr/bin/curl")]);
        assert_eq!(allowed.add("curl", &bytes).unwrap(), cid);
        let record = allowed.record(&cid).unwrap();
        assert_eq!(record.binaries["curl"], Path::new("/usr/bin/curl"));
        // A host of developers has programs for everybody, and the host itself needs no list.
        let binaries: BTreeMap<String, PathBuf> = [("curl".to_owned(), "/bin/curl".into())].into();
        let (_folder, unlisted) = modules(&[]);
        assert_eq!(unlisted.add_own("curl", &bytes, &binaries).unwrap(), cid);
        assert!(unlisted.add_own("curl", &bytes, &BTreeMap::new()).is_err());
        let unlisted = unlisted.with_unlisted(Some(binaries.clone()));
        unlisted.add("curl", &bytes).unwrap();
        assert_eq!(unlisted.record(&cid).unwrap().binaries, binaries);
        let unlisted = unlisted.with_unlisted(Some(BTreeMap::new()));
        assert!(matches!(
            unlisted.add("curl", &bytes),
            Err(ModuleStoreError::UnknownBinary { .. })
        ));
        assert!(allowed.add("text", b"text").is_err());
    }

    #[test]
    fn configurations_have_two_forms() {
        let object = json!({
            "name": "a",
            "mem_pages_count": 5,
            "wasi": { "envs": { "k": "v" }, "preopened_files": ["/"] },
            "mounted_binaries": [["curl", "/usr/bin/curl"]],
        });
        let description: ModuleDescription = serde_json::from_value(object).unwrap();
        assert_eq!(
            serde_json::to_value(&description).unwrap(),
            json!({
                "name": "a",
                "load_from": null,
                "file_name": null,
                "wasi": { "envs": { "k": "v" }, "mapped_dirs": null },
                "mounted_binaries": { "curl": "/usr/bin/curl" },
            })
        );
        assert!(serde_json::from_value::<ModuleDescription>(json!({})).is_err());
    }
}

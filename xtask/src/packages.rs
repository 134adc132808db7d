//! Files of published packages, for the tests and benchmarks that read or run them.
//!
//! They are fetched by name and version through the clients of their registries, checked by hash,
//! and kept in `target/published` under that hash: from then on no network is needed. None of them
//! is part of this repository.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest as _, Sha256};

use crate::tidy::workspace_root;

/// Where packages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Registry {
    /// Crates, through cargo.
    Cargo,
    /// JavaScript packages, through npm.
    Npm,
}

/// A file of a package.
#[derive(Clone, Copy, Debug)]
pub struct PackageFile<'a> {
    /// Where the package is published.
    pub registry: Registry,
    /// Its name.
    pub package: &'a str,
    /// Its exact version.
    pub version: &'a str,
    /// The file in the package; npm's packages keep theirs below `package/`.
    pub path: &'a str,
    /// SHA-256 of the file, in hex.
    pub sha256: &'a str,
}

impl<'a> PackageFile<'a> {
    /// A file of a package of Rust's registry.
    #[must_use]
    pub const fn of_crate(
        package: &'a str,
        version: &'a str,
        path: &'a str,
        sha256: &'a str,
    ) -> Self {
        Self {
            registry: Registry::Cargo,
            package,
            version,
            path,
            sha256,
        }
    }
}

/// The published module that spells keep their data with.
pub const SQLITE: PackageFile<'_> = PackageFile::of_crate(
    "fluence-spell-distro",
    "0.7.5",
    "spell-service/sqlite3.wasm",
    "0e51a456cfc929f5c1bb297c06de864150e668dc263982d93fce993093e9f832",
);

/// The published module of a spell.
pub const SPELL: PackageFile<'_> = PackageFile::of_crate(
    "fluence-spell-distro",
    "0.7.5",
    "spell-service/spell.wasm",
    "5357f12a82db4ffa0f88122d6fc2cd0d3ffa7eddc61bf36fad875ba778f6bf8b",
);

/// The published module of the registry.
pub const REGISTRY: PackageFile<'_> = PackageFile::of_crate(
    "registry-distro",
    "0.9.4",
    "registry-service/registry.wasm",
    "70f7c7f7c0f81b0af7b635bce4e4cab64fd80d0223257d8386dc35f1a3580ca8",
);

/// Why a file is not there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No client of the registry, or no way to the registry.
    #[error("{package} {version} cannot be fetched: {reason}")]
    Unreachable {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// What the client says.
        reason: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Not the file that was published.
    #[error("{path} of {package} {version} has the hash {found} instead of {expected}")]
    Hash {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The file in the package.
        path: String,
        /// Its hash.
        found: String,
        /// The hash that it must have.
        expected: String,
    },
}

impl FetchError {
    /// Whether there may be nothing wrong but the network.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Whether published packages that cannot be fetched are a failure.
#[must_use]
pub fn is_required() -> bool {
    crate::is_required("published")
}

/// Whether there is a client for packages of npm.
#[must_use]
pub fn has_npm() -> bool {
    let mut version = Command::new("npm");
    version.arg("--version").stdin(Stdio::null());
    version.output().is_ok_and(|output| output.status.success())
}

/// A file from `target/published`, or from its registry.
///
/// # Errors
/// See [`FetchError`]. What was unreachable once is not tried again by this process.
pub fn fetch(file: &PackageFile<'_>) -> Result<Vec<u8>, FetchError> {
    let kept = folder().join(file.sha256);
    if let Some(bytes) = fs::read(&kept).ok().filter(|b| sha256(b) == file.sha256) {
        return Ok(bytes);
    }
    let unpacked = unpack(file)?;
    let path = unpacked.join(file.path);
    let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
    let found = sha256(&bytes);
    if found != file.sha256 {
        return Err(FetchError::Hash {
            package: file.package.to_owned(),
            version: file.version.to_owned(),
            path: file.path.to_owned(),
            found,
            expected: file.sha256.to_owned(),
        });
    }
    // Others may fetch the same at the same time, in this process too.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = kept.with_extension(format!("{}-{number}", std::process::id()));
    write(&temporary, &bytes)?;
    fs::rename(&temporary, &kept).map_err(|error| failed(&kept, error))?;
    Ok(bytes)
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn folder() -> PathBuf {
    workspace_root().join("target/published")
}

type Package = (Registry, String, String);

/// Where a package was unpacked, by name and version; one at a time, since clients lock their caches.
fn unpack(file: &PackageFile<'_>) -> Result<PathBuf, FetchError> {
    static KNOWN: Mutex<BTreeMap<Package, Result<PathBuf, FetchError>>> =
        Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (
        file.registry,
        file.package.to_owned(),
        file.version.to_owned(),
    );
    known
        .entry(key)
        .or_insert_with(|| match file.registry {
            Registry::Cargo => from_cargo(file),
            Registry::Npm => from_npm(file),
        })
        .clone()
}

/// Lets cargo download a package as the dependency of an empty one, and asks where it put it.
fn from_cargo(file: &PackageFile<'_>) -> Result<PathBuf, FetchError> {
    let scratch = scratch(file);
    let manifest = scratch.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nfetched = {{ package = \"{}\", version = \"={}\", \
         default-features = false }}\n",
        file.package, file.version
    );
    write(&manifest, text.as_bytes())?;
    write(&scratch.join("src/lib.rs"), b"")?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(&manifest);
    let output = ask(file, command)?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| unreachable(file, error.to_string()))?;
    let packages = metadata
        .get("packages")
        .and_then(|packages| packages.as_array());
    let named = |package: &&serde_json::Value| {
        package.get("name").and_then(|name| name.as_str()) == Some(file.package)
    };
    let manifest = |package: &serde_json::Value| {
        let path = package.get("manifest_path")?.as_str()?;
        Some(Path::new(path).parent()?.to_owned())
    };
    packages
        .and_then(|packages| packages.iter().find(named))
        .and_then(manifest)
        .ok_or_else(|| unreachable(file, "cargo does not say where it is"))
}

/// Lets npm download a package, and unpacks it.
fn from_npm(file: &PackageFile<'_>) -> Result<PathBuf, FetchError> {
    let scratch = scratch(file);
    fs::create_dir_all(&scratch).map_err(|error| failed(&scratch, error))?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent"])
        .arg(format!("{}@{}", file.package, file.version))
        .current_dir(&scratch);
    let output = ask(file, pack)?;
    let archive = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut unpack = Command::new("tar");
    unpack.args(["xzf", &archive]).current_dir(&scratch);
    ask(file, unpack)?;
    Ok(scratch)
}

fn scratch(file: &PackageFile<'_>) -> PathBuf {
    let name = file.package.replace(['@', '/'], "_");
    folder().join(format!("{name}-{}", file.version))
}

/// Runs a client.
fn ask(file: &PackageFile<'_>, mut client: Command) -> Result<Output, FetchError> {
    let output = client
        .stdin(Stdio::null())
        .output()
        .map_err(|error| unreachable(file, format!("{:?}: {error}", client.get_program())))?;
    if output.status.success() {
        return Ok(output);
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    let last = messages.lines().rfind(|line| !line.trim().is_empty());
    Err(unreachable(file, last.unwrap_or_default().trim()))
}

fn unreachable(file: &PackageFile<'_>, reason: impl Into<String>) -> FetchError {
    FetchError::Unreachable {
        package: file.package.to_owned(),
        version: file.version.to_owned(),
        reason: reason.into(),
    }
}

fn failed(path: &Path, error: std::io::Error) -> FetchError {
    FetchError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FetchError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    }
    fs::write(path, bytes).map_err(|error| failed(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_needs_no_registry() {
        let content = b"kept by a test of xtask";
        let hash = sha256(content);
        let file = PackageFile {
            registry: Registry::Cargo,
            package: "aquamarine-no-such-package",
            version: "0.0.0",
            path: "file",
            sha256: &hash,
        };
        let kept = folder().join(&hash);
        write(&kept, content).unwrap();
        assert_eq!(fetch(&file).unwrap(), content);
        fs::remove_file(kept).unwrap();
    }
}

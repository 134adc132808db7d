//! The vault: a directory for every particle at every scope, shared by the services that the
//! particle calls there (§5 of the peer description).
//!
//! Services find it under `/tmp/vault/ID-TOKEN`. The token is the host's signature over that of the
//! particle, so services of other particles cannot guess the name, and they cannot list the
//! directory above it (`ModuleConfig::unlisted_dirs` of `marine-runtime`).

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use particle::{KeyPair, PeerId};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    host::{FunctionCall, ParticleContext},
    services::Tokens,
};

/// Where services see the vaults of their scope.
pub const VIRTUAL_ROOT: &str = "/tmp/vault";

/// Nobody else on the machine may look.
const PRIVATE: u32 = 0o700;
/// Largest file that is read for a script.
const MAX_FILE: u64 = 64 << 20;

/// Why a file of a vault cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A path that leads elsewhere.
    #[error("Incorrect vault path `{path}`: doesn't belong to vault (`{prefix}`)")]
    Foreign {
        /// The path.
        path: String,
        /// Where the particle's vault is.
        prefix: String,
    },
    /// Nothing is there.
    #[error("Incorrect vault  path `{path}`: doesn't exist")]
    Missing {
        /// The path.
        path: String,
    },
    /// A file that cannot be read.
    #[error("Read vault failed for `{path}`: {source}")]
    Read {
        /// The path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("Write vault failed for filename `{file}`: {source}")]
    Write {
        /// Its name.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The directory of a particle cannot be made.
    #[error("Error creating particle vault: {source}")]
    Create {
        /// What the system said.
        source: io::Error,
    },
}

/// The vaults of a host.
pub struct Vault {
    root: PathBuf,
    tokens: Arc<Tokens>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Directories that were made, by the time at which their particles end.
    made: BTreeSet<(u64, PathBuf)>,
    /// Scopes that were removed; a call that is still under way makes no directory there.
    closed: BTreeSet<PeerId>,
}

impl Vault {
    /// Vaults below this directory, whose content is removed: particles of an earlier run are gone.
    ///
    /// # Errors
    /// A directory that cannot be emptied or made.
    pub fn open(root: impl Into<PathBuf>, key: Arc<KeyPair>) -> io::Result<Self> {
        let root = root.into();
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(&root)?;
        Ok(Self {
            root: root.canonicalize()?,
            tokens: Arc::new(Tokens::new(key)),
            state: Mutex::default(),
        })
    }

    /// What makes the tokens that directories are named by.
    pub(crate) fn tokens(&self) -> Arc<Tokens> {
        self.tokens.clone()
    }

    /// The directory of a scope, which its services see as [`VIRTUAL_ROOT`]. It is made.
    ///
    /// # Errors
    /// A directory that cannot be made, or a scope that was removed.
    pub fn of_scope(&self, scope: PeerId) -> io::Result<PathBuf> {
        let folder = self.root.join(scope.to_string());
        let state = self.lock();
        if state.closed.contains(&scope) {
            return Err(io::Error::other(format!("{scope} was removed")));
        }
        make_folder(&folder)?;
        Ok(folder)
    }

    /// Makes the directory of the call's particle in the call's scope, and removes those of
    /// particles that ended before `now_ms`.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn enter(&self, call: &FunctionCall, now_ms: u64) -> Result<PathBuf, VaultError> {
        self.collect(now_ms);
        let folder = self.folder(call);
        let mut state = self.lock();
        let made = match state.closed.contains(&call.peer_id) {
            true => Err(io::Error::other(format!("{} was removed", call.peer_id))),
            false => make_folder(&folder),
        };
        made.map_err(|source| VaultError::Create { source })?;
        let deadline = call.particle.deadline().unwrap_or(0);
        state.made.insert((deadline, folder.clone()));
        Ok(folder)
    }

    /// Removes the directories of particles that ended before `now_ms`.
    pub fn collect(&self, now_ms: u64) {
        let ended = {
            let mut state = self.lock();
            let alive = state.made.split_off(&(now_ms, PathBuf::new()));
            std::mem::replace(&mut state.made, alive)
        };
        for (_, folder) in ended {
            remove(&folder);
        }
    }

    /// Removes what a service that was being made left behind in a scope that was removed.
    pub(super) fn sweep(&self, scope: PeerId) {
        if self.lock().closed.contains(&scope) {
            remove(&self.root.join(scope.to_string()));
        }
    }

    /// Removes all that belongs to a scope, for good.
    pub fn remove_scope(&self, scope: PeerId) {
        let folder = self.root.join(scope.to_string());
        let mut state = self.lock();
        state.closed.insert(scope);
        state.made.retain(|(_, made)| !made.starts_with(&folder));
        drop(state);
        remove(&folder);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is half done when a thread dies with the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a file; the result is its path as services see it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn put(
        &self,
        call: &FunctionCall,
        now_ms: u64,
        content: impl AsRef<[u8]>,
    ) -> Result<String, VaultError> {
        let folder = self.enter(call, now_ms)?;
        let file = Uuid::new_v4().to_string();
        fs::write(folder.join(&file), content).map_err(|source| VaultError::Write {
            file: file.clone(),
            source,
        })?;
        Ok(format!("{}/{file}", self.prefix(&call.particle)))
    }

    /// Reads a file of the call's particle: by the path that services see, or relative to the
    /// vault. Neither `..` nor links lead out of it.
    ///
    /// # Errors
    /// A path that leads elsewhere, a file that is not there, is too large or cannot be read.
    pub fn read(&self, call: &FunctionCall, path: &str) -> Result<Vec<u8>, VaultError> {
        let file = self.real_path(call, path)?;
        let read = |source| VaultError::Read {
            path: path.to_owned(),
            source,
        };
        // A pipe that nobody writes to must not hold the thread.
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(file)
            .map_err(read)?;
        let meta = file.metadata().map_err(read)?;
        if !meta.is_file() || meta.len() > MAX_FILE {
            return Err(read(io::Error::other(format!(
                "not a file of at most {MAX_FILE} bytes"
            ))));
        }
        let mut bytes = Vec::with_capacity(meta.len() as usize);
        io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE), &mut bytes).map_err(read)?;
        Ok(bytes)
    }

    fn real_path(&self, call: &FunctionCall, path: &str) -> Result<PathBuf, VaultError> {
        let prefix = self.prefix(&call.particle);
        let foreign = || VaultError::Foreign {
            path: path.to_owned(),
            prefix: prefix.clone(),
        };
        let asked = Path::new(path);
        let relative = match asked.strip_prefix(&prefix) {
            Ok(relative) => relative,
            Err(_) if asked.is_absolute() => return Err(foreign()),
            Err(_) => asked,
        };
        let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !relative.components().all(plain) {
            return Err(foreign());
        }
        let missing = |_| VaultError::Missing {
            path: path.to_owned(),
        };
        let folder = self.folder(call).canonicalize().map_err(missing)?;
        let file = folder.join(relative).canonicalize().map_err(missing)?;
        if file.starts_with(&folder) {
            Ok(file)
        } else {
            Err(foreign())
        }
    }

    /// Where the vault of the call's particle is.
    fn folder(&self, call: &FunctionCall) -> PathBuf {
        let scope = self.root.join(call.peer_id.to_string());
        scope.join(self.name(&call.particle))
    }

    /// Where services see the vault of a particle.
    fn prefix(&self, particle: &ParticleContext) -> String {
        format!("{VIRTUAL_ROOT}/{}", self.name(particle))
    }

    /// Ids of admitted particles have no separators, and base58 has none either.
    fn name(&self, particle: &ParticleContext) -> String {
        let id: String = particle
            .id
            .chars()
            .map(|character| match character {
                '/' | '\\' | '\0' => '_',
                other => other,
            })
            .collect();
        format!("{id}-{}", self.tokens.of(&particle.signature))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Vault({})", self.root.display())
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE)
        .create(folder)
}

fn remove(folder: &Path) {
    // A call that is under way may write a file while the directory is emptied.
    let mut tries = 3;
    let removed = loop {
        tries -= 1;
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries > 0 => {}
            removed => break removed,
        }
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "a vault was not removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use particle::Signature;

    use super::*;
    use crate::host::tests::call;

    fn vault() -> (tempfile::TempDir, Vault) {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(KeyPair::from_seed(&[2; 32]));
        let vault = Vault::open(folder.path().join("vault"), key).unwrap();
        (folder, vault)
    }

    #[test]
    fn files_belong_to_particle_and_scope() {
        let (_folder, vault) = vault();
        let call = call("vault", "put", &[]);
        let path = vault.put(&call, 5_000, "text").unwrap();
        assert!(path.starts_with("/tmp/vault/particle-"), "{path}");
        assert_eq!(vault.read(&call, &path).unwrap(), b"text");
        let (_, name) = path.rsplit_once('/').unwrap();
        assert_eq!(vault.read(&call, name).unwrap(), b"text");
        let mut other = call.clone();
        other.particle = Arc::new(ParticleContext {
            signature: Signature::from_bytes([1; 64]),
            ..(*call.particle).clone()
        });
        vault.enter(&other, 5_000).unwrap();
        assert!(matches!(
            vault.read(&other, &path),
            Err(VaultError::Foreign { .. })
        ));
        assert!(matches!(
            vault.read(&other, name),
            Err(VaultError::Missing { .. })
        ));
        let mut elsewhere = call.clone();
        elsewhere.peer_id = KeyPair::from_seed(&[7; 32]).peer_id();
        assert!(vault.read(&elsewhere, &path).is_err());
    }

    #[test]
    fn a_removed_scope_gets_no_directory_again() {
        let (_folder, vault) = vault();
        let call = call("vault", "put", &[]);
        vault.put(&call, 5_000, "text").unwrap();
        vault.remove_scope(call.peer_id);
        assert!(matches!(
            vault.put(&call, 5_000, "text"),
            Err(VaultError::Create { .. })
        ));
        assert!(!vault.root.join(call.peer_id.to_string()).exists());
    }

    #[test]
    fn nothing_leads_out() {
        let (folder, vault) = vault();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        let call = call("vault", "cat", &[]);
        let inside = vault.enter(&call, 5_000).unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), inside.join("link")).unwrap();
        let prefix = vault.prefix(&call.particle);
        for path in [
            "../../../secret".to_owned(),
            format!("{prefix}/../../secret"),
            format!("{prefix}/link"),
            "link".to_owned(),
            "/etc/passwd".to_owned(),
            folder.path().join("secret").display().to_string(),
        ] {
            assert!(
                matches!(vault.read(&call, &path), Err(VaultError::Foreign { .. })),
                "{path}"
            );
        }
        for path in ["", ".", "missing"] {
            assert!(vault.read(&call, path).is_err(), "{path}");
        }
    }

    #[test]
    fn pipes_and_large_files_are_not_read() {
        let (_folder, vault) = vault();
        let call = call("vault", "cat", &[]);
        let inside = vault.enter(&call, 5_000).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(inside.join("pipe"))
            .status()
            .unwrap();
        assert!(made.success());
        assert!(matches!(
            vault.read(&call, "pipe"),
            Err(VaultError::Read { .. })
        ));
        let large = fs::File::create(inside.join("large")).unwrap();
        large.set_len(MAX_FILE + 1).unwrap();
        assert!(vault.read(&call, "large").is_err());
    }

    #[test]
    fn vaults_end_with_their_particles() {
        let (_folder, vault) = vault();
        let call = call("vault", "put", &[]);
        let path = vault.put(&call, 5_000, "text").unwrap();
        vault.collect(8_000);
        assert!(vault.read(&call, &path).is_ok());
        vault.collect(8_001);
        assert!(matches!(
            vault.read(&call, &path),
            Err(VaultError::Missing { .. })
        ));
        vault.put(&call, 5_000, "text").unwrap();
        let key = Arc::new(KeyPair::from_seed(&[2; 32]));
        let again = Vault::open(vault.root.clone(), key).unwrap();
        assert!(!again.root.join(call.peer_id.to_string()).exists());
    }
}

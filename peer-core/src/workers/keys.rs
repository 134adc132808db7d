//! The files of workers' keys: `ID_keypair.toml`, readable by nobody else.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use particle::{KeyPair, PeerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the name of a file ends with.
const SUFFIX: &str = "_keypair.toml";
/// The only kind of key that workers have.
const ED25519: &str = "ed25519";

/// Why the key of a worker cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// A file or folder that cannot be read or written.
    #[error("the key file {path:?} cannot be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that others may read.
    #[error("the key file {path:?} has mode {mode:03o}: others can read it, expected 600")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that holds something else than the key of its worker.
    #[error("the key file {path:?} is not that of its worker: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No randomness could be had.
    #[error("the system gives no random bytes: {reason}")]
    Random {
        /// What the system said.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    private_key_bytes: Vec<u8>,
    key_format: String,
}

/// A new key.
pub(super) fn generate() -> Result<KeyPair, KeyFileError> {
    let mut seed = [0; 32];
    rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut seed).map_err(|error| {
        KeyFileError::Random {
            reason: error.to_string(),
        }
    })?;
    Ok(KeyPair::from_seed(&seed))
}

/// The folder of the keys.
pub(super) struct KeyFolder(PathBuf);

impl KeyFolder {
    /// The folder, which is made.
    pub(super) fn open(path: impl Into<PathBuf>) -> Result<Self, KeyFileError> {
        let path = path.into();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let made = builder.create(&path);
        made.map_err(|source| file(&path, source))?;
        Ok(Self(path))
    }

    /// The key of a worker.
    pub(super) fn read(&self, id: PeerId) -> Result<KeyPair, KeyFileError> {
        let path = self.path(id);
        let text = fs::read_to_string(&path).map_err(|source| file(&path, source))?;
        check_mode(&path)?;
        let content = |reason: String| KeyFileError::Content {
            path: path.clone(),
            reason,
        };
        // The message of the reader would quote the secret.
        let read: KeyFile =
            toml::from_str(&text).map_err(|_| content("no secret in it".to_owned()))?;
        if read.key_format != ED25519 {
            let format = read.key_format;
            return Err(content(format!("format {format:?}, expected {ED25519:?}")));
        }
        let length = read.private_key_bytes.len();
        let seed = <[u8; 32]>::try_from(read.private_key_bytes)
            .map_err(|_| content(format!("{length} bytes, expected 32")))?;
        let key = KeyPair::from_seed(&seed);
        match key.peer_id() == id {
            true => Ok(key),
            false => Err(content(format!("it is that of {}", key.peer_id()))),
        }
    }

    /// Writes the key of a worker; it is on disk when this returns.
    pub(super) fn write(&self, key: &KeyPair) -> Result<(), KeyFileError> {
        let path = self.path(key.peer_id());
        let content = KeyFile {
            private_key_bytes: key.secret_bytes().to_vec(),
            key_format: ED25519.to_owned(),
        };
        let text = toml::to_string(&content).map_err(|error| KeyFileError::Content {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let written = (|| {
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::File::open(&self.0)?.sync_all()
        })();
        written.map_err(|source| file(&path, source))
    }

    /// Deletes the key of a worker, if there is one.
    pub(super) fn remove(&self, id: PeerId) {
        remove(&self.path(id));
    }

    /// Deletes the keys of all but these workers.
    pub(super) fn retain(&self, ids: &[String]) -> Result<(), KeyFileError> {
        let entries = fs::read_dir(&self.0).map_err(|source| file(&self.0, source))?;
        for entry in entries {
            let path = entry.map_err(|source| file(&self.0, source))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let id = name.and_then(|name| name.strip_suffix(SUFFIX));
            if id.is_some_and(|id| !ids.iter().any(|known| known == id)) {
                tracing::warn!(path = %path.display(), "a key without a worker is deleted");
                remove(&path);
            }
        }
        Ok(())
    }

    fn path(&self, id: PeerId) -> PathBuf {
        self.0.join(format!("{id}{SUFFIX}"))
    }
}

fn file(path: &std::path::Path, source: io::Error) -> KeyFileError {
    KeyFileError::File {
        path: path.to_owned(),
        source,
    }
}

fn remove(path: &std::path::Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(path = %path.display(), %error, "a key was not deleted");
        }
        _ => {}
    }
}

#[cfg(unix)]
fn check_mode(path: &std::path::Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(path).map_err(|source| file(path, source))?;
    let mode = metadata.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode,
        }),
    }
}

#[cfg(not(unix))]
fn check_mode(_path: &std::path::Path) -> Result<(), KeyFileError> {
    Ok(())
}

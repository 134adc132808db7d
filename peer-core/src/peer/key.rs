//! Keys from configuration and files.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64_NOPAD};
use particle::{KeyError, KeyPair};
use thiserror::Error;

use crate::config::{KeyFormat, KeyPairConfig};

/// The file below the data directory that holds the key when the configuration names no other.
const DEFAULT_FILE: &str = "secret_key.ed25519";
/// The same for the key of the second administrator.
const BUILTINS_FILE: &str = "builtins_secret_key.ed25519";

/// Why there is no key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("the key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is missing and is not to be generated.
    #[error("the key file {path} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner can read the file.
    #[error("the key file {path} has mode {mode:03o}: others can read it, expected 600")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The text is neither base64 nor base58.
    #[error("the secret key is neither base64 nor base58")]
    Encoding,
    /// The decoded secret has another length.
    #[error("secret key length must be 32 (or 64 for keypair), was {length}")]
    Length {
        /// The length in bytes.
        length: usize,
    },
    /// The secret is no key of its kind.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No randomness could be had.
    #[error("the system gives no random bytes: {reason}")]
    Random {
        /// What the system said.
        reason: String,
    },
}

/// The key that a configuration describes: the given value, else the file, else the default file
/// of the data directory, else a new one that is kept nowhere. A missing file is written with a
/// new key when the configuration allows that.
///
/// # Errors
/// The file is missing, cannot be read, is readable by others, or holds no key.
pub fn load_key(config: &KeyPairConfig, data_dir: Option<&Path>) -> Result<KeyPair, KeyFileError> {
    load(config, data_dir, DEFAULT_FILE)
}

/// The builtins-management key that a configuration describes, as [`load_key`] does: whoever has it
/// may administrate the peer (§2.10 of the peer description).
///
/// # Errors
/// As [`load_key`].
pub fn load_builtins_key(
    config: &KeyPairConfig,
    data_dir: Option<&Path>,
) -> Result<KeyPair, KeyFileError> {
    load(config, data_dir, BUILTINS_FILE)
}

fn load(
    config: &KeyPairConfig,
    data_dir: Option<&Path>,
    file: &str,
) -> Result<KeyPair, KeyFileError> {
    if let Some(text) = &config.value {
        return key(config.format, &decode(text)?);
    }
    let path = config
        .path
        .clone()
        .or_else(|| data_dir.map(|dir| dir.join(file)));
    let Some(path) = path else {
        return key(config.format, &random_secret()?);
    };
    let failed = |source| KeyFileError::Io {
        path: path.clone(),
        source,
    };
    match fs::read_to_string(&path) {
        Ok(text) => {
            check_mode(&path)?;
            key(config.format, &decode(&text)?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !config.generate_on_absence {
                return Err(KeyFileError::Missing { path });
            }
            let secret = random_secret()?;
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory).map_err(failed)?;
            }
            write_private(&path, &BASE64.encode(&secret)).map_err(failed)?;
            key(config.format, &secret)
        }
        Err(error) => Err(failed(error)),
    }
}

fn key(format: KeyFormat, secret: &[u8]) -> Result<KeyPair, KeyFileError> {
    let length = secret.len();
    // 64 bytes are a secret followed by its public key; fewer than 32 are its last ones.
    let secret = match length {
        64 => secret.get(..32).unwrap_or_default(),
        1..=32 => secret,
        _ => return Err(KeyFileError::Length { length }),
    };
    let mut bytes = [0; 32];
    if let Some(target) = bytes.get_mut(32 - secret.len()..) {
        target.copy_from_slice(secret);
    }
    match format {
        KeyFormat::Secp256k1 => Ok(KeyPair::secp256k1_from_scalar(&bytes)?),
        _ if secret.len() != 32 => Err(KeyFileError::Length { length }),
        _ => Ok(KeyPair::from_seed(&bytes)),
    }
}

fn decode(text: &str) -> Result<Vec<u8>, KeyFileError> {
    let text = text.trim();
    BASE64
        .decode(text.as_bytes())
        .or_else(|_| BASE64_NOPAD.decode(text.as_bytes()))
        .ok()
        .or_else(|| bs58::decode(text).into_vec().ok())
        .ok_or(KeyFileError::Encoding)
}

fn random_secret() -> Result<[u8; 32], KeyFileError> {
    let mut secret = [0; 32];
    let mut random = rand::rngs::OsRng;
    rand::TryRngCore::try_fill_bytes(&mut random, &mut secret).map_err(|error| {
        KeyFileError::Random {
            reason: error.to_string(),
        }
    })?;
    Ok(secret)
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(path).map_err(|source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let config = KeyPairConfig::default();
        let first = load_key(&config, Some(directory.path())).unwrap();
        let second = load_key(&config, Some(directory.path())).unwrap();
        assert_eq!(first.peer_id(), second.peer_id());
        let strict = KeyPairConfig {
            generate_on_absence: false,
            ..KeyPairConfig::default()
        };
        let missing = directory.path().join("nowhere");
        assert!(matches!(
            load_key(&strict, Some(&missing)),
            Err(KeyFileError::Missing { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let config = KeyPairConfig::default();
        load_key(&config, Some(directory.path())).unwrap();
        let file = directory.path().join(DEFAULT_FILE);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_key(&config, Some(directory.path())).unwrap_err();
        assert!(error.to_string().contains("644"), "{error}");
    }

    #[test]
    fn texts_of_keys() {
        let expected = KeyPair::from_seed(&[1; 32]).peer_id();
        let of = |text: String| {
            let config = KeyPairConfig {
                value: Some(text),
                ..KeyPairConfig::default()
            };
            load_key(&config, None).map(|key| key.peer_id())
        };
        assert_eq!(of(BASE64.encode(&[1; 32])).unwrap(), expected);
        assert_eq!(of(bs58::encode([1; 32]).into_string()).unwrap(), expected);
        assert_eq!(of(BASE64.encode(&[1; 64])).unwrap(), expected);
        assert!(matches!(
            of(BASE64.encode(&[1; 40])),
            Err(KeyFileError::Length { length: 40 })
        ));
        assert!(matches!(of("~".to_owned()), Err(KeyFileError::Encoding)));
    }
}

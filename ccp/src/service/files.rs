//! Files that survive a crash: written beside, moved into place, sealed with a checksum.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use sha3::Digest as _;

/// Version of what is sealed.
const VERSION: u32 = 1;
/// The most bytes that a sealed file has.
const MAX_FILE: u64 = 16 << 20;
/// Ends the names of files that are being written.
const TEMPORARY: &str = ".tmp";
/// Ends the names of proofs that are none any more, where their number must not be given again.
pub(super) const GONE: &str = ".gone";
/// Ends the names of files that are damaged.
pub(super) const BAD: &str = ".bad";

/// Why the folder of a daemon's state cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The system refused.
    #[error("{}: cannot {what}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error("{} is in use by another daemon: stop that one, or set another `state.path`", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A newer daemon wrote it.
    #[error(
        "{} was written by a newer daemon: it has version {version}, this one reads up to {VERSION}; \
         it was left as it is",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// It is not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

pub(super) fn io_error<'a>(
    path: &'a Path,
    what: &'static str,
) -> impl FnOnce(io::Error) -> StateError + 'a {
    move |source| StateError::Io {
        path: path.to_owned(),
        what,
        source,
    }
}

/// The folder of a daemon's state, for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder, which is made where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        fs::create_dir_all(path).map_err(io_error(path, "make this folder"))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(io_error(&lock_path, "write"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(io_error(&lock_path, "lock")(source));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A file that is what it was when it was written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<'a> {
    version: u32,
    checksum: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

fn checksum(version: u32, content: &str) -> String {
    let mut hasher = sha3::Keccak256::new();
    hasher.update(version.to_le_bytes());
    hasher.update(content);
    hex::encode(hasher.finalize())
}

/// Writes a sealed file. Once this returns neither a crash nor a cut of power undoes it; before
/// that the file is as it was.
pub(super) fn write(path: &Path, content: &impl Serialize) -> Result<(), StateError> {
    let content = serde_json::to_string(content)
        .map_err(|error| io_error(path, "describe in JSON")(error.into()))?;
    let checksum = checksum(VERSION, &content);
    let text =
        format!("{{\"version\":{VERSION},\"checksum\":\"{checksum}\",\"content\":{content}}}\n");
    replace(path, text.as_bytes())
}

/// Replaces a file at once.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(TEMPORARY);
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let moved = written
        .map_err(io_error(&temporary, "write"))
        .and_then(|()| fs::rename(&temporary, path).map_err(io_error(path, "replace")));
    if moved.is_err() {
        // A half of it would only take space.
        let _ = fs::remove_file(&temporary);
    }
    moved?;
    sync_folder(path)
}

/// Makes changes of the folder of a file durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), StateError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(folder, "make durable"))
}

/// The text of a file; nothing where there is none.
pub(super) fn text(path: &Path) -> Result<Option<String>, StateError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path, "read")(error)),
        Ok(metadata) if metadata.len() > MAX_FILE => {
            return Err(damaged(path, format!("it has {} bytes", metadata.len())));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(io_error(path, "read"))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(damaged(path, error.to_string())),
    }
}

/// What a sealed text has; `unsealed` may take a text without a seal, as other provers write it.
pub(super) fn unseal<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    unsealed: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StateError> {
    let sealed: Sealed<'_> = match serde_json::from_str(text) {
        Ok(sealed) => sealed,
        Err(error) => return unsealed(text).ok_or_else(|| damaged(path, error.to_string())),
    };
    if sealed.checksum != checksum(sealed.version, sealed.content.get()) {
        return Err(damaged(path, "its checksum is wrong"));
    }
    if sealed.version > VERSION {
        return Err(StateError::Newer {
            path: path.to_owned(),
            version: sealed.version,
        });
    }
    serde_json::from_str(sealed.content.get()).map_err(|error| damaged(path, error.to_string()))
}

pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> StateError {
    StateError::Damaged {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Puts a damaged file aside, where a person can look at it.
pub(super) fn put_aside(path: &Path) -> Result<PathBuf, StateError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let free = (0..100_u32)
        .map(|number| match number {
            0 => format!("{name}{BAD}"),
            _ => format!("{name}-{number}{BAD}"),
        })
        .map(|name| path.with_file_name(name))
        .find(|path| !path.exists());
    let aside = free.unwrap_or_else(|| path.with_file_name(format!("{name}{BAD}")));
    fs::rename(path, &aside).map_err(io_error(path, "put aside"))?;
    sync_folder(path)?;
    Ok(aside)
}

/// Names in a folder, without what an interrupted write left, which is removed.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, StateError> {
    let entries = fs::read_dir(folder).map_err(io_error(folder, "list"))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error(folder, "list"))?;
        let Ok(name) = entry.file_name().into_string() else {
            tracing::warn!("{} is ignored: its name is no text", entry.path().display());
            continue;
        };
        if name.ends_with(TEMPORARY) {
            fs::remove_file(entry.path()).map_err(io_error(&entry.path(), "remove"))?;
        } else {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path, text: &str) -> Result<Vec<u32>, StateError> {
        unseal(path, text, |text| serde_json::from_str(text).ok())
    }

    #[test]
    fn every_change_of_a_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, &vec![1, 22, 333]).unwrap();
        let good = text(&path).unwrap().unwrap();
        assert_eq!(read(&path, &good).unwrap(), [1, 22, 333]);
        for at in 0..good.len() - 1 {
            for bit in 0..7 {
                let mut bytes = good.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else {
                    continue;
                };
                let error = read(&path, &text).unwrap_err();
                assert!(
                    matches!(error, StateError::Damaged { .. }),
                    "{text}: {error}"
                );
            }
            let error = read(&path, &good[..at]).unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{at}: {error}");
        }
    }

    #[test]
    fn newer_versions_are_left_alone() {
        let content = "{\"new\":true}";
        let checksum = checksum(7, content);
        let text = format!("{{\"version\":7,\"checksum\":\"{checksum}\",\"content\":{content}}}");
        let error = read(Path::new("state.json"), &text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "state.json was written by a newer daemon: it has version 7, this one reads up to 1; it was \
             left as it is"
        );
    }

    #[test]
    fn a_folder_has_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = Folder::open(&path).unwrap();
        let error = Folder::open(&path).unwrap_err();
        assert!(matches!(error, StateError::InUse { .. }), "{error}");
        drop(first);
        Folder::open(&path).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Folder::open(&file).unwrap_err();
        assert!(
            error.to_string().contains("cannot make this folder"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, &1).unwrap();
        // A folder in the way of the temporary file.
        fs::create_dir(folder.path().join("file.tmp")).unwrap();
        assert!(write(&path, &2).is_err());
        let kept = text(&path).unwrap().unwrap();
        assert_eq!(unseal::<u32>(&path, &kept, |_| None).unwrap(), 1);
    }

    #[test]
    fn damaged_files_are_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for name in ["file.bad", "file-1.bad"] {
            fs::write(&path, name).unwrap();
            assert_eq!(put_aside(&path).unwrap(), folder.path().join(name));
        }
        fs::write(folder.path().join("x.tmp"), "").unwrap();
        assert_eq!(names(folder.path()).unwrap(), ["file-1.bad", "file.bad"]);
    }
}

//! Machine code on disk: found again by the hash of its module and everything that shaped it, checked
//! before it is used, and forgotten when there is too much of it.
//!
//! Beside each file of code, `NAME.bin`, lies `NAME.b3` with its hash. The time of that file is when
//! the code was used last.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Age of a temporary file that nobody will complete any more.
const ABANDONED: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct CodeCache {
    folder: PathBuf,
    max_size: u64,
}

impl CodeCache {
    pub(super) fn new(folder: PathBuf, max_size: u64) -> Self {
        Self { folder, max_size }
    }

    /// Where code of this name is, if it is there and as it was written. It counts as used.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let file = self.folder.join(format!("{name}.bin"));
        let checksum = file.with_extension("b3");
        let expected = fs::read_to_string(&checksum).ok()?;
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut File::open(&file).ok()?, &mut hasher).ok()?;
        if hasher.finalize().to_hex().as_str() != expected.trim() {
            tracing::warn!(file = %file.display(), "a compiled module was damaged");
            return None;
        }
        let used = File::options().write(true).open(&checksum);
        if let Err(error) = used.and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(file = %checksum.display(), %error, "time of use not kept");
        }
        Some(file)
    }

    /// Keeps code, each of its files at once or not at all, and forgets what was not used for longest
    /// where the folder grows too large.
    pub(super) fn store(&self, name: &str, code: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let file = self.folder.join(format!("{name}.bin"));
        write_at_once(&file, code)?;
        let hash = blake3::hash(code).to_hex();
        write_at_once(&file.with_extension("b3"), hash.as_bytes())?;
        self.forget(&file)
    }

    fn forget(&self, newest: &Path) -> io::Result<()> {
        let mut kept = Vec::new();
        let mut size = 0;
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // Another process may have removed it in the meantime.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("bin") => {
                    size += metadata.len();
                    let used = fs::metadata(path.with_extension("b3"))
                        .and_then(|checksum| checksum.modified())
                        .unwrap_or(SystemTime::UNIX_EPOCH);
                    kept.push((used, metadata.len(), path));
                }
                Some("tmp") => {
                    let age = metadata
                        .modified()
                        .ok()
                        .and_then(|time| time.elapsed().ok());
                    if age.is_some_and(|age| age > ABANDONED) {
                        remove(&path);
                    }
                }
                _ => {}
            }
        }
        kept.sort();
        for (_, length, path) in kept {
            if size <= self.max_size {
                break;
            }
            if path != newest {
                remove(&path);
                remove(&path.with_extension("b3"));
                size -= length;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "a compiled module can't be forgotten");
    }
}

fn write_at_once(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = file.with_extension(format!(
        "{}.{:x}.tmp",
        std::process::id(),
        rand::random::<u64>()
    ));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, file).inspect_err(|_| remove(&temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::new(folder.path().join("code"), 250);
        let code = |byte: u8| vec![byte; 100];
        cache.store("a", &code(1)).unwrap();
        cache.store("b", &code(2)).unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        for name in ["a", "b"] {
            let checksum = File::options()
                .write(true)
                .open(folder.path().join(format!("code/{name}.b3")));
            checksum.unwrap().set_modified(old).unwrap();
        }
        assert!(cache.find("a").is_some());
        cache.store("c", &code(3)).unwrap();
        assert!(cache.find("a").is_some(), "it was used");
        assert!(cache.find("b").is_none());
        assert!(cache.find("c").is_some());
        // What was stored last stays, however large it is.
        cache.store("d", &[4; 1000]).unwrap();
        assert!(cache.find("d").is_some());
        assert!(cache.find("a").is_none() && cache.find("c").is_none());
        assert_eq!(fs::read_dir(folder.path().join("code")).unwrap().count(), 2);
    }

    #[test]
    fn damaged_code_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::new(folder.path().to_owned(), u64::MAX);
        cache.store("a", b"machine code").unwrap();
        for damaged in [&b"machine cod3"[..], b"machine", b""] {
            fs::write(folder.path().join("a.bin"), damaged).unwrap();
            assert!(cache.find("a").is_none());
        }
        cache.store("a", b"machine code").unwrap();
        assert!(cache.find("a").is_some());
        fs::remove_file(folder.path().join("a.b3")).unwrap();
        assert!(cache.find("a").is_none());
    }

    #[test]
    fn files_that_were_never_completed_go_away() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::new(folder.path().to_owned(), u64::MAX);
        for (name, age) in [("old.1.tmp", 2 * ABANDONED), ("new.1.tmp", Duration::ZERO)] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        cache.store("a", b"machine code").unwrap();
        assert!(!folder.path().join("old.1.tmp").exists());
        assert!(folder.path().join("new.1.tmp").exists());
    }
}

//! The files of a spell: its script, and a journal of everything else.
//!
//! A change counts when it is on disk; only then it is seen. A journal that has grown far beyond what
//! it describes is replaced by a shorter one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    error::SpellError,
    journal::{self, MAGIC},
    state::{Change, State},
};

const SCRIPT: &str = "script.air";
const JOURNAL: &str = "spell.journal";
/// Where a file is written before it takes its name.
const NEW: &str = "new";

/// A journal below this length, in bytes, is never replaced.
const MIN_COMPACTED: u64 = 64 << 10;
/// A journal is replaced when it is so many times as long as after the last time.
const GROWTH: u64 = 2;
/// Bytes of a script.
pub const MAX_SCRIPT: usize = 4 << 20;

pub struct Store {
    folder: PathBuf,
    state: State,
    journal: File,
    /// Bytes of the journal.
    length: u64,
    /// The length at which it is replaced.
    limit: u64,
    /// Nobody knows what is on disk, or which file is open.
    is_stale: bool,
}

impl Store {
    /// Reads what was kept in a folder, and nothing where there are no files.
    ///
    /// # Errors
    /// A journal that cannot be read, or is damaged.
    pub fn open(folder: &Path) -> Result<Self, SpellError> {
        let path = folder.join(JOURNAL);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                replace(folder, JOURNAL, |file| file.write_all(MAGIC))
                    .and_then(|()| File::open(&path))
            }
            opened => opened,
        };
        let file = file.map_err(SpellError::Journal)?;
        let size = file.metadata().map_err(SpellError::Journal)?.len();
        let (state, length) = journal::replay(BufReader::new(file), size)?;
        let journal = open_at(&path, length).map_err(SpellError::Journal)?;
        Ok(Self {
            folder: folder.to_owned(),
            state,
            journal,
            length,
            // Nobody knows how much of it counts: a long one is replaced with the next change.
            limit: length.max(MIN_COMPACTED),
            is_stale: false,
        })
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Makes changes, all of them or, if the machine stops, the first ones.
    ///
    /// # Errors
    /// There is no room for them, or they cannot be written.
    pub fn make(&mut self, changes: Vec<Change>) -> Result<(), SpellError> {
        self.state.check(&changes)?;
        let mut records = Vec::new();
        for change in &changes {
            records.extend(journal::record(change)?);
        }
        if records.is_empty() {
            return Ok(());
        }
        let written = self.journal.write_all(&records);
        if let Err(error) = written.and_then(|()| self.journal.sync_data()) {
            // What failed should not come back; if it does, then as a change that was made.
            let _ = self.journal.set_len(self.length);
            self.is_stale = true;
            return Err(SpellError::Journal(error));
        }
        self.length += records.len() as u64;
        for change in changes {
            self.state.apply(change);
        }
        if self.length > self.limit && self.compact().is_err() {
            // The changes are on disk all the same, in the old file or the new one.
            self.is_stale = true;
        }
        Ok(())
    }

    /// Whether the store is to be opened again before it is used.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// The script.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn script(folder: &Path) -> io::Result<String> {
        fs::read_to_string(folder.join(SCRIPT))
    }

    /// Sets the script.
    ///
    /// # Errors
    /// It is too long, or cannot be written.
    pub fn set_script(folder: &Path, script: &str) -> Result<(), SpellError> {
        if script.len() > MAX_SCRIPT {
            return Err(SpellError::LongScript);
        }
        replace(folder, SCRIPT, |file| file.write_all(script.as_bytes()))
            .map_err(SpellError::Script)
    }

    /// Writes a journal of the state alone.
    fn compact(&mut self) -> Result<(), SpellError> {
        let mut length = MAGIC.len() as u64;
        let written = replace(&self.folder, JOURNAL, |file| {
            file.write_all(MAGIC)?;
            for change in self.state.changes() {
                let record = journal::record(&change).map_err(io::Error::other)?;
                length += record.len() as u64;
                file.write_all(&record)?;
            }
            Ok(())
        });
        written.map_err(SpellError::Journal)?;
        let journal = open_at(&self.folder.join(JOURNAL), length).map_err(SpellError::Journal)?;
        self.journal = journal;
        self.length = length;
        self.limit = limit_of(length);
        Ok(())
    }
}

fn limit_of(length: u64) -> u64 {
    length.saturating_mul(GROWTH).max(MIN_COMPACTED)
}

/// Opens a file for appending after so many bytes; what follows them goes.
fn open_at(path: &Path, length: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.len() != length {
        file.set_len(length)?;
    }
    file.seek(SeekFrom::Start(length))?;
    Ok(file)
}

/// Gives a file other contents, so that whoever reads it finds the old or the new ones.
fn replace(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let new = folder.join(name).with_extension(NEW);
    let mut file = BufWriter::new(File::create(&new)?);
    write(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, folder.join(name))?;
    // Not every host lets modules do that; most file systems need it not.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("spell-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn journal(&self) -> Vec<u8> {
            fs::read(self.0.join(JOURNAL)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn set(key: &str, value: &str) -> Change {
        Change::SetText {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn what_is_made_is_there_again() {
        let folder = Folder::new("again");
        let mut store = Store::open(&folder.0).unwrap();
        store.make(vec![set("a", "1"), set("b", "2")]).unwrap();
        let before = store.state().clone();
        drop(store);
        let mut store = Store::open(&folder.0).unwrap();
        assert_eq!(*store.state(), before);
        // A record that was not written to its end does not count, and is written over.
        let whole = folder.journal();
        store.make(vec![set("a", "3")]).unwrap();
        drop(store);
        let torn = folder.journal();
        fs::write(folder.0.join(JOURNAL), &torn[..torn.len() - 1]).unwrap();
        let store = Store::open(&folder.0).unwrap();
        assert_eq!(*store.state(), before);
        assert_eq!(folder.journal(), whole);
    }

    #[test]
    fn a_journal_does_not_grow_without_end() {
        let folder = Folder::new("growth");
        let mut store = Store::open(&folder.0).unwrap();
        let mut longest = 0;
        for number in 0..3_000 {
            let value = format!("{number:0100}");
            store.make(vec![set("k", &value)]).unwrap();
            longest = longest.max(folder.journal().len() as u64);
        }
        let before = store.state().clone();
        drop(store);
        assert!(longest < MIN_COMPACTED + 1_000, "{longest}");
        assert_eq!(*Store::open(&folder.0).unwrap().state(), before);
        // Nor does it when the service starts again and again.
        let value = "x".repeat(40 << 10);
        for _ in 0..20 {
            let mut store = Store::open(&folder.0).unwrap();
            store.make(vec![set("k", &value)]).unwrap();
            longest = longest.max(folder.journal().len() as u64);
        }
        assert!(longest < 3 * MIN_COMPACTED, "{longest}");
    }

    #[test]
    fn scripts_are_replaced() {
        let folder = Folder::new("script");
        assert!(Store::script(&folder.0).is_err());
        for script in ["(null)", ""] {
            Store::set_script(&folder.0, script).unwrap();
            assert_eq!(Store::script(&folder.0).unwrap(), script);
        }
        let error = Store::set_script(&folder.0, &"x".repeat(MAX_SCRIPT + 1));
        assert_eq!(
            error.unwrap_err().to_string(),
            "a script has no more than 4194304 bytes"
        );
        assert_eq!(Store::script(&folder.0).unwrap(), "");
    }

    #[test]
    fn damage_is_told() {
        let folder = Folder::new("damage");
        fs::write(folder.0.join(JOURNAL), b"something else").unwrap();
        let error = Store::open(&folder.0).err().unwrap().to_string();
        assert!(
            error.starts_with("the data of the spell are corrupt at byte 0: "),
            "{error}"
        );
    }
}

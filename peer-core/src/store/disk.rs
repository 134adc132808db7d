//! A store in one file.

use std::{fmt, path::Path};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Change, Durability, Entry, Store, StoreError, Table};

/// The version of what is written.
const VERSION: u32 = 1;
/// Facts about the store itself.
const FACTS: TableDefinition<'static, &'static str, u32> = TableDefinition::new("store");
/// Where the version stands.
const VERSION_KEY: &str = "version";

/// A store in one file, with one writer at a time. A crash loses no durable change and leaves no
/// half of one.
pub struct DiskStore {
    database: Database,
}

impl DiskStore {
    /// Opens the file, or makes it. Only one process may have it open.
    ///
    /// # Errors
    /// A file that is something else, is in use, or cannot be made.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let open = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        let database = Database::create(path).map_err(|error| open(error.into()))?;
        let store = Self { database };
        match store.prepare().map_err(|error| open(error.into()))? {
            found if found > VERSION => Err(StoreError::TooNew {
                path: path.to_owned(),
                found,
                known: VERSION,
            }),
            _ => Ok(store),
        }
    }

    /// Makes every table, so that readers find them, and brings what an earlier version wrote up to
    /// this one. The result is the version that was found; a newer store is left as it is.
    fn prepare(&self) -> Result<u32, redb::Error> {
        let transaction = self.database.begin_write()?;
        let found = {
            let facts = transaction.open_table(FACTS)?;
            let found = facts.get(VERSION_KEY)?;
            found.map(|version| version.value())
        };
        if let Some(newer) = found.filter(|found| *found > VERSION) {
            return Ok(newer);
        }
        for table in Table::ALL {
            transaction.open_table(definition(table))?;
        }
        // Version 0 had no mark and the same tables.
        transaction
            .open_table(FACTS)?
            .insert(VERSION_KEY, VERSION)?;
        transaction.commit()?;
        Ok(found.unwrap_or_default())
    }

    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(definition(table))?;
        Ok(table.get(key)?.map(|value| value.value().to_owned()))
    }

    fn read_all(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(definition(table))?;
        let mut entries = Vec::new();
        for entry in table.range(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            entries.push((key.value().to_owned(), value.value().to_owned()));
        }
        Ok(entries)
    }

    fn write(&self, changes: &[Change], durability: Durability) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(match durability {
            Durability::Disk => redb::Durability::Immediate,
            Durability::Later => redb::Durability::None,
        })?;
        for change in changes {
            let mut table = transaction.open_table(definition(change.table))?;
            match &change.value {
                Some(value) => table.insert(change.key.as_slice(), value.as_slice())?,
                None => table.remove(change.key.as_slice())?,
            };
        }
        transaction.commit()?;
        Ok(())
    }
}

/// What tests do with files that nobody has open.
#[cfg(test)]
impl DiskStore {
    /// The version that a file says it has.
    pub(crate) fn version_of(path: &Path) -> Option<u32> {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_read().unwrap();
        let facts = transaction.open_table(FACTS).ok()?;
        let version = facts.get(VERSION_KEY).unwrap();
        version.map(|version| version.value())
    }

    /// Makes a file what it was before stores had versions.
    pub(crate) fn forget_version(path: &Path) {
        let mut database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.delete_table(FACTS).unwrap();
        transaction.commit().unwrap();
        database.compact().unwrap();
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DiskStore")
    }
}

impl Store for DiskStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(table, key)
            .map_err(|error| read_error(table, error))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.read_all(table, prefix)
            .map_err(|error| read_error(table, error))
    }

    fn apply(&self, changes: &[Change], durability: Durability) -> Result<(), StoreError> {
        self.write(changes, durability)
            .map_err(|error| StoreError::Write {
                source: error.into(),
            })
    }
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

fn read_error(table: Table, error: redb::Error) -> StoreError {
    StoreError::Read {
        table: table.name(),
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_without_a_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        // As it was before stores had one.
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(definition(Table::Aliases))
            .unwrap()
            .insert(&b"scope/alias"[..], &b"id"[..])
            .unwrap();
        transaction.commit().unwrap();
        drop(database);

        let store = DiskStore::open(&path).unwrap();
        let alias = store.get(Table::Aliases, b"scope/alias").unwrap();
        assert_eq!(alias.as_deref(), Some(&b"id"[..]));
        assert!(store.scan(Table::Spells, b"").unwrap().is_empty());
        drop(store);
        assert_eq!(DiskStore::version_of(&path), Some(VERSION));
    }

    #[test]
    fn a_newer_store_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let newer = VERSION + 1;
        transaction
            .open_table(FACTS)
            .unwrap()
            .insert(VERSION_KEY, newer)
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = DiskStore::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("version 2") && error.contains("store.redb"),
            "{error}"
        );
        assert_eq!(DiskStore::version_of(&path), Some(newer));
    }
}

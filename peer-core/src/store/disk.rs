//! A store in one file.

use std::{fmt, path::Path};

use redb::{Database, ReadableDatabase as _, TableDefinition};

use super::{Change, Durability, Entry, Store, StoreError, Table};

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
        store.make_tables().map_err(|error| open(error.into()))?;
        Ok(store)
    }

    /// Makes every table, so that readers find them.
    fn make_tables(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for table in Table::ALL {
            transaction.open_table(definition(table))?;
        }
        transaction.commit()?;
        Ok(())
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

//! What a peer remembers over restarts: tables of keys and values, changed in transactions.
//!
//! ```
//! use peer_core::store::{Change, Durability, MemoryStore, Store, Table};
//!
//! let store = MemoryStore::default();
//! store.apply(&[Change::put(Table::Peer, "name", "alice")], Durability::Disk).unwrap();
//! assert_eq!(store.get(Table::Peer, b"name").unwrap().as_deref(), Some(&b"alice"[..]));
//! ```

mod disk;
mod memory;

pub use self::{disk::DiskStore, memory::MemoryStore};

use std::path::PathBuf;

use thiserror::Error;

/// A transactional store. Calls block for as long as the disk does.
pub trait Store: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// All entries whose key begins with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError>;

    /// Makes all changes or none. With [`Durability::Disk`] they are on disk when this returns.
    ///
    /// # Errors
    /// A store that cannot be written; then nothing has changed.
    fn apply(&self, changes: &[Change], durability: Durability) -> Result<(), StoreError>;
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The tables of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Table {
    /// Facts about the peer itself, such as the version of the store.
    Peer,
    /// Data of particles that have not expired.
    Particles,
    /// Modules, blueprints and services.
    Services,
    /// Aliases of services.
    Aliases,
    /// Keys, owners and deals of workers.
    Workers,
    /// Spells and their triggers.
    Spells,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 6] = [
        Self::Peer,
        Self::Particles,
        Self::Services,
        Self::Aliases,
        Self::Workers,
        Self::Spells,
    ];

    /// The name of the table on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Particles => "particles",
            Self::Services => "services",
            Self::Aliases => "aliases",
            Self::Workers => "workers",
            Self::Spells => "spells",
        }
    }
}

/// When changes reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the call returns.
    Disk,
    /// With the next durable change, or when the store is closed.
    Later,
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: Vec<u8>,
    /// The new value; nothing deletes the key.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// Writes a value.
    #[must_use]
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            table,
            key: key.into(),
            value: Some(value.into()),
        }
    }

    /// Deletes a value.
    #[must_use]
    pub fn delete(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self {
            table,
            key: key.into(),
            value: None,
        }
    }
}

/// Why a store did not do what it should.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("the store {path} cannot be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A later version of this program wrote the file.
    #[error("the store {path} has version {found}, this program knows up to version {known}")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// Reading failed.
    #[error("table {table} of the store cannot be read: {source}")]
    Read {
        /// The table.
        table: &'static str,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Writing failed.
    #[error("the store cannot be written: {source}")]
    Write {
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(store: &dyn Store, table: Table, prefix: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let entries = store.scan(table, prefix).unwrap();
        entries
            .into_iter()
            .map(|(key, value)| (text(key), text(value)))
            .collect()
    }

    fn behaves(store: &dyn Store) {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(store.get(Table::Peer, b"a").unwrap(), None);
        store
            .apply(
                &[
                    Change::put(Table::Services, "s/2", "two"),
                    Change::put(Table::Services, "s/1", "one"),
                    Change::put(Table::Services, "t/1", "other"),
                    Change::put(Table::Aliases, "s/1", "alias"),
                ],
                Durability::Disk,
            )
            .unwrap();
        assert_eq!(
            entries(store, Table::Services, b"s/"),
            [pair("s/1", "one"), pair("s/2", "two")]
        );
        assert_eq!(entries(store, Table::Services, b"").len(), 3);
        store
            .apply(
                &[
                    Change::delete(Table::Services, "s/2"),
                    Change::delete(Table::Services, "missing"),
                    Change::put(Table::Services, "s/1", "new"),
                ],
                Durability::Later,
            )
            .unwrap();
        assert_eq!(entries(store, Table::Services, b"s/"), [pair("s/1", "new")]);
        assert_eq!(
            store.get(Table::Aliases, b"s/1").unwrap().as_deref(),
            Some(&b"alias"[..])
        );
    }

    #[test]
    fn memory_behaves() {
        behaves(&MemoryStore::default());
    }

    #[test]
    fn disk_behaves_and_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let store = DiskStore::open(&path).unwrap();
        behaves(&store);
        // A second process must not write beside the first.
        assert!(DiskStore::open(&path).is_err());
        drop(store);
        let store = DiskStore::open(&path).unwrap();
        assert_eq!(entries(&store, Table::Services, b"").len(), 2);
    }

    #[test]
    fn what_is_no_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        std::fs::write(&path, "something else").unwrap();
        let error = DiskStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("store.redb"), "{error}");
        assert!(DiskStore::open(folder.path().join("missing/store.redb")).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn disk_agrees_with_memory(
            rounds in prop::collection::vec(
                prop::collection::vec((0..3_u8, 0..6_u8, prop::option::of(0..4_u8)), 0..6),
                0..6,
            ),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let disk = DiskStore::open(folder.path().join("store.redb")).unwrap();
            let memory = MemoryStore::default();
            for round in rounds {
                let changes: Vec<Change> = round
                    .into_iter()
                    .map(|(table, key, value)| Change {
                        table: Table::ALL[usize::from(table)],
                        key: vec![key / 3, key],
                        value: value.map(|value| vec![value]),
                    })
                    .collect();
                disk.apply(&changes, Durability::Later).unwrap();
                memory.apply(&changes, Durability::Later).unwrap();
                for table in Table::ALL {
                    for prefix in [&[][..], &[0], &[1]] {
                        prop_assert_eq!(
                            disk.scan(table, prefix).unwrap(),
                            memory.scan(table, prefix).unwrap()
                        );
                    }
                }
            }
        }
    }
}

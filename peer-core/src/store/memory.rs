//! A store that forgets with the process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Change, Durability, Entry, Store, StoreError, Table};

type Entries = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A store in memory, for tests, clients and the simulator.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<Entries>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing is half done when a thread dies with the lock.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().get(&(table, key.to_owned())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let entries = self.lock();
        let matching = entries
            .range((table, prefix.to_owned())..)
            .take_while(|((of, key), _)| *of == table && key.starts_with(prefix))
            .map(|((_, key), value)| (key.clone(), value.clone()));
        Ok(matching.collect())
    }

    fn apply(&self, changes: &[Change], _durability: Durability) -> Result<(), StoreError> {
        let mut entries = self.lock();
        for change in changes {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => entries.insert(key, value.clone()),
                None => entries.remove(&key),
            };
        }
        Ok(())
    }
}

//! Keeps values under keys, with a version for each.

use std::cell::RefCell;
use std::collections::BTreeMap;

use marine_sdk::{marine, module_manifest};

module_manifest!();

thread_local! {
    static ENTRIES: RefCell<BTreeMap<String, Entry>> = const { RefCell::new(BTreeMap::new()) };
}

/// A value and how often it was written.
#[marine]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    pub version: u32,
}

/// Writes a value and returns its version, which starts with 1.
#[marine]
pub fn put(key: String, value: Vec<u8>) -> u32 {
    ENTRIES.with_borrow_mut(|entries| {
        let entry = entries.entry(key.clone()).or_default();
        entry.key = key;
        entry.value = value;
        entry.version += 1;
        entry.version
    })
}

/// The entry of a key: none or one.
#[marine]
pub fn get(key: &str) -> Vec<Entry> {
    ENTRIES.with_borrow(|entries| entries.get(key).cloned().into_iter().collect())
}

/// Removes a value and says whether there was one.
#[marine]
pub fn delete(key: &str) -> bool {
    ENTRIES.with_borrow_mut(|entries| entries.remove(key).is_some())
}

/// All keys in order.
#[marine]
pub fn keys() -> Vec<String> {
    ENTRIES.with_borrow(|entries| entries.keys().cloned().collect())
}

fn main() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up() {
        assert_eq!(put("a".to_owned(), vec![1]), 1);
        assert_eq!(put("a".to_owned(), vec![2]), 2);
        assert_eq!(
            get("a").first().map(|entry| entry.value.clone()),
            Some(vec![2])
        );
        assert_eq!(keys(), ["a"]);
        assert!(delete("a") && !delete("a"));
        assert!(get("a").is_empty());
    }
}

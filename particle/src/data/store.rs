//! Contents by CID.

use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    Tetraplet,
    cid::{self, order_prefix},
};

/// The five stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CidInfo<'a> {
    /// JSON texts of values.
    pub values: Store<'a, &'a str>,
    /// Where values came from.
    pub tetraplets: Store<'a, Tetraplet<'a>>,
    /// Elements of canon results.
    pub canon_elements: Store<'a, CanonElement<'a>>,
    /// Canon results.
    pub canon_results: Store<'a, CanonResult<'a>>,
    /// Results of calls.
    pub service_results: Store<'a, ServiceResult<'a>>,
}

/// What a call returned: CIDs of the value and of its tetraplet, hash of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceResult<'a> {
    /// CID in the value store.
    pub value_cid: &'a str,
    /// CID of the JSON array of the arguments; stored nowhere.
    pub argument_hash: &'a str,
    /// CID in the tetraplet store.
    pub tetraplet_cid: &'a str,
}

/// One element of a canon result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonElement<'a> {
    /// CID in the value store.
    pub value: &'a str,
    /// CID in the tetraplet store.
    pub tetraplet: &'a str,
    /// What produced the value.
    pub provenance: Provenance<'a>,
}

/// What produced a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance<'a> {
    /// A literal of the script or something computed from the particle's parameters.
    Literal,
    /// A call; CID of the service result.
    ServiceResult(&'a str),
    /// A canon; CID of the canon result.
    Canon(&'a str),
}

/// A stream as one peer fixed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonResult<'a> {
    /// CID of the tetraplet that names the peer.
    pub tetraplet: &'a str,
    /// CIDs in the store of canon elements (shared: an archive may point to one list many times).
    pub values: Arc<[&'a str]>,
}

/// Contents by the text of their CID; two spellings of one CID are two keys.
///
/// Entries keep the order of insertion; an entry that is inserted again
/// replaces the older one in its place.
#[derive(Clone)]
pub struct Store<'a, V> {
    entries: Vec<(&'a str, V)>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<V> Default for Store<'_, V> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<'a, V> Store<'a, V> {
    /// An empty store with room for `capacity` entries.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            index: HashTable::with_capacity(capacity),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The content behind `cid`.
    #[must_use]
    pub fn get(&self, cid: &str) -> Option<&V> {
        self.get_entry(cid).map(|(_, value)| value)
    }

    /// The content behind `cid` and the key as the store holds it.
    #[must_use]
    pub fn get_entry(&self, cid: &str) -> Option<(&'a str, &V)> {
        let position = self.find(self.hash(cid), cid)?;
        self.entries.get(position).map(|(key, value)| (*key, value))
    }

    /// Whether there is a content behind `cid`.
    #[must_use]
    pub fn contains(&self, cid: &str) -> bool {
        self.find(self.hash(cid), cid).is_some()
    }

    /// Makes room for more entries.
    pub fn reserve(&mut self, additional: usize) {
        let Self {
            entries,
            index,
            hasher,
        } = self;
        make_room(entries, additional);
        index.reserve(additional, |&at| hash_at(entries, hasher, at));
    }

    /// Puts `value` behind `cid`, replacing what was there.
    pub fn insert(&mut self, cid: &'a str, value: V) {
        let hash = self.hash(cid);
        match self.find(hash, cid) {
            Some(position) => {
                if let Some(entry) = self.entries.get_mut(position) {
                    *entry = (cid, value);
                }
            }
            None => self.push(hash, cid, value),
        }
    }

    /// Puts the content of `value` behind `cid` unless something is there; returns the key as the
    /// store holds it. `key` gives `cid` the lifetime of the store (it copies into an arena).
    pub fn insert_with(
        &mut self,
        cid: &str,
        key: impl FnOnce(&str) -> &'a str,
        value: impl FnOnce() -> V,
    ) -> &'a str {
        let hash = self.hash(cid);
        if let Some(position) = self.find(hash, cid)
            && let Some((key, _)) = self.entries.get(position)
        {
            return key;
        }
        let key = key(cid);
        self.push(hash, key, value());
        key
    }

    /// Adds an entry whose key is new.
    fn push(&mut self, hash: u64, cid: &'a str, value: V) {
        let Self {
            entries,
            index,
            hasher,
        } = self;
        // An archive has at most 2^32 bytes and an entry takes 12 of them.
        let position = entries.len() as u32;
        make_room(entries, 1);
        entries.push((cid, value));
        index.insert_unique(hash, position, |&at| hash_at(entries, hasher, at));
    }

    /// Adds all entries of `newer`, which replace those of equal keys.
    pub fn merge(&mut self, newer: Self) {
        if self.is_empty() {
            *self = newer;
            return;
        }
        for (cid, value) in newer.entries {
            self.insert(cid, value);
        }
    }

    /// All entries, in the order of the store.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &V)> + Clone {
        self.entries.iter().map(|(cid, value)| (*cid, value))
    }

    /// The entries in the order of the bytes of their keys: the order in which they are written.
    pub(super) fn sorted(&self) -> Sorted<'_, 'a, V> {
        let mut order: Vec<_> = self
            .entries
            .iter()
            .map(|entry| (order_prefix(entry.0), entry))
            .collect();
        if !self
            .entries
            .is_sorted_by(|(left, _), (right, _)| left <= right)
        {
            cid::sort_prefixed(&mut order, |(cid, _)| cid);
        }
        Sorted(order)
    }

    fn find(&self, hash: u64, cid: &str) -> Option<usize> {
        let same = |&at: &u32| {
            self.entries
                .get(at as usize)
                // Mostly it is one text, to which the whole archive points.
                .is_some_and(|(key, _)| std::ptr::eq(*key, cid) || *key == cid)
        };
        self.index.find(hash, same).map(|&at| at as usize)
    }

    fn hash(&self, cid: &str) -> u64 {
        cid::hash(&self.hasher, cid.as_bytes())
    }
}

/// Makes room for more entries. A run mostly adds few to those of an archive, for which doubling
/// would take the memory of all again.
#[inline]
fn make_room<T>(entries: &mut Vec<T>, additional: usize) {
    if entries.capacity() - entries.len() < additional {
        entries.reserve_exact(additional.max(entries.len() / 4 + 4));
    }
}

/// The entries of a store in order, each behind the prefix of its key.
pub(super) struct Sorted<'s, 'a, V>(Vec<(u64, &'s (&'a str, V))>);

impl<'s, 'a, V> Sorted<'s, 'a, V> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &'s V)> {
        self.0.iter().map(|(_, (cid, value))| (*cid, value))
    }
}

fn hash_at<V>(entries: &[(&str, V)], hasher: &DefaultHashBuilder, at: u32) -> u64 {
    entries
        .get(at as usize)
        .map_or(0, |(cid, _)| cid::hash(hasher, cid.as_bytes()))
}

impl<V: PartialEq> PartialEq for Store<'_, V> {
    /// Equal contents; the order of entries does not count.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(cid, value)| other.get(cid) == Some(value))
    }
}

impl<V: Eq> Eq for Store<'_, V> {}

impl<V: std::fmt::Debug> std::fmt::Debug for Store<'_, V> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<'a, V> FromIterator<(&'a str, V)> for Store<'a, V> {
    fn from_iter<I: IntoIterator<Item = (&'a str, V)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let mut store = Self::with_capacity(entries.size_hint().0);
        for (cid, value) in entries {
            store.insert(cid, value);
        }
        store
    }
}

/// Signatures by public key, both as they are stored: a format byte, then the raw bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures<'a> {
    entries: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Signatures<'a> {
    /// Number of signatures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no signature.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The signature of `public_key`.
    #[must_use]
    pub fn get(&self, public_key: &[u8]) -> Option<&'a [u8]> {
        let position = self
            .entries
            .binary_search_by(|(key, _)| (*key).cmp(public_key))
            .ok()?;
        self.entries.get(position).map(|(_, signature)| *signature)
    }

    /// Puts the signature of `public_key`, replacing an older one.
    pub fn insert(&mut self, public_key: &'a [u8], signature: &'a [u8]) {
        match self
            .entries
            .binary_search_by(|(key, _)| (*key).cmp(public_key))
        {
            Ok(position) => {
                if let Some(entry) = self.entries.get_mut(position) {
                    *entry = (public_key, signature);
                }
            }
            Err(position) => self.entries.insert(position, (public_key, signature)),
        }
    }

    /// All signatures, in ascending order of the public keys' bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone {
        self.entries.iter().copied()
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Signatures<'a> {
    /// Of equal keys the last one counts.
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        // Newest first, so that the later deduplication keeps it.
        entries.reverse();
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self { entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_counts() {
        let store: Store<'_, u8> = [("b", 1), ("a", 2), ("b", 3)].into_iter().collect();
        assert_eq!(store.len(), 2);
        assert_eq!(store.get("b"), Some(&3));
        let sorted: Vec<_> = store.sorted().iter().collect();
        assert_eq!(sorted, [("a", &2), ("b", &3)]);
        assert_eq!(store.get("a"), Some(&2));
        assert_eq!(store.get("c"), None);
        let signatures: Signatures<'_> = [(&b"k"[..], &b"1"[..]), (b"a", b"2"), (b"k", b"3")]
            .into_iter()
            .collect();
        assert_eq!(signatures.len(), 2);
        assert_eq!(signatures.get(b"k"), Some(&b"3"[..]));
    }

    #[test]
    fn keys_sort_by_their_bytes() {
        let mut keys = vec![
            "",
            "a",
            "bagaaiera2",
            "bagaaihra",
            "bagaaihra2",
            "bagaaihra22222222",
            "bagaaihra222222222",
            "bagaaihra222222223",
            "bagaaihraz",
            "bagaaihraé",
            "bagaaihs",
            "z",
            "\u{10ffff}",
        ];
        keys.reverse();
        let store: Store<'_, ()> = keys.iter().map(|key| (*key, ())).collect();
        keys.sort_unstable();
        assert!(store.sorted().iter().map(|(key, ())| key).eq(keys));
    }

    #[test]
    fn a_newer_store_wins() {
        let mut store: Store<'_, u8> = [("a", 1), ("b", 2)].into_iter().collect();
        store.merge([("b", 3), ("c", 4)].into_iter().collect());
        assert_eq!(
            store.iter().collect::<Vec<_>>(),
            [("a", &1), ("b", &3), ("c", &4)]
        );
        assert_eq!(store.insert_with("c", |_| "never", || 9), "c");
        assert_eq!(store.insert_with("d", |_| "d", || 5), "d");
        assert_eq!(store.get("d"), Some(&5));
    }
}

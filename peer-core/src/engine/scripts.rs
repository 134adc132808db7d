//! Scripts parsed once: a bounded cache by their text.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aquavm::Script;

/// A script ready to run, or why it is none.
pub(super) type Parsed = Result<Script, Arc<str>>;

/// Parsed scripts, shared by the runs of one or many engines.
///
/// Entries live in two generations. Whatever is used moves to the young one; when that holds half
/// of what is allowed, the old one is dropped and the young one grows old.
pub struct ScriptCache {
    max_entries: usize,
    max_size: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Arc<str>, Parsed>,
    young_size: usize,
    old: HashMap<Arc<str>, Parsed>,
}

impl ScriptCache {
    /// A cache of at most so many scripts, of so many bytes of text together.
    #[must_use]
    pub fn new(max_entries: usize, max_size: u64) -> Self {
        Self {
            max_entries,
            max_size: usize::try_from(max_size).unwrap_or(usize::MAX),
            generations: Mutex::default(),
        }
    }

    /// How many scripts are kept at the moment.
    #[must_use]
    pub fn len(&self) -> usize {
        let generations = self.lock();
        generations.young.len() + generations.old.len()
    }

    /// Whether no script is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text, shared with all that are equal as long as it is kept here.
    pub(super) fn text(&self, text: String) -> Arc<str> {
        let generations = self.lock();
        let Generations { young, old, .. } = &*generations;
        let known = young
            .get_key_value(text.as_str())
            .or_else(|| old.get_key_value(text.as_str()));
        known.map_or_else(|| text.into(), |(known, _)| known.clone())
    }

    pub(super) fn get(&self, text: &Arc<str>) -> Parsed {
        if let Some(parsed) = self.lock().find(text, self.max_entries, self.max_size) {
            return parsed;
        }
        // Parsed without the lock: two threads may do so at once, to the same effect.
        let parsed = Script::parse(text).map_err(|error| Arc::from(error.to_string()));
        self.lock().insert(
            text.clone(),
            parsed.clone(),
            self.max_entries,
            self.max_size,
        );
        parsed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        // Nothing is half done when a thread dies with the lock.
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&mut self, text: &Arc<str>, max_entries: usize, max_size: usize) -> Option<Parsed> {
        if let Some(parsed) = self.young.get(text) {
            return Some(parsed.clone());
        }
        let (text, parsed) = self.old.remove_entry(text)?;
        self.insert(text, parsed.clone(), max_entries, max_size);
        Some(parsed)
    }

    fn insert(&mut self, text: Arc<str>, parsed: Parsed, max_entries: usize, max_size: usize) {
        if text.len() > max_size / 2 {
            return;
        }
        if self.young_size + text.len() > max_size / 2
            || self.young.len() >= max_entries.div_ceil(2)
        {
            self.old = std::mem::take(&mut self.young);
            self.young_size = 0;
        }
        let size = text.len();
        if self.young.insert(text, parsed).is_none() {
            self.young_size += size;
        }
    }
}

impl fmt::Debug for ScriptCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ScriptCache({} scripts)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_keeps_what_is_used() {
        let cache = ScriptCache::new(8, 10_000);
        let used: Arc<str> = "(null)".into();
        let parsed = cache.get(&used).unwrap();
        for number in 0..100 {
            let text: Arc<str> = format!("(call \"{number}\" (\"a\" \"b\") [])").into();
            cache.get(&text).unwrap();
            let again = cache.get(&used).unwrap();
            assert_eq!(again.text().as_ptr(), parsed.text().as_ptr());
            assert!(cache.len() <= 8, "{}", cache.len());
        }
        assert!(Arc::ptr_eq(&cache.text("(null)".to_owned()), &used));
        assert_eq!(&*cache.text("(never)".to_owned()), "(never)");
        let large: Arc<str> = format!("(call \"{}\" (\"a\" \"b\") [])", "x".repeat(6_000)).into();
        let before = cache.len();
        cache.get(&large).unwrap();
        assert_eq!(cache.len(), before);
    }

    #[test]
    fn remembers_what_is_no_script() {
        let cache = ScriptCache::new(8, 10_000);
        let text: Arc<str> = "(nul".into();
        let error = cache.get(&text).err().unwrap();
        assert!(Arc::ptr_eq(&error, &cache.get(&text).err().unwrap()));
    }
}

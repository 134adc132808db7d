//! What a spell keeps, but for its script, and the changes of it.
//!
//! Everything here is bounded: what others may send, and what lasts without anybody reading it, makes
//! room for what is newer; what a script stores on purpose is refused when there is no room.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    error::SpellError,
    records::{LastError, LastErrorEntry, Log, MailboxMessage, ParticleErrors, TriggerConfig},
};

/// Messages that are kept.
pub const MAX_MESSAGES: usize = 50;
/// Lines of the log that are kept.
pub const MAX_LOGS: usize = 500;
/// Particles whose errors are kept.
pub const MAX_PARTICLES: usize = 50;
/// Bytes of all keys and values.
pub const MAX_VALUES: usize = 8 << 20;
/// Bytes of all messages, of all lines, and of all errors.
pub const MAX_QUEUE: usize = 1 << 20;
/// Bytes of a message, a line, or a text of an error.
pub const MAX_TEXT: usize = 64 << 10;

/// What something small takes besides its texts, in memory and in the journal.
const OVERHEAD: usize = 64;

/// A value that a key has by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Text(String),
    Number(u32),
}

/// Errors of a particle.
#[derive(Clone, Debug, Default, PartialEq)]
struct Failed {
    timestamp: u64,
    /// Counts particles: of two with the same time, the later one stays.
    order: u64,
    errors: VecDeque<LastErrorEntry>,
}

/// The newest of something.
#[derive(Clone, Debug, PartialEq)]
struct Newest<T> {
    /// The oldest first.
    items: VecDeque<T>,
    bytes: usize,
}

/// What a spell keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    trigger: Option<TriggerConfig>,
    scalars: BTreeMap<String, Scalar>,
    lists: BTreeMap<String, Vec<String>>,
    /// Bytes of scalars and lists.
    values: usize,
    mailbox: Newest<MailboxMessage>,
    logs: Newest<Log>,
    failed: BTreeMap<String, Failed>,
    /// Bytes of all errors.
    failures: usize,
    particles: u64,
}

/// A change of the state, as it is written to the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Trigger(TriggerConfig),
    SetText {
        key: String,
        value: String,
    },
    SetNumber {
        key: String,
        value: u32,
    },
    /// The scalar and the list of a key.
    Remove {
        key: String,
    },
    Push {
        key: String,
        value: String,
    },
    /// The last element of a list.
    Pop {
        key: String,
    },
    /// Every element of a list that is equal.
    RemoveEqual {
        key: String,
        value: String,
    },
    PutMessage(MailboxMessage),
    /// The newest message.
    TakeMessage,
    PutLog(Log),
    PutError {
        particle_id: String,
        timestamp: u64,
        entry: LastErrorEntry,
    },
}

impl State {
    /// Whether changes can be made, of which no two set the same key.
    ///
    /// # Errors
    /// There is no room, or a key is empty, which is none for the published module either.
    pub fn check(&self, changes: &[Change]) -> Result<(), SpellError> {
        let mut more = 0_usize;
        let mut less = 0_usize;
        for change in changes {
            match change {
                Change::SetText { key, .. }
                | Change::SetNumber { key, .. }
                | Change::Push { key, .. }
                    if key.is_empty() =>
                {
                    return Err(SpellError::EmptyKey);
                }
                Change::SetText { key, value } => {
                    more = more.saturating_add(size_of_value(key, value));
                    less = less.saturating_add(self.size_of_scalar(key));
                }
                Change::SetNumber { key, .. } => {
                    more = more.saturating_add(size_of_value(key, ""));
                    less = less.saturating_add(self.size_of_scalar(key));
                }
                Change::Push { key, value } => {
                    more = more.saturating_add(size_of_value(key, value));
                }
                Change::PutMessage(message) if message.message.len() > MAX_TEXT => {
                    return Err(SpellError::LongMessage);
                }
                _ => {}
            }
        }
        // What does not grow always fits.
        if more > less && self.values.saturating_add(more - less) > MAX_VALUES {
            return Err(SpellError::Full);
        }
        Ok(())
    }

    /// Makes a change. Every change can be made in every state.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Trigger(config) => self.trigger = Some(config),
            Change::SetText { key, value } => self.set(key, Scalar::Text(value)),
            Change::SetNumber { key, value } => self.set(key, Scalar::Number(value)),
            Change::Remove { key } => {
                self.values -= self.size_of_scalar(&key);
                self.scalars.remove(&key);
                self.shorten(&key, Vec::clear);
            }
            Change::Push { key, value } => {
                self.values += size_of_value(&key, &value);
                self.lists.entry(key).or_default().push(value);
            }
            Change::Pop { key } => self.shorten(&key, |list| {
                list.pop();
            }),
            Change::RemoveEqual { key, value } => {
                self.shorten(&key, |list| list.retain(|element| *element != value));
            }
            Change::PutMessage(message) => self.mailbox.put(message, MAX_MESSAGES),
            Change::TakeMessage => self.mailbox.take_newest(),
            Change::PutLog(log) => self.logs.put(log, MAX_LOGS),
            Change::PutError {
                particle_id,
                timestamp,
                entry,
            } => self.put_error(particle_id, timestamp, entry),
        }
    }

    /// The changes that make this state of an empty one.
    pub fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        let trigger = self.trigger.clone().map(Change::Trigger);
        let scalars = self.scalars.iter().map(|(key, value)| {
            let key = key.clone();
            match value.clone() {
                Scalar::Text(value) => Change::SetText { key, value },
                Scalar::Number(value) => Change::SetNumber { key, value },
            }
        });
        let lists = self.lists.iter().flat_map(|(key, list)| {
            list.iter().map(|value| Change::Push {
                key: key.clone(),
                value: value.clone(),
            })
        });
        let messages = self.mailbox.items.iter().cloned().map(Change::PutMessage);
        let logs = self.logs.items.iter().cloned().map(Change::PutLog);
        let mut failed: Vec<_> = self.failed.iter().collect();
        failed.sort_by_key(|(_, failed)| failed.order);
        let errors = failed.into_iter().flat_map(|(id, failed)| {
            failed.errors.iter().map(|entry| Change::PutError {
                particle_id: id.clone(),
                timestamp: failed.timestamp,
                entry: entry.clone(),
            })
        });
        trigger
            .into_iter()
            .chain(scalars)
            .chain(lists)
            .chain(messages)
            .chain(logs)
            .chain(errors)
    }

    pub fn trigger(&self) -> Option<&TriggerConfig> {
        self.trigger.as_ref()
    }

    pub fn scalar(&self, key: &str) -> Option<&Scalar> {
        self.scalars.get(key)
    }

    /// The elements of a list in the order in which they came.
    pub fn list(&self, key: &str) -> &[String] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a key has a scalar or a list.
    pub fn has(&self, key: &str) -> bool {
        self.scalars.contains_key(key) || self.lists.contains_key(key)
    }

    /// The oldest message first.
    pub fn mailbox(&self) -> &VecDeque<MailboxMessage> {
        &self.mailbox.items
    }

    /// The oldest line first.
    pub fn logs(&self) -> &VecDeque<Log> {
        &self.logs.items
    }

    /// The oldest error first.
    pub fn errors_of(&self, particle_id: &str) -> Vec<LastErrorEntry> {
        let failed = self.failed.get(particle_id);
        failed.map_or_else(Vec::new, |failed| failed.errors.iter().cloned().collect())
    }

    pub fn errors(&self) -> Vec<ParticleErrors> {
        let failed = self.failed.iter();
        failed
            .map(|(particle_id, failed)| ParticleErrors {
                particle_id: particle_id.clone(),
                errors: failed.errors.iter().cloned().collect(),
            })
            .collect()
    }

    fn set(&mut self, key: String, value: Scalar) {
        self.values -= self.size_of_scalar(&key);
        self.values += size_of_value(&key, value.text());
        self.scalars.insert(key, value);
    }

    /// Takes elements out of a list; an empty one is none.
    fn shorten(&mut self, key: &str, take: impl FnOnce(&mut Vec<String>)) {
        if let Some(list) = self.lists.get_mut(key) {
            let size = |list: &[String]| -> usize {
                list.iter().map(|value| size_of_value(key, value)).sum()
            };
            let before = size(list);
            take(list);
            self.values -= before - size(list);
            if list.is_empty() {
                self.lists.remove(key);
            }
        }
    }

    fn put_error(&mut self, particle_id: String, timestamp: u64, entry: LastErrorEntry) {
        let order = self.particles;
        self.failures += size_of_error(&particle_id, &entry);
        let failed = self.failed.entry(particle_id).or_insert_with(|| {
            self.particles += 1;
            Failed {
                timestamp,
                order,
                errors: VecDeque::new(),
            }
        });
        failed.errors.push_back(entry);
        while self.failed.len() > MAX_PARTICLES
            || (self.failures > MAX_QUEUE && self.failed.len() > 1)
        {
            let oldest = self.failed.iter();
            let oldest = oldest.min_by_key(|(_, failed)| (failed.timestamp, failed.order));
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                return;
            };
            while self.forget_error(&oldest) {}
        }
        while self.failures > MAX_QUEUE {
            let Some(only) = self.failed.keys().next().cloned() else {
                return;
            };
            self.forget_error(&only);
        }
    }

    /// Forgets the oldest error of a particle; whether there was one.
    fn forget_error(&mut self, particle_id: &str) -> bool {
        let Some(failed) = self.failed.get_mut(particle_id) else {
            return false;
        };
        if let Some(entry) = failed.errors.pop_front() {
            self.failures -= size_of_error(particle_id, &entry);
        }
        if failed.errors.is_empty() {
            self.failed.remove(particle_id);
        }
        true
    }

    fn size_of_scalar(&self, key: &str) -> usize {
        let value = self.scalars.get(key);
        value.map_or(0, |value| size_of_value(key, value.text()))
    }
}

impl Scalar {
    /// Nothing for a number, which takes no more than an entry anyway.
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(_) => "",
        }
    }
}

/// What has a size in bytes.
trait Size {
    fn size(&self) -> usize;
}

impl Size for MailboxMessage {
    fn size(&self) -> usize {
        self.init_peer_id.len() + self.message.len() + OVERHEAD
    }
}

impl Size for Log {
    fn size(&self) -> usize {
        self.message.len() + OVERHEAD
    }
}

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T: Size> Newest<T> {
    /// Puts in the newest; the oldest makes room.
    fn put(&mut self, newest: T, max: usize) {
        self.bytes += newest.size();
        self.items.push_back(newest);
        while self.items.len() > max || self.bytes > MAX_QUEUE {
            match self.items.pop_front() {
                Some(oldest) => self.bytes -= oldest.size(),
                None => return,
            }
        }
    }

    fn take_newest(&mut self) {
        if let Some(newest) = self.items.pop_back() {
            self.bytes -= newest.size();
        }
    }
}

fn size_of_value(key: &str, value: &str) -> usize {
    key.len() + value.len() + OVERHEAD
}

fn size_of_error(particle_id: &str, entry: &LastErrorEntry) -> usize {
    let LastError {
        instruction,
        message,
        peer_id,
        ..
    } = &entry.last_error;
    particle_id.len() + instruction.len() + message.len() + peer_id.len() + OVERHEAD
}

/// A text that is for people, no longer than may be.
pub fn cut(mut text: String) -> String {
    const ELLIPSIS: char = '…';
    if text.len() > MAX_TEXT {
        let mut end = MAX_TEXT - ELLIPSIS.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Change {
        Change::SetText {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    fn push(key: &str, value: &str) -> Change {
        Change::Push {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    fn error(particle: &str, timestamp: u64, message: &str) -> Change {
        Change::PutError {
            particle_id: particle.to_owned(),
            timestamp,
            entry: LastErrorEntry {
                last_error: LastError {
                    message: message.to_owned(),
                    ..LastError::default()
                },
                error_idx: 0,
            },
        }
    }

    fn log(message: String) -> Change {
        Change::PutLog(Log {
            timestamp: 0,
            message,
        })
    }

    fn state(changes: Vec<Change>) -> State {
        let mut state = State::default();
        for change in changes {
            state.check(std::slice::from_ref(&change)).unwrap();
            state.apply(change);
        }
        state
    }

    #[test]
    fn scalars_and_lists_are_apart() {
        let mut state = state(vec![set("k", "1"), push("k", "2"), push("k", "2")]);
        assert_eq!(state.scalar("k"), Some(&Scalar::Text("1".to_owned())));
        state.apply(Change::SetNumber {
            key: "k".to_owned(),
            value: 7,
        });
        assert_eq!(state.scalar("k"), Some(&Scalar::Number(7)));
        assert_eq!(state.list("k"), ["2", "2"]);
        state.apply(Change::RemoveEqual {
            key: "k".to_owned(),
            value: "2".to_owned(),
        });
        assert!(state.list("k").is_empty() && state.has("k"));
        let key = "k".to_owned();
        state.apply(Change::Remove { key });
        assert_eq!(state, State::default());
    }

    #[test]
    fn nothing_has_no_name() {
        let number = Change::SetNumber {
            key: String::new(),
            value: 1,
        };
        for change in [set("", "v"), number, push("", "v")] {
            let error = State::default().check(&[set("k", "v"), change]);
            assert_eq!(
                error.unwrap_err().to_string(),
                "a key has one character or more"
            );
        }
    }

    #[test]
    fn values_have_room_and_no_more() {
        let half = "x".repeat(MAX_VALUES / 2 - OVERHEAD - 1);
        let mut state = state(vec![set("a", &half), push("b", &half)]);
        assert_eq!(state.values, MAX_VALUES);
        let full = |state: &State, change: Change| {
            let error = state.check(&[change]).unwrap_err().to_string();
            assert_eq!(error, "a spell keeps no more than 8388608 bytes of values");
        };
        full(&state, set("c", ""));
        full(&state, push("b", ""));
        full(&state, set("a", &format!("{half}x")));
        // What takes the place of something else has its room.
        state.check(&[set("a", &half)]).unwrap();
        let key = "b".to_owned();
        state.apply(Change::Pop { key });
        state.check(&[set("c", &half)]).unwrap();
        let both = [set("c", &half), set("d", "")];
        assert!(state.check(&both).is_err());
    }

    #[test]
    fn the_newest_stay() {
        let logs = (0..600).map(|number| log(number.to_string()));
        let kept = state(logs.collect());
        assert_eq!(kept.logs().len(), MAX_LOGS);
        assert_eq!(kept.logs().front().unwrap().message, "100");
        // Long ones are fewer.
        let logs = (0..100).map(|_| log("x".repeat(MAX_TEXT)));
        let kept = state(logs.collect());
        assert_eq!(kept.logs().len(), MAX_QUEUE / (MAX_TEXT + OVERHEAD));
        let message = |length: usize| {
            Change::PutMessage(MailboxMessage {
                message: "x".repeat(length),
                ..MailboxMessage::default()
            })
        };
        for (length, count) in [(10, MAX_MESSAGES), (MAX_TEXT, 15)] {
            let messages = (0..60).map(|_| message(length)).collect();
            assert_eq!(state(messages).mailbox().len(), count);
        }
        let error = State::default().check(&[message(MAX_TEXT + 1)]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "a message has no more than 65536 bytes"
        );
    }

    #[test]
    fn errors_of_the_latest_particles_stay() {
        let mut kept = State::default();
        // The oldest by the time of the particle, not of the error.
        kept.apply(error("new", 1_000, "1"));
        for number in 0..60 {
            kept.apply(error(&number.to_string(), number, "1"));
        }
        kept.apply(error("new", 1_000, "2"));
        assert_eq!(kept.errors().len(), MAX_PARTICLES);
        assert_eq!(kept.errors_of("new").len(), 2);
        assert!(kept.errors_of("10").is_empty());
        assert_eq!(kept.errors_of("11").len(), 1);
        // A particle alone has room for some.
        for _ in 0..100 {
            kept.apply(error("much", 2_000, &"x".repeat(MAX_TEXT)));
        }
        assert_eq!(kept.errors().len(), 1);
        let errors = MAX_QUEUE / (MAX_TEXT + OVERHEAD + "much".len());
        assert_eq!(kept.errors_of("much").len(), errors);
        assert!(kept.failures <= MAX_QUEUE);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut("x".repeat(MAX_TEXT)), "x".repeat(MAX_TEXT));
        let cut = cut("é".repeat(MAX_TEXT));
        assert!(cut.len() <= MAX_TEXT && cut.ends_with("é…"));
    }
}

//! Keeps notes. The notes themselves are in the module `storage`: the two make one service.

use marine_sdk::{get_call_parameters, marine, module_manifest};

module_manifest!();

/// An entry of the module `storage`.
#[marine]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    pub version: u32,
}

#[marine]
#[module_import("storage")]
extern "C" {
    /// Writes a value and returns its version.
    fn put(key: &str, value: &Vec<u8>) -> u32;
    /// The entry of a key: none or one.
    fn get(key: &str) -> Vec<Entry>;
    /// Removes a value and says whether there was one.
    #[link_name = "delete"]
    fn remove(key: &str) -> bool;
    /// All keys in order.
    fn keys() -> Vec<String>;
}

/// A note.
#[marine]
pub struct Note {
    pub title: String,
    pub text: String,
    /// How often it was written.
    pub version: u32,
}

/// What became of a note.
#[marine]
pub struct Saved {
    pub note: Note,
    /// The peer that asked for it.
    pub author: String,
    /// How many notes there are now.
    pub count: u32,
}

/// Writes a note.
#[marine]
pub fn save(title: String, text: String) -> Saved {
    let version = put(&title, &text.clone().into_bytes());
    Saved {
        note: Note {
            title,
            text,
            version,
        },
        author: get_call_parameters().particle.init_peer_id,
        count: keys().len() as u32,
    }
}

/// The note with a title: none or one.
#[marine]
pub fn note(title: &str) -> Vec<Note> {
    get(title).into_iter().map(Note::from).collect()
}

/// All notes, by title.
#[marine]
pub fn notes() -> Vec<Note> {
    keys()
        .iter()
        .flat_map(|title| get(title))
        .map(Note::from)
        .collect()
}

/// Removes a note and says whether there was one.
#[marine]
pub fn discard(title: &str) -> bool {
    remove(title)
}

impl From<Entry> for Note {
    fn from(entry: Entry) -> Self {
        Self {
            title: entry.key,
            text: String::from_utf8_lossy(&entry.value).into_owned(),
            version: entry.version,
        }
    }
}

fn main() {}

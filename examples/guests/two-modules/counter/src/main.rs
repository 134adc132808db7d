//! Counts, and keeps the counts in a file.

use std::{collections::BTreeMap, fs};

use marine_sdk::{marine, module_manifest};

module_manifest!();

const FILE: &str = "/storage/counts";

/// A name and how often it was counted.
#[marine]
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    pub name: String,
    pub count: u64,
}

/// Adds to a count and returns it.
#[marine]
pub fn add(name: String, amount: u64) -> Count {
    let mut counts = load();
    let count = counts.entry(name.clone()).or_default();
    *count += amount;
    let count = *count;
    let lines: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{count} {name}\n"))
        .collect();
    fs::write(FILE, lines.concat()).expect("the folder of counts can be written");
    Count { name, count }
}

/// All counts, by name.
#[marine]
pub fn counts() -> Vec<Count> {
    load()
        .into_iter()
        .map(|(name, count)| Count { name, count })
        .collect()
}

fn load() -> BTreeMap<String, u64> {
    let text = fs::read_to_string(FILE).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (count, name) = line.split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        })
        .collect()
}

fn main() {}

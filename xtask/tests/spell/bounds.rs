//! What a spell keeps is bounded, and survives a machine that stops in the middle of a write.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::{AS_SPELL, AS_STRANGER, AS_WORKER, Spell, last_error};

/// Bytes of all values that a spell keeps.
const MAX_VALUES: usize = 8 << 20;

impl Spell {
    fn journal(&self) -> PathBuf {
        self.folder.path().join("storage/spell.journal")
    }

    /// Bytes on disk.
    fn size(&self) -> u64 {
        let files = fs::read_dir(self.folder.path().join("storage")).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    }
}

/// Everything that fits and more, in the memory that services get, written anew many times.
#[test]
fn memory_and_disk_are_bounded() {
    let mut spell = Spell::own();
    let script = "x".repeat(4 << 20);
    let set = spell.call(AS_WORKER, "set_script", json!([script]));
    assert_eq!(set["success"], true);
    let longer = spell.refused(AS_WORKER, "set_script", json!([format!("{script}x")]));
    assert_eq!(longer, "a script has no more than 4194304 bytes");
    let part = "v".repeat(1 << 20);
    let mut stored = 0;
    let full = loop {
        let key = format!("k{stored}");
        let result = spell.call(AS_SPELL, "set_string", json!([key, part]));
        if result["success"] != true {
            break result["error"].as_str().unwrap().to_owned();
        }
        stored += 1;
    };
    assert_eq!(stored, MAX_VALUES / part.len() - 1);
    assert_eq!(full, "a spell keeps no more than 8388608 bytes of values");
    let text = "m".repeat(60 << 10);
    for round in 0..40 {
        // What is there already may be written again.
        spell.done("set_string", json!(["k0", part]));
        let pushed = spell.call(AS_STRANGER, "push_mailbox", json!([text]));
        assert_eq!(pushed["success"], true);
        spell.done("store_log", json!([text]));
        let error = json!([last_error(&text), round, round]);
        spell.done("store_error", error);
    }
    // Two journals of all that is kept, while one takes the place of the other, and the script.
    let most = 4 * (MAX_VALUES + (4 << 20)) as u64;
    assert!(spell.size() < most, "{}", spell.size());
    for _ in 0..3 {
        spell.restart();
        spell.done("set_string", json!(["k0", part]));
        assert_eq!(spell.value("get_string", "k6"), json!(part));
        assert!(spell.size() < most, "{}", spell.size());
    }
    // A longer message than may be is refused, a longer line or error is cut.
    let long = "l".repeat(70 << 10);
    let refused = spell.refused(AS_STRANGER, "push_mailbox", json!([long]));
    assert_eq!(refused, "a message has no more than 65536 bytes");
    spell.done("store_log", json!([long]));
    let logs = spell.done("get_logs", json!([]));
    let last = logs["logs"].as_array().unwrap().last().unwrap();
    let last = last["message"].as_str().unwrap();
    assert!(last.len() <= 64 << 10 && last.ends_with("l…"));
    // Room that is given back is room.
    spell.done("remove_key", json!(["k1"]));
    spell.done("set_string", json!(["new", part]));
}

#[test]
fn a_torn_write_takes_nothing_with_it() {
    let mut spell = Spell::own();
    spell.done("set_string", json!(["k", "1"]));
    spell.done("set_string", json!(["k", "2"]));
    let whole = fs::read(spell.journal()).unwrap();
    // Ends in the middle of the last record, or of what comes after it.
    for (cut, value) in [(1, "1"), (20, "1"), (0, "2")] {
        let mut torn = whole[..whole.len() - cut].to_vec();
        if cut == 0 {
            torn.extend([1, 2, 3]);
        }
        fs::write(spell.journal(), torn).unwrap();
        spell.restart();
        assert_eq!(spell.value("get_string", "k"), json!(value));
    }
    spell.done("set_string", json!(["k", "3"]));
    spell.restart();
    assert_eq!(spell.value("get_string", "k"), json!("3"));
    // Damage in the middle is told, and nothing is written over it.
    let mut damaged = fs::read(spell.journal()).unwrap();
    damaged[30] ^= 1;
    fs::write(spell.journal(), &damaged).unwrap();
    spell.restart();
    for (function, arguments) in [
        ("get_string", json!(["k"])),
        ("set_string", json!(["k", "4"])),
        ("get_logs", json!([])),
    ] {
        let error = spell.refused(AS_SPELL, function, arguments);
        assert!(
            error.starts_with("the data of the spell are corrupt at byte 8: "),
            "{error}"
        );
    }
    assert_eq!(fs::read(spell.journal()).unwrap(), damaged);
}

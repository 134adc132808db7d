//! A market from the first offer to the last payment, as a user runs it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::process::Command;

use serde_json::Value;

#[test]
fn everybody_earns_and_spells_fire() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("market.html");
    let output = Command::new(env!("CARGO_BIN_EXE_marketplace"))
        .args(["--json", "--calls", "6", "--html"])
        .arg(&page)
        .output()
        .unwrap();
    let (text, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{text}\n{errors}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["proofs"], 6);
    assert_eq!(report["calls"], 6);
    assert_eq!(report["deal_status"], "ACTIVE");
    let amount = |row: &Value, name: &str| -> u128 { row[name].as_str().unwrap().parse().unwrap() };
    let rows = report["earned"].as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for row in &rows[..3] {
        assert!(amount(row, "capacity") > 0, "{row}");
        assert!(amount(row, "deal") > 0, "{row}");
    }
    // What golden particles earned is the pool, less what rounding left.
    let golden = &report["golden"];
    let paid: u128 = rows.iter().map(|row| amount(row, "golden")).sum();
    assert_eq!(paid + amount(golden, "remainder"), amount(golden, "pool"));
    assert!(paid > 0);
    assert_eq!(amount(golden, "bonds_burned"), 0);
    // Each particle visits three workers one after the other; the last two make tickets of it.
    assert_eq!(golden["tickets"], 12);
    assert!(!report["path"].as_array().unwrap().is_empty());
    // The spell of the deal lives on all three workers, and their peers start it by themselves.
    let spells = report["spells"].as_array().unwrap();
    assert_eq!(spells.len(), 3);
    for spell in spells {
        assert_eq!(spell["spell"], "greeter");
        assert!(spell["firings"].as_u64().unwrap() >= 2, "{spell}");
        assert!(spell["told"].as_u64().unwrap() >= 1, "{spell}");
        assert!(
            spell["last"].as_str().unwrap().contains("everybody"),
            "{spell}"
        );
        assert_eq!(spell["failed"], 0, "{spell}");
    }
    assert!(!text.contains("not installed"), "{text}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains("golden"), "{page}");
    assert_eq!(page.matches("<td>greeter</td>").count(), 3, "{page}");
}

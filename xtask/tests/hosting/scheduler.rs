//! The example `scheduler`, with the published modules.

use std::{fs, process::Command};

use xtask::packages::{SPELL, SQLITE, is_required};

use super::modules::provide_file;

#[test]
fn the_scheduler_shows_firings_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in [("sqlite3.wasm", SQLITE), ("spell.wasm", SPELL)] {
        let Some(path) = provide_file(folder.path(), file) else {
            return;
        };
        fs::rename(path, folder.path().join(name)).unwrap();
    }
    // Beside the folder of this test; a build of the workspace's tests builds it.
    let test = std::env::current_exe().unwrap();
    let programs = test.parent().unwrap().parent().unwrap();
    let program = programs.join(format!("scheduler{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        assert!(!is_required(), "no {}", program.display());
        eprintln!("skipped: no {}", program.display());
        return;
    }
    let run = |spell: &std::path::Path| {
        let mut command = Command::new(&program);
        command.arg("--spell").arg(spell);
        command.args(["--period", "1", "--firings", "2"]);
        command.output().unwrap()
    };
    let output = run(folder.path());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("peer /ip4/127.0.0.1/tcp/"), "{text}");
    assert!(lines[1].starts_with("spell "), "{text}");
    assert!(lines[2].starts_with("firing 1 at "), "{text}");
    assert!(!lines[2].contains("after the last"), "{text}");
    assert!(lines[3].starts_with("firing 2 at "), "{text}");
    assert!(lines[3].ends_with(" s after the last"), "{text}");

    let output = run(&folder.path().join("nothing"));
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("there is no ") && errors.contains("sqlite3.wasm"),
        "{errors}"
    );
}

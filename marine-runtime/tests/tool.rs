//! The `marine` tool, run as a program on the committed guests.

#![cfg(all(feature = "cli", any(feature = "wasmer", feature = "wasmtime")))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions"
)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/wasm")
        .join(format!("{name}.wasm"))
}

fn marine(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_marine"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = marine(arguments, "");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(arguments: &[&str], input: &str) -> String {
    let output = marine(arguments, input);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn it_looks_into_modules() {
    let greeting = guest("greeting");
    let greeting = greeting.to_str().unwrap();
    let info = succeeds(&["info", greeting]);
    assert!(
        info.contains("sdk version: ") && info.contains("build time:  "),
        "{info}"
    );
    let check = succeeds(&["check", greeting]);
    assert!(check.contains("functions"), "{check}");
    let interface: serde_json::Value =
        serde_json::from_str(&succeeds(&["interface", greeting])).unwrap();
    let shown = succeeds(&["it", "show", "--json", greeting]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
        interface
    );
    assert!(interface["function_signatures"][0]["name"].is_string());
    assert!(succeeds(&["aqua", greeting]).contains("service Greeting"));
    let missing = fails(&["info", "missing.wasm"], "");
    assert!(missing.contains("missing.wasm"), "{missing}");
}

#[test]
fn it_changes_modules() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("interface.txt");
    let output = folder.path().join("changed.wasm");
    let echo = guest("echo");
    let (echo, text, output) = (
        echo.to_str().unwrap(),
        text.to_str().unwrap(),
        output.to_str().unwrap(),
    );
    let shown = succeeds(&["it", "show", echo]);
    fs::write(text, &shown).unwrap();
    succeeds(&["it", "embed", echo, "-w", text, "-o", output]);
    assert_eq!(succeeds(&["it", "show", output]), shown);
    // From the descriptions of the SDK comes the same.
    succeeds(&["it", "embed", output]);
    assert_eq!(succeeds(&["it", "show", output]), shown);
    succeeds(&["set", "version", "-i", output, "-v", "0.99.1"]);
    assert!(succeeds(&["info", output]).contains("sdk version: 0.99.1"));
    fs::write(text, shown.replace("(func", "(fun")).unwrap();
    let error = fails(&["it", "embed", echo, "-w", text, "-o", output], "");
    assert!(error.contains("interface.txt: line "), "{error}");
    fails(&["set", "version", "-i", output, "-v", "new"], "");
}

#[test]
fn it_runs_functions() {
    let folder = tempfile::tempdir().unwrap();
    let greeting = guest("greeting");
    let greeting = greeting.to_str().unwrap();
    let cache = folder.path().to_str().unwrap();
    for _ in 0..2 {
        let arguments = [
            "run", "--json", "--cache", cache, greeting, "greeting", "\"Ada\"",
        ];
        let line: serde_json::Value = serde_json::from_str(&succeeds(&arguments)).unwrap();
        assert_eq!(line["result"], "Hi, Ada");
        assert!(line["memory"]["greeting"].as_u64().unwrap() >= 65_536);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let error = fails(&["run", greeting, "greeting", "Ada"], "");
    assert!(error.contains("a string needs quotes"), "{error}");
    let error = fails(&["run", greeting, "farewell"], "");
    assert!(
        error.contains("function with name `farewell` is missing"),
        "{error}"
    );
}

#[test]
fn it_talks_to_services() {
    let greeting = guest("greeting");
    let script = format!(
        "load greeting {path}\nload parrot {parrot}\ninterface greeting\n\
         call greeting greeting [\"Ada\"]\ncall greeting greeting -nr [\"Bob\"] {{\"service_id\": \"s\"}}\n\
         stats\nenvs greeting\nunload parrot\nhelp\nquit\ncall never reached",
        path = greeting.display(),
        parrot = guest("parrot").display()
    );
    let output = marine(&["repl", "--quiet"], &script);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for expected in [
        "fn greeting(name: string) -> string",
        "result: \"Hi, Ada\"",
        "elapsed time: ",
        "greeting - ",
        "module parrot is gone",
        "unload NAME",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    assert!(!text.contains("Hi, Bob"), "{text}");
    for (script, expected) in [
        ("sing", "there is no command \"sing\""),
        (
            "call greeting greeting [\"Ada\"]",
            "there is no service yet",
        ),
        ("new missing.toml", "missing.toml"),
    ] {
        let error = fails(&["repl"], script);
        assert!(error.contains(expected), "{error}");
    }
    let module = greeting.to_str().unwrap();
    for (script, expected) in [
        ("call other f []", "module with name \"other\" is missing"),
        ("call greeting greeting Ada", "a string needs quotes"),
        ("unload other", "module with name \"other\" is missing"),
        ("envs other", "there is no module \"other\""),
    ] {
        let error = fails(&["repl", module], script);
        assert!(error.contains(expected), "{error}");
    }
}

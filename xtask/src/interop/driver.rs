//! Programs for Node.js that run published packages: JSON lines in, JSON lines out.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::tidy::workspace_root;

/// What npm reads: names, versions and integrity hashes.
const PINS: [&str; 2] = ["package.json", "package-lock.json"];

/// A running program of `xtask/harness/avm`.
pub(super) struct Driver {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Driver {
    /// Fetches the packages unless they are there, and starts a program with an argument.
    pub(super) fn start(program: &str, argument: Option<&Path>) -> Result<Self, String> {
        let scratch = fetch()?;
        let mut process = Command::new("node")
            .arg(harness("avm").join(program))
            .arg(&scratch)
            .args(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("node: {error}"))?;
        let input = process.stdin.take().ok_or("the driver has no stdin")?;
        let output = process.stdout.take().ok_or("the driver has no stdout")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output),
        })
    }

    /// Sends a request and waits for its answer.
    pub(super) fn ask(&mut self, request: &Value) -> Result<Value, String> {
        writeln!(self.input, "{request}").map_err(|error| format!("driver: {error}"))?;
        self.receive()
    }

    /// The next line.
    pub(super) fn receive(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        match read.map_err(|error| format!("driver: {error}"))? {
            0 => Err("the driver ended".to_owned()),
            _ => serde_json::from_str(&line).map_err(|error| format!("driver: {error}: {line}")),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder of a harness: its programs and what npm has to install for them.
pub(super) fn harness(name: &str) -> PathBuf {
    workspace_root().join("xtask/harness").join(name)
}

/// The published interpreter and its JS host, for [`Driver`].
pub(super) fn fetch() -> Result<PathBuf, String> {
    install("avm", "the published interpreter and its JS host")
}

/// Installs the pinned packages of a harness into a scratch folder; npm checks their integrity.
/// What was installed with the same pins stays.
pub(super) fn install(name: &str, what: &str) -> Result<PathBuf, String> {
    let harness = harness(name);
    let scratch = workspace_root().join("target/interop").join(name);
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut done = String::new();
    for name in PINS {
        done.push_str(&read(&harness.join(name))?);
    }
    let marker = scratch.join("installed");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == done) {
        return Ok(scratch);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", scratch.display());
    fs::create_dir_all(&scratch).map_err(failed)?;
    for name in PINS {
        fs::copy(harness.join(name), scratch.join(name)).map_err(failed)?;
    }
    println!("fetching {what}");
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&scratch)
        .output()
        .map_err(|error| format!("npm: {error}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("npm ci: {}", error.trim()));
    }
    fs::write(&marker, done).map_err(failed)?;
    Ok(scratch)
}

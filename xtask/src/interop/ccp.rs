//! `cargo xtask interop ccp`: the published clients of provers against our daemon.
//!
//! The clients are in a program of their own, `xtask/harness/ccp-rpc`; so the published crates stay
//! outside the workspace.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use crate::tidy::workspace_root;

/// Folder of the clients.
const HARNESS: &str = "xtask/harness/ccp-rpc";
/// Folder that they are built in.
const TARGET: &str = "target/harness-ccp-rpc";

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// The daemon; by default it is built.
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

/// Ends with this value.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match check(arguments) {
        Ok(()) => {
            println!("both clients understand the daemon");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(arguments: &Arguments) -> Result<(), String> {
    let root = workspace_root();
    let program = match &arguments.daemon {
        Some(program) => program.clone(),
        None => {
            let options = [
                "--package",
                "aquamarine-ccp",
                "--features",
                "daemon",
                "--bin",
                "ccp",
            ];
            build(&root, &root.join("target"), &options)?;
            root.join("target/debug/ccp")
        }
    };
    let target = root.join(TARGET);
    build(&root.join(HARNESS), &target, &[])?;

    let folder = target.join("daemon");
    let described = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(described)?;
    }
    fs::create_dir_all(&folder).map_err(described)?;
    let config = folder.join("ccp.toml");
    let text = "[rpc-endpoint]\nport = 0\n[optimizations]\nfull-memory = false\n";
    fs::write(&config, text).map_err(described)?;
    let (_daemon, address) = start(&program, &config)?;
    let status = Command::new(target.join("debug/ccp-rpc-harness"))
        .arg(format!("http://{address}"))
        .status()
        .map_err(|error| format!("{HARNESS}: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err("a client and the daemon disagree".to_owned()),
    }
}

fn build(folder: &Path, target: &Path, options: &[&str]) -> Result<(), String> {
    let status = Command::new(env!("CARGO"))
        .arg("build")
        .args(options)
        .env("CARGO_TARGET_DIR", target)
        .current_dir(folder)
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{} does not build", folder.display())),
    }
}

/// A running daemon and where it listens.
fn start(program: &Path, config: &Path) -> Result<(Daemon, String), String> {
    let mut child = Command::new(program)
        .arg("--json")
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let output = child.stdout.take().ok_or("the daemon has no output")?;
    let daemon = Daemon(child);
    let mut line = String::new();
    let mut output = BufReader::new(output);
    output
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    // What it says later is read by nobody, and must not fill its pipe.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let said: serde_json::Value = serde_json::from_str(&line).map_err(|_| line.clone())?;
    let address = said
        .get("listening")
        .and_then(|addresses| addresses.get("rpc"));
    match address.and_then(|address| address.as_str()) {
        Some(address) => Ok((daemon, address.to_owned())),
        None => Err(format!("the daemon says {line}")),
    }
}

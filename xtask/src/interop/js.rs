//! `cargo xtask interop js`: the published JS client, unmodified, against our peers.
//!
//! The cases are a program for Node.js in `xtask/harness/js`, since only JavaScript can call the client.
//! It runs in the scratch folder beside the packages that it imports, and starts the peers itself:
//! some cases stop and start them.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde::Deserialize;

use super::{compiled, driver};
use crate::{
    packages::{self, PackageFile, REGISTRY, SPELL, SQLITE},
    tidy::workspace_root,
};

/// Published modules for peers that host spells and system services, by the names of their files.
const MODULES: [(&str, PackageFile<'_>); 3] = [
    ("sqlite3.wasm", SQLITE),
    ("spell.wasm", SPELL),
    ("registry.wasm", REGISTRY),
];

/// Which cases to run, and how often.
#[derive(clap::Args)]
pub struct Arguments {
    /// Run only the cases with this in their name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// How often to run them, each time with fresh peers.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Print the names of the cases and run none.
    #[arg(long)]
    list: bool,
    /// Folder of `peer`; it is built where this is not given.
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = if arguments.list {
        list().map(|()| true)
    } else {
        check(arguments).map(|summary| {
            println!("{}", summary.text());
            summary.failed == 0
        })
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A line of the program.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    /// What became of a case.
    Case(Case),
    /// A case that there is.
    Name { name: String },
    /// All have been run.
    End { end: bool },
}

#[derive(Debug, Deserialize)]
struct Case {
    run: u32,
    name: String,
    outcome: Outcome,
    ms: u64,
    #[serde(default)]
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Outcome {
    #[serde(rename = "passed")]
    Passed,
    #[serde(rename = "failed")]
    Failed,
    #[serde(rename = "not run")]
    NotRun,
}

impl Case {
    /// A row of the table.
    fn row(&self) -> String {
        let outcome = match self.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "not run",
        };
        let time = format!("{}.{:03} s", self.ms / 1000, self.ms % 1000);
        let row = format!("{:>3}  {outcome:7}  {time:>10}  {}", self.run, self.name);
        match self.detail.as_str() {
            "" => row,
            detail => format!("{row}: {detail}"),
        }
    }
}

/// How many cases ended how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    passed: usize,
    failed: usize,
    not_run: usize,
}

impl Summary {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::NotRun => self.not_run += 1,
        }
    }

    fn text(&self) -> String {
        format!(
            "{} passed, {} failed, {} not run",
            self.passed, self.failed, self.not_run
        )
    }
}

fn list() -> Result<(), String> {
    let output = Command::new("node")
        .arg(driver::harness("js").join("main.mjs"))
        .arg("--list")
        .output()
        .map_err(|error| format!("node: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Line::Name { name } = read(line)? {
            println!("{name}");
        }
    }
    Ok(())
}

fn check(arguments: &Arguments) -> Result<Summary, String> {
    let root = workspace_root();
    let scratch = driver::install("js", "the published JS client and the Aqua compiler")?;
    let binaries = match &arguments.binaries {
        Some(folder) => folder.clone(),
        None => compiled::build(&root)?,
    };
    let peer = std::path::absolute(binaries.join("peer")).map_err(|error| error.to_string())?;
    let modules = scratch.join("modules");
    fetch_modules(&modules)?;
    // Node.js looks for packages above the file that imports them.
    let program = scratch.join("program");
    replace(&driver::harness("js"), &program)?;
    // The client and its packages write warnings there.
    let log = scratch.join("log");
    let errors = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut process = Command::new("node")
        .arg(program.join("main.mjs"))
        .arg(&peer)
        .arg(root.join("examples/wasm"))
        .arg(&modules)
        .arg(scratch.join("peers"))
        .args(arguments.only.iter().flat_map(|name| ["--only", name]))
        .args(["--repeat", &arguments.repeat.to_string()])
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("node: {error}"))?;
    let stdout = process.stdout.take().ok_or("node has no stdout")?;
    let summary = follow(BufReader::new(stdout));
    let status = process.wait().map_err(|error| format!("node: {error}"))?;
    match summary? {
        Some(summary) if summary == Summary::default() => Err(match &arguments.only {
            Some(name) => format!("no case has `{name}` in its name"),
            None => "there are no cases".to_owned(),
        }),
        Some(summary) => Ok(summary),
        None => Err(format!(
            "node ended with {status} before all cases, see {}",
            log.display()
        )),
    }
}

/// Puts the published modules into a folder.
fn fetch_modules(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    for (name, file) in &MODULES {
        let bytes = packages::fetch(file).map_err(|error| error.to_string())?;
        fs::write(folder.join(name), bytes).map_err(failed)?;
    }
    Ok(())
}

/// Prints the cases as they end; nothing when the last line is missing.
fn follow(lines: impl BufRead) -> Result<Option<Summary>, String> {
    let mut summary = Summary::default();
    for line in lines.lines() {
        match read(&line.map_err(|error| format!("node: {error}"))?)? {
            Line::Case(case) => {
                println!("{}", case.row());
                summary.count(case.outcome);
            }
            Line::Name { .. } => {}
            Line::End { end } => return Ok(end.then_some(summary)),
        }
    }
    Ok(None)
}

fn read(line: &str) -> Result<Line, String> {
    serde_json::from_str(line).map_err(|error| format!("node: {error}: {line}"))
}

/// Makes a folder what another one is.
fn replace(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    if to.exists() {
        fs::remove_dir_all(to).map_err(|error| failed(to, error))?;
    }
    fs::create_dir_all(to).map_err(|error| failed(to, error))?;
    for entry in fs::read_dir(from).map_err(|error| failed(from, error))? {
        let source = entry.map_err(|error| failed(from, error))?.path();
        let Some(name) = source.file_name() else {
            continue;
        };
        let target = to.join(name);
        if source.is_dir() {
            replace(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(|error| failed(&source, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_up_to_the_end() {
        let cases = r#"{"run":1,"name":"a","outcome":"passed","ms":1234}
{"run":1,"name":"b","outcome":"failed","ms":5,"detail":"got 1, expected 2"}
{"run":2,"name":"c","outcome":"not run","ms":0,"detail":"no spells"}
"#;
        let complete = format!("{cases}{{\"end\":true}}\n");
        let summary = follow(complete.as_bytes()).unwrap().unwrap();
        assert_eq!(summary.text(), "1 passed, 1 failed, 1 not run");
        assert_eq!(follow(cases.as_bytes()).unwrap(), None);
        assert!(follow("oops\n".as_bytes()).unwrap_err().contains("oops"));
    }

    #[test]
    fn rows() {
        let row = |line: &str| match read(line).unwrap() {
            Line::Case(case) => case.row(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            row(r#"{"run":1,"name":"op.noop","outcome":"passed","ms":1234}"#),
            "  1  passed      1.234 s  op.noop"
        );
        assert_eq!(
            row(r#"{"run":10,"name":"spell","outcome":"not run","ms":7,"detail":"why"}"#),
            " 10  not run     0.007 s  spell: why"
        );
    }
}

//! `cargo xtask interop compiled`: functions compiled by the published Aqua compiler, run by our
//! `client` against our `peer`.
//!
//! A function is run when it needs nothing but builtins: each of its calls names its service by a
//! literal, and that is a builtin of every peer or what a client serves itself (`getDataSrv`,
//! `callbackSrv`, `errorHandlingSrv`). Arguments are made up by their types; a text that the
//! script uses as a peer is the relay's id.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use air_parser::{InstructionKind, ParseOptions, ValueKind, parse_syntax};
use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::tidy::workspace_root;

/// Services that need no deployment: builtins of a peer, and what a client serves.
const BUILTIN: [&str; 11] = [
    "array",
    "callbackSrv",
    "cmp",
    "debug",
    "errorHandlingSrv",
    "getDataSrv",
    "json",
    "kad",
    "math",
    "op",
    "peer",
];
/// Clients that run at the same time.
const CLIENTS: usize = 4;

/// What to run, and how long it may take.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files or folders of compiled functions.
    #[arg(default_value = "../shared/vectors/aqua-compiled")]
    paths: Vec<PathBuf>,
    /// Milliseconds that a function may take.
    #[arg(long, default_value_t = 4000)]
    ttl: u64,
    /// Folder of `peer` and `client`; they are built where it is not given.
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Print each function and what became of it.
    #[arg(long)]
    verbose: bool,
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match compiled(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A function to run: the line of its recording.
struct Function {
    name: String,
    origin: String,
    line: String,
}

/// What became of a function.
enum End {
    Returned,
    Failed(String),
    Expired,
}

fn compiled(arguments: &Arguments) -> Result<(), String> {
    let root = workspace_root();
    let mut files = Vec::new();
    for path in &arguments.paths {
        collect(&root.join(path), &mut files)?;
    }
    let mut functions = Vec::new();
    let (mut total, mut seen) = (0, BTreeSet::new());
    for file in &files {
        for line in lines(file)? {
            let record: Value = serde_json::from_str(&line)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            let text = |field: &str| {
                record
                    .get(field)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            total += 1;
            if needs_builtins_only(text("air")) && seen.insert(text("air").to_owned()) {
                functions.push(Function {
                    name: text("function").to_owned(),
                    origin: format!("{} of {}", text("function"), text("source")),
                    line,
                });
            }
        }
    }
    if functions.is_empty() {
        return Err(format!("no compiled functions in {} files", files.len()));
    }
    println!(
        "{total} functions in {} files, {} distinct ones need builtins only",
        files.len(),
        functions.len()
    );
    let bin = match &arguments.binaries {
        Some(folder) => folder.clone(),
        None => build(&root)?,
    };
    let relay = Peer::start(&bin, None)?;
    // Some functions ask who is near.
    let _near = [
        Peer::start(&bin, Some(&relay.address))?,
        Peer::start(&bin, Some(&relay.address))?,
    ];
    let ends = run_all(&functions, &bin, &relay.address, arguments);
    report(&functions, &ends);
    Ok(())
}

fn report(functions: &[Function], ends: &[End]) {
    let (mut returned, mut expired) = (0, Vec::new());
    let mut failed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (function, end) in functions.iter().zip(ends) {
        match end {
            End::Returned => returned += 1,
            End::Expired => expired.push(function.origin.as_str()),
            End::Failed(reason) => failed.entry(reason).or_default().push(&function.origin),
        }
    }
    for (reason, functions) in &failed {
        println!("{} ended with: {reason}", functions.len());
        for function in functions.iter().take(5) {
            println!("    {function}");
        }
    }
    if !expired.is_empty() {
        println!("{} did not return in time", expired.len());
        for function in &expired {
            println!("    {function}");
        }
    }
    println!(
        "{returned} of {} functions returned, {} ended with an error of theirs, {} expired",
        functions.len(),
        failed.values().map(Vec::len).sum::<usize>(),
        expired.len()
    );
}

/// Whether every call of a script is one that any peer or the client itself answers.
fn needs_builtins_only(air: &str) -> bool {
    let Ok(ast) = parse_syntax(air, &ParseOptions::default()) else {
        return false;
    };
    ast.instructions()
        .all(|instruction| match instruction.kind() {
            InstructionKind::Call { service, .. } => {
                matches!(service.kind, ValueKind::Literal(name) if BUILTIN.contains(&name))
            }
            _ => true,
        })
}

/// Runs all functions, a few at a time; the results are in the order of the functions.
fn run_all(functions: &[Function], bin: &Path, relay: &str, arguments: &Arguments) -> Vec<End> {
    let next = Mutex::new(0..functions.len());
    let ends = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let index = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((index, function)) =
                        index.and_then(|index| Some((index, functions.get(index)?)))
                    else {
                        return;
                    };
                    let end =
                        run_one(function, index, bin, relay, arguments).unwrap_or_else(End::Failed);
                    ends.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(index, end);
                }
            });
        }
    });
    let ends = ends.into_inner().unwrap_or_else(PoisonError::into_inner);
    ends.into_values().collect()
}

fn run_one(
    function: &Function,
    index: usize,
    bin: &Path,
    relay: &str,
    arguments: &Arguments,
) -> Result<End, String> {
    let file = std::env::temp_dir().join(format!(
        "aquamarine-interop-{}-{index}.jsonl",
        std::process::id()
    ));
    fs::write(&file, &function.line).map_err(|error| format!("{}: {error}", file.display()))?;
    let output = Command::new(bin.join("client"))
        .args(["--relay", relay, "--ttl", &arguments.ttl.to_string()])
        .args(["--function", &function.name])
        .arg("--record")
        .arg(&file)
        .output()
        .map_err(|error| format!("client: {error}"));
    // The file is of no use whatever happened.
    let _ = fs::remove_file(&file);
    let output = output?;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if arguments.verbose {
        println!("{}: {}{}", function.origin, out.trim(), err.trim());
    }
    if output.status.success() {
        return Ok(End::Returned);
    }
    let first = err.lines().next().unwrap_or_default();
    if first.contains("expired after its ttl") {
        return Ok(End::Expired);
    }
    Ok(End::Failed(without_ids(first)))
}

/// A message without peer ids, so that equal ones can be counted.
fn without_ids(message: &str) -> String {
    message
        .split_inclusive(|char: char| !char.is_ascii_alphanumeric())
        .map(|word| {
            if word.starts_with("12D3Koo") {
                "<peer> "
            } else {
                word
            }
        })
        .collect()
}

/// Builds `peer` and `client`; the folder with both.
pub(super) fn build(root: &Path) -> Result<PathBuf, String> {
    let status = Command::new(env!("CARGO"))
        // Of the whole workspace: the features of the tests, so that little is built again.
        .args(["build", "--quiet", "--workspace"])
        .args(["--bin", "peer", "--bin", "client"])
        .current_dir(root)
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    if !status.success() {
        return Err("peer and client do not build".to_owned());
    }
    // The task itself runs from the folder that the build writes to.
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    own.ancestors()
        .find(|folder| folder.join("peer").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| format!("there is no peer above {}", own.display()))
}

/// A running `peer`.
struct Peer {
    process: Child,
    address: String,
}

impl Peer {
    fn start(bin: &Path, bootstrap: Option<&str>) -> Result<Self, String> {
        let mut process = Command::new(bin.join("peer"))
            .arg("--allow-local-addresses")
            .args(bootstrap.into_iter().flat_map(|node| ["--bootstrap", node]))
            .args([
                "--tcp-port",
                "0",
                "--websocket-port",
                "0",
                "--http-port",
                "0",
            ])
            .args(["--listen-ip", "127.0.0.1", "--log", "error"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("peer: {error}"))?;
        let stdout = process.stdout.take().ok_or("the peer has no stdout")?;
        let mut address = String::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| format!("peer: {error}"))?;
            match line.split_once(' ') {
                Some(("listen", listen)) if address.is_empty() => listen.clone_into(&mut address),
                None if line == "ready" => return Ok(Self { process, address }),
                _ => {}
            }
        }
        Err("the peer ended before it was ready".to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            collect(&entry.map_err(failed)?.path(), files)?;
        }
        files.sort();
    } else if path.to_string_lossy().contains(".jsonl") {
        files.push(path.to_owned());
    }
    Ok(())
}

fn lines(file: &Path) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut text = String::new();
    let mut reader = fs::File::open(file).map_err(failed)?;
    if file.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(reader).read_to_string(&mut text)
    } else {
        reader.read_to_string(&mut text)
    }
    .map_err(failed)?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_builtins_only() {
        assert!(needs_builtins_only(r#"(call "p" ("op" "noop") [])"#));
        assert!(!needs_builtins_only(r#"(call "p" ("registry" "get") [])"#));
        assert!(!needs_builtins_only(
            r#"(seq (call "p" ("op" "identity") ["x"] s) (call "p" (s "noop") []))"#
        ));
        assert!(!needs_builtins_only("(call"));
    }

    #[test]
    fn ids_of_peers_do_not_make_messages_differ() {
        assert_eq!(without_ids("at 12D3KooWabc: no"), "at <peer>  no");
    }
}

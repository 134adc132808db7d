//! `cargo xtask guest`: builds the guest modules of `examples/guests` into `examples/wasm`.

pub mod sizes;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use marine_runtime::{
    Interface,
    build::{Flags, Target, Toolchain},
    embed::{self, EmbedError},
    module::{ModuleError, ModuleInfo},
};

use crate::tidy::workspace_root;

const TARGET: Target = Target::Wasi;

/// The guest that exists to be measured against: it is no module.
const BASELINE: &str = "parrot-by-hand";

/// Which guests to build, and what to do with them.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names of folders of `examples/guests`; all when none is given.
    names: Vec<String>,
    /// Write nothing: compare the interfaces with those of the committed modules.
    #[arg(long)]
    check: bool,
    /// Write nothing: print a table of sizes, and fail when the smallest module is larger than it may be.
    #[arg(long, conflicts_with = "check")]
    sizes: bool,
}

/// What building or comparing came to.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// As it should be.
    Good,
    /// Some module is not as it should be; the report names it.
    Bad,
    /// There is no compiler for guests.
    Skipped,
}

/// Why guests could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// A name that no guest has.
    #[error("there is no guest {name:?}: the guests are {}", .known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// All guests.
        known: Vec<String>,
    },
    /// A file or folder that could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The compiler was not to be started.
    #[error("{program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The compiler reported an error.
    #[error("the guests did not build: {status}")]
    Build {
        /// Its exit status.
        status: std::process::ExitStatus,
    },
    /// A module from which no interface can be made.
    #[error("guest {name}: {source}")]
    Embed {
        /// The guest.
        name: String,
        /// What is wrong with it.
        source: Box<EmbedError>,
    },
    /// A committed module that does not decode.
    #[error("{}: {source}", .path.display())]
    Module {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ModuleError>,
    },
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    let outcome = if arguments.check {
        check(&arguments.names)
    } else if arguments.sizes {
        sizes::print()
    } else {
        build(&arguments.names)
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        Ok(Outcome::Skipped) if is_required() => {
            eprintln!("error: AQUAMARINE_REQUIRE asks for guest");
            ExitCode::FAILURE
        }
        Ok(Outcome::Skipped) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds guests into `examples/wasm`; all when no name is given.
///
/// # Errors
/// A guest that does not build, or a file that cannot be written.
pub fn build(names: &[String]) -> Result<Outcome, GuestError> {
    let names = chosen(names)?;
    let Some(toolchain) = toolchain() else {
        return Ok(Outcome::Skipped);
    };
    compile(&toolchain, &names)?;
    let folder = committed_folder();
    fs::create_dir_all(&folder).map_err(|source| GuestError::File {
        path: folder.clone(),
        source,
    })?;
    for name in &names {
        let wasm = embedded(name)?;
        let path = folder.join(format!("{name}.wasm"));
        fs::write(&path, &wasm).map_err(|source| GuestError::File {
            path: path.clone(),
            source,
        })?;
        println!("guest: {name}: {} bytes", wasm.len());
    }
    Ok(Outcome::Good)
}

/// Builds guests and compares their interfaces with those of the committed modules.
///
/// # Errors
/// A guest that does not build, or a file that cannot be read.
pub fn check(names: &[String]) -> Result<Outcome, GuestError> {
    let names = chosen(names)?;
    let Some(toolchain) = toolchain() else {
        return Ok(Outcome::Skipped);
    };
    compile(&toolchain, &names)?;
    let mut outcome = Outcome::Good;
    for name in &names {
        let path = committed_folder().join(format!("{name}.wasm"));
        let built = interface(name, &embedded(name)?, &path)?;
        let committed = match fs::read(&path) {
            Ok(wasm) => interface(name, &wasm, &path)?,
            Err(source) => {
                println!("guest: {name}: {}: {source}", path.display());
                outcome = Outcome::Bad;
                continue;
            }
        };
        if built == committed {
            println!("guest: {name}: same interface");
        } else {
            println!(
                "guest: {name}: the interface differs from {}",
                path.display()
            );
            print_difference(&committed, &built);
            outcome = Outcome::Bad;
        }
    }
    if outcome == Outcome::Bad {
        println!("guest: `cargo xtask guest` builds the committed modules again");
    }
    Ok(outcome)
}

/// Whether a missing compiler for guests is a failure.
pub fn is_required() -> bool {
    crate::is_required("guest")
}

fn toolchain() -> Option<Toolchain> {
    let toolchain = Toolchain::find(TARGET);
    if toolchain.is_none() {
        println!("skipped: guest: no {} toolchain", TARGET.triple());
    }
    toolchain
}

fn guests_folder() -> PathBuf {
    workspace_root().join("examples/guests")
}

fn committed_folder() -> PathBuf {
    workspace_root().join("examples/wasm")
}

fn target_folder() -> PathBuf {
    workspace_root().join("target/guest")
}

/// The guests to build, in order.
fn chosen(names: &[String]) -> Result<Vec<String>, GuestError> {
    let folder = guests_folder();
    let failed = |source| GuestError::File {
        path: folder.clone(),
        source,
    };
    let mut known = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // One with a lock file is a workspace of its own, with tests.
        let is_guest =
            entry.path().join("Cargo.toml").is_file() && !entry.path().join("Cargo.lock").is_file();
        if name != BASELINE && is_guest {
            known.push(name);
        }
    }
    known.sort();
    match names.iter().find(|name| !known.contains(name)) {
        Some(name) => Err(GuestError::Unknown {
            name: name.clone(),
            known,
        }),
        None if names.is_empty() => Ok(known),
        None => Ok(names.to_vec()),
    }
}

fn compile(toolchain: &Toolchain, names: &[String]) -> Result<(), GuestError> {
    let mut command = toolchain.build(&workspace_root(), Flags::Own, &[]);
    command
        .args(["--release", "--locked"])
        .arg("--target-dir")
        .arg(target_folder())
        .current_dir(guests_folder());
    for name in names {
        command.args(["-p", name]);
    }
    if env::var_os("SOURCE_DATE_EPOCH").is_none()
        && let Some(time) = last_change()
    {
        command.env("SOURCE_DATE_EPOCH", time);
    }
    let status = command.status().map_err(|source| GuestError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(GuestError::Build { status })
    }
}

/// When the guests or the SDK were changed last, so that the same sources give the same manifest.
fn last_change() -> Option<String> {
    let output = Command::new("git")
        .args([
            "log",
            "-1",
            "--format=%ct",
            "--",
            "examples/guests",
            "marine-sdk",
        ])
        .current_dir(workspace_root())
        .output()
        .ok()?;
    let time = String::from_utf8(output.stdout).ok()?;
    let time = time.trim();
    (!time.is_empty()).then(|| time.to_owned())
}

/// What the compiler made of a guest.
fn built(name: &str) -> Result<Vec<u8>, GuestError> {
    let file = format!("{name}.wasm");
    let path = target_folder()
        .join(TARGET.triple())
        .join("release")
        .join(file);
    fs::read(&path).map_err(|source| GuestError::File { path, source })
}

fn embedded(name: &str) -> Result<Vec<u8>, GuestError> {
    embed::embed(name, &built(name)?).map_err(|source| GuestError::Embed {
        name: name.to_owned(),
        source: Box::new(source),
    })
}

/// The interface as published JSON, one part a line.
fn interface(name: &str, wasm: &[u8], path: &Path) -> Result<String, GuestError> {
    let module = ModuleInfo::decode(name, wasm).map_err(|source| GuestError::Module {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let interface = Interface::of(&module.interface);
    Ok(serde_json::to_string_pretty(&interface).unwrap_or_default())
}

fn print_difference(committed: &str, built: &str) {
    for line in committed
        .lines()
        .filter(|line| !built.lines().any(|other| other == *line))
    {
        println!("  - {}", line.trim());
    }
    for line in built
        .lines()
        .filter(|line| !committed.lines().any(|other| other == *line))
    {
        println!("  + {}", line.trim());
    }
}

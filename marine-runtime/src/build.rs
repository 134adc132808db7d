//! From the sources of modules to files that a service loads: cargo for `wasm32-wasip1`, then the interface sections.
//!
//! ```no_run
//! use marine_runtime::build::{BuildOptions, build};
//!
//! for module in build(&BuildOptions::new("modules"))? {
//!     println!("{}", module.path.display());
//! }
//! # Ok::<(), marine_runtime::build::BuildError>(())
//! ```

mod toolchain;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use serde::Deserialize;

use crate::{
    embed::{self, DESCRIPTION_PREFIXES, EmbedError},
    module::{Outline, SDK_VERSION_SECTION},
};

pub use toolchain::{Flags, Target, Toolchain};

/// What to build, and how.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The package or workspace.
    pub folder: PathBuf,
    /// Arguments for `cargo build`. Without one that names a profile, it is `release`.
    pub arguments: Vec<String>,
    /// Where cargo keeps what it builds; by default where it always does.
    pub target_dir: Option<PathBuf>,
    /// Whether the flags in `RUSTFLAGS` are for this build. They are not when another build starts this one.
    pub flags: Flags,
    /// Whether cargo's output goes to this process's standard error instead of into [`BuildError::Failed`].
    pub shows_output: bool,
}

/// A module that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Name of the binary in its package.
    pub name: String,
    /// The package's `Cargo.toml`.
    pub manifest: PathBuf,
    /// The file, which has its interface section.
    pub path: PathBuf,
    /// The files of the workspace that it was made of, `Cargo.toml` included.
    pub sources: Vec<PathBuf>,
}

/// A build that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No compiler for Wasm.
    #[error(
        "no compiler for {target}: `rustup target add {target}`, or Debian's packages rustc-web, cargo-web, rust-web-src, wasi-libc and lld"
    )]
    NoToolchain {
        /// What is to be built for.
        target: &'static str,
    },
    /// A program that did not start.
    #[error("{program} does not start: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// Cargo found something wrong.
    #[error("cargo {command} failed in {} ({status}){output}", .folder.display())]
    Failed {
        /// `build` or `metadata`.
        command: &'static str,
        /// Where.
        folder: PathBuf,
        /// Its exit status.
        status: ExitStatus,
        /// What it printed, after a line break; empty when it was shown already.
        output: String,
    },
    /// Cargo's answer could not be read.
    #[error("cargo {command} answers something unknown: {source}")]
    Answer {
        /// `build` or `metadata`.
        command: &'static str,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A file that could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A module from which no interface can be made.
    #[error("{}: {source}", .path.display())]
    Embed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<EmbedError>,
    },
}

impl BuildOptions {
    /// All modules of the package or workspace in `folder`, for release, with cargo's output shown.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            arguments: Vec::new(),
            target_dir: None,
            flags: Flags::Inherited,
            shows_output: true,
        }
    }
}

/// Builds modules and puts the interface section into each file that links the SDK. Programs without the SDK stay as
/// they are and are not in the result.
///
/// # Errors
/// No compiler, code that does not compile, or descriptions that make no interface.
pub fn build(options: &BuildOptions) -> Result<Vec<Built>, BuildError> {
    let mut modules = Vec::new();
    for module in compile(options)? {
        let failed = |source| BuildError::File {
            path: module.path.clone(),
            source,
        };
        let wasm = fs::read(&module.path).map_err(failed)?;
        if let Some(embedded) = with_interface(&module, &wasm)? {
            replace(&module.path, &embedded).map_err(failed)?;
            modules.push(module);
        }
    }
    Ok(modules)
}

/// Like [`build`], but the modules are written to `folder`, and cargo's own files stay as they are: several processes
/// may do this at a time, and a file in `folder` is complete whenever there is one.
///
/// # Errors
/// See [`build`]; a folder that cannot be written.
pub fn build_into(options: &BuildOptions, folder: &Path) -> Result<Vec<Built>, BuildError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| BuildError::File { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    // While another process builds, cargo may replace the files that are read here.
    let lock_path = folder.join(".lock");
    let lock = fs::File::create(&lock_path).map_err(failed(&lock_path))?;
    lock.lock().map_err(failed(&lock_path))?;
    let mut modules = Vec::new();
    for mut module in compile(options)? {
        let wasm = fs::read(&module.path).map_err(failed(&module.path))?;
        let Some(embedded) = with_interface(&module, &wasm)? else {
            continue;
        };
        module.path = folder.join(format!("{}.wasm", module.name));
        if fs::read(&module.path).ok().as_deref() != Some(&embedded) {
            replace(&module.path, &embedded).map_err(failed(&module.path))?;
        }
        modules.push(module);
    }
    Ok(modules)
}

/// What cargo knows about the package or workspace in a folder.
#[derive(Clone, Debug, Deserialize)]
pub struct Workspace {
    /// Its packages.
    pub packages: Vec<Package>,
    /// Where cargo keeps what it builds.
    pub target_directory: PathBuf,
    /// Its folder.
    pub workspace_root: PathBuf,
}

/// A package of a [`Workspace`].
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    targets: Vec<TargetMessage>,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// A folder without a package, a manifest that is malformed.
    pub fn of(folder: &Path) -> Result<Self, BuildError> {
        let mut command = toolchain::host_cargo();
        command
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(folder)
            .stderr(Stdio::piped());
        let output = run(&mut command)?;
        if !output.status.success() {
            return Err(BuildError::Failed {
                command: "metadata",
                folder: folder.to_owned(),
                status: output.status,
                output: text_after_break(&output.stderr),
            });
        }
        serde_json::from_slice(&output.stdout).map_err(|source| BuildError::Answer {
            command: "metadata",
            source,
        })
    }
}

impl Package {
    /// Names of its programs.
    pub fn binaries(&self) -> impl Iterator<Item = &str> {
        let binaries = self.targets.iter().filter(|target| target.is_binary());
        binaries.map(|target| target.name.as_str())
    }
}

#[derive(Clone, Debug, Deserialize)]
struct TargetMessage {
    name: String,
    kind: Vec<String>,
}

impl TargetMessage {
    fn is_binary(&self) -> bool {
        self.kind.iter().any(|kind| kind == "bin")
    }
}

/// A line of cargo's output that tells of a file.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    target: Option<TargetMessage>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Runs cargo: the Wasm programs that it made or found to be fresh.
fn compile(options: &BuildOptions) -> Result<Vec<Built>, BuildError> {
    let target = Target::Wasi;
    let toolchain = Toolchain::find(target).ok_or(BuildError::NoToolchain {
        target: target.triple(),
    })?;
    let workspace = Workspace::of(&options.folder)?;
    let mut command = toolchain.build(&workspace.workspace_root, options.flags, &[]);
    command.arg("--message-format=json-render-diagnostics");
    if !options
        .arguments
        .iter()
        .any(|argument| names_profile(argument))
    {
        command.arg("--release");
    }
    if let Some(folder) = &options.target_dir {
        command.arg("--target-dir").arg(folder);
    }
    command
        .args(&options.arguments)
        .current_dir(&options.folder)
        .stderr(if options.shows_output {
            Stdio::inherit()
        } else {
            Stdio::piped()
        });
    let output = run(&mut command)?;
    if !output.status.success() {
        return Err(BuildError::Failed {
            command: "build",
            folder: options.folder.clone(),
            status: output.status,
            output: text_after_break(&output.stderr),
        });
    }
    let mut built = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        // Programs that cargo runs may write to the same place.
        if !line.starts_with(b"{") {
            continue;
        }
        let message: Message =
            serde_json::from_slice(line).map_err(|source| BuildError::Answer {
                command: "build",
                source,
            })?;
        let binary = message.target.filter(TargetMessage::is_binary);
        let is_wasm = |path: &PathBuf| path.extension().is_some_and(|end| end == "wasm");
        let file = message.filenames.into_iter().find(is_wasm);
        if let ("compiler-artifact", Some(target), Some(path)) =
            (message.reason.as_str(), binary, file)
        {
            let mut sources = sources(&path.with_extension("d"));
            sources.push(message.manifest_path.clone());
            built.push(Built {
                name: target.name,
                manifest: message.manifest_path,
                path,
                sources,
            });
        }
    }
    Ok(built)
}

/// What cargo says that a file was made of; nothing when it does not say.
fn sources(description: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(description).unwrap_or_default();
    let Some((_, list)) = text.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    // A space in a path has a backslash before it.
    let mut paths = vec![String::new()];
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek(), paths.last_mut()) {
            ('\\', Some(' '), Some(path)) => {
                letters.next();
                path.push(' ');
            }
            (' ', ..) => paths.push(String::new()),
            (letter, _, Some(path)) => path.push(letter),
            (_, _, None) => {}
        }
    }
    let paths = paths.into_iter().filter(|path| !path.is_empty());
    paths.map(PathBuf::from).collect()
}

/// The module with its interface; `None` for a program that does not link the SDK.
fn with_interface(module: &Built, wasm: &[u8]) -> Result<Option<Vec<u8>>, BuildError> {
    let failed = |source: EmbedError| BuildError::Embed {
        path: module.path.clone(),
        source: Box::new(source),
    };
    let outline = Outline::read(&module.name, wasm).map_err(|error| failed(error.into()))?;
    let is_of_sdk = outline.custom_sections().iter().any(|(name, _)| {
        *name == SDK_VERSION_SECTION
            || DESCRIPTION_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    });
    if !is_of_sdk {
        return Ok(None);
    }
    embed::embed(&module.name, wasm).map(Some).map_err(failed)
}

/// Writes a file at once or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!(
        "{}.{:x}.tmp",
        std::process::id(),
        rand::random::<u64>()
    ));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

fn names_profile(argument: &str) -> bool {
    matches!(argument, "--release" | "-r" | "--profile") || argument.starts_with("--profile=")
}

fn run(command: &mut Command) -> Result<std::process::Output, BuildError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .map_err(|source| BuildError::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })
}

fn text_after_break(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.trim_end() {
        "" => String::new(),
        text => format!(":\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_recognized() {
        assert!(names_profile("--release") && names_profile("--profile=dev"));
        assert!(!names_profile("--profiler"));
    }

    #[test]
    fn sources_with_spaces_in_their_paths() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "/t/x.wasm: /a/main.rs /with\\ space/lib.rs\n").unwrap();
        assert_eq!(
            sources(file.path()),
            [Path::new("/a/main.rs"), Path::new("/with space/lib.rs")]
        );
        assert!(sources(Path::new("no such file")).is_empty());
    }
}

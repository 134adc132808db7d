//! Compilers for Wasm.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where Debian's package `wasi-libc` puts the system library.
const DEBIAN_LIBRARY: &str = "/usr/lib/wasm32-wasi";

/// What a build that runs inside another one must not take over from it.
const OUTER_BUILD: [&str; 8] = [
    "CARGO_BUILD_TARGET",
    "CARGO_MAKEFLAGS",
    "CLIPPY_ARGS",
    "MAKEFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "__CARGO_DEFAULT_LIB_METADATA",
];

/// What Wasm is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// With a system, `wasm32-wasip1`: modules.
    Wasi,
    /// Without anything, `wasm32-unknown-unknown`.
    Bare,
}

/// Whether `RUSTFLAGS` and `CARGO_ENCODED_RUSTFLAGS` of this process are meant for the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// They are.
    Inherited,
    /// They belong to something else, such as the build that starts this one.
    Own,
}

/// A compiler for one target.
#[derive(Clone, Debug)]
pub struct Toolchain {
    target: Target,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// The current toolchain has the target installed.
    Installed,
    /// Debian's `rustc-web`, `cargo-web`, `rust-web-src`, `wasi-libc` and `lld`: the standard library is built with
    /// the module.
    Debian { linker: PathBuf },
}

impl Target {
    /// Its name.
    #[must_use]
    pub fn triple(self) -> &'static str {
        match self {
            Self::Wasi => "wasm32-wasip1",
            Self::Bare => "wasm32-unknown-unknown",
        }
    }

    /// The variable in which cargo looks for its linker.
    fn linker_variable(self) -> &'static str {
        match self {
            Self::Wasi => "CARGO_TARGET_WASM32_WASIP1_LINKER",
            Self::Bare => "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
        }
    }
}

impl Toolchain {
    /// The installed target if there is one, else Debian's packages.
    #[must_use]
    pub fn find(target: Target) -> Option<Self> {
        if is_installed(target) {
            let source = Source::Installed;
            return Some(Self { target, source });
        }
        let has_parts = [
            "/usr/bin/rustc",
            "/usr/bin/cargo",
            "/usr/lib/rustlib/src/rust/library/std/Cargo.toml",
            "/usr/lib/wasm32-wasi/crt1-command.o",
        ]
        .iter()
        .all(|part| Path::new(part).is_file());
        let linker = has_parts.then(linker).flatten()?;
        let source = Source::Debian { linker };
        Some(Self { target, source })
    }

    /// A call of `cargo build` for the target. Paths below `root` and below cargo's folder stay out of the modules;
    /// `own` are further flags of the compiler.
    #[must_use]
    pub fn build(&self, root: &Path, flags: Flags, own: &[&str]) -> Command {
        let inherited = match flags {
            Flags::Inherited => inherited_flags(),
            Flags::Own => Vec::new(),
        };
        // Flags in the environment replace those of cargo's configuration; others are added to them.
        let in_environment = !inherited.is_empty();
        let mut flags = inherited;
        flags.extend(own.iter().map(|&flag| flag.to_owned()));
        // Panic messages name source files.
        flags.push(format!("--remap-path-prefix={}=.", root.display()));
        if let Some(home) = cargo_home() {
            flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
        }
        let mut command = match &self.source {
            Source::Installed => {
                let mut command = host_cargo();
                command.arg("build");
                command
            }
            Source::Debian { linker } => {
                if self.target == Target::Wasi {
                    flags.extend([
                        format!("-L{DEBIAN_LIBRARY}"),
                        "-Clink-self-contained=no".to_owned(),
                        format!("-Clink-arg={DEBIAN_LIBRARY}/crt1-command.o"),
                    ]);
                }
                let mut command = without_outer_build(Command::new("/usr/bin/cargo"));
                command
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env(self.target.linker_variable(), linker)
                    .env_remove("CARGO")
                    .env_remove("RUSTC_WRAPPER")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    // Of the toolchain that runs this.
                    .env_remove("LD_LIBRARY_PATH")
                    .args(["build", "-Z", "build-std=std,panic_abort"]);
                command
            }
        };
        let triple = self.target.triple();
        command.env_remove("RUSTFLAGS").args(["--target", triple]);
        if in_environment {
            command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        } else {
            // Quoted strings of JSON are strings of TOML.
            let list = serde_json::Value::from(flags);
            command
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .arg("--config")
                .arg(format!("target.{triple}.rustflags={list}"));
        }
        command
    }
}

/// The current toolchain's cargo.
pub(super) fn host_cargo() -> Command {
    without_outer_build(Command::new(
        env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
    ))
}

fn without_outer_build(mut command: Command) -> Command {
    for name in OUTER_BUILD {
        command.env_remove(name);
    }
    command
}

fn inherited_flags() -> Vec<String> {
    if let Ok(flags) = env::var("CARGO_ENCODED_RUSTFLAGS") {
        return flags
            .split('\u{1f}')
            .filter(|flag| !flag.is_empty())
            .map(str::to_owned)
            .collect();
    }
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    flags.split_whitespace().map(str::to_owned).collect()
}

/// Whether the current compiler has the target's standard library.
fn is_installed(target: Target) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target.triple()])
        .output();
    let Ok(output) = output else {
        return false;
    };
    let folder = String::from_utf8_lossy(&output.stdout);
    let is_library = |name: &str| name.starts_with("libstd-");
    output.status.success()
        && fs::read_dir(folder.trim()).is_ok_and(|mut files| {
            files.any(|file| file.is_ok_and(|file| is_library(&file.file_name().to_string_lossy())))
        })
}

/// The newest `wasm-ld` that Debian has installed.
fn linker() -> Option<PathBuf> {
    let plain = PathBuf::from("/usr/bin/wasm-ld");
    (14..40)
        .rev()
        .map(|version| PathBuf::from(format!("/usr/bin/wasm-ld-{version}")))
        .chain([plain])
        .find(|path| path.exists())
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

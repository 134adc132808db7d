//! Compilers for Wasm.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tidy::workspace_root;

/// Where Debian's package `wasi-libc` puts the system library.
const DEBIAN_LIBRARY: &str = "/usr/lib/wasm32-wasi";

/// What Wasm is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// With a system: guests.
    Wasi,
    /// Without anything: the embeddable state machine.
    Bare,
}

impl Target {
    /// Its name.
    pub(crate) fn triple(self) -> &'static str {
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

/// A compiler for one target.
pub(crate) struct Toolchain {
    target: Target,
    source: Source,
}

enum Source {
    /// The current toolchain has the target installed.
    Installed,
    /// Debian's `rustc-web`, `cargo-web`, `rust-web-src`, `wasi-libc` and `lld`: the standard library is built with
    /// the module.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// The installed target if there is one, else Debian's packages.
    pub(crate) fn find(target: Target) -> Option<Self> {
        if installed(target) {
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

    /// A call of `cargo build` for the target in release mode. `flags` are those that the package itself needs.
    pub(crate) fn build(&self, flags: &[&str]) -> Command {
        let mut flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        // Panic messages name source files: keep the builder's folders out of the modules.
        flags.push(format!(
            "--remap-path-prefix={}=.",
            workspace_root().display()
        ));
        if let Some(home) = cargo_home() {
            flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
        }
        let mut command = match &self.source {
            Source::Installed => {
                let mut command =
                    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
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
                let mut command = Command::new("/usr/bin/cargo");
                command
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env(self.target.linker_variable(), linker)
                    .env_remove("RUSTC_WRAPPER")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .args(["build", "-Z", "build-std=std,panic_abort"]);
                command
            }
        };
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("CARGO_TARGET_DIR")
            .args(["--release", "--locked", "--target", self.target.triple()]);
        command
    }
}

/// Whether the current compiler has the target's standard library.
fn installed(target: Target) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target.triple()])
        .current_dir(workspace_root())
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

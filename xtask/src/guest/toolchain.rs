//! Compilers that can build guests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tidy::workspace_root;

/// What guests are built for.
pub(super) const TARGET: &str = "wasm32-wasip1";

/// Where Debian's package `wasi-libc` puts the system library.
const DEBIAN_LIBRARY: &str = "/usr/lib/wasm32-wasi";

/// A compiler for guests.
pub(super) enum Toolchain {
    /// The current toolchain has the target installed.
    Installed,
    /// Debian's `rustc-web`, `cargo-web`, `rust-web-src`, `wasi-libc` and `lld`: the standard library is built with
    /// the guest.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// The installed target if there is one, else Debian's packages.
    pub(super) fn find() -> Option<Self> {
        if installed() {
            return Some(Self::Installed);
        }
        let has_parts = [
            "/usr/bin/rustc",
            "/usr/bin/cargo",
            "/usr/lib/rustlib/src/rust/library/std/Cargo.toml",
            "/usr/lib/wasm32-wasi/crt1-command.o",
        ]
        .iter()
        .all(|part| Path::new(part).is_file());
        has_parts
            .then(linker)
            .flatten()
            .map(|linker| Self::Debian { linker })
    }

    /// A call of cargo, without a task yet.
    pub(super) fn cargo(&self) -> Command {
        // Panic messages name source files: keep the builder's folders out of the modules.
        let mut flags = vec![format!(
            "--remap-path-prefix={}=.",
            workspace_root().display()
        )];
        if let Some(home) = cargo_home() {
            flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
        }
        let mut command = match self {
            Self::Installed => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
            Self::Debian { linker } => {
                flags.extend([
                    format!("-L{DEBIAN_LIBRARY}"),
                    "-Clink-self-contained=no".to_owned(),
                    format!("-Clink-arg={DEBIAN_LIBRARY}/crt1-command.o"),
                ]);
                let mut command = Command::new("/usr/bin/cargo");
                command
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_WASIP1_LINKER", linker)
                    .env_remove("RUSTC_WRAPPER")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .args(["-Z", "build-std=std,panic_abort"]);
                command
            }
        };
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("CARGO_TARGET_DIR");
        command
    }
}

/// Whether the current compiler has the target's standard library.
fn installed() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
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

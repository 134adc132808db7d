//! The files of published packages.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use peer_core::config::ModuleFile;
use xtask::packages::{PackageFile, SPELL, SQLITE, fetch, is_required};

pub(crate) const REGISTRY_SPELL: PackageFile<'_> = PackageFile::of_crate(
    "registry-distro",
    "0.9.4",
    "registry-service/air/spell.spell.air",
    "2368b2e612a8ea425106987e55da6527d72c14fded12c15fdc73fc5860a32de5",
);
pub(crate) const TRUST_GRAPH: PackageFile<'_> = PackageFile::of_crate(
    "trust-graph-distro",
    "0.4.11",
    "trust-graph-service/trust-graph.wasm",
    "3f791d68f3c8e392693a9e257e6369ebb5a60941ffc9be426618d63263c363e9",
);
pub(crate) const CERTIFICATES: PackageFile<'_> = PackageFile::of_crate(
    "trust-graph-distro",
    "0.4.11",
    "trust-graph-service/init_certs.json",
    "86c0386a2138408306098f61982098468a6771494bcb3422c3ad0d184cef38e7",
);
pub(crate) const IPFS_EFFECTOR: PackageFile<'_> = PackageFile::of_crate(
    "aqua-ipfs-distro",
    "0.6.0",
    "ipfs-service/ipfs_effector.wasm",
    "aa65d5f5f8b4014782b40675854dc405252c54b39da378a52ae68f808ced69ee",
);
pub(crate) const IPFS_PURE: PackageFile<'_> = PackageFile::of_crate(
    "aqua-ipfs-distro",
    "0.6.0",
    "ipfs-service/ipfs_pure.wasm",
    "cfb15ed58c342927ac0a5bde99863b794df27352ba42561b8c0b48a8c0c8687c",
);
pub(crate) const DECIDER_SPELL: PackageFile<'_> = PackageFile::of_crate(
    "decider-distro",
    "0.7.2",
    "decider-spell/main.main.air",
    "8ca066338159da6319d02903d64108bfbd8df3fca274e13e5b14fea50bd6dece",
);
pub(crate) const WORKER_SPELL: PackageFile<'_> = PackageFile::of_crate(
    "decider-distro",
    "0.7.2",
    "decider-spell/worker_spell.main.air",
    "f2aaf829006ec43cbffe05be7566d7b2fcf112be07f3472d8576f930fc5f33cf",
);

/// Writes files of packages below a folder, by the names of modules; nothing where they cannot be
/// had, which is said.
pub(crate) fn provide(folder: &Path, files: &[(&str, PackageFile<'_>)]) -> Option<Vec<ModuleFile>> {
    let mut provided = Vec::new();
    for (name, file) in files {
        let bytes = match fetch(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                assert!(
                    !is_required() && error.is_unreachable(),
                    "AQUAMARINE_REQUIRE asks for published: {error}"
                );
                let line = format!("skipped: {error}\n");
                // A closed standard error is no reason to fail.
                drop(std::io::stderr().write_all(line.as_bytes()));
                return None;
            }
        };
        let path = folder.join(file.sha256);
        fs::write(&path, bytes).unwrap();
        provided.push(ModuleFile {
            name: (*name).to_owned(),
            path,
        });
    }
    Some(provided)
}

/// The path of one file.
pub(crate) fn provide_file(folder: &Path, file: PackageFile<'_>) -> Option<PathBuf> {
    let provided = provide(folder, &[("", file)])?;
    provided.into_iter().next().map(|file| file.path)
}

/// The published modules of a spell.
pub(crate) fn spell_modules(folder: &Path) -> Option<Vec<ModuleFile>> {
    provide(folder, &[("sqlite3", SQLITE), ("spell", SPELL)])
}

/// Our own module of a spell.
pub(crate) fn own_spell_modules() -> Vec<ModuleFile> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/wasm/spell.wasm");
    let name = "spell".to_owned();
    vec![ModuleFile { name, path }]
}

//! Spells on the peers of examples: their services are our own module, which needs no database.

use std::path::Path;

use peer_core::config::ModuleFile;

use crate::failure::{Failure, Result};

const SPELL: &[u8] = include_bytes!("../wasm/spell.wasm");

/// The modules of a peer's spells, from now on in a folder.
///
/// # Errors
/// The folder cannot be written.
pub fn modules(folder: &Path) -> Result<Vec<ModuleFile>> {
    let path = folder.join("spell.wasm");
    std::fs::write(&path, SPELL)
        .map_err(|error| Failure::new(format_args!("cannot write {}: {error}", path.display())))?;
    let name = "spell".to_owned();
    Ok(vec![ModuleFile { name, path }])
}

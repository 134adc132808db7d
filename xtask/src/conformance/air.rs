//! Replays `vectors/air`.

use std::path::PathBuf;

use super::Report;

/// Replays `files`.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    report.unknown.extend_from_slice(files);
    Ok(())
}

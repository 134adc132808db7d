//! `cargo xtask tidy`: what no compiler checks. Layers, file sizes, names, paths, READMEs, and
//! that no recorded script of others was copied into the tree.

mod layers;
mod scripts;
mod sources;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// What to check.
#[derive(clap::Args)]
pub struct Arguments {
    /// Instead of checking, write the list of script hashes from these folders of recordings.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    list_scripts: Vec<PathBuf>,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    let outcome = if arguments.list_scripts.is_empty() {
        check().map(|findings| {
            for finding in &findings {
                println!("tidy: {finding}");
            }
            println!("tidy: {} findings", findings.len());
            findings.is_empty()
        })
    } else {
        scripts::write_list(&workspace_root(), &arguments.list_scripts).map(|count| {
            println!("tidy: listed {count} scripts");
            true
        })
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// All findings, one line each; none in a tidy tree.
///
/// # Errors
/// Git or cargo did not answer, or a file could not be read.
pub fn check() -> Result<Vec<String>, String> {
    let root = workspace_root();
    let files = tracked_files(&root)?;
    let mut findings = layers::check(&root)?;
    findings.extend(sources::check(&root, &files)?);
    findings.extend(scripts::check(&root, &files)?);
    Ok(findings)
}

/// The folder of the workspace manifest.
pub(crate) fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The files that git tracks or would track, relative to `root`.
fn tracked_files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "git ls-files: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    let mut files: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .split('\0')
        .filter(|name| !name.is_empty() && root.join(name).is_file())
        .map(PathBuf::from)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

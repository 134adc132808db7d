//! `cargo xtask conformance KIND PATH…`: replays folders of recorded behaviour.
//!
//! Files are recognised by name; what a record means is the business of the module of its kind.

mod air;
mod air_parser;
mod aqua_compiled;
pub(crate) mod aquavm;
mod bytes;
mod ccp;
#[cfg(feature = "marine")]
mod marine;
mod particle_data;
mod particle_wire;
pub(crate) mod run;
mod stub;

#[cfg(feature = "marine")]
pub use marine::{PublishedModules, published_modules, read_published, rehearse_published};
pub use run::Call;

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Most failures printed in full; the rest are only counted.
const SHOWN_FAILURES: usize = 40;

/// What to replay.
#[derive(clap::Args)]
pub struct Arguments {
    /// What kind of records the paths hold.
    kind: Kind,
    /// Files or folders of records.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// The kinds of recorded behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Scripts of our own with every run of them (`vectors/air`).
    Air,
    /// Lexer, parser, lambda and formatter texts (`vectors/air-parser`).
    AirParser,
    /// Calls of the interpreter (`vectors/aquavm`).
    Aquavm,
    /// Particle data in bytes (`vectors/particle-data`).
    ParticleData,
    /// Particles as they travel (`vectors/particle-wire`).
    ParticleWire,
    /// Output of the Aqua compiler (`vectors/aqua-compiled`).
    AquaCompiled,
    /// Marine modules and conversions (`vectors/marine`).
    #[cfg(feature = "marine")]
    Marine,
    /// Capacity proofs and the marketplace (`vectors/ccp-and-deals`).
    Ccp,
    /// The hashes of capacity proofs, by the portable verifier in a wasm32 build.
    #[cfg(feature = "marine")]
    CcpWasm,
}

/// Counts and failures of a replay.
#[derive(Debug, Default)]
pub struct Report {
    /// Files that were read.
    pub files: usize,
    /// Records that agreed.
    pub passed: usize,
    /// Name of each record that did not agree, with what differed.
    pub failures: Vec<(String, String)>,
    /// Name of each record that could not be replayed here, with the reason.
    pub skipped: Vec<(String, String)>,
    /// Files whose schema nobody knows.
    pub unknown: Vec<PathBuf>,
}

impl Report {
    /// Counts one record as passed, or keeps what differed.
    pub fn record(&mut self, name: impl Into<String>, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(difference) => self.failures.push((name.into(), difference)),
        }
    }

    /// Records a case that cannot be replayed here.
    pub fn skip(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.skipped.push((name.into(), reason.into()));
    }

    /// The closing line: `N passed, N failed, N skipped`.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failures.len(),
            self.skipped.len()
        )
    }

    fn print(&self) {
        for (name, difference) in self.failures.iter().take(SHOWN_FAILURES) {
            println!("FAILED {name}\n    {}", difference.replace('\n', "\n    "));
        }
        if self.failures.len() > SHOWN_FAILURES {
            println!(
                "… and {} more failures",
                self.failures.len() - SHOWN_FAILURES
            );
        }
        for (name, reason) in &self.skipped {
            println!("skipped: {name}: {reason}");
        }
        for path in &self.unknown {
            println!("unknown schema: {}", path.display());
        }
        let records = self.passed + self.failures.len() + self.skipped.len();
        println!("{} files, {records} records", self.files);
        println!("{}", self.summary());
    }

    fn exit_code(&self) -> ExitCode {
        let found = self.passed + self.failures.len() + self.skipped.len() > 0;
        if !found || !self.unknown.is_empty() {
            ExitCode::from(2)
        } else if self.failures.is_empty() && self.skipped.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    match replay(arguments.kind, &arguments.paths) {
        Ok(report) => {
            report.print();
            report.exit_code()
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Replays every record of `kind` below `paths`.
///
/// # Errors
/// A path that cannot be read.
pub fn replay(kind: Kind, paths: &[PathBuf]) -> Result<Report, String> {
    let mut report = Report::default();
    for path in paths {
        let files = files_below(path)?;
        report.files += files.len();
        match kind {
            Kind::Air => air::replay(&files, &mut report)?,
            Kind::AirParser => air_parser::replay(&files, &mut report)?,
            Kind::Aquavm => aquavm::replay(&files, &mut report)?,
            Kind::ParticleData => particle_data::replay(&files, &mut report)?,
            Kind::ParticleWire => particle_wire::replay(&files, &mut report)?,
            Kind::AquaCompiled => aqua_compiled::replay(&files, &mut report)?,
            #[cfg(feature = "marine")]
            Kind::Marine => marine::replay(&files, &mut report)?,
            Kind::Ccp => ccp::replay(&files, &mut report)?,
            #[cfg(feature = "marine")]
            Kind::CcpWasm => ccp::replay_wasm(&files, &mut report)?,
        }
    }
    Ok(report)
}

/// The calls of the interpreter in a folder of kind `particle-data`, with the names of their
/// records.
///
/// # Errors
/// A path that cannot be read, or a record that is none.
pub fn particle_data_calls(folder: &Path) -> Result<Vec<(String, Call)>, String> {
    particle_data::calls(&files_below(folder)?)
}

/// All files below `path` (or `path` itself), sorted, READMEs and PROVENANCE notes left out.
pub(crate) fn files_below(path: &Path) -> Result<Vec<PathBuf>, String> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if path.extension().is_none_or(|extension| extension != "md") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The text of a file, unpacked when its name ends in `.gz`.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let describe = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = fs::read(path).map_err(|error| describe(&error))?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        flate2::read::GzDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .map_err(|error| describe(&error))?;
        return Ok(text);
    }
    String::from_utf8(bytes).map_err(|error| describe(&error))
}

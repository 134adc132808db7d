//! `cargo xtask mutate`: published modules with bits flipped and ends cut off are refused or read;
//! nothing panics, and nothing takes long.
//!
//! Each damaged module is decoded and its adapters are fitted to its functions; one in a hundred is
//! also compiled, by one engine or the other.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use marine_runtime::{
    AdapterSurvey, Engine,
    backend::CompileOptions,
    module::{INTERFACE_SECTION, Outline, SDK_VERSION_SECTION},
};

use crate::{
    conformance::{PublishedModules, published_modules},
    random::Random,
    tidy::workspace_root,
};

/// Most bits that one mutation flips.
const MAX_FLIPS: usize = 8;
/// Most failures that are printed.
const SHOWN_FAILURES: usize = 20;
/// Longest that reading a damaged module may take: some hundred times what a good one does.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to damage, and how often.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Mutations of each module.
    #[arg(long, default_value_t = 10_000)]
    pub count: u64,
    /// One in so many is compiled too; 0 compiles none.
    #[arg(long, default_value_t = 100)]
    pub compile_every: u64,
    /// Names the mutations.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only modules whose title contains this.
    #[arg(long, default_value = "")]
    pub filter: String,
    /// The list of modules [default: that of this repository].
    #[arg(long)]
    pub modules: Option<PathBuf>,
}

/// What became of the mutations.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Modules that were damaged.
    pub modules: usize,
    /// Reasons why others could not be had.
    pub missing: Vec<String>,
    /// Mutations in all.
    pub mutations: u64,
    /// Those that were still read, with adapters that fit.
    pub accepted: u64,
    /// Those that an engine was asked to compile.
    pub compiled: u64,
    /// Those of them that it compiled.
    pub compiled_well: u64,
    /// The longest time that reading took.
    pub slowest: Duration,
    /// What must not happen, and the mutation that did it.
    pub failures: Vec<String>,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> ExitCode {
    match mutate(arguments, |line| println!("{line}")) {
        Ok(summary) => {
            for failure in summary.failures.iter().take(SHOWN_FAILURES) {
                println!("FAILED {failure}");
            }
            for reason in &summary.missing {
                println!("skipped: {reason}");
            }
            println!("{}", summary.text());
            match summary.failures.is_empty() && summary.missing.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

impl Summary {
    /// One line.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{} modules, {} mutations: {} read, {} refused; {} of {} compiled; slowest {:.1} ms; \
             {} failures",
            self.modules,
            self.mutations,
            self.accepted,
            self.mutations - self.accepted,
            self.compiled_well,
            self.compiled,
            self.slowest.as_secs_f64() * 1e3,
            self.failures.len()
        )
    }
}

/// Damages every module; `progress` gets a line for each.
///
/// # Errors
/// A list of modules that cannot be read, a machine that an engine does not know.
pub fn mutate(arguments: &Arguments, mut progress: impl FnMut(&str)) -> Result<Summary, String> {
    let list = arguments
        .modules
        .clone()
        .unwrap_or_else(|| workspace_root().join("xtask/vectors/marine/published-modules.json.gz"));
    let PublishedModules { modules, missing } = published_modules(Path::new(&list))?;
    let mut summary = Summary {
        missing,
        ..Summary::default()
    };
    for (part, (title, wasm)) in (0_u64..).zip(modules) {
        if !title.contains(&arguments.filter) {
            continue;
        }
        let mut subject = Subject::new(&title, &wasm)?;
        // Wasmer keeps machine code as long as the engine lives.
        let wasmtime = Engine::wasmtime().map_err(|error| error.to_string())?;
        let engines = [Engine::wasmer(), wasmtime];
        let started = Instant::now();
        for number in 0..arguments.count {
            let seed = arguments.seed.wrapping_add(part << 32);
            let mut random = Random::of_part(seed, number);
            let turn = number.checked_rem(arguments.compile_every);
            let engine = match turn {
                Some(0) => engines.get(usize::from(number % (2 * arguments.compile_every) != 0)),
                _ => None,
            };
            subject.try_one(&mut random, number, engine, &mut summary);
        }
        summary.modules += 1;
        progress(&format!(
            "{title}: {} mutations in {:.0} s",
            arguments.count,
            started.elapsed().as_secs_f64()
        ));
    }
    Ok(summary)
}

/// A module that is damaged and mended again.
struct Subject<'a> {
    title: &'a str,
    /// As it was published, between two mutations.
    wasm: Vec<u8>,
    /// Places of the sections that are Marine's.
    own_sections: Vec<std::ops::Range<usize>>,
}

impl<'a> Subject<'a> {
    fn new(title: &'a str, wasm: &Arc<[u8]>) -> Result<Self, String> {
        let outline = Outline::read("module", wasm).map_err(|error| error.to_string())?;
        let sections = outline.custom_sections().iter();
        let own =
            sections.filter(|(name, _)| matches!(*name, INTERFACE_SECTION | SDK_VERSION_SECTION));
        Ok(Self {
            title,
            own_sections: own.map(|(_, range)| range.clone()).collect(),
            wasm: wasm.to_vec(),
        })
    }

    fn try_one(
        &mut self,
        random: &mut Random,
        number: u64,
        engine: Option<&Engine>,
        summary: &mut Summary,
    ) {
        summary.mutations += 1;
        let flips = self.flips(random);
        let end = match random.chance(25) {
            true => random.below(self.wasm.len()),
            false => self.wasm.len(),
        };
        self.flip(&flips);
        let damaged = self.wasm.get(..end).unwrap_or_default();
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            AdapterSurvey::of("module", damaged).is_ok()
        }));
        let time = started.elapsed();
        summary.slowest = summary.slowest.max(time);
        let mut fail = |what: &str| {
            let title = self.title;
            summary
                .failures
                .push(format!("{title}, mutation {number}: {what}"));
        };
        match outcome {
            Ok(true) => summary.accepted += 1,
            Ok(false) => {}
            Err(_) => fail("panicked"),
        }
        if time > PATIENCE {
            fail(&format!("took {:.1} s", time.as_secs_f64()));
        }
        if let Some(engine) = engine {
            summary.compiled += 1;
            let options = CompileOptions {
                simd: true,
                ..CompileOptions::default()
            };
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                engine.compile(damaged, &options).is_ok()
            }));
            match outcome {
                Ok(true) => summary.compiled_well += 1,
                Ok(false) => {}
                Err(_) => fail(&format!("{} panicked", engine.backend().name())),
            }
        }
        self.flip(&flips);
    }

    /// Places and bits; none for a module that is only cut.
    fn flips(&self, random: &mut Random) -> Vec<(usize, u8)> {
        let sections = self.own_sections.as_slice();
        let count = random.below(MAX_FLIPS + 1);
        let in_section = random.chance(60);
        (0..count)
            .map(|_| {
                let range = match random.pick(sections) {
                    Some(range) if in_section => range.clone(),
                    _ => 0..self.wasm.len(),
                };
                let place = range.start + random.below(range.len());
                (place, 1 << random.below(8))
            })
            .collect()
    }

    /// Flips bits; the same once more flips them back.
    fn flip(&mut self, flips: &[(usize, u8)]) {
        for (place, bit) in flips {
            if let Some(byte) = self.wasm.get_mut(*place) {
                *byte ^= bit;
            }
        }
    }
}

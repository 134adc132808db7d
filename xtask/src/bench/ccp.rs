//! `cargo xtask bench ccp`: our prover against a bare loop over the C interface below it, alternating
//! in one process; the stock libraries of RandomX beside them.
//!
//! The programs are those of the harness in `xtask/harness/ccp`; the libraries have the same symbols,
//! so each is linked into a program of its own.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::report;
use crate::tidy::workspace_root;

/// Folder of the harness.
const HARNESS: &str = "xtask/harness/ccp";
/// Folder that it is built in.
const TARGET: &str = "target/harness-ccp";

/// How to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Few rounds: for a first look, not for a record.
    #[arg(long)]
    quick: bool,
    /// Also with the dataset: takes 9 GiB of memory and ten minutes of CPU more.
    #[arg(long)]
    full: bool,
    /// Write the table to BENCHMARKS.md.
    #[arg(long)]
    write: bool,
}

/// A program that answers each line with a figure.
struct Worker {
    name: &'static str,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// A figure beside what it is measured against, and the least ratio that it shall have.
struct Row {
    name: String,
    ours: f64,
    yardstick: Option<(f64, f64)>,
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let root = workspace_root();
    let mut ours = Worker::start(&root, "ours")?;
    let rounds = if arguments.quick { 3 } else { 9 };
    let mut rows = Vec::new();
    let modes: &[&str] = match arguments.full {
        true => &["light", "full"],
        false => &["light"],
    };
    for mode in modes {
        for threads in [1, 2] {
            let task = |who: &str| format!("{who} {mode} {threads} 2");
            let [prover, bare] = ours.alternate([task("ours"), task("bare")], rounds)?;
            rows.push(Row {
                name: format!("hashes, {mode} mode, threads: {threads}"),
                ours: prover,
                yardstick: Some((bare, 0.98)),
            });
        }
    }
    let [two, one] = ours.alternate(["init 2 2".to_owned(), "init 1 2".to_owned()], rounds)?;
    rows.push(Row {
        name: "items of a dataset, 2 threads beside 1".to_owned(),
        ours: two,
        yardstick: Some((one, 0.95)),
    });
    let [changing, steady] = ours.alternate(
        ["changes 20 3".to_owned(), "changes 0 3".to_owned()],
        rounds,
    )?;
    rows.push(Row {
        name: "hashes while the difficulty changes 20 times a second, beside none".to_owned(),
        ours: changing,
        yardstick: Some((steady, 0.95)),
    });
    let [portable] = ours.alternate(["portable 1 4".to_owned()], rounds)?;
    rows.push(Row {
        name: "hashes, portable (at least 1)".to_owned(),
        ours: portable,
        yardstick: None,
    });
    let [first, cache] = ours.alternate(["first".to_owned(), "cache".to_owned()], rounds)?;
    let mut text = table(&rows);
    let _ = writeln!(
        text,
        "\n- From a new global nonce to the first hash, light mode: {first:.2} CPU s, of which the cache \
         takes {cache:.2} (to reach: 0.3 more than the cache).\n- Dataset of a unit: {:.0} CPU s.",
        67_633_151.0 / one
    );
    for name in ["stock", "debian"] {
        // For information only: their parameters are lighter.
        match Worker::start(&root, name) {
            Ok(mut worker) => {
                let tasks = [1, 2].map(|threads| format!("light {threads} 2"));
                let [one, two] = worker.alternate(tasks, rounds)?;
                let what = match name {
                    "stock" => "`randomx-rs` 1.6.0",
                    _ => "Debian's `librandomx` 1.1.10",
                };
                let _ = writeln!(
                    text,
                    "- {what}, stock parameters, light mode: {one:.2} hashes a CPU-second, with 2 threads \
                     {two:.2}."
                );
            }
            Err(error) => println!("skipped: {error}"),
        }
    }
    for row in &rows {
        if let Some((yardstick, wanted)) = row.yardstick
            && row.ours < wanted * yardstick
        {
            let _ = writeln!(text, "- Missed: {}.", row.name);
        }
    }
    if first > cache + 0.3 {
        text.push_str("- Missed: the first hash.\n");
    }
    println!("{text}");
    match (arguments.write, arguments.quick) {
        (false, _) => Ok(()),
        (true, true) => Err("--write needs a full measurement".to_owned()),
        (true, false) => report::write(&root, report::Section::Capacity, &text),
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| per CPU-second | ours | beside | ratio | to reach |\n|---|--:|--:|--:|--:|\n",
    );
    let show = |figure: f64| match figure {
        ..1e4 => format!("{figure:.2}"),
        _ => format!("{figure:.0}"),
    };
    for row in rows {
        let (beside, ratio, wanted) = match row.yardstick {
            Some((yardstick, wanted)) => (
                show(yardstick),
                format!("{:.3}", row.ours / yardstick),
                wanted.to_string(),
            ),
            None => ("–".to_owned(), "–".to_owned(), "–".to_owned()),
        };
        let (name, ours) = (&row.name, show(row.ours));
        let _ = writeln!(text, "| {name} | {ours} | {beside} | {ratio} | {wanted} |");
    }
    text
}

impl Worker {
    /// Builds and starts one.
    fn start(root: &Path, name: &'static str) -> Result<Self, String> {
        let target = root.join(TARGET);
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--bin", name, "--features", name])
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(root.join(HARNESS))
            .status()
            .map_err(|error| format!("cargo build: {error}"))?;
        if !status.success() {
            return Err(format!(
                "{HARNESS} does not build with the feature `{name}`"
            ));
        }
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let mut process = Command::new(target.join("release").join(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let input = process.stdin.take().ok_or("the worker has no input")?;
        let output = process.stdout.take().ok_or("the worker has no output")?;
        Ok(Self {
            name,
            process,
            input,
            output: BufReader::new(output),
        })
    }

    fn ask(&mut self, task: &str) -> Result<f64, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.name);
        writeln!(self.input, "{task}").map_err(failed)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(failed)?;
        let figure = line.trim().parse();
        figure.map_err(|_| format!("{}: {task}: {line:?} is no figure", self.name))
    }

    /// Medians of tasks that take turns.
    fn alternate<const N: usize>(
        &mut self,
        tasks: [String; N],
        rounds: usize,
    ) -> Result<[f64; N], String> {
        let mut figures: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
        for _ in 0..rounds {
            for (figures, task) in figures.iter_mut().zip(&tasks) {
                figures.push(self.ask(task)?);
            }
        }
        Ok(figures.map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        }))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

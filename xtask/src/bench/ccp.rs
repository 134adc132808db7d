//! `cargo xtask bench ccp`: our prover against a bare loop over the C interface below it and against the
//! stock libraries of RandomX, taking turns.
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

/// Items of the dataset of a unit.
const ITEMS: f64 = 67_633_151.0;
/// CPU-seconds that the first hash may take beyond the cache.
const FIRST_HASH: f64 = 0.3;

/// How to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Few rounds: for a first look, not for a record.
    #[arg(long)]
    quick: bool,
    /// Without datasets, which take 14 GiB of memory and fifteen minutes of CPU.
    #[arg(long)]
    light: bool,
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

/// Whom a task is for: an index of workers, and the line.
type Task = (usize, String);

/// A figure beside what it is measured against, and the least ratio that it shall have; then the stock
/// libraries, where they are there.
struct Row {
    name: String,
    ours: f64,
    yardstick: Option<(f64, f64)>,
    stock: [Option<f64>; 2],
}

/// Runs the task.
pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    if arguments.write && (arguments.quick || arguments.light) {
        return Err("--write needs a full measurement".to_owned());
    }
    let root = workspace_root();
    let mut workers = vec![Worker::start(&root, "ours")?];
    // For information only: their parameters are lighter.
    let stock = ["stock", "debian"].map(|name| match Worker::start(&root, name) {
        Ok(worker) => {
            workers.push(worker);
            Some(workers.len() - 1)
        }
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    });
    let rounds = if arguments.quick { 3 } else { 9 };
    let mut rows = Vec::new();
    let mut notes = String::new();
    let modes: &[&str] = match arguments.light {
        true => &["light"],
        false => &["light", "full"],
    };
    for mode in modes {
        if *mode == "full" {
            println!("fills a dataset");
            let seconds = ask(&mut workers, &(0, "dataset".to_owned()))?;
            let _ = writeln!(
                notes,
                "- A dataset from its key to the last item, on 2 threads: {seconds:.0} CPU s."
            );
        }
        for threads in [1, 2] {
            println!("{mode} mode, threads: {threads}");
            let mut tasks = vec![
                (0, format!("ours {mode} {threads} 2")),
                (0, format!("bare {mode} {threads} 2")),
            ];
            let others = stock.iter().flatten();
            tasks.extend(others.map(|worker| (*worker, format!("{mode} {threads} 2"))));
            let figures = alternate(&mut workers, &tasks, rounds)?;
            let (Some((prover, rest)), Some(bare)) = (figures.split_first(), figures.get(1)) else {
                return Err("no figures".to_owned());
            };
            let mut rest = rest.iter().skip(1).copied();
            rows.push(Row {
                name: format!("hashes, {mode} mode, threads: {threads}"),
                ours: *prover,
                yardstick: Some((*bare, 0.98)),
                stock: stock.map(|worker| worker.and_then(|_| rest.next())),
            });
        }
    }
    let mut ours = |tasks: [&str; 2]| -> Result<(f64, f64), String> {
        println!("{}", tasks.join(", "));
        let tasks = tasks.map(|task| (0, task.to_owned()));
        match alternate(&mut workers, &tasks, rounds)?.as_slice() {
            [first, second] => Ok((*first, *second)),
            _ => Err("no figures".to_owned()),
        }
    };
    let (two, one) = ours(["init 2 2", "init 1 2"])?;
    rows.push(Row {
        name: "items of a dataset, 2 threads beside 1".to_owned(),
        ours: two,
        yardstick: Some((one, 0.95)),
        stock: [None; 2],
    });
    let (changing, steady) = ours(["changes 20 8", "changes 0 8"])?;
    rows.push(Row {
        name: "hashes while the difficulty changes 20 times a second, beside none".to_owned(),
        ours: changing,
        yardstick: Some((steady, 0.95)),
        stock: [None; 2],
    });
    let (first, cache) = ours(["first", "cache"])?;
    let portable = alternate(&mut workers, &[(0, "portable 1 4".to_owned())], rounds)?;
    rows.push(Row {
        name: "hashes, portable, beside the least".to_owned(),
        ours: portable.first().copied().unwrap_or_default(),
        yardstick: Some((1.0, 1.0)),
        stock: [None; 2],
    });
    let mut text = table(&rows);
    let _ = writeln!(
        text,
        "\n- From a new global nonce to the first hash, light mode: {first:.2} CPU s, of which the cache \
         takes {cache:.2} (to reach: {FIRST_HASH} more than the cache).\n- All items of a dataset at the \
         rate of 1 thread: {:.0} CPU s.",
        ITEMS / one
    );
    text.push_str(&notes);
    for row in &rows {
        if let Some((yardstick, wanted)) = row.yardstick
            && row.ours < wanted * yardstick
        {
            let _ = writeln!(text, "- Missed: {}.", row.name);
        }
    }
    if first > cache + FIRST_HASH {
        text.push_str("- Missed: the first hash.\n");
    }
    println!("{text}");
    match arguments.write {
        false => Ok(()),
        true => report::write(&root, report::Section::Capacity, &text),
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| per CPU-second | ours | beside | ratio | to reach | `randomx-rs` | Debian |\n\
         |---|--:|--:|--:|--:|--:|--:|\n",
    );
    let show = |figure: f64| match figure {
        ..1e4 => format!("{figure:.2}"),
        _ => format!("{figure:.0}"),
    };
    let none = || "–".to_owned();
    for row in rows {
        let (beside, ratio, wanted) = match row.yardstick {
            Some((yardstick, wanted)) => (
                show(yardstick),
                format!("{:.3}", row.ours / yardstick),
                wanted.to_string(),
            ),
            None => (none(), none(), none()),
        };
        let [stock, debian] = row.stock.map(|figure| figure.map_or_else(none, show));
        let (name, ours) = (&row.name, show(row.ours));
        let _ = writeln!(
            text,
            "| {name} | {ours} | {beside} | {ratio} | {wanted} | {stock} | {debian} |"
        );
    }
    text
}

fn ask(workers: &mut [Worker], (worker, line): &Task) -> Result<f64, String> {
    match workers.get_mut(*worker) {
        Some(worker) => worker.ask(line),
        None => Err(format!("there is no worker {worker}")),
    }
}

/// Medians of tasks that take turns.
fn alternate(workers: &mut [Worker], tasks: &[Task], rounds: usize) -> Result<Vec<f64>, String> {
    let mut figures = vec![Vec::new(); tasks.len()];
    for _ in 0..rounds {
        for (figures, task) in figures.iter_mut().zip(tasks) {
            figures.push(ask(workers, task)?);
        }
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    Ok(figures.into_iter().map(median).collect())
}

impl Worker {
    /// Builds and starts one.
    fn start(root: &Path, name: &'static str) -> Result<Self, String> {
        let target = root.join(TARGET);
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--bin", name])
            .args(["--features", name])
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
            // As `ccp` does. With small pages, where the system happens to put a cache would matter
            // more than what is measured.
            .env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
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
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

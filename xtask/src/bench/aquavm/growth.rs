//! How time grows with the length of a trace and with the values of a stream.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

use serde::Deserialize;

use super::{Arguments, TARGET, measure, report};

/// Exponents above this are defects: growth is to be linear, and what remains is that larger data
/// fit the caches of the processor less.
const MOST: f64 = 1.25;

/// What the harness prints about one step of one size.
#[derive(Deserialize)]
struct Point {
    what: String,
    size: u32,
    nanoseconds: u64,
}

/// Measures, and prints the exponents.
pub(super) fn run(root: &Path, harness: &Path, arguments: &Arguments) -> Result<(), String> {
    let mut command = Command::new(harness);
    command.arg("--scratch").arg(root.join(TARGET));
    let runs = if arguments.quick { "3" } else { "31" };
    command.args(["--runs", runs, "growth"]);
    let table = render(&measure(command)?);
    println!("{table}");
    arguments.keep(root, report::Section::Growth, &table)
}

fn render(points: &[Point]) -> String {
    let mut by_step: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    for point in points {
        by_step.entry(&point.what).or_default().push(point);
    }
    let mut text = String::from("| step | size: time | exponent |\n|---|---|--:|\n");
    let mut missed = Vec::new();
    for (what, points) in by_step {
        let times: Vec<String> = points
            .iter()
            .map(|point| format!("{}: {:.2} ms", point.size, point.nanoseconds as f64 / 1e6))
            .collect();
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            continue;
        };
        let exponent = exponent(first, last);
        let _ = writeln!(text, "| {what} | {} | {exponent:.2} |", times.join(", "));
        if exponent > MOST {
            missed.push(format!("{what}: exponent {exponent:.2}, at most {MOST}"));
        }
    }
    text.push('\n');
    if missed.is_empty() {
        let _ = writeln!(text, "- No exponent is above {MOST}.");
    }
    for miss in missed {
        let _ = writeln!(text, "- Missed: {miss}.");
    }
    text
}

/// The power of the size that the time grows with.
fn exponent(first: &Point, last: &Point) -> f64 {
    let time = last.nanoseconds as f64 / first.nanoseconds.max(1) as f64;
    let size = f64::from(last.size) / f64::from(first.size);
    time.ln() / size.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_found() {
        let point = |size, nanoseconds| Point {
            what: "step".to_owned(),
            size,
            nanoseconds,
        };
        assert!((exponent(&point(10, 100), &point(1000, 1_000_000)) - 2.0).abs() < 1e-9);
        assert!(render(&[point(10, 100), point(100, 10_000)]).contains("Missed"));
        assert!(!render(&[point(10, 100), point(100, 1000)]).contains("Missed"));
    }
}

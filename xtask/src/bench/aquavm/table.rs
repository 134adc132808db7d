//! Tables of what was measured, with the figures to reach.

use std::fmt::Write as _;

use super::{Line, Nanoseconds};

/// Picks the time of one program.
type Time = fn(&Nanoseconds) -> u64;

/// To whom the geometric mean is taken, its least ratio, and which time is theirs.
const MEANS: [(&str, f64, Time); 2] = [
    ("Wasm", 10.0, |time| time.wasm),
    ("native", 5.0, |time| time.native),
];
/// Least ratio to Wasm of each input, unless it is near its floor.
const LEAST: f64 = 5.0;
/// How near that is.
const NEAR_FLOOR: f64 = 1.3;
/// Least ratio of parsing on the inputs that measure it.
const PARSE: f64 = 5.0;

/// The table and what follows from it.
pub(super) fn render(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut missed = Vec::new();
    header(&mut text);
    for line in lines {
        row(&mut text, line, &mut missed);
    }
    text.push('\n');
    let compared = || lines.iter().filter(|line| line.nanoseconds.wasm > 0);
    for (name, least, theirs) in MEANS {
        let ratio = |line: &Line, ours: u64| theirs(&line.nanoseconds) as f64 / ours as f64;
        let Some(mean) = geometric_mean(compared().map(|line| ratio(line, line.nanoseconds.ours)))
        else {
            continue;
        };
        let cached = geometric_mean(compared().map(|line| ratio(line, line.nanoseconds.cached)));
        let _ = writeln!(
            text,
            "- Geometric mean: {mean:.1} times as fast as {name}, {:.1} times with the script \
             parsed before (to reach: {least}).",
            cached.unwrap_or_default()
        );
        if mean < least {
            missed.push(format!(
                "geometric mean to {name}: {mean:.1}, expected {least}"
            ));
        }
    }
    for line in lines.iter().filter(|line| line.name.starts_with("parser-")) {
        parse(&mut text, line, &mut missed);
    }
    let over: Vec<&str> = lines
        .iter()
        .filter(|line| line.peak.ours as f64 > memory_limit(line))
        .map(|line| line.name.as_str())
        .collect();
    if !over.is_empty() {
        missed.push(format!("the most memory, by {}", over.join(", ")));
    }
    if missed.is_empty() {
        text.push_str("- No figure is missed.\n");
    }
    for miss in missed {
        let _ = writeln!(text, "- Missed: {miss}.");
    }
    text
}

fn header(text: &mut String) {
    text.push_str(
        "| input | ours | script parsed before | native | Wasm | native / ours | Wasm / ours \
         | floor | ours / floor | at most | peak | at most | native peak | Wasm memory |\n",
    );
    text.push('|');
    text.push_str("---|");
    text.push_str(&"--:|".repeat(13));
    text.push('\n');
}

fn row(text: &mut String, line: &Line, missed: &mut Vec<String>) {
    let time = &line.nanoseconds;
    let limit = time_limit(line);
    let memory = memory_limit(line);
    let ratio = |theirs: u64| match theirs {
        0 => "–".to_owned(),
        theirs => format!("{:.1}", theirs as f64 / time.ours as f64),
    };
    let micros = |nanoseconds: u64| match nanoseconds {
        0 => "–".to_owned(),
        nanoseconds => format!("{:.0} µs", nanoseconds as f64 / 1e3),
    };
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), size);
    let to_floor = time.ours as f64 / time.floor.max(1) as f64;
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} | {} | {} | {to_floor:.2} | {:.0} µs | {} | {} | {} | {} |",
        line.name,
        micros(time.ours),
        micros(time.cached),
        micros(time.native),
        micros(time.wasm),
        ratio(time.native),
        ratio(time.wasm),
        micros(time.floor),
        limit / 1e3,
        size(line.peak.ours),
        size(memory as u64),
        bytes(line.peak.native),
        bytes(line.peak.wasm),
    );
    if time.ours as f64 > limit {
        missed.push(format!(
            "{}: {:.1} µs, at most {:.1}",
            line.name,
            time.ours as f64 / 1e3,
            limit / 1e3
        ));
    }
    let to_wasm = time.wasm as f64 / time.ours as f64;
    if time.wasm > 0 && to_wasm < LEAST && to_floor > NEAR_FLOOR {
        missed.push(format!(
            "{}: {to_wasm:.1} times as fast as Wasm, expected {LEAST}, at {to_floor:.2} of its floor",
            line.name
        ));
    }
}

fn parse(text: &mut String, line: &Line, missed: &mut Vec<String>) {
    let time = &line.nanoseconds;
    if time.reference_parse == 0 {
        return;
    }
    let ratio = time.reference_parse as f64 / time.parse as f64;
    let _ = writeln!(
        text,
        "- Parsing `{}` (text to checked, resolved script): {:.2} ms, the published parser \
         {:.2} ms: {ratio:.1} times as fast (to reach: {PARSE}).",
        line.name,
        time.parse as f64 / 1e6,
        time.reference_parse as f64 / 1e6,
    );
    if ratio < PARSE {
        missed.push(format!(
            "parsing {}: {ratio:.1} times as fast, expected {PARSE}",
            line.name
        ));
    }
}

/// The most that a run may take, in nanoseconds: 1.5 times the floor, 10 µs, and something for each
/// byte that has to be touched.
fn time_limit(line: &Line) -> f64 {
    let bytes = &line.bytes;
    1.5 * line.nanoseconds.floor as f64
        + 10_000.0
        + 0.5 * (bytes.data + bytes.results) as f64
        + 1.5 * bytes.requests as f64
        + 5.0 * bytes.script as f64
}

/// The most memory that a run may take beyond the buffers of its caller, in bytes.
fn memory_limit(line: &Line) -> f64 {
    let bytes = &line.bytes;
    1.1 * (bytes.new_data + bytes.requests) as f64
        + 0.3 * (bytes.script + bytes.data + bytes.results) as f64
}

fn geometric_mean(ratios: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_u32);
    for ratio in ratios {
        sum += ratio.ln();
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_geometric_mean_is_one_of_ratios() {
        assert_eq!(geometric_mean([].into_iter()), None);
        let mean = geometric_mean([2.0, 8.0].into_iter()).unwrap();
        assert!((mean - 4.0).abs() < 1e-9);
    }
}

//! The table of a measurement.

use std::fmt::Write as _;

use super::{Figures, Unit};

/// Names of the engines, in the order of the figures.
const ENGINES: [&str; 2] = ["wasmtime", "wasmer"];

/// The table, and below it what was missed.
pub(super) fn render(figures: &[Figures]) -> String {
    let mut text = String::from(
        "| work | published | ours, wasmtime | ours, wasmer | wasmtime: times better | to reach \
         | wasmer: times better | to reach |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut missed = Vec::new();
    for row in figures {
        let [wasmtime, wasmer] = row.ours;
        let _ = write!(
            text,
            "| {} | {} | {} | {} |",
            row.name,
            row.unit.show(row.reference),
            row.unit.show(wasmtime),
            row.unit.show(wasmer)
        );
        for ((ours, wanted), engine) in row.ours.iter().zip(row.wanted).zip(ENGINES) {
            let ratio = row.reference / ours.max(f64::MIN_POSITIVE);
            let to_reach = match wanted > 0.0 {
                true => format!("{wanted}"),
                false => "–".to_owned(),
            };
            let _ = write!(text, " {} | {to_reach} |", rounded(ratio));
            if ratio < wanted {
                missed.push(format!(
                    "{} on {engine}: {} times better, expected {wanted}",
                    row.name,
                    rounded(ratio)
                ));
            }
        }
        text.push('\n');
    }
    text.push('\n');
    if missed.is_empty() {
        text.push_str("- No figure is missed.\n");
    }
    for miss in missed {
        let _ = writeln!(text, "- Missed: {miss}.");
    }
    text
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Nanoseconds => match figure {
                ..1e4 => format!("{:.2} µs", figure / 1e3),
                ..1e6 => format!("{:.0} µs", figure / 1e3),
                ..1e9 => format!("{:.2} ms", figure / 1e6),
                _ => format!("{:.2} s", figure / 1e9),
            },
            Self::Bytes => match figure {
                ..1e6 => format!("{:.0} kB", figure / 1e3),
                _ => format!("{:.1} MB", figure / 1e6),
            },
        }
    }
}

fn rounded(ratio: f64) -> String {
    match ratio {
        ..10.0 => format!("{ratio:.2}"),
        _ => format!("{ratio:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_said() {
        let row = |wanted| Figures {
            name: "empty call",
            unit: Unit::Nanoseconds,
            reference: 9300.0,
            ours: [465.0, 930.0],
            wanted,
        };
        let text = render(&[row([20.0, 10.0])]);
        assert!(text.contains("| empty call | 9.30 µs | 0.47 µs | 0.93 µs | 20 | 20 | 10 | 10 |"));
        assert!(text.contains("No figure is missed"), "{text}");
        let text = render(&[row([21.0, 10.0])]);
        assert!(text.contains("- Missed: empty call on wasmtime: 20 times better, expected 21."));
    }
}

//! The table of FUZZING.md, to which every search adds.

use std::{fs, path::Path};

use super::Target;

const FILE: &str = "FUZZING.md";

/// One search, or the sum of all.
pub(super) struct Run {
    pub(super) executions: u64,
    pub(super) seconds: u64,
    pub(super) crashes: u64,
    /// The commit that was tried last.
    pub(super) commit: String,
}

/// Adds a search to the row of its target.
pub(super) fn add(root: &Path, target: Target, run: &Run) -> Result<(), String> {
    let path = root.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| format!("{FILE}: {error}"))?;
    let text = added(&text, target.name(), run)?;
    fs::write(&path, text).map_err(|error| format!("{FILE}: {error}"))
}

fn added(text: &str, name: &str, run: &Run) -> Result<String, String> {
    let start = format!("| `{name}` |");
    let mut found = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if !line.starts_with(&start) {
                return Ok(line.to_owned());
            }
            found = true;
            let mut cells = line.split('|').skip(2).map(str::trim);
            let mut number = || {
                let cell = cells.next().unwrap_or_default().replace(',', "");
                cell.parse::<u64>()
                    .map_err(|_| format!("{FILE}: `{cell}` is no number: {line}"))
            };
            Ok(format!(
                "{start} {} | {} | {} | `{}` |",
                grouped(number()? + run.executions),
                grouped(number()? + run.seconds),
                grouped(number()? + run.crashes),
                run.commit
            ))
        })
        .collect::<Result<_, String>>()?;
    match found {
        true => Ok(lines.join("\n") + "\n"),
        false => Err(format!("{FILE}: no row of `{name}`")),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_add_up() {
        let text = "# Title\n\n| `script` | 0 | 0 | 0 | - |\n| `step` | 1,999 | 10 | 1 | `a` |\n";
        let run = Run {
            executions: 1_000_001,
            seconds: 600,
            crashes: 0,
            commit: "b+".to_owned(),
        };
        let once = added(text, "step", &run).unwrap();
        let expected = "# Title\n\n| `script` | 0 | 0 | 0 | - |\n\
                        | `step` | 1,002,000 | 610 | 1 | `b+` |\n";
        assert_eq!(once, expected);
        assert!(added(text, "frame", &run).is_err());
        assert!(added("| `step` | many | 1 | 1 | a |\n", "step", &run).is_err());
    }
}

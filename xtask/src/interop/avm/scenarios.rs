//! The scripts of our own that `--record` plays.

/// Groups of scripts; each file says what it holds.
const FILES: [&str; 3] = [
    include_str!("scenarios/instructions.txt"),
    include_str!("scenarios/errors.txt"),
    include_str!("scenarios/merge.txt"),
];

/// A script and the data that it meets.
pub(super) struct Row {
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) script: &'static str,
    pub(super) meets: Option<Meeting>,
}

/// Data of another script for the same particle, which come to A.
pub(super) struct Meeting {
    /// Whether the script itself is played first.
    pub(super) late: bool,
    /// The peer whose data come.
    pub(super) from: char,
    /// The other script.
    pub(super) script: &'static str,
}

/// All rows.
///
/// # Errors
/// A line that is none.
pub(super) fn rows() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for file in FILES {
        let mut group = "";
        for line in file.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("= ") {
                group = name;
                continue;
            }
            let (name, script) = line
                .split_once(':')
                .ok_or_else(|| format!("no scenario: {line}"))?;
            let (script, meets) = meeting(script.trim())?;
            rows.push(Row {
                group,
                name,
                script,
                meets,
            });
        }
    }
    Ok(rows)
}

fn meeting(text: &'static str) -> Result<(&'static str, Option<Meeting>), String> {
    let (script, late, other) = match text.split_once(" <<- ") {
        Some((script, other)) => (script, true, other),
        None => match text.split_once(" <- ") {
            Some((script, other)) => (script, false, other),
            None => return Ok((text, None)),
        },
    };
    let (from, other) = other
        .strip_prefix('@')
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(|| format!("no peer: {text}"))?;
    let from = from.chars().next().unwrap_or('?');
    Ok((
        script,
        Some(Meeting {
            late,
            from,
            script: other,
        }),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_only_scripts_of_code_1_fail_the_checks() {
        let mut names = BTreeSet::new();
        for row in rows().unwrap() {
            assert!(
                names.insert((row.group, row.name)),
                "{} {}",
                row.group,
                row.name
            );
            for script in [Some(row.script), row.meets.map(|meeting| meeting.script)] {
                let parses = script.is_none_or(|script| air_parser::parse(script).is_ok());
                assert_eq!(
                    parses,
                    row.group != "code-1" || script.is_none(),
                    "{script:?}"
                );
            }
        }
        assert!(names.len() > 200, "{}", names.len());
    }
}

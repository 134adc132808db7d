//! Makes a script that shows a difference smaller.

use std::ops::Range;

/// Most scripts to try.
const TRIES: usize = 400;

/// The smallest script found for which `differs` still holds.
///
/// # Errors
/// Whatever `differs` fails with.
pub(super) fn shrink(
    script: &str,
    mut differs: impl FnMut(&str) -> Result<bool, String>,
) -> Result<String, String> {
    let mut smallest = script.to_owned();
    let mut tries = 0;
    'again: loop {
        for candidate in candidates(&smallest) {
            if air_parser::parse(&candidate).is_err() {
                continue;
            }
            tries += 1;
            if tries > TRIES {
                return Ok(smallest);
            }
            if differs(&candidate)? {
                smallest = candidate;
                continue 'again;
            }
        }
        return Ok(smallest);
    }
}

/// Scripts that are a little smaller, the smallest first.
fn candidates(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    let groups = groups(script);
    let replaced = |range: &Range<usize>, with: &str| {
        let before = script.get(..range.start).unwrap_or_default();
        let after = script.get(range.end..).unwrap_or_default();
        format!("{before}{with}{after}")
    };
    for (index, group) in groups.iter().enumerate() {
        let text = script.get(group.clone()).unwrap_or_default();
        if text.starts_with('[') {
            if text.len() > 2 {
                found.push(replaced(group, "[]"));
            }
            continue;
        }
        if text != "(null)" {
            found.push(replaced(group, "(null)"));
        }
        // An optional last instruction of a fold.
        found.push(replaced(group, ""));
        for inner in groups.iter().skip(index + 1) {
            if inner.start >= group.end {
                break;
            }
            let inner = script.get(inner.clone()).unwrap_or_default();
            if inner.starts_with('(') {
                found.push(replaced(group, inner));
            }
        }
    }
    found.sort_by_key(String::len);
    found.dedup();
    found
}

/// Bracketed pieces in the order in which they begin; strings are skipped.
fn groups(script: &str) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut open = Vec::new();
    let mut quoted = false;
    for (at, char) in script.char_indices() {
        match char {
            '"' => quoted = !quoted,
            '(' | '[' if !quoted => {
                open.push(groups.len());
                groups.push(at..at);
            }
            ')' | ']' if !quoted => {
                if let Some(group) = open.pop().and_then(|index| groups.get_mut(index)) {
                    group.end = at + 1;
                }
            }
            _ => {}
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_stays() {
        let script = r#"(seq (ap 1 x) (par (seq (null) (call "p" ("s" "f") [x 1] y)) (fold x i (xor (fail 1 "(") (null)) (never))))"#;
        let smallest = shrink(script, |text| Ok(text.contains("(fail"))).unwrap();
        assert_eq!(smallest, r#"(fail 1 "(")"#);
        let smallest = shrink(script, |text| Ok(text.contains("[x 1] y"))).unwrap();
        assert_eq!(smallest, r#"(seq (ap 1 x) (call "p" ("s" "f") [x 1] y))"#);
        assert_eq!(shrink("(null)", |_| Ok(true)).unwrap(), "(null)");
    }
}

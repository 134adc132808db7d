//! Suggestions for mistyped keys.

/// ` (did you mean …?)` when `message` is serde's complaint about an unknown key and one of the
/// keys it expected is close; empty otherwise.
pub(super) fn hint(message: &str) -> String {
    let Some((_, rest)) = message.split_once("unknown field `") else {
        return String::new();
    };
    let Some((given, rest)) = rest.split_once('`') else {
        return String::new();
    };
    // The expected keys follow, each in backticks.
    let candidates: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    match closest(given, &candidates) {
        Some(candidate) => format!("\ndid you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// The candidate that `given` was probably meant to be.
pub(super) fn closest<'c>(given: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let (distance, candidate) = candidates
        .iter()
        .map(|candidate| (distance(given, candidate), *candidate))
        .min()?;
    (distance <= 1 + given.chars().count() / 3).then_some(candidate)
}

/// The number of insertions, deletions, replacements and swaps of neighbours between two texts.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_previous: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    let mut last_left = None;
    for (row, l) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut diagonal = row;
        let mut last_right = None;
        for (column, &r) in right.iter().enumerate() {
            let above = previous.get(column + 1).copied().unwrap_or(usize::MAX);
            let beside = current.last().copied().unwrap_or(usize::MAX);
            let mut best = (diagonal + usize::from(l != r))
                .min(above.saturating_add(1))
                .min(beside.saturating_add(1));
            if last_left == Some(r) && last_right == Some(l) && column > 0 {
                let swapped = before_previous.get(column - 1).copied();
                best = best.min(swapped.unwrap_or(usize::MAX).saturating_add(1));
            }
            diagonal = above;
            last_right = Some(r);
            current.push(best);
        }
        last_left = Some(l);
        before_previous = std::mem::replace(&mut previous, current);
    }
    previous.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("tcp_prot", "tcp_port"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn suggests_only_what_is_close() {
        let message = "unknown field `tcp_prot`, expected one of `http_port`, `tcp_port`";
        assert_eq!(hint(message), "\ndid you mean `tcp_port`?");
        assert_eq!(hint("unknown field `zzzzzz`, expected `tcp_port`"), "");
        assert_eq!(hint("invalid type: string"), "");
    }
}

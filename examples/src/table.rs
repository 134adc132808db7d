//! Tables of text for a terminal.

/// Renders rows under headings, columns aligned. Numbers, as whole cells, go to the right.
///
/// ```
/// let text = examples::table::render(&["peer", "primes"], &[vec!["A".into(), "12".into()]]);
/// assert_eq!(text, "peer  primes\n----  ------\nA         12\n");
/// ```
pub fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| width(cell))
                .max()
                .unwrap_or(0)
                .max(width(heading))
        })
        .collect();
    let mut text = String::new();
    line(
        &mut text,
        &widths,
        headings.iter().map(|heading| (*heading).to_owned()),
        false,
    );
    line(
        &mut text,
        &widths,
        widths.iter().map(|width| "-".repeat(*width)),
        false,
    );
    for row in rows {
        line(&mut text, &widths, row.iter().cloned(), true);
    }
    text
}

fn line(text: &mut String, widths: &[usize], cells: impl Iterator<Item = String>, numbers: bool) {
    let mut out = String::new();
    for (cell, wanted) in cells.zip(widths) {
        if !out.is_empty() {
            out.push_str("  ");
        }
        let padding = " ".repeat(wanted.saturating_sub(width(&cell)));
        if numbers && is_number(&cell) {
            out.push_str(&padding);
            out.push_str(&cell);
        } else {
            out.push_str(&cell);
            out.push_str(&padding);
        }
    }
    text.push_str(out.trim_end());
    text.push('\n');
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty()
        && cell
            .chars()
            .all(|char| char.is_ascii_digit() || char == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["ä".to_owned(), "1".to_owned()],
            vec!["bcd".to_owned(), "10".to_owned()],
        ];
        assert_eq!(
            render(&["x", "n"], &rows),
            "x    n\n---  --\nä     1\nbcd  10\n"
        );
    }
}

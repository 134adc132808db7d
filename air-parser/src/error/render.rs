//! Errors as text: the source line with carets and the message under it.

use std::fmt::Write as _;

use super::ParseError;

/// Characters shown before a label in a long line.
const BEFORE: usize = 40;
/// Characters shown of a long line.
const SHOWN: usize = 120;

/// Errors sorted by place, and how many more there are.
pub(super) fn render(source: &str, errors: &[ParseError], omitted: usize) -> String {
    let mut out = String::from("error: \n");
    // Writing to a string doesn't fail.
    let _ = write_all(&mut out, source, errors, omitted);
    out
}

fn write_all(
    out: &mut String,
    source: &str,
    errors: &[ParseError],
    omitted: usize,
) -> std::fmt::Result {
    let width = errors
        .last()
        .map_or(1, |error| error.line.to_string().len());
    let mut last: Option<(usize, &str)> = None;
    for error in errors {
        let excerpt = Excerpt::of(source, error);
        match last {
            None => {
                let (line, column) = (error.line, error.column);
                writeln!(out, "{:width$} ┌─ script.air:{line}:{column}", "")?;
                writeln!(out, "{:width$} │", "")?;
            }
            Some((line, _)) if error.line > line + 1 => writeln!(out, "{:width$} ·", "")?,
            Some(_) => {}
        }
        if last != Some((error.line, excerpt.text)) {
            write!(out, "{:>width$} │ {}", error.line, excerpt.head())?;
            out.extend(excerpt.text.chars().map(printable));
            writeln!(out, "{}", excerpt.tail())?;
        }
        let (indent, carets) = (excerpt.indent, "^".repeat(excerpt.carets));
        writeln!(out, "{:width$} │ {:indent$}{carets} {error}", "", "")?;
        last = Some((error.line, excerpt.text));
    }
    if omitted > 0 {
        writeln!(out, "{:width$} = and {omitted} more errors", "")?;
    }
    writeln!(out)
}

/// The part of a line that is shown for an error.
struct Excerpt<'s> {
    text: &'s str,
    cut_before: bool,
    cut_after: bool,
    /// Characters before the carets, the sign for a cut included.
    indent: usize,
    carets: usize,
}

impl<'s> Excerpt<'s> {
    fn of(source: &'s str, error: &ParseError) -> Self {
        let at = (error.span.start as usize).min(source.len());
        let (before, after) = source.split_at_checked(at).unwrap_or((source, ""));
        // A line may be the whole script: no more of it is looked at than could be shown.
        let window = before.floor_char_boundary(before.len().saturating_sub(4 * SHOWN));
        let before = before.get(window..).unwrap_or("");
        let window = after.floor_char_boundary(4 * SHOWN);
        let after = after.get(..window).unwrap_or(after);
        let before = before.rsplit('\n').next().unwrap_or("");
        let after = after.split('\n').next().unwrap_or("");
        let after = after.strip_suffix('\r').unwrap_or(after);
        let long = before.chars().count() + after.chars().count() > SHOWN;
        let (shown_before, shown_after) = if long {
            let kept_before = last_chars(before, BEFORE);
            let left = SHOWN - kept_before.chars().count();
            (kept_before, first_chars(after, left))
        } else {
            (before, after)
        };
        let cut_before = shown_before.len() < before.len();
        let start = at - shown_before.len();
        let end = at + shown_after.len();
        let label = source.get(at..error.span.end as usize).unwrap_or("");
        let in_line = label.get(..label.len().min(shown_after.len()));
        Self {
            text: source.get(start..end).unwrap_or(""),
            cut_before,
            cut_after: shown_after.len() < after.len(),
            indent: shown_before.chars().count() + usize::from(cut_before),
            carets: in_line.unwrap_or(shown_after).chars().count().max(1),
        }
    }

    const fn head(&self) -> &'static str {
        if self.cut_before { "…" } else { "" }
    }

    const fn tail(&self) -> &'static str {
        if self.cut_after { "…" } else { "" }
    }
}

fn first_chars(text: &str, count: usize) -> &str {
    let end = text.char_indices().nth(count).map(|(offset, _)| offset);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

fn last_chars(text: &str, count: usize) -> &str {
    let Some(skipped) = count.checked_sub(1) else {
        return "";
    };
    let start = text
        .char_indices()
        .rev()
        .nth(skipped)
        .map(|(offset, _)| offset);
    start.and_then(|start| text.get(start..)).unwrap_or(text)
}

/// One column for every character, and no way to the terminal for control characters.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

//! JSON values as text.
//!
//! A value is kept as its canonical text: no white space, object keys sorted by bytes and unique,
//! shortest numbers, least escapes ("JSON model" of the protocol description). Two values are equal
//! when their canonical texts are (but for `0.0` and `-0.0`), a part of a canonical text is
//! canonical itself, and nothing is ever copied into a tree. All walks are loops, so nesting cannot
//! overflow the stack.

pub(crate) mod messagepack;
mod walk;

pub(crate) use messagepack::MessagePack;
pub(crate) use walk::{
    Kind, array_items, array_len, array_nth, kind, object_entries, object_field, unescape,
    written_pair,
};

/// Appends `text` as a JSON string.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest
        .bytes()
        .position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        let (plain, from_special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut characters = from_special.chars();
        match characters.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{9}') => out.push_str("\\t"),
            Some('\u{a}') => out.push_str("\\n"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\u{d}') => out.push_str("\\r"),
            Some(control) => {
                let digits = b"0123456789abcdef";
                let code = control as usize;
                out.push_str("\\u00");
                for nibble in [code >> 4, code & 15] {
                    out.push(digits.get(nibble).copied().map_or('0', char::from));
                }
            }
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends an array of canonical texts.
pub(crate) fn write_array(out: &mut String, texts: &[&str]) {
    out.reserve(texts.iter().map(|text| text.len() + 1).sum::<usize>() + 2);
    out.push('[');
    for (index, same) in texts
        .chunk_by(|left, right| std::ptr::eq(*left, *right))
        .enumerate()
    {
        if index > 0 {
            out.push(',');
        }
        let start = out.len();
        let Some(text) = same.first() else {
            continue;
        };
        out.push_str(text);
        // A run of the same text is doubled until it is long enough.
        let length = (text.len() + 1) * same.len() - 1;
        if same.len() > 1 {
            out.push(',');
        }
        while out.len() - start < length {
            let present = out.len() - start;
            let more = present.min(length - present);
            out.extend_from_within(start..start + more);
        }
    }
    out.push(']');
}

/// Whether a text has so few brackets that no limit of nesting concerns it.
pub(crate) fn is_shallow(text: &str) -> bool {
    const BRACKETS: usize = 100;
    text.bytes()
        .filter(|byte| matches!(byte, b'[' | b'{'))
        .count()
        < BRACKETS
}

/// Appends a float literal of a script.
pub(crate) fn write_float(out: &mut String, number: f64) {
    match particle::value::print(&number) {
        Ok(text) => out.push_str(&text),
        Err(_) => out.push_str("null"),
    }
}

/// Whether two canonical texts denote equal values.
pub(crate) fn equal(left: &str, right: &str) -> bool {
    if left == right {
        return true;
    }
    // The only values with two canonical texts: zero with either sign.
    if !(left.contains("-0.0") || right.contains("-0.0")) {
        return false;
    }
    let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    match (parse(left), parse(right)) {
        (Some(left), Some(right)) => left == right,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_like_serde_json() {
        for text in [
            "",
            "plain",
            "q\"b\\",
            "\u{0}\u{1f}\u{7f}\u{2028}/é\n\t\r\u{8}\u{c}",
        ] {
            let mut ours = String::new();
            write_string(&mut ours, text);
            assert_eq!(ours, serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn arrays_repeat_their_elements() {
        let (a, b) = ("\"é\"", "1");
        for texts in [
            &[][..],
            &[a],
            &[a, a],
            &[a, a, a],
            &[b, a, a, a, a, a, a, b, b, b, b, a],
        ] {
            let mut ours = String::new();
            write_array(&mut ours, texts);
            assert_eq!(ours, format!("[{}]", texts.join(",")));
        }
    }

    #[test]
    fn zeros_of_either_sign_are_equal() {
        assert!(equal("[0.0,\"-0.0\"]", "[-0.0,\"-0.0\"]"));
        assert!(!equal("\"-0.0\"", "0.0"));
        assert!(!equal("1", "1.0"));
    }
}

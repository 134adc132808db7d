//! Reading inside canonical text.
//!
//! Nothing here checks its input: a text that is not canonical gives useless parts, never a panic.

use std::borrow::Cow;

use memchr::memchr2;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

/// The kind of the value that `text` denotes.
#[inline]
pub(crate) fn kind(text: &str) -> Kind {
    match text.as_bytes().first() {
        Some(b'"') => Kind::String,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// The elements of an array; nothing for another value.
pub(crate) fn array_items(text: &str) -> ArrayItems<'_> {
    ArrayItems {
        text,
        at: if kind(text) == Kind::Array {
            1
        } else {
            text.len()
        },
    }
}

/// Number of elements of an array.
pub(crate) fn array_len(text: &str) -> usize {
    array_items(text).count()
}

/// One element of an array.
pub(crate) fn array_nth(text: &str, index: u32) -> Option<&str> {
    array_items(text).nth(index as usize)
}

/// The keys (as JSON strings) and values of an object; nothing for another value.
pub(crate) fn object_entries(text: &str) -> ObjectEntries<'_> {
    ObjectEntries {
        text,
        at: if kind(text) == Kind::Object {
            1
        } else {
            text.len()
        },
    }
}

/// The value of a field of an object; `name` is plain text.
pub(crate) fn object_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut quoted = String::with_capacity(name.len() + 2);
    super::write_string(&mut quoted, name);
    object_entries(text).find_map(|(key, value)| (key == quoted).then_some(value))
}

/// Key and value of a text with exactly these two fields, as pairs of maps are written.
pub(crate) fn written_pair(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix(r#"{"key":"#)?;
    let (key, rest) = rest.split_at_checked(value_end(rest.as_bytes(), 0))?;
    let rest = rest.strip_prefix(r#","value":"#)?;
    let (value, rest) = rest.split_at_checked(value_end(rest.as_bytes(), 0))?;
    (rest == "}").then_some((key, value))
}

/// The characters that a JSON string denotes.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    let inner = text
        .get(1..text.len().saturating_sub(1))
        .unwrap_or_default();
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    Cow::Owned(serde_json::from_str(text).unwrap_or_default())
}

/// Position just after the value that starts at `start`.
#[inline]
pub(super) fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    loop {
        match bytes.get(at) {
            Some(b'"') => at = string_end(bytes, at),
            Some(b'[' | b'{') => {
                depth += 1;
                at += 1;
                continue;
            }
            Some(b']' | b'}') => {
                if depth == 0 {
                    return at;
                }
                depth -= 1;
                at += 1;
            }
            Some(b',' | b':') => {
                if depth == 0 {
                    return at;
                }
                at += 1;
                continue;
            }
            Some(_) => {
                at += 1;
                while let Some(byte) = bytes.get(at) {
                    if matches!(byte, b',' | b':' | b']' | b'}') {
                        break;
                    }
                    at += 1;
                }
            }
            None => return bytes.len(),
        }
        if depth == 0 {
            return at;
        }
    }
}

/// Position just after the string that starts at `start`.
#[inline]
pub(super) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    // Most strings are short, and a search costs more before it begins.
    if let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            at += stops.trailing_zeros() as usize / 8;
            if bytes.get(at) == Some(&b'"') {
                return at + 1;
            }
        }
    }
    loop {
        let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) else {
            return bytes.len();
        };
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
}

/// Of eight bytes, the lowest set bit belongs to the first quote or backslash.
fn stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Borrows reach the bytes after a match only.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    (quote | backslash) & (ONES << 7)
}

/// Iterator over the elements of an array.
pub(crate) struct ArrayItems<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for ArrayItems<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        if matches!(bytes.get(self.at), None | Some(b']')) {
            return None;
        }
        let end = value_end(bytes, self.at);
        let item = self.text.get(self.at..end)?;
        self.at = end + usize::from(bytes.get(end) == Some(&b','));
        Some(item)
    }
}

/// Iterator over the fields of an object.
pub(crate) struct ObjectEntries<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for ObjectEntries<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(bytes, self.at);
        let key = self.text.get(self.at..key_end)?;
        let start = key_end + 1;
        let end = value_end(bytes, start);
        let value = self.text.get(start..end)?;
        self.at = end + usize::from(bytes.get(end) == Some(&b','));
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"a":[1,"x,]\"",{"b":null},[]],"é\"":true,"z":-1.5}"#;

    #[test]
    fn finds_fields_and_elements() {
        let array = object_field(DOCUMENT, "a").unwrap();
        assert_eq!(
            array_items(array).collect::<Vec<_>>(),
            ["1", r#""x,]\"""#, r#"{"b":null}"#, "[]"]
        );
        assert_eq!(array_len(array), 4);
        assert_eq!(array_nth(array, 2), Some(r#"{"b":null}"#));
        assert_eq!(array_nth(array, 4), None);
        assert_eq!(object_field(DOCUMENT, "é\""), Some("true"));
        assert_eq!(object_field(DOCUMENT, "z"), Some("-1.5"));
        assert_eq!(object_field(DOCUMENT, "b"), None);
        assert_eq!(array_len("[]"), 0);
        assert_eq!(object_entries("{}").count(), 0);
    }

    #[test]
    fn pairs_as_they_are_written() {
        assert_eq!(
            written_pair(r#"{"key":"a","value":{"b":[1]}}"#),
            Some((r#""a""#, r#"{"b":[1]}"#))
        );
        for text in ["{}", r#"{"key":1,"value":2,"z":3}"#, r#"{"key":1}"#, "1"] {
            assert_eq!(written_pair(text), None);
        }
    }

    #[test]
    fn strings_are_unescaped() {
        assert_eq!(unescape(r#""plain""#), "plain");
        assert_eq!(unescape(r#""q\"\u0001""#), "q\"\u{1}");
    }

    #[test]
    fn broken_text_gives_nothing_bad() {
        for text in [
            "", "[", "{", "\"", "\"\\", "[1", "{\"a", "{\"a\":", "[,", "]", "}",
        ] {
            let _ = array_items(text).count();
            let _ = object_entries(text).count();
            let _ = unescape(text);
            let _ = value_end(text.as_bytes(), 0);
        }
    }
}

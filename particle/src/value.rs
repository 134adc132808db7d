//! JSON texts of values.
//!
//! Peers agree on hashes only when they print a value in one way: compact, keys sorted by bytes
//! (of equal keys the last one counts), numbers as `serde_json` reads them, floats as `ryu` writes
//! them. Print values with [`print`](fn@print) and never with `Value::to_string`: newer releases of
//! `serde_json` write exponents in another way.

use std::{borrow::Cow, io};

use serde::Serialize;
use serde_json::ser::Formatter;

use crate::cid::CID_LEN;

/// The canonical text of a JSON text: the text itself where it is canonical already.
///
/// ```
/// let text = particle::value::normalize(r#"{ "b": 2e3, "a": -0 }"#)?;
/// assert_eq!(text, r#"{"a":-0.0,"b":2000.0}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// When it is no JSON: also nesting of 128 or more, numbers beyond f64, lone surrogates.
pub fn normalize(text: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    if Scanner::is_canonical(text) {
        return Ok(Cow::Borrowed(text));
    }
    let value: serde_json::Value = serde_json::from_str(text)?;
    print(&value).map(Cow::Owned)
}

/// The canonical text of a value.
///
/// Maps must be sorted, as those of [`serde_json::Value`] are.
///
/// ```
/// let text = particle::value::print(&serde_json::json!([1e21, { "a": null }]))?;
/// assert_eq!(text, r#"[1e21,{"a":null}]"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// When the value's own `Serialize` fails; never for a [`serde_json::Value`].
pub fn print<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = Vec::with_capacity(128);
    print_to(&mut out, value)?;
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

/// Appends the canonical text of a value to `out`.
///
/// # Errors
/// As of [`print`](fn@print).
pub fn print_to<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, Canonical))
}

/// Compact, with floats in the one form that peers hash.
struct Canonical;

impl Formatter for Canonical {
    fn write_f32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        writer.write_all(ryu::Buffer::new().format_finite(value).as_bytes())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(ryu::Buffer::new().format_finite(value).as_bytes())
    }
}

/// Whether a text can be read as a value.
///
/// # Errors
/// As of [`normalize`].
pub fn check(text: &str) -> Result<(), serde_json::Error> {
    if Scanner::is_canonical(text) {
        return Ok(());
    }
    serde_json::from_str::<serde_json::Value>(text).map(drop)
}

/// Appends the JSON form of a text: only `"`, `\` and control characters are escaped.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    while let Some((plain, after)) = rest.split_at_checked(plain_prefix(rest)) {
        out.extend_from_slice(plain);
        let Some((special, after)) = after.split_first() else {
            break;
        };
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
        match special {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *special]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(other >> 4), digit(other & 0x0f)]);
            }
        }
        rest = after;
    }
    out.push(b'"');
}

/// [`push_string`] for a text that mostly is a CID: all at once.
pub(crate) fn push_cid(out: &mut Vec<u8>, cid: &str) {
    match cid.as_bytes().try_into() {
        Ok(bytes) if is_plain_cid(bytes) => {
            let mut quoted = [b'"'; CID_LEN + 2];
            if let Some(place) = quoted.get_mut(1..=CID_LEN) {
                place.copy_from_slice(bytes);
            }
            out.extend_from_slice(&quoted);
        }
        _ => push_string(out, cid),
    }
}

/// Whether a JSON string holds these bytes as they are.
fn is_plain_cid(cid: &[u8; CID_LEN]) -> bool {
    let (blocks, _) = cid.as_chunks::<BLOCK>();
    let special = blocks
        .iter()
        .fold(false, |found, block| found | any_special(block));
    // The last block overlaps the one before it.
    !special && cid.last_chunk().is_some_and(|last| !any_special(last))
}

/// [`plain_prefix`] for bytes that go on behind the string, which mostly is short.
#[inline]
fn plain_prefix_of_rest(bytes: &[u8]) -> usize {
    for start in [0, 8] {
        let Some(word) = bytes.get(start..).and_then(|rest| rest.first_chunk()) else {
            break;
        };
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return start + special.trailing_zeros() as usize / 8;
        }
    }
    plain_prefix(bytes)
}

/// Of eight bytes, the lowest set bit belongs to the first that is special.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x80 * ONES;
    // Borrows reach the bytes after a special one only.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    (below(word, 0x20) | quote | backslash) & HIGHEST
}

/// Length of the bytes before the first that a JSON string cannot hold as it is.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let plain = blocks.iter().position(any_special).unwrap_or(blocks.len()) * BLOCK;
    if plain + rest.len() == bytes.len() {
        // The last block overlaps the one before it.
        if bytes.last_chunk().is_some_and(|last| !any_special(last)) {
            return bytes.len();
        }
    }
    let rest = bytes.get(plain..).unwrap_or_default();
    plain + rest.iter().position(is_special).unwrap_or(rest.len())
}

const BLOCK: usize = 16;

/// Whole blocks without an early exit, which the compiler turns into vector instructions.
#[inline]
fn any_special(block: &[u8; BLOCK]) -> bool {
    block
        .iter()
        .fold(false, |found, byte| found | is_special(byte))
}

fn is_special(byte: &u8) -> bool {
    *byte < 0x20 || *byte == b'"' || *byte == b'\\'
}

/// Recognises canonical texts without building a value. It may say no to a canonical text, which
/// only costs time, but never yes to another.
struct Scanner<'a> {
    rest: &'a [u8],
}

/// Deeper texts take the slow way, which has the exact limit.
const MAX_SCANNED_DEPTH: usize = 100;

impl<'a> Scanner<'a> {
    fn is_canonical(text: &'a str) -> bool {
        let mut scanner = Self {
            rest: text.as_bytes(),
        };
        scanner.value(MAX_SCANNED_DEPTH).is_some() && scanner.rest.is_empty()
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.rest.first()? {
            b'"' => self.string().map(drop),
            b'[' => self.array(depth.checked_sub(1)?),
            b'{' => self.object(depth.checked_sub(1)?),
            b'n' => self.literal(b"null"),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.byte(b'[')?;
        if self.byte(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.byte(b',').is_none() {
                return self.byte(b']');
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.byte(b'{')?;
        if self.byte(b'}').is_some() {
            return Some(());
        }
        let mut last: Option<&[u8]> = None;
        loop {
            let key = self.string()?;
            // Escapes sort by what they stand for.
            if key.contains(&b'\\') || last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
            self.byte(b':')?;
            self.value(depth)?;
            if self.byte(b',').is_none() {
                return self.byte(b'}');
            }
        }
    }

    /// What is between the quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.byte(b'"')?;
        let content = self.rest;
        loop {
            let (_, after) = self
                .rest
                .split_at_checked(plain_prefix_of_rest(self.rest))?;
            match after {
                [b'"', after @ ..] => {
                    self.rest = after;
                    let length = content.len() - after.len() - 1;
                    return content.get(..length);
                }
                [
                    b'\\',
                    b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r',
                    after @ ..,
                ] => {
                    self.rest = after;
                }
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let integer = self
            .rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-'));
        let (integer, after) = self
            .rest
            .split_at_checked(integer.unwrap_or(self.rest.len()))?;
        if !matches!(after.first(), Some(b'.' | b'e' | b'E' | b'+')) {
            self.rest = after;
            let digits = integer.strip_prefix(b"-").unwrap_or(integer);
            let canonical = match digits {
                [b'0'] => digits.len() == integer.len(),
                // Eighteen digits fit an i64.
                [b'1'..=b'9', rest @ ..] => rest.len() < 18 && !rest.contains(&b'-'),
                _ => false,
            };
            return canonical.then_some(());
        }
        let number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self
            .rest
            .iter()
            .position(|byte| !number(byte))
            .unwrap_or(self.rest.len());
        let (token, after) = self.rest.split_at_checked(length)?;
        self.rest = after;
        let value: f64 = serde_json::from_slice(token).ok()?;
        (ryu::Buffer::new().format_finite(value).as_bytes() == token).then_some(())
    }

    #[inline]
    fn byte(&mut self, expected: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        if *first != expected {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_as_serde_json_writes_them() {
        let all: String = (0..0x80_u8)
            .map(char::from)
            .chain("é\u{2028}/".chars())
            .collect();
        let mut out = Vec::new();
        push_string(&mut out, &all);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            serde_json::to_string(&all).unwrap()
        );
    }

    #[test]
    fn cids_are_strings_like_others() {
        let written = |write: fn(&mut Vec<u8>, &str), text: &str| {
            let mut out = Vec::new();
            write(&mut out, text);
            out
        };
        let plain = "b".repeat(CID_LEN);
        let mut texts = vec![String::new(), plain.clone(), plain.repeat(2)];
        texts.extend((0..CID_LEN).flat_map(|at| {
            ["\"", "\\", "\n"].map(|special| {
                let mut text = plain.clone();
                text.replace_range(at..=at, special);
                text
            })
        }));
        for text in texts {
            assert_eq!(written(push_cid, &text), written(push_string, &text));
        }
    }

    #[test]
    fn what_is_no_value() {
        for text in ["", "nope", "[1,]", "1e999", r#""\ud800""#, "1 2"] {
            assert!(normalize(text).is_err(), "{text}");
        }
        assert!(normalize(&format!("{}{}", "[".repeat(128), "]".repeat(128))).is_err());
        assert!(normalize(&format!("{}{}", "[".repeat(127), "]".repeat(127))).is_ok());
    }

    #[test]
    fn canonical_texts_are_recognised() {
        let canonical = [
            "null",
            "[]",
            "{}",
            "0",
            "-1",
            "123456789012345678",
            "1.5",
            "-0.0",
            "1e16",
            "5e-324",
            r#"{"a":[true,false,{"b":"\n\"ü"}],"b":" "}"#,
        ];
        for text in canonical {
            assert!(Scanner::is_canonical(text), "{text}");
            assert!(matches!(normalize(text), Ok(Cow::Borrowed(_))));
        }
        let others = [
            " 1",
            "1 ",
            "-0",
            "01",
            "1-2",
            "--1",
            "-",
            "+1",
            "1.0e5",
            "1e+16",
            "1.",
            ".5",
            "1e999",
            "[1, 2]",
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"\n":1}"#,
            r#""\/""#,
            r#""\u0041""#,
            "\"\n\"",
            "\"",
            "[1",
            "[1,]",
            "{\"a\"}",
            "nul",
            "",
        ];
        for text in others {
            assert!(!Scanner::is_canonical(text), "{text}");
        }
        assert!(!Scanner::is_canonical(&"[".repeat(1_000_000)));
    }
}

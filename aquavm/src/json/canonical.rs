//! Recognising and making canonical text.

use std::borrow::Cow;

use memchr::memchr2;

/// Deepest nesting of arrays and objects that a received text may have.
pub(crate) const DEPTH_LIMIT: usize = 127;

/// The canonical text of `text`, borrowed when it is canonical already.
///
/// # Errors
/// `text` is not JSON, nests too deeply, or holds a number out of range.
pub(crate) fn canonical_text(text: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    if is_canonical(text) {
        return Ok(Cow::Borrowed(text));
    }
    let value: serde_json::Value = serde_json::from_str(text)?;
    Ok(Cow::Owned(value.to_string()))
}

/// Whether `text` is canonical JSON for certain.
///
/// May say no about a canonical text with rare contents; never yes about any other text.
pub(crate) fn is_canonical(text: &str) -> bool {
    Scanner {
        bytes: text.as_bytes(),
        at: 0,
    }
    .document()
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One open container; an object remembers its last key.
enum Open<'a> {
    Array,
    Object(&'a [u8]),
}

impl<'a> Scanner<'a> {
    fn document(&mut self) -> bool {
        let mut open: Vec<Open<'a>> = Vec::new();
        loop {
            // A value starts here.
            match self.peek() {
                Some(b'[') => {
                    self.at += 1;
                    if self.peek() == Some(b']') {
                        self.at += 1;
                        if open.len() >= DEPTH_LIMIT {
                            return false;
                        }
                    } else {
                        open.push(Open::Array);
                        if open.len() > DEPTH_LIMIT {
                            return false;
                        }
                        continue;
                    }
                }
                Some(b'{') => {
                    self.at += 1;
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                        if open.len() >= DEPTH_LIMIT {
                            return false;
                        }
                    } else {
                        let Some(key) = self.key() else { return false };
                        open.push(Open::Object(key));
                        if open.len() > DEPTH_LIMIT {
                            return false;
                        }
                        continue;
                    }
                }
                Some(b'"') => {
                    if self.string().is_none() {
                        return false;
                    }
                }
                Some(b't') => {
                    if !self.word(b"true") {
                        return false;
                    }
                }
                Some(b'f') => {
                    if !self.word(b"false") {
                        return false;
                    }
                }
                Some(b'n') => {
                    if !self.word(b"null") {
                        return false;
                    }
                }
                Some(b'-' | b'0'..=b'9') => {
                    if !self.number() {
                        return false;
                    }
                }
                _ => return false,
            }
            // A value ended here.
            loop {
                match open.last_mut() {
                    None => return self.at == self.bytes.len(),
                    Some(Open::Array) => match self.next() {
                        Some(b',') => break,
                        Some(b']') => {
                            open.pop();
                        }
                        _ => return false,
                    },
                    Some(Open::Object(last)) => match self.next() {
                        Some(b',') => {
                            let Some(key) = self.key() else { return false };
                            if key <= *last {
                                return false;
                            }
                            *last = key;
                            break;
                        }
                        Some(b'}') => {
                            open.pop();
                        }
                        _ => return false,
                    },
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let found = self
            .bytes
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word));
        self.at += word.len();
        found
    }

    /// A key and its colon. Keys with escapes sort differently as text, so they are left to the parser.
    fn key(&mut self) -> Option<&'a [u8]> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let key = self.string()?;
        if key.contains(&b'\\') || self.next() != Some(b':') {
            return None;
        }
        Some(key)
    }

    /// The inside of a string with least escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            let rest = self.bytes.get(at..)?;
            let length = memchr2(b'"', b'\\', rest)?;
            let plain = rest.get(..length)?;
            if has_control(plain) {
                return None;
            }
            at += length;
            if self.bytes.get(at) == Some(&b'"') {
                self.at = at + 1;
                return self.bytes.get(start..at);
            }
            match self.bytes.get(at + 1)? {
                b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    let digits = self.bytes.get(at + 2..at + 6)?;
                    if !least_unicode_escape(digits) {
                        return None;
                    }
                    at += 6;
                }
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> bool {
        let start = self.at;
        let mut float = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'0'..=b'9' | b'-' => {}
                b'.' | b'e' | b'E' | b'+' => float = true,
                _ => break,
            }
            self.at += 1;
        }
        let Some(text) = self.bytes.get(start..self.at) else {
            return false;
        };
        if !float && text.len() <= 18 {
            // Fits certainly; refuse signs inside, leading zeros and minus zero.
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            return !digits.is_empty()
                && digits.iter().all(u8::is_ascii_digit)
                && (digits.first() != Some(&b'0') || text == b"0");
        }
        let Ok(text) = std::str::from_utf8(text) else {
            return false;
        };
        serde_json::from_str::<serde_json::Number>(text)
            .is_ok_and(|number| number.to_string() == text)
    }
}

fn has_control(bytes: &[u8]) -> bool {
    // Written so that the compiler turns it into vector code.
    bytes
        .iter()
        .fold(false, |found, &byte| found | (byte < 0x20))
}

/// Four digits that name a control character without a short escape.
fn least_unicode_escape(digits: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(digits) else {
        return false;
    };
    if text.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return false;
    }
    u32::from_str_radix(text, 16)
        .is_ok_and(|code| code < 0x20 && !matches!(code, 0x8 | 0x9 | 0xa | 0xc | 0xd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_what_it_makes() {
        for text in [
            "null",
            " null ",
            "-0",
            "0",
            "01",
            "1.50",
            "2e3",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "[1,[],{}]",
            "[ 1 , [ ] , { } ]",
            "{\"b\":1,\"a\":[{\"z\":1,\"y\":2}],\"a\":3}",
            "{\"a\":1,\"b\":2}",
            "{\"a\":1,\"a\":2}",
            "\"\\u0041\\ud83d\\ude00\\u0000\\u001f\\u007f\\/ \\\"\\\\\\b\\f\\n\\r\\t é\"",
            "\"\\u0000\\u001f\"",
            "\"\\u001F\"",
            "123456789012345680000",
            "5e-324",
            "1e16",
        ] {
            let made = canonical_text(text).unwrap();
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(made, value.to_string(), "{text}");
            assert!(is_canonical(&made), "{made}");
        }
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in ["", "1 2", "{broken", "\"\\ud800\"", "[1e400]", "nan", "'x'", "\"\u{1}\"", "-", "[1,]", "{\"a\":1,}", "[", "]"] {
            assert!(!is_canonical(text), "{text}");
            assert!(canonical_text(text).is_err(), "{text}");
        }
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_canonical(&deep(127)));
        assert!(!is_canonical(&deep(128)));
        assert!(canonical_text(&deep(128)).is_err());
    }
}

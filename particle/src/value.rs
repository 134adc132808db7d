//! JSON texts of values.
//!
//! Peers agree on hashes only when they print a value in one way: compact, keys sorted by bytes
//! (of equal keys the last one counts), numbers as `serde_json` reads them, floats as `ryu` writes
//! them. Print values with [`print`](fn@print) and never with `Value::to_string`: newer releases of
//! `serde_json` write exponents in another way.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// The canonical text of a JSON text.
///
/// ```
/// let text = particle::value::normalize(r#"{ "b": 2e3, "a": -0 }"#)?;
/// assert_eq!(text, r#"{"a":-0.0,"b":2000.0}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// When it is no JSON: also nesting of 128 or more, numbers beyond f64, lone surrogates.
pub fn normalize(text: &str) -> Result<String, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    print(&value)
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
    serde_json::from_str::<serde_json::Value>(text).map(drop)
}

/// Appends the JSON form of a text: only `"`, `\` and control characters are escaped.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(position) = rest
        .iter()
        .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
    {
        let Some((plain, [special, after @ ..])) = rest.split_at_checked(position) else {
            break;
        };
        out.extend_from_slice(plain);
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
    out.extend_from_slice(rest);
    out.push(b'"');
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
    fn what_is_no_value() {
        for text in ["", "nope", "[1,]", "1e999", r#""\ud800""#, "1 2"] {
            assert!(normalize(text).is_err(), "{text}");
        }
        assert!(normalize(&format!("{}{}", "[".repeat(128), "]".repeat(128))).is_err());
        assert!(normalize(&format!("{}{}", "[".repeat(127), "]".repeat(127))).is_ok());
    }
}

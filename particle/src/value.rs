//! JSON texts of values.
//!
//! Peers agree on hashes only when they print a value in one way: compact, keys sorted by bytes
//! (of equal keys the last one counts), numbers as `serde_json` reads and prints them.

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
    Ok(value.to_string())
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

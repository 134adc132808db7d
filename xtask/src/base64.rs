//! Base64 with padding, as the records and the published interpreter's driver use it.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        for (target, &byte) in word.iter_mut().skip(1).zip(group) {
            *target = byte;
        }
        let word = u32::from_be_bytes(word);
        for position in 0..4 {
            let digit = (word >> (18 - 6 * position) & 63) as usize;
            match ALPHABET.get(digit) {
                Some(&symbol) if position <= group.len() => text.push(char::from(symbol)),
                _ => text.push('='),
            }
        }
    }
    text
}

/// The bytes of a text.
///
/// # Errors
/// A symbol outside of the alphabet.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        let mut symbols = 0;
        for &symbol in group {
            let digit = match symbol {
                b'A'..=b'Z' => symbol - b'A',
                b'a'..=b'z' => symbol - b'a' + 26,
                b'0'..=b'9' => symbol - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => continue,
                _ => return Err(format!("no base64: {symbol:#x}")),
            };
            word = word << 6 | u32::from(digit);
            symbols += 1;
        }
        word <<= 6 * (4 - symbols);
        let [_, decoded @ ..] = word.to_be_bytes();
        out.extend_from_slice(decoded.get(..symbols.max(1) - 1).unwrap_or_default());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_their_text() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\xfd\xfc", "//79/A=="),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).unwrap(), bytes);
        }
        assert!(decode("a-b_").is_err());
    }
}

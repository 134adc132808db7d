//! Arrays of bytes as JSON text, without a value for each byte in between.

#[cfg(target_arch = "x86_64")]
mod vector;

/// Reads numbers with a comma behind each, as compact JSON has them, and appends them. Returns how
/// many characters that took; where it stops, something else may stand, or something wrong.
pub(super) fn read(text: &[u8], bytes: &mut Vec<u8>) -> usize {
    let mut used = 0;
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("ssse3") {
        // SAFETY: the processor has what the function is compiled for.
        #[expect(
            unsafe_code,
            reason = "vector instructions that not every processor has"
        )]
        unsafe {
            used = vector::read(text, bytes);
        }
    }
    while let Some((byte, length)) = one(text.get(used..).unwrap_or_default()) {
        bytes.push(byte);
        used += length;
    }
    used
}

/// A number with a comma behind it, and how many characters that is.
fn one(text: &[u8]) -> Option<(u8, usize)> {
    let digit = |character: u8| u32::from(character - b'0');
    let (value, length) = match text {
        [a @ b'0'..=b'9', b',', ..] => (digit(*a), 2),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b',', ..] => (digit(*a) * 10 + digit(*b), 3),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b',', ..] => {
            (digit(*a) * 100 + digit(*b) * 10 + digit(*c), 4)
        }
        _ => return None,
    };
    Some((value.try_into().ok()?, length))
}

/// Each byte in decimal with a comma behind it, and how many characters that is.
const DECIMAL: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut rest: &mut [([u8; 4], u8)] = &mut table;
    let mut value = 0_u8;
    while let [entry, others @ ..] = rest {
        let hundreds = b'0' + value / 100;
        let tens = b'0' + value / 10 % 10;
        let ones = b'0' + value % 10;
        *entry = match value {
            0..10 => ([ones, b',', 0, 0], 2),
            10..100 => ([tens, ones, b',', 0], 3),
            _ => ([hundreds, tens, ones, b','], 4),
        };
        value = value.wrapping_add(1);
        rest = others;
    }
    table
};

/// Appends `[…]`.
pub(super) fn write(output: &mut String, bytes: &[u8]) {
    /// Bytes whose text is made at a time.
    const CHUNK: usize = 256;
    output.reserve(bytes.len().saturating_mul(4) + 2);
    output.push('[');
    let mut text = [0; 4 * CHUNK];
    for chunk in bytes.chunks(CHUNK) {
        let length = write_chunk(&mut text, chunk);
        // Digits and commas are nothing but ASCII.
        let written = text.get(..length).map(std::str::from_utf8);
        output.push_str(written.and_then(Result::ok).unwrap_or_default());
    }
    if !bytes.is_empty() {
        output.pop();
    }
    output.push(']');
}

/// Writes each byte with a comma behind it, and returns how many characters that is: at most four a
/// byte, for which there must be room.
fn write_chunk(text: &mut [u8], bytes: &[u8]) -> usize {
    let (mut used, mut length) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("ssse3") {
        // SAFETY: the processor has what the function is compiled for.
        #[expect(
            unsafe_code,
            reason = "vector instructions that not every processor has"
        )]
        unsafe {
            (used, length) = vector::write(bytes, text);
        }
    }
    for byte in bytes.get(used..).unwrap_or_default() {
        if let Some((digits, count)) = DECIMAL.get(usize::from(*byte))
            && let Some(place) = text.get_mut(length..length + 4)
        {
            place.copy_from_slice(digits);
            length += usize::from(*count);
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What should come out, one number after the other.
    fn slow(text: &[u8]) -> (Vec<u8>, usize) {
        let (mut bytes, mut used) = (Vec::new(), 0);
        while let Some((byte, length)) = one(&text[used..]) {
            bytes.push(byte);
            used += length;
        }
        (bytes, used)
    }

    fn check(text: &str) {
        let mut bytes = Vec::new();
        let used = read(text.as_bytes(), &mut bytes);
        assert_eq!((bytes, used), slow(text.as_bytes()), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut text = String::new();
            write(&mut text, &values);
            let inner = text.trim_start_matches('[').replace(']', ",");
            check(&inner);
            check(&text[1..]);
        }

        /// Numbers that are too large, leading zeros, other characters, in the midst of others.
        #[test]
        fn anything_else_ends_it(
            values in prop::collection::vec(any::<u8>(), 0..100),
            odd in prop::sample::select(vec![
                "256,", "260,", "300,", "999,", "1000,", "00,", "01,", "012,", "000,", ",", " 1,",
                "1 ,", "-1,", "1.0,", "1e1,", "a,", "1a,", "/,", ":,", "\u{fc},", "]", "25\u{0},",
            ]),
            place in any::<prop::sample::Index>(),
        ) {
            let mut texts: Vec<String> = values.iter().map(|value| format!("{value},")).collect();
            texts.insert(place.index(texts.len() + 1), odd.to_owned());
            check(&texts.concat());
        }

        #[test]
        fn any_text(text in "[0-9,]{0,200}") {
            check(&text);
        }
    }

    #[test]
    fn every_byte_is_written_beside_every_length() {
        for value in 0..=255 {
            for other in [0, 9, 10, 99, 100, 255] {
                for place in 0..4 {
                    let mut values = [other; 40];
                    values[place] = value;
                    let mut text = String::new();
                    write(&mut text, &values);
                    assert_eq!(text, serde_json::to_string(&values[..]).unwrap());
                }
            }
        }
    }

    #[test]
    fn every_number_is_read_where_it_fits() {
        for value in 0..2000_u32 {
            for before in 0..8 {
                check(&format!(
                    "{}{value},{}",
                    "1,".repeat(before),
                    "22,".repeat(40)
                ));
            }
        }
    }
}

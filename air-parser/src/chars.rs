//! Classes of characters.

/// Whether names may contain the character.
pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// How many bytes at the start of `text` belong to a name.
pub(crate) fn name_len(text: &str) -> usize {
    let ascii = ascii_name_len(text.as_bytes());
    match text.as_bytes().get(ascii) {
        Some(byte) if !byte.is_ascii() => text.find(|c| !is_name(c)).unwrap_or(text.len()),
        _ => ascii,
    }
}

/// How many bytes at the start are ASCII characters of a name.
#[inline]
pub(crate) fn ascii_name_len(bytes: &[u8]) -> usize {
    let stop = |byte: u8| !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    position(bytes, name_stops, stop).unwrap_or(bytes.len())
}

/// Where the first quote is.
#[inline]
pub(crate) fn find_quote(bytes: &[u8]) -> Option<usize> {
    position(bytes, |word| equal(word, b'"'), |byte| byte == b'"')
}

/// The first byte that is looked for, eight at a time: `in_word` sets the high bits of such
/// bytes. It need not be right about bytes above the first it finds.
#[inline]
fn position(
    bytes: &[u8],
    in_word: impl Fn(u64) -> u64,
    is_it: impl Fn(u8) -> bool,
) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = in_word(u64::from_le_bytes(*word)) & HIGH;
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let offset = tail.iter().position(|byte| is_it(*byte))?;
    Some(words.len() * 8 + offset)
}

/// The high bits of all bytes.
const HIGH: u64 = each(0x80);

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Sets the high bits of bytes that are no ASCII characters of a name.
#[inline]
const fn name_stops(word: u64) -> u64 {
    let low = word & !HIGH;
    let lower = low | each(0x20);
    let letters = (lower + each(0x80 - b'a')) & !(lower + each(0x7F - b'z'));
    let digits = (low + each(0x80 - b'0')) & !(low + each(0x7F - b'9'));
    !(letters | digits | equal(low, b'-') | equal(low, b'_')) | word
}

/// Sets the high bits of bytes that are equal to an ASCII character.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ each(byte);
    !((difference & !HIGH) + each(0x7F)) & !difference
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_names_end_at_the_same_characters() {
        for stop in (0..=0x180_u32).filter_map(char::from_u32) {
            for length in 0..60 {
                let name = "aZ09_-".repeat(10);
                let name = &name[..length];
                let text = format!("{name}{stop}x");
                let expected = if is_name(stop) {
                    length + stop.len_utf8() + 1
                } else {
                    length
                };
                assert_eq!(name_len(&text), expected, "{text:?}");
                let quote = text.find('"');
                assert_eq!(find_quote(text.as_bytes()), quote, "{text:?}");
            }
        }
    }
}

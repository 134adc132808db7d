//! Classes of characters.

/// Whether names may contain the character.
pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// How many bytes at the start of `text` belong to a name.
pub(crate) fn name_len(text: &str) -> usize {
    let ascii = text
        .bytes()
        .position(|byte| NAME.get(usize::from(byte)) != Some(&true))
        .unwrap_or(text.len());
    match text.as_bytes().get(ascii) {
        Some(byte) if !byte.is_ascii() => text.find(|c| !is_name(c)).unwrap_or(text.len()),
        _ => ascii,
    }
}

/// Whether names may contain the byte, for ASCII.
pub(crate) static NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "checked at compile time")]
        {
            table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        }
        byte += 1;
    }
    table
};

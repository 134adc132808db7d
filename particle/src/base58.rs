//! Base58 as peer ids are written: five digits at once, where the usual way divides for each of
//! them.

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Digits of a group.
const DIGITS: u32 = 5;
const GROUP: u64 = 58_u64.pow(DIGITS);

/// The text of `bytes`; takes time in proportion to the square of their number.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let (head, words) = bytes.as_rchunks::<4>();
    let head = head
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte));
    let mut number = Vec::with_capacity(words.len() + 1);
    number.push(head);
    number.extend(words.iter().map(|word| u32::from_be_bytes(*word)));

    // The lowest first.
    let mut digits = Vec::with_capacity(bytes.len() * 3 / 2 + DIGITS as usize);
    let mut begin = 0;
    while let Some((first, rest)) = number.get_mut(begin..).and_then(<[u32]>::split_first_mut) {
        if *first == 0 {
            begin += 1;
            continue;
        }
        let mut group = 0;
        for limb in std::iter::once(first).chain(rest) {
            let value = group << 32 | u64::from(*limb);
            // The remainder before it is less than a group, so this fits.
            *limb = (value / GROUP) as u32;
            group = value % GROUP;
        }
        for _ in 0..DIGITS {
            digits.push((group % 58) as u8);
            group /= 58;
        }
    }
    while digits.pop_if(|digit| *digit == 0).is_some() {}
    digits.resize(digits.len() + zeros, 0);
    let symbol = |digit: &u8| ALPHABET.get(usize::from(*digit)).copied().unwrap_or(b'1');
    let text = digits.iter().rev().map(symbol).collect();
    // The alphabet is ASCII, so this never falls back.
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_usual_way() {
        let mut bytes = Vec::new();
        let mut state = 1_u64;
        for length in 0..100 {
            for fill in [0, 1, 0xff] {
                let text = vec![fill; length];
                assert_eq!(encode(&text), bs58::encode(&text).into_string());
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005) + 1;
            bytes.push((state >> 56) as u8);
            assert_eq!(encode(&bytes), bs58::encode(&bytes).into_string());
            let padded = [&[0, 0][..], &bytes].concat();
            assert_eq!(encode(&padded), bs58::encode(&padded).into_string());
        }
    }
}

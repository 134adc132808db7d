//! Four numbers at a time, by vector instructions of x86-64.
//!
//! Commas tell how long four numbers are. For each of the 81 possibilities a table has the shuffle
//! that brings their digits into columns, so that two multiplications make them numbers. Writing
//! goes the other way: digits are made in columns, and a shuffle closes the gaps.

use std::{
    arch::x86_64::{
        __m128i, _mm_add_epi16, _mm_cmpeq_epi8, _mm_cmpgt_epi32, _mm_cvtsi32_si128,
        _mm_cvtsi128_si32, _mm_cvtsi128_si64, _mm_madd_epi16, _mm_maddubs_epi16, _mm_max_epu8,
        _mm_movemask_epi8, _mm_mullo_epi16, _mm_or_si128, _mm_packs_epi32, _mm_packus_epi16,
        _mm_set_epi64x, _mm_set1_epi8, _mm_set1_epi16, _mm_set1_epi32, _mm_setzero_si128,
        _mm_shuffle_epi8, _mm_slli_epi16, _mm_srli_epi16, _mm_sub_epi8, _mm_sub_epi16,
        _mm_subs_epu8, _mm_unpackhi_epi8, _mm_unpackhi_epi16, _mm_unpackhi_epi64,
        _mm_unpacklo_epi8, _mm_unpacklo_epi16,
    },
    sync::LazyLock,
};

/// Characters that are searched for commas at a time.
const BLOCK: usize = 64;
/// Most characters of four numbers and their commas.
const GROUP: usize = 16;
/// Most bytes in a block.
const MOST: usize = BLOCK / 2;
/// Tells all arrangements of commas apart by its upper eight bits when it is multiplied with them.
const FACTOR: u32 = 0xE07B_DB9F;

/// What to do with four numbers of certain lengths.
#[derive(Clone, Copy, Default)]
struct Pattern {
    /// Their commas: bits by position.
    commas: u32,
    /// Which character goes where; in the order hundreds, tens, ones, nothing.
    shuffle: u128,
    /// Least value of each: a number has no leading zeros.
    least: u32,
}

static PATTERNS: LazyLock<[Pattern; 256]> = LazyLock::new(|| {
    let mut table = [Pattern::default(); 256];
    for number in 0..81 {
        let pattern = Pattern::new([number / 27, number / 9 % 3, number / 3 % 3, number % 3]);
        if let Some(place) = table.get_mut(slot(pattern.commas)) {
            *place = pattern;
        }
    }
    table
});

#[inline]
fn slot(commas: u32) -> usize {
    (commas.wrapping_mul(FACTOR) >> 24) as usize
}

impl Pattern {
    /// Numbers with these numbers of digits beside the last one.
    fn new(tens: [u32; 4]) -> Self {
        let mut pattern = Self::default();
        let mut position = 0;
        for (lane, tens) in (0..).zip(tens) {
            for column in 0..4 {
                let source = match (column + tens).checked_sub(2) {
                    Some(digit) if column < 3 => position + digit,
                    // Nothing is there.
                    _ => 0x80,
                };
                pattern.shuffle |= u128::from(source) << (32 * lane + 8 * column);
            }
            let least = match tens {
                0 => 0,
                1 => 10,
                _ => 100,
            };
            pattern.least |= least << (8 * lane);
            position += tens + 1;
            pattern.commas |= 1 << position;
            position += 1;
        }
        pattern
    }
}

/// Appends what blocks of numbers mean, up to the first that holds something else.
#[target_feature(enable = "ssse3")]
pub(super) fn read(text: &[u8], bytes: &mut Vec<u8>) -> usize {
    let patterns = &*PATTERNS;
    let zero = _mm_set1_epi8(b'0'.cast_signed());
    let nine = _mm_set1_epi8(9);
    let hundred_ten_one = _mm_set1_epi32(100 | 10 << 8 | 1 << 16);
    let one = _mm_set1_epi16(1);
    let most = _mm_set1_epi32(255);

    let mut used = 0;
    while let Some(block) = text.get(used..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        let commas = commas(block);
        let mut values = [0; MOST];
        let mut count = 0;
        let mut start = 0;
        // Not zero where a number is none.
        let mut wrong = _mm_setzero_si128();
        let mut known = true;
        while let Some(group) = block.get(start..).and_then(<[u8]>::first_chunk::<GROUP>) {
            let here = (commas >> start) as u32;
            let from_fourth = without_first(without_first(without_first(here)));
            let four = here ^ without_first(from_fourth);
            let pattern = patterns.get(slot(four)).copied().unwrap_or_default();
            known = pattern.commas == four && four != 0;
            let Some(place) = values.get_mut(count..count + 4).filter(|_| known) else {
                break;
            };
            let digits = _mm_sub_epi8(vector(u128::from_le_bytes(*group)), zero);
            let digits = _mm_shuffle_epi8(digits, vector(pattern.shuffle));
            let numbers = _mm_maddubs_epi16(digits, hundred_ten_one);
            let numbers = _mm_madd_epi16(numbers, one);
            wrong = _mm_or_si128(wrong, _mm_subs_epu8(digits, nine));
            wrong = _mm_or_si128(wrong, _mm_cmpgt_epi32(numbers, most));
            let numbers = _mm_packs_epi32(numbers, numbers);
            let numbers = _mm_packus_epi16(numbers, numbers);
            let least = _mm_cvtsi32_si128(pattern.least.cast_signed());
            wrong = _mm_or_si128(wrong, _mm_subs_epu8(least, numbers));
            place.copy_from_slice(&_mm_cvtsi128_si32(numbers).to_le_bytes());
            count += 4;
            start += from_fourth.trailing_zeros() as usize + 1;
        }
        let right = _mm_cmpeq_epi8(wrong, _mm_setzero_si128());
        if _mm_movemask_epi8(right) != 0xFFFF {
            break;
        }
        // A copy of a known length is two instructions.
        let length = bytes.len() + count;
        bytes.extend_from_slice(&values);
        bytes.truncate(length);
        used += start;
        if !known {
            break;
        }
    }
    used
}

/// Positions of commas as bits.
#[inline]
#[target_feature(enable = "ssse3")]
fn commas(block: &[u8; BLOCK]) -> u64 {
    let comma = _mm_set1_epi8(b','.cast_signed());
    let mut found = 0;
    // No iterator's closure: those are compiled without the feature, and called.
    for part in block.as_chunks::<GROUP>().0.iter().rev() {
        let equal = _mm_cmpeq_epi8(vector(u128::from_le_bytes(*part)), comma);
        found = found << GROUP | u64::from(_mm_movemask_epi8(equal).cast_unsigned());
    }
    found
}

/// Where the digits of four numbers go, by which of them have tens (four bits) and which have
/// hundreds (the next four). Nonsense has no shuffle.
static GAPS: LazyLock<[u128; 256]> = LazyLock::new(|| {
    let mut table = [0; 256];
    for number in 0..81 {
        let lengths = [number / 27, number / 9 % 3, number / 3 % 3, number % 3];
        let (mut slot, mut shuffle, mut position) = (0_usize, 0_u128, 0_u32);
        for (lane, tens) in (0..4_u32).zip(lengths) {
            slot |= usize::from(tens > 0) << lane | usize::from(tens > 1) << (lane + 4);
            for column in 2 - tens..4 {
                shuffle |= u128::from(4 * lane + column) << (8 * position);
                position += 1;
            }
        }
        if let Some(place) = table.get_mut(slot) {
            *place = shuffle;
        }
    }
    table
});

/// Writes numbers with a comma behind each, as far as there are sixteen at a time. Returns how many
/// bytes were read, and how many characters written.
#[target_feature(enable = "ssse3")]
pub(super) fn write(bytes: &[u8], text: &mut [u8]) -> (usize, usize) {
    let gaps = &*GAPS;
    let zero = _mm_setzero_si128();
    let mut length = 0;
    let mut used = 0;
    for block in bytes.as_chunks::<GROUP>().0 {
        let values = vector(u128::from_le_bytes(*block));
        let tens = at_least(values, 10);
        let hundreds = at_least(values, 100);
        let (low, high) = (
            _mm_unpacklo_epi8(values, zero),
            _mm_unpackhi_epi8(values, zero),
        );
        let ([a, b], [c, d]) = (columns(low), columns(high));
        for (lane, digits) in [a, b, c, d].into_iter().enumerate() {
            let slot = (tens >> (4 * lane) & 15 | (hundreds >> (4 * lane) & 15) << 4) as u8;
            let shuffle = gaps.get(usize::from(slot)).copied().unwrap_or_default();
            let closed = _mm_shuffle_epi8(digits, vector(shuffle));
            let Some(place) = text.get_mut(length..length + GROUP) else {
                return (used, length);
            };
            place.copy_from_slice(&number(closed).to_le_bytes());
            // A digit and a comma each, and what the bits say.
            length += 8 + slot.count_ones() as usize;
        }
        used += GROUP;
    }
    (used, length)
}

/// Which values are at least that large, as bits.
#[inline]
#[target_feature(enable = "ssse3")]
fn at_least(values: __m128i, least: u8) -> u32 {
    let least = _mm_set1_epi8(least.cast_signed());
    let found = _mm_cmpeq_epi8(_mm_max_epu8(values, least), values);
    _mm_movemask_epi8(found).cast_unsigned()
}

/// Eight values of up to 255 in decimal, each as three digits and a comma.
#[inline]
#[target_feature(enable = "ssse3")]
fn columns(values: __m128i) -> [__m128i; 2] {
    // Division by 100 and by 10: the factors are exact for these ranges.
    let hundreds = _mm_srli_epi16(_mm_mullo_epi16(values, _mm_set1_epi16(41)), 12);
    let rest = _mm_sub_epi16(values, _mm_mullo_epi16(hundreds, _mm_set1_epi16(100)));
    let tens = _mm_srli_epi16(_mm_mullo_epi16(rest, _mm_set1_epi16(103)), 10);
    let ones = _mm_sub_epi16(rest, _mm_mullo_epi16(tens, _mm_set1_epi16(10)));
    let zeros = _mm_set1_epi16(i16::from_le_bytes([b'0', b'0']));
    let front = _mm_add_epi16(_mm_or_si128(hundreds, _mm_slli_epi16(tens, 8)), zeros);
    let back = _mm_add_epi16(ones, _mm_set1_epi16(i16::from_le_bytes([b'0', b','])));
    [
        _mm_unpacklo_epi16(front, back),
        _mm_unpackhi_epi16(front, back),
    ]
}

#[inline]
#[target_feature(enable = "ssse3")]
fn vector(bytes: u128) -> __m128i {
    let (high, low) = ((bytes >> 64) as u64, bytes as u64);
    _mm_set_epi64x(high.cast_signed(), low.cast_signed())
}

#[inline]
#[target_feature(enable = "ssse3")]
fn number(vector: __m128i) -> u128 {
    let low = _mm_cvtsi128_si64(vector).cast_unsigned();
    let high = _mm_cvtsi128_si64(_mm_unpackhi_epi64(vector, vector)).cast_unsigned();
    u128::from(high) << 64 | u128::from(low)
}

#[inline]
fn without_first(bits: u32) -> u32 {
    bits & bits.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_patterns_have_a_place_of_their_own() {
        let used = PATTERNS.iter().filter(|pattern| pattern.commas != 0);
        assert_eq!(used.count(), 81);
    }
}

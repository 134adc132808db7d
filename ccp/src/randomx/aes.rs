//! Single AES rounds by tables, and the generators and the hash made of them.
//!
//! A state is four 32-bit columns in little-endian order: byte 0 of a column is its first row.

#![expect(
    clippy::indexing_slicing,
    reason = "indices are bytes or constants below table sizes"
)]

/// A column of state or key after another.
type Block = [u32; 4];

/// Four blocks: 64 bytes.
type Quad = [Block; 4];

/// Fills memory; its state is the last output.
pub(super) struct Generator1R(Quad);

impl Generator1R {
    pub(super) fn new(seed: &[u8; 64]) -> Self {
        Self(to_quad(seed))
    }

    /// The next 64 bytes as words.
    pub(super) fn next(&mut self) -> [u64; 8] {
        let [a, b, c, d] = &mut self.0;
        decrypt(a, &GENERATOR_1R[0]);
        encrypt(b, &GENERATOR_1R[1]);
        decrypt(c, &GENERATOR_1R[2]);
        encrypt(d, &GENERATOR_1R[3]);
        to_words(&self.0)
    }

    /// The state as a seed of another generator.
    pub(super) fn state(&self) -> [u8; 64] {
        to_bytes(&self.0)
    }
}

/// Makes programs.
pub(super) struct Generator4R(Quad);

impl Generator4R {
    pub(super) fn new(seed: &[u8; 64]) -> Self {
        Self(to_quad(seed))
    }

    /// The next 64 bytes as words.
    pub(super) fn next(&mut self) -> [u64; 8] {
        let [a, b, c, d] = &mut self.0;
        let (first, second) = GENERATOR_4R.split_at(4);
        for (key, other) in first.iter().zip(second) {
            decrypt(a, key);
            encrypt(b, key);
            decrypt(c, other);
            encrypt(d, other);
        }
        to_words(&self.0)
    }
}

/// The fingerprint of memory.
pub(super) fn hash(memory: &[u64]) -> [u64; 8] {
    let mut state = HASH_STATE;
    let [a, b, c, d] = &mut state;
    for words in memory.chunks_exact(8) {
        let block = |index: usize| split(words[2 * index], words[2 * index + 1]);
        encrypt(a, &block(0));
        decrypt(b, &block(1));
        encrypt(c, &block(2));
        decrypt(d, &block(3));
    }
    for key in &HASH_KEYS {
        encrypt(a, key);
        decrypt(b, key);
        encrypt(c, key);
        decrypt(d, key);
    }
    to_words(&state)
}

fn split(low: u64, high: u64) -> Block {
    [
        low as u32,
        (low >> 32) as u32,
        high as u32,
        (high >> 32) as u32,
    ]
}

fn to_quad(bytes: &[u8; 64]) -> Quad {
    let mut quad = Quad::default();
    for (column, bytes) in quad.iter_mut().flatten().zip(bytes.as_chunks::<4>().0) {
        *column = u32::from_le_bytes(*bytes);
    }
    quad
}

fn to_bytes(quad: &Quad) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (column, bytes) in quad.iter().flatten().zip(bytes.as_chunks_mut::<4>().0) {
        *bytes = column.to_le_bytes();
    }
    bytes
}

fn to_words(quad: &Quad) -> [u64; 8] {
    let mut words = [0; 8];
    for (pair, block) in words.as_chunks_mut::<2>().0.iter_mut().zip(quad) {
        let [a, b, c, d] = block.map(u64::from);
        *pair = [a | b << 32, c | d << 32];
    }
    words
}

/// One round of encryption without the last round's exception, then the key.
#[inline(always)]
fn encrypt(state: &mut Block, key: &Block) {
    let [a, b, c, d] = *state;
    let column = |first: u32, second: u32, third: u32, fourth: u32| {
        ENCRYPT[0][(first & 0xff) as usize]
            ^ ENCRYPT[1][(second >> 8 & 0xff) as usize]
            ^ ENCRYPT[2][(third >> 16 & 0xff) as usize]
            ^ ENCRYPT[3][(fourth >> 24) as usize]
    };
    *state = [
        column(a, b, c, d) ^ key[0],
        column(b, c, d, a) ^ key[1],
        column(c, d, a, b) ^ key[2],
        column(d, a, b, c) ^ key[3],
    ];
}

/// One round of decryption (equivalent inverse cipher), then the key.
#[inline(always)]
fn decrypt(state: &mut Block, key: &Block) {
    let [a, b, c, d] = *state;
    let column = |first: u32, second: u32, third: u32, fourth: u32| {
        DECRYPT[0][(first & 0xff) as usize]
            ^ DECRYPT[1][(second >> 8 & 0xff) as usize]
            ^ DECRYPT[2][(third >> 16 & 0xff) as usize]
            ^ DECRYPT[3][(fourth >> 24) as usize]
    };
    *state = [
        column(a, d, c, b) ^ key[0],
        column(b, a, d, c) ^ key[1],
        column(c, b, a, d) ^ key[2],
        column(d, c, b, a) ^ key[3],
    ];
}

/// Substitution and column mix together, one table for each row.
static ENCRYPT: [[u32; 256]; 4] = round_tables(&SUBSTITUTION, [2, 1, 1, 3]);
static DECRYPT: [[u32; 256]; 4] = round_tables(&INVERSE, [14, 9, 13, 11]);

const SUBSTITUTION: [u8; 256] = substitution();
const INVERSE: [u8; 256] = inverse(&SUBSTITUTION);

const fn round_tables(substitution: &[u8; 256], factors: [u8; 4]) -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut index = 0;
    while index < 256 {
        let value = substitution[index];
        let word = u32::from_le_bytes([
            multiply(value, factors[0]),
            multiply(value, factors[1]),
            multiply(value, factors[2]),
            multiply(value, factors[3]),
        ]);
        let mut row = 0;
        while row < 4 {
            tables[row][index] = word.rotate_left(8 * row as u32);
            row += 1;
        }
        index += 1;
    }
    tables
}

/// Product in the field of AES.
const fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b > 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        let carry = a & 0x80 != 0;
        a <<= 1;
        if carry {
            a ^= 0x1b;
        }
        b >>= 1;
    }
    product
}

const fn substitution() -> [u8; 256] {
    let mut table = [0; 256];
    // 3 generates the field; its inverse is 0xf6. Walking both ways gives every pair.
    let (mut element, mut reciprocal) = (1_u8, 1_u8);
    loop {
        let r = reciprocal;
        table[element as usize] =
            r ^ r.rotate_left(1) ^ r.rotate_left(2) ^ r.rotate_left(3) ^ r.rotate_left(4) ^ 0x63;
        element = multiply(element, 3);
        reciprocal = multiply(reciprocal, 0xf6);
        if element == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
}

const fn inverse(table: &[u8; 256]) -> [u8; 256] {
    let mut inverse = [0; 256];
    let mut index = 0;
    while index < 256 {
        inverse[table[index] as usize] = index as u8;
        index += 1;
    }
    inverse
}

const GENERATOR_1R: Quad = [
    [0x6daca553, 0x62716609, 0xdbb5552b, 0xb4f44917],
    [0x6d7caf07, 0x846a710d, 0x1725d378, 0x0da1dc4e],
    [0x3f1262f1, 0x9f947ec6, 0xf4c0794f, 0x3e20e345],
    [0x6aef8135, 0xb1ba317c, 0x16314c88, 0x49169154],
];

const GENERATOR_4R: [Block; 8] = [
    [0x6421aadd, 0xd1833ddb, 0x2f546d2b, 0x99e5d23f],
    [0xb20e3450, 0xb6913f55, 0x06f79d53, 0xa5dfcde5],
    [0x5c3ed904, 0x515e7baf, 0x0aa4679f, 0x171c02bf],
    [0x85623763, 0xe78f5d08, 0xcd673785, 0xd8ded291],
    [0xb5826f73, 0xe3d6a7a6, 0x3d518b6d, 0x229effb4],
    [0xc7566bf3, 0x9c10b3d9, 0xe9024d4e, 0xb272b7d2],
    [0xf273c9e7, 0xf765a38b, 0x2ba9660a, 0xf63befa7],
    [0x7a7cd609, 0x915839de, 0x0c06d1fd, 0xc0b0762d],
];

const HASH_STATE: Quad = [
    [0x92b52c0d, 0x9fa856de, 0xcc82db47, 0xd7983aad],
    [0x338d996e, 0x15c7b798, 0xf59e125a, 0xace78057],
    [0x6a770017, 0xae62c7d0, 0x5079506b, 0xe8a07ce4],
    [0x630a240c, 0x07ad828d, 0x79a10005, 0x7e994948],
];

const HASH_KEYS: [Block; 2] = [
    [0xf6fa8389, 0x8b24949f, 0x90dc56bf, 0x06890201],
    [0x61b263d1, 0x51f4e03c, 0xee1043c6, 0xed18f99b],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_those_of_aes() {
        assert_eq!(SUBSTITUTION[0x53], 0xed);
        assert_eq!(SUBSTITUTION[0xff], 0x16);
        assert_eq!(INVERSE[0xed], 0x53);
        // The first full round of the example in FIPS 197, appendix B.
        let block = |hex: u128| {
            let mut quad = [0; 64];
            quad[..16].copy_from_slice(&hex.to_be_bytes());
            to_quad(&quad)[0]
        };
        let mut state = block(0x193de3be_a0f4e22b_9ac68d2a_e9f84808);
        encrypt(&mut state, &block(0xa0fafe17_88542cb1_23a33939_2a6c7605));
        assert_eq!(state, block(0xa49c7ff2_689f352b_6b5bea43_026a5049));
    }

    #[test]
    fn decryption_undoes_substitution_and_mix() {
        // A round of decryption on a state whose rows are shifted back undoes a round of encryption.
        let zero = [0; 4];
        let mut state = [0x0302_0100, 0x0706_0504, 0x0b0a_0908, 0x0f0e_0d0c];
        let start = state;
        encrypt(&mut state, &zero);
        // Undo the mix by hand: decrypting a state of substituted bytes mixes back only.
        let substituted = state.map(|column| {
            u32::from_le_bytes(column.to_le_bytes().map(|byte| SUBSTITUTION[byte as usize]))
        });
        let mut mixed = shift_rows(substituted);
        decrypt(&mut mixed, &zero);
        let expected = shift_rows(start).map(|column| {
            u32::from_le_bytes(column.to_le_bytes().map(|byte| SUBSTITUTION[byte as usize]))
        });
        assert_eq!(mixed, expected);
    }

    fn shift_rows([a, b, c, d]: Block) -> Block {
        let column = |p: u32, q: u32, r: u32, s: u32| {
            p & 0xff | q & 0xff00 | r & 0xff_0000 | s & 0xff00_0000
        };
        [
            column(a, b, c, d),
            column(b, c, d, a),
            column(c, d, a, b),
            column(d, a, b, c),
        ]
    }

    #[test]
    fn words_and_bytes_are_the_same() {
        let bytes: [u8; 64] = std::array::from_fn(|index| index as u8);
        let quad = to_quad(&bytes);
        assert_eq!(to_bytes(&quad), bytes);
        let words: Vec<u8> = to_words(&quad)
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        assert_eq!(words, bytes);
    }
}

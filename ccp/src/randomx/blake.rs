//! Blake2b, and the stream of bytes that superscalar programs are drawn from.

use blake2::{Blake2b, Blake2b512, Digest as _, digest::consts::U32};

pub(super) fn blake2b_512(bytes: &[u8]) -> [u8; 64] {
    Blake2b512::digest(bytes).into()
}

pub(super) fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::digest(bytes).into()
}

/// Bytes that follow from a key: the block is hashed again whenever it is used up.
pub(super) struct ByteGenerator {
    block: [u8; 64],
    used: usize,
}

/// Bytes of the key that count; the last four of the block hold a counter that is always zero here.
const MAX_KEY: usize = 60;

impl ByteGenerator {
    pub(super) fn new(key: &[u8]) -> Self {
        let mut block = [0; 64];
        for (target, byte) in block.iter_mut().take(MAX_KEY).zip(key) {
            *target = *byte;
        }
        // The first request hashes.
        Self { block, used: 64 }
    }

    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    pub(super) fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > self.block.len() {
            self.block = blake2b_512(&self.block);
            self.used = 0;
        }
        let bytes = self
            .block
            .get(self.used..)
            .and_then(|rest| rest.first_chunk());
        self.used += N;
        // There are N bytes: at most four are asked for at a time.
        bytes.copied().unwrap_or([0; N])
    }
}

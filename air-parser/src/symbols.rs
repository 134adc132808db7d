//! Numbers for names.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use crate::ast::Span;

/// The different names of a script, as ranges of its source, found through an open-addressed
/// table of their numbers.
#[derive(Clone, Debug)]
pub(crate) struct SymbolTable {
    entries: Vec<Entry>,
    /// Number of the name plus one; 0 is free. The length is a power of two of which at most half is
    /// used, or 0 as long as there is no name.
    buckets: Vec<u32>,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    span: Span,
}

const FIRST_BUCKETS: usize = 16;

impl SymbolTable {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            buckets: Vec::new(),
            seed: RandomState::new().build_hasher().finish(),
        }
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.entries.shrink_to_fit();
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The name with this number; empty if there is none.
    #[inline]
    pub(crate) fn text<'s>(&self, source: &'s str, symbol: u32) -> &'s str {
        self.entries
            .get(symbol as usize)
            .and_then(|entry| source.get(entry.span.start as usize..entry.span.end as usize))
            .unwrap_or("")
    }

    pub(crate) fn find(&self, source: &str, name: &str) -> Option<u32> {
        self.probe(
            source.as_bytes(),
            hash(self.seed, name.as_bytes()),
            name.as_bytes(),
        )
        .ok()
    }

    /// The number of the name at `span` of the source.
    pub(crate) fn intern(&mut self, source: &str, span: Span) -> u32 {
        if self.entries.len() * 2 >= self.buckets.len() {
            self.grow();
        }
        let bytes = source.as_bytes();
        let name = slice(bytes, span);
        let hash = hash(self.seed, name);
        match self.probe(bytes, hash, name) {
            Ok(symbol) => symbol,
            Err(bucket) => {
                let symbol = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
                self.entries.push(Entry { hash, span });
                if let Some(slot) = self.buckets.get_mut(bucket) {
                    *slot = symbol.saturating_add(1);
                }
                symbol
            }
        }
    }

    /// The number of a known name, else the bucket where it belongs.
    fn probe(&self, source: &[u8], hash: u32, name: &[u8]) -> Result<u32, usize> {
        let mask = self.buckets.len().wrapping_sub(1);
        let mut bucket = hash as usize & mask;
        loop {
            match self.buckets.get(bucket) {
                None | Some(0) => return Err(bucket),
                Some(&taken) => {
                    let symbol = taken - 1;
                    if let Some(entry) = self.entries.get(symbol as usize)
                        && entry.hash == hash
                        && slice(source, entry.span) == name
                    {
                        return Ok(symbol);
                    }
                }
            }
            bucket = (bucket + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.buckets.len() * 2).max(FIRST_BUCKETS);
        self.buckets.clear();
        self.buckets.reserve_exact(size);
        self.buckets.resize(size, 0);
        let mask = size - 1;
        for (number, entry) in (1_u32..).zip(&self.entries) {
            let mut bucket = entry.hash as usize & mask;
            while let Some(slot) = self.buckets.get_mut(bucket) {
                if *slot == 0 {
                    *slot = number;
                    break;
                }
                bucket = (bucket + 1) & mask;
            }
        }
    }
}

fn slice(source: &[u8], span: Span) -> &[u8] {
    source
        .get(span.start as usize..span.end as usize)
        .unwrap_or(&[])
}

/// Multiply-and-fold over words of eight bytes. Scripts come from strangers, so the seed is not
/// known to them; numbers are given in the order of the text and don't depend on it.
fn hash(seed: u64, name: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let factor = seed | 1;
    let mut state = seed.rotate_left(32) ^ (name.len() as u64).wrapping_mul(FACTOR);
    let (words, tail) = name.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), factor);
    }
    let mut last = 0_u64;
    for byte in tail {
        last = last << 8 | u64::from(*byte);
    }
    let state = fold(state ^ last, FACTOR);
    (state ^ state >> 32) as u32
}

fn fold(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_a_number() {
        let source: String = (0..1000).map(|n| format!("{:05}", n % 400)).collect();
        let mut table = SymbolTable::new();
        for n in 0..1000_u32 {
            let symbol = table.intern(&source, Span::new(n * 5, n * 5 + 5));
            assert_eq!(symbol, n % 400);
            assert_eq!(table.text(&source, symbol), format!("{:05}", n % 400));
        }
        assert_eq!(table.len(), 400);
        assert_eq!(table.find(&source, "00399"), Some(399));
        assert_eq!(table.find(&source, "00400"), None);
    }
}

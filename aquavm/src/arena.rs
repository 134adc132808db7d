//! The memory of what a run makes: given back all at once when the run ends.

use std::cell::Cell;

use bumpalo::Bump;

use crate::error::{Fatal, UncatchableError};

/// An arena whose chunks grow by a part of what is there. Those of [`Bump`] double, so that up to
/// half of the memory of a large run would be waiting for more.
#[derive(Debug)]
pub(crate) struct Arena {
    bump: Bump,
    /// Bytes that a run may make, here and elsewhere.
    limit: u64,
    elsewhere: Cell<u64>,
}

/// Up to this size chunks double.
const DOUBLING: usize = 8 << 10;
/// Of a larger arena a new chunk is at most this part, as a shift.
const PART: u32 = 3;

impl Arena {
    pub(crate) fn new() -> Self {
        Self::with_limit(u64::MAX)
    }

    /// For a run that may make so many bytes, see [`Limits::memory`](crate::Limits::memory).
    pub(crate) fn with_limit(limit: u64) -> Self {
        Self {
            bump: Bump::new(),
            limit,
            elsewhere: Cell::new(0),
        }
    }

    /// Counts what the run makes in other memory.
    pub(crate) fn count(&self, bytes: usize) {
        let sum = self.elsewhere.get().saturating_add(bytes as u64);
        self.elsewhere.set(sum);
    }

    /// Whether the run may make so many bytes more. Asked for where a few values make a large one; what
    /// grows step by step is seen after each step.
    #[inline]
    pub(crate) fn room_for(&self, bytes: usize) -> Result<(), Fatal> {
        let present = self.bump.allocated_bytes() as u64;
        let present = present.saturating_add(self.elsewhere.get());
        match present.saturating_add(bytes as u64) > self.limit {
            true => Err(Box::new(UncatchableError::TooMuchMemory {
                limit: self.limit,
            })),
            false => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn alloc<T>(&self, value: T) -> &T {
        self.reserve(size_of::<T>());
        self.bump.alloc(value)
    }

    #[inline]
    pub(crate) fn alloc_str(&self, text: &str) -> &str {
        self.reserve(text.len());
        self.bump.alloc_str(text)
    }

    pub(crate) fn alloc_slice<T: Copy>(&self, items: &[T]) -> &[T] {
        self.reserve(size_of_val(items));
        self.bump.alloc_slice_copy(items)
    }

    /// The items, of which there must be as many as the iterator says.
    pub(crate) fn alloc_iter<T>(&self, items: impl ExactSizeIterator<Item = T>) -> &[T] {
        self.reserve(size_of::<T>().saturating_mul(items.len()));
        self.bump.alloc_slice_fill_iter(items)
    }

    /// The texts one after the other.
    pub(crate) fn concat(&self, parts: &[&str]) -> &str {
        let length = parts.iter().map(|part| part.len()).sum();
        self.reserve(length);
        let mut text = bumpalo::collections::String::with_capacity_in(length, &self.bump);
        for part in parts {
            text.push_str(part);
        }
        text.into_bump_str()
    }

    /// Sees to it that a chunk for `size` bytes, if one is needed, has a modest size.
    #[inline]
    fn reserve(&self, size: usize) {
        if self.bump.chunk_capacity() < size.saturating_add(ALIGN) {
            self.limit(size);
        }
    }

    #[cold]
    fn limit(&self, size: usize) {
        let present = self.bump.allocated_bytes();
        if present < DOUBLING {
            return;
        }
        // `Bump` halves the chunk that it would like until it fits the limit, but does not go below
        // the size that is needed, and rounds up to whole pages: so much always fits.
        let enough = size.saturating_mul(2).saturating_add(2 * PAGE);
        let limit = present.saturating_add(enough.max(present >> PART));
        self.bump.set_allocation_limit(Some(limit));
    }
}

const PAGE: usize = 4096;
/// No value has a larger alignment.
const ALIGN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_parts() {
        let arena = Arena::new();
        let mut used = 0;
        for index in 0..20_000 {
            let size = index % 100;
            arena.alloc_str(&"x".repeat(size));
            used += size;
            let present = arena.bump.allocated_bytes();
            assert!(present <= used * 8 / 7 + 4 * PAGE, "{present} for {used}");
        }
        for size in (0..40).map(|bits| 3_usize << (bits / 2)) {
            assert_eq!(arena.alloc_slice(&vec![7_u64; size]).len(), size);
        }
        assert_eq!(arena.concat(&["a", "", "bc"]), "abc");
        assert_eq!(arena.alloc_iter([1, 2].into_iter()), [1, 2]);
        assert_eq!(*arena.alloc(5), 5);
    }
}

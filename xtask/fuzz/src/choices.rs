//! Decisions read from the bytes of a fuzzer.

/// The bytes that are left; after the last one there are only zeros.
pub(crate) struct Choices<'i>(pub(crate) &'i [u8]);

impl<'i> Choices<'i> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `end`, or 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = match end {
            0..=256 => usize::from(self.byte()),
            _ => usize::from(self.short()),
        };
        number % end.max(1)
    }

    /// One of `items`.
    pub(crate) fn of<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let index = self.below(items.len());
        items.get(index).copied().unwrap_or_default()
    }

    /// A small number, or one at the end of the range.
    pub(crate) fn number(&mut self) -> u32 {
        match self.byte() {
            small @ 0..=0xef => u32::from(small),
            high => u32::MAX - u32::from(0xff - high),
        }
    }
}

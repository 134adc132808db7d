//! What every value can do, and the values of variable length.

use super::parked::{Parked, park, push};

/// Bytes of an address or a length in a record.
const WORD: usize = size_of::<usize>();

/// A value with an interface type.
pub trait Value: Sized + 'static {
    /// Bytes that the value takes in a record.
    const SIZE: usize;

    /// Writes the value into a record. What it points to stays in place as long as `self` does, or is parked.
    fn store(&self, body: &mut Body);

    /// Reads a value out of a record and takes what it points to.
    ///
    /// # Safety
    /// The next cells hold a value of this type that the host lowered for this module and gave away.
    unsafe fn load(cells: &mut Cells<'_>) -> Self;

    /// Address and number of items as the host reads them, valid as `store` says.
    fn lower_items(items: &[Self]) -> (usize, usize);

    /// Takes a vector that the host lowered.
    ///
    /// # Safety
    /// The host lowered so many items of this type at this address for this module and gave them away.
    unsafe fn lift_items(pointer: usize, count: usize) -> Vec<Self>;
}

/// A value that is handed over as address and length: a text or a vector.
pub trait Buffer: Value {
    /// Address and length as the host reads them, valid as long as `self` stays in place.
    fn lower(&self) -> (usize, usize);

    /// Takes what the host lowered.
    ///
    /// # Safety
    /// As for [`Value::lift_items`].
    unsafe fn lift(pointer: usize, length: usize) -> Self;

    /// Keeps the value until the host has read it.
    fn park(self);
}

/// The fields of a record while they are written.
pub struct Body {
    bytes: Vec<u8>,
}

impl Body {
    pub(super) fn with_capacity(size: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(size),
        }
    }

    /// Appends one cell.
    pub fn put<const N: usize>(&mut self, cell: [u8; N]) {
        self.bytes.extend_from_slice(&cell);
    }

    fn put_words(&mut self, (first, second): (usize, usize)) {
        self.put(first.to_le_bytes());
        self.put(second.to_le_bytes());
    }

    /// Parks the finished fields and returns their address.
    pub(super) fn finish(self) -> usize {
        let pointer = self.bytes.as_ptr() as usize;
        push(Parked::Bytes(self.bytes));
        pointer
    }
}

/// The fields of a record while they are read.
pub struct Cells<'a> {
    rest: &'a [u8],
}

impl<'a> Cells<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes the next cell.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.rest.split_first_chunk() {
            Some((cell, rest)) => {
                self.rest = rest;
                *cell
            }
            // Not reached: a record is as long as its fields.
            None => [0; N],
        }
    }

    pub(super) fn take_word(&mut self) -> usize {
        usize::from_le_bytes(self.take())
    }
}

/// Address and length of a text.
pub fn lower_str(text: &str) -> (usize, usize) {
    (text.as_ptr() as usize, text.len())
}

/// Takes a vector of plain items that the host has written.
///
/// # Safety
/// The items were allocated through `allocate` with the alignment of `T` and `count` times its size, they are
/// initialised, any bit pattern is a `T`, and nothing else owns them.
pub(super) unsafe fn own<T: Copy>(pointer: usize, count: usize) -> Vec<T> {
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: the caller's promise; length and capacity are those of the allocation.
    unsafe { Vec::from_raw_parts(pointer as *mut T, count, count) }
}

/// Keeps a list of addresses until the host has read it, and returns where it is.
pub(super) fn lower_words(words: Vec<usize>, count: usize) -> (usize, usize) {
    let pointer = words.as_ptr() as usize;
    push(Parked::Words(words));
    (pointer, count)
}

/// Lowers items that have address and length each.
fn lower_buffers<B: Buffer>(items: &[B]) -> (usize, usize) {
    let mut words = Vec::with_capacity(items.len() * 2);
    for item in items {
        let (pointer, length) = item.lower();
        words.push(pointer);
        words.push(length);
    }
    lower_words(words, items.len())
}

/// Takes items that have address and length each.
///
/// # Safety
/// As for [`Value::lift_items`].
unsafe fn lift_buffers<B: Buffer>(pointer: usize, count: usize) -> Vec<B> {
    // SAFETY: the host allocated two words for each item, with the tag that stands for words.
    let words: Vec<usize> = unsafe { own(pointer, count * 2) };
    let (pairs, _) = words.as_chunks::<2>();
    let lift = |&[pointer, length]: &[usize; 2]| {
        // SAFETY: the host lowered each item for this module.
        unsafe { B::lift(pointer, length) }
    };
    pairs.iter().map(lift).collect()
}

macro_rules! value_of_variable_length {
    ($ty:ty $(, $item:ident)?) => {
        impl$(<$item: Value>)? Value for $ty {
            const SIZE: usize = 2 * WORD;

            fn store(&self, body: &mut Body) {
                body.put_words(self.lower());
            }

            unsafe fn load(cells: &mut Cells<'_>) -> Self {
                let (pointer, length) = (cells.take_word(), cells.take_word());
                // SAFETY: the cells hold address and length of such a value.
                unsafe { Self::lift(pointer, length) }
            }

            fn lower_items(items: &[Self]) -> (usize, usize) {
                lower_buffers(items)
            }

            unsafe fn lift_items(pointer: usize, count: usize) -> Vec<Self> {
                // SAFETY: passed on to the caller.
                unsafe { lift_buffers(pointer, count) }
            }
        }
    };
}

value_of_variable_length!(String);
value_of_variable_length!(Vec<T>, T);

impl Buffer for String {
    fn lower(&self) -> (usize, usize) {
        lower_str(self)
    }

    unsafe fn lift(pointer: usize, length: usize) -> Self {
        // SAFETY: the host lowered a text: bytes with the tag of bytes, in UTF-8.
        unsafe { String::from_utf8_unchecked(own(pointer, length)) }
    }

    fn park(self) {
        push(Parked::Bytes(self.into_bytes()));
    }
}

impl<T: Value> Buffer for Vec<T> {
    fn lower(&self) -> (usize, usize) {
        T::lower_items(self)
    }

    unsafe fn lift(pointer: usize, length: usize) -> Self {
        // SAFETY: passed on to the caller.
        unsafe { T::lift_items(pointer, length) }
    }

    fn park(self) {
        park(self);
    }
}

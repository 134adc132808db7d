//! The result registers, and the values that the host may still be reading.

use std::any::Any;
use std::cell::Cell;

/// Beyond this many entries the list gives its memory back when it is emptied.
const KEPT_CAPACITY: usize = 256;

// Modules have one thread: on wasm32 these are plain statics without destructors.
thread_local! {
    static RESULT_PTR: Cell<usize> = const { Cell::new(0) };
    static RESULT_SIZE: Cell<usize> = const { Cell::new(0) };
    static PARKED: Cell<Vec<Parked>> = const { Cell::new(Vec::new()) };
}

/// A value in the list. The frequent kinds need no box.
#[allow(dead_code, reason = "kept for their destructors")]
pub(super) enum Parked {
    Bytes(Vec<u8>),
    Words(Vec<usize>),
    Other(Box<dyn Any>),
}

/// The register for the address of a result.
pub fn result_ptr() -> usize {
    RESULT_PTR.get()
}

/// The register for the length of a result.
pub fn result_size() -> usize {
    RESULT_SIZE.get()
}

/// Sets the register for the address of a result.
pub fn set_result_ptr(pointer: usize) {
    RESULT_PTR.set(pointer);
}

/// Sets the register for the length of a result.
pub fn set_result_size(size: usize) {
    RESULT_SIZE.set(size);
}

/// Keeps a value until [`release`]. What the value owns stays where it is in memory; the value itself may move.
pub fn park<T: 'static>(value: T) {
    if std::mem::needs_drop::<T>() {
        push(Parked::Other(Box::new(value)));
    }
}

pub(super) fn push(value: Parked) {
    let mut parked = PARKED.take();
    parked.push(value);
    PARKED.set(parked);
}

/// Drops everything that was parked.
pub fn release() {
    let mut parked = PARKED.take();
    parked.clear();
    if parked.capacity() <= KEPT_CAPACITY {
        PARKED.set(parked);
    }
}

#[cfg(test)]
pub(super) fn parked_count() -> usize {
    let parked = PARKED.take();
    let count = parked.len();
    PARKED.set(parked);
    count
}

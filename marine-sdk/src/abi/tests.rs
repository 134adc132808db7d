use std::alloc::{Layout, alloc};
use std::fmt::Debug;

use super::*;
use crate::marine;

#[marine]
#[derive(Clone, Debug, PartialEq)]
struct Inner {
    name: String,
    flags: Vec<bool>,
}

#[marine]
#[derive(Clone, Debug, PartialEq)]
struct Outer {
    truth: bool,
    small: i8,
    number: u64,
    ratio: f64,
    text: String,
    bytes: Vec<u8>,
    inner: Inner,
    inners: Vec<Inner>,
    table: Vec<Vec<String>>,
    wide: Vec<u64>,
}

fn inner(name: &str) -> Inner {
    Inner {
        name: name.to_owned(),
        flags: vec![true, false, true],
    }
}

fn outer() -> Outer {
    Outer {
        truth: true,
        small: -3,
        number: u64::MAX,
        ratio: 0.5,
        text: "tëxt".to_owned(),
        bytes: vec![0, 255],
        inner: inner(""),
        inners: vec![inner("a"), inner("b")],
        table: vec![vec![], vec!["x".to_owned(), String::new()]],
        wide: vec![1, 2],
    }
}

/// Stands for the host: a copy of `size` bytes in memory that the module will own.
fn copy_of(pointer: usize, size: usize, align: usize) -> usize {
    if size == 0 {
        return 0;
    }
    let layout = Layout::from_size_align(size, align).unwrap();
    // SAFETY: the layout is not empty; the source is what the module has just lowered.
    unsafe {
        let copy = alloc(layout);
        assert!(!copy.is_null());
        std::ptr::copy_nonoverlapping(pointer as *const u8, copy, size);
        copy as usize
    }
}

#[test]
fn texts_and_plain_vectors_come_back() {
    fn there_and_back<B: Buffer + Clone + PartialEq + Debug>(value: B, item: usize, align: usize) {
        let (pointer, length) = value.lower();
        let copy = copy_of(pointer, length * item, align);
        // SAFETY: the copy belongs to no one else.
        let back: B = unsafe { B::lift(copy, length) };
        assert_eq!(back, value);
    }
    there_and_back(String::new(), 1, 1);
    there_and_back("Grüße".to_owned(), 1, 1);
    there_and_back(vec![1u8, 2, 3], 1, 1);
    there_and_back(vec![-1i64, i64::MAX], 8, 8);
    there_and_back(vec![true, false], 1, 1);
    there_and_back(vec![1.5f32], 4, 4);
    there_and_back(Vec::<u16>::new(), 2, 2);
    release();
}

#[test]
fn the_packed_form_has_no_gaps() {
    const WORD: usize = size_of::<usize>();
    assert_eq!(Inner::PACKED_SIZE, 4 * WORD);
    assert_eq!(
        Outer::PACKED_SIZE,
        1 + 1 + 8 + 8 + 4 * WORD + WORD + 6 * WORD
    );

    let value = outer();
    let address = value.lower();
    // SAFETY: the packed form is parked.
    let body = unsafe { std::slice::from_raw_parts(address as *const u8, 18) };
    assert_eq!(body[..2], [1, 253]);
    assert_eq!(body[2..10], [255; 8]);
    assert_eq!(body[10..18], 0.5f64.to_le_bytes());
    release();
    assert_eq!(parked::parked_count(), 0);
}

#[test]
fn results_stay_until_they_are_released() {
    return_buffer("result".to_owned());
    // SAFETY: the text is parked.
    let bytes = unsafe { std::slice::from_raw_parts(result_ptr() as *const u8, result_size()) };
    assert_eq!(bytes, b"result");
    assert_eq!(parked::parked_count(), 1);
    release();
    assert_eq!(parked::parked_count(), 0);

    return_record(outer());
    assert!(parked::parked_count() > 5);
    release();
    assert_eq!(parked::parked_count(), 0);
}

#[test]
fn any_byte_but_zero_is_true() {
    let bytes = [0u8, 2, 255];
    let copy = copy_of(bytes.as_ptr() as usize, 3, 1);
    // SAFETY: the copy belongs to no one else.
    let flags: Vec<bool> = unsafe { Buffer::lift(copy, 3) };
    assert_eq!(flags, [false, true, true]);
    assert!(bool::from_core(256));
    assert_eq!(u8::from_core(257), 1);
    assert_eq!((-1i8).to_core(), -1);
}

//! The module `parrot` without the SDK: what the size of the SDK is measured against. It is not run.

use std::cell::Cell;

thread_local! {
    static RESULT_PTR: Cell<usize> = const { Cell::new(0) };
    static RESULT_SIZE: Cell<usize> = const { Cell::new(0) };
    static RESULT: Cell<String> = const { Cell::new(String::new()) };
}

#[used]
#[unsafe(link_section = "__fluence_sdk_version")]
static SDK_VERSION: [u8; 6] = *b"0.14.0";

#[unsafe(no_mangle)]
extern "C" fn allocate(size: usize, _tag: u32) -> usize {
    if size == 0 {
        return 0;
    }
    Box::leak(vec![0u8; size].into_boxed_slice()).as_mut_ptr() as usize
}

#[unsafe(no_mangle)]
extern "C" fn release_objects() {
    RESULT.set(String::new());
}

#[unsafe(no_mangle)]
extern "C" fn get_result_ptr() -> usize {
    RESULT_PTR.get()
}

#[unsafe(no_mangle)]
extern "C" fn get_result_size() -> usize {
    RESULT_SIZE.get()
}

#[unsafe(no_mangle)]
extern "C" fn set_result_ptr(pointer: usize) {
    RESULT_PTR.set(pointer);
}

#[unsafe(no_mangle)]
extern "C" fn set_result_size(size: usize) {
    RESULT_SIZE.set(size);
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker provides it.
    unsafe { __wasm_call_ctors() }
}

#[unsafe(no_mangle)]
extern "C" fn say(pointer: usize, length: usize) {
    let text = if length == 0 {
        String::new()
    } else {
        // SAFETY: the host wrote a text into memory from `allocate`.
        unsafe { String::from_raw_parts(pointer as *mut u8, length, length) }
    };
    RESULT_PTR.set(text.as_ptr() as usize);
    RESULT_SIZE.set(text.len());
    RESULT.set(text);
}

fn main() {}

//! What every module exports for the host, and the version of this interface.
#![allow(
    unsafe_code,
    reason = "names for the host, and memory that is handed to it"
)]

use std::alloc::{Layout, alloc};

use crate::{abi, trace};

/// The generation of the module interface (host interface 3), in the numbering of the published SDK: runtimes accept a
/// module by it.
#[used]
#[unsafe(link_section = "__fluence_sdk_version")]
static SDK_VERSION: [u8; 6] = *b"0.14.0";

/// Memory for a value of `size` bytes that the host is about to write, aligned for the type that `tag` stands for.
///
/// The values of `tag` are those of the protocol description, "Layout in linear memory". The layout is the one that
/// the vector made from this memory is freed with.
#[unsafe(no_mangle)]
extern "C" fn allocate(size: usize, tag: u32) -> usize {
    let align = match tag {
        0 | 1 | 5 => 1,
        2 | 6 => 2,
        3 | 7 | 9 => 4,
        4 | 8 | 10 => 8,
        _ => return 0,
    };
    if size == 0 {
        return 0;
    }
    let Ok(layout) = Layout::from_size_align(size, align) else {
        core::arch::wasm32::unreachable();
    };
    // SAFETY: the layout is not empty.
    let pointer = unsafe { alloc(layout) };
    if pointer.is_null() {
        // A host that does not look would write to address 0.
        core::arch::wasm32::unreachable();
    }
    trace!("allocate({size}, {tag}) is {pointer:p}");
    pointer as usize
}

#[unsafe(no_mangle)]
extern "C" fn release_objects() {
    trace!("release_objects()");
    abi::release();
}

#[unsafe(no_mangle)]
extern "C" fn get_result_ptr() -> usize {
    trace!("get_result_ptr() is {:#x}", abi::result_ptr());
    abi::result_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn get_result_size() -> usize {
    trace!("get_result_size() is {}", abi::result_size());
    abi::result_size()
}

#[unsafe(no_mangle)]
extern "C" fn set_result_ptr(pointer: usize) {
    trace!("set_result_ptr({pointer:#x})");
    abi::set_result_ptr(pointer);
}

#[unsafe(no_mangle)]
extern "C" fn set_result_size(size: usize) {
    trace!("set_result_size({size})");
    abi::set_result_size(size);
}

/// Runs the constructors once. A call of them from anywhere keeps the linker from wrapping every export with them.
#[cfg(not(feature = "no-explicit-ctors-call"))]
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker provides the function; the host calls this before anything else.
    unsafe { __wasm_call_ctors() }
}

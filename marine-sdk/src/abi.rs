//! What the code that the macros generate is made of. Not for use by hand.
//!
//! Values cross the border of a module in the packed form of interface types: a text or vector as address and length,
//! a record as the address of its fields one after the other. Memory that comes in belongs to the module from then on;
//! memory that goes out is *parked* here until the host says that it has read it.
#![allow(
    unsafe_code,
    reason = "memory that the host has written is turned into owned values"
)]

mod parked;
mod record;
mod scalar;
mod value;

pub use parked::{park, release, result_ptr, result_size, set_result_ptr, set_result_size};
pub use record::{Record, assert_name};
pub use scalar::Scalar;
pub use value::{Body, Buffer, Cells, Value, lower_str};

/// Returns a text or vector to the host: sets both registers and keeps the value until it is released.
pub fn return_buffer<B: Buffer>(value: B) {
    return_borrowed_buffer(&value);
    value.park();
}

/// Like [`return_buffer`] for a value that is kept elsewhere.
pub fn return_borrowed_buffer<B: Buffer>(value: &B) {
    let (pointer, length) = value.lower();
    set_result_ptr(pointer);
    set_result_size(length);
}

/// Returns a text that is kept elsewhere.
pub fn return_str(text: &str) {
    let (pointer, length) = lower_str(text);
    set_result_ptr(pointer);
    set_result_size(length);
}

/// Returns a record to the host: sets the register and keeps the value until it is released.
pub fn return_record<R: Record + 'static>(record: R) {
    return_borrowed_record(&record);
    park(record);
}

/// Like [`return_record`] for a record that is kept elsewhere.
pub fn return_borrowed_record<R: Record>(record: &R) {
    set_result_ptr(record.lower());
}

/// Takes the text or vector that an imported function returned.
///
/// # Safety
/// The function has just returned, and the host has lowered its result, of this type, into this module.
pub unsafe fn take_buffer<B: Buffer>() -> B {
    // SAFETY: passed on to the caller.
    unsafe { B::lift(result_ptr(), result_size()) }
}

/// Takes the record that an imported function returned.
///
/// # Safety
/// As for [`take_buffer`].
pub unsafe fn take_record<R: Record>() -> R {
    // SAFETY: passed on to the caller.
    unsafe { R::lift(result_ptr()) }
}

/// Stands for the functions of other modules where there are none.
#[cfg(not(all(feature = "marine-abi", target_arch = "wasm32")))]
#[allow(
    clippy::panic,
    reason = "a test on the development machine called something that exists only inside a service"
)]
pub fn outside_marine(module: &str, function: &str) -> ! {
    panic!(
        "`{function}` is a function of `{module}`: it can be called inside a Marine service only"
    )
}

#[cfg(test)]
mod tests;

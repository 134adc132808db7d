//! Numbers and `bool`.

use super::value::{Body, Cells, Value};

/// A value that fits a WebAssembly value.
pub trait Scalar: Value {
    /// The WebAssembly type.
    type Core;
    /// The value as the host hands it over; surplus bits are cut off.
    fn from_core(core: Self::Core) -> Self;
    /// The value as the host expects it; sign or zero fills the surplus bits.
    fn to_core(self) -> Self::Core;
}

macro_rules! number {
    ($($number:ident as $core:ident),*) => {$(
        impl Scalar for $number {
            type Core = $core;

            fn from_core(core: $core) -> Self {
                core as $number
            }

            fn to_core(self) -> $core {
                self as $core
            }
        }

        impl Value for $number {
            const SIZE: usize = size_of::<$number>();

            fn store(&self, body: &mut Body) {
                body.put(self.to_le_bytes());
            }

            unsafe fn load(cells: &mut Cells<'_>) -> Self {
                $number::from_le_bytes(cells.take())
            }

            fn lower_items(items: &[Self]) -> (usize, usize) {
                (items.as_ptr() as usize, items.len())
            }

            unsafe fn lift_items(pointer: usize, count: usize) -> Vec<Self> {
                // SAFETY: the host allocated the items with this type's tag, which gives this type's alignment, and
                // with as many bytes as they take.
                unsafe { super::value::own(pointer, count) }
            }
        }
    )*};
}

number!(
    i8 as i32, i16 as i32, i32 as i32, i64 as i64, u8 as u32, u16 as u32, u32 as u32, u64 as u64,
    f32 as f32, f64 as f64
);

impl Scalar for bool {
    type Core = u32;

    fn from_core(core: u32) -> Self {
        core != 0
    }

    fn to_core(self) -> u32 {
        u32::from(self)
    }
}

impl Value for bool {
    const SIZE: usize = 1;

    fn store(&self, body: &mut Body) {
        body.put([u8::from(*self)]);
    }

    unsafe fn load(cells: &mut Cells<'_>) -> Self {
        cells.take::<1>() != [0]
    }

    fn lower_items(items: &[Self]) -> (usize, usize) {
        (items.as_ptr() as usize, items.len())
    }

    unsafe fn lift_items(pointer: usize, count: usize) -> Vec<Self> {
        // SAFETY: as for numbers; any byte is a `u8`.
        let bytes: Vec<u8> = unsafe { super::value::own(pointer, count) };
        bytes.into_iter().map(|byte| byte != 0).collect()
    }
}

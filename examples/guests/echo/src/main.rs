//! Returns what it is given, for every interface type: what tests of runtimes call.

use marine_sdk::{marine, module_manifest};

module_manifest!();

/// A field of every scalar type, and the simple types of variable length.
#[marine]
#[derive(Clone)]
pub struct Everything {
    pub truth: bool,
    pub s8: i8,
    pub s16: i16,
    pub s32: i32,
    pub s64: i64,
    pub u8: u8,
    pub u16: u16,
    pub u32: u32,
    pub u64: u64,
    pub f32: f32,
    pub f64: f64,
    pub text: String,
    pub bytes: Vec<u8>,
}

/// Records in records, and vectors of everything.
#[marine]
#[derive(Clone)]
pub struct Nested {
    pub name: String,
    pub everything: Everything,
    pub list: Vec<Everything>,
    pub flags: Vec<bool>,
    pub numbers: Vec<i64>,
    pub ratios: Vec<f32>,
    pub names: Vec<String>,
    pub blobs: Vec<Vec<u8>>,
    pub table: Vec<Vec<String>>,
    pub cube: Vec<Vec<Vec<u16>>>,
}

/// A record on top of another one.
#[marine]
pub struct Tower {
    pub level: u32,
    pub floors: Vec<Floor>,
}

/// A part of a tower.
#[marine]
pub struct Floor {
    pub rooms: Vec<Room>,
    pub owner: Vec<Nested>,
}

/// A part of a floor.
#[marine]
pub struct Room {
    pub title: String,
}

macro_rules! echoes {
    ($($name:ident($ty:ty);)*) => {$(
        #[marine]
        pub fn $name(value: $ty) -> $ty {
            value
        }
    )*};
}

echoes! {
    bool_echo(bool);
    i8_echo(i8);
    i16_echo(i16);
    i32_echo(i32);
    i64_echo(i64);
    u8_echo(u8);
    u16_echo(u16);
    u32_echo(u32);
    u64_echo(u64);
    f32_echo(f32);
    f64_echo(f64);
    string_echo(String);
    bytes_echo(Vec<u8>);
    everything_echo(Everything);
    nested_echo(Nested);
    tower_echo(Tower);
    bools_echo(Vec<bool>);
    i8s_echo(Vec<i8>);
    i16s_echo(Vec<i16>);
    u16s_echo(Vec<u16>);
    i32s_echo(Vec<i32>);
    u32s_echo(Vec<u32>);
    i64s_echo(Vec<i64>);
    u64s_echo(Vec<u64>);
    f32s_echo(Vec<f32>);
    f64s_echo(Vec<f64>);
    strings_echo(Vec<String>);
    records_echo(Vec<Everything>);
    nesteds_echo(Vec<Nested>);
    bytes_list_echo(Vec<Vec<u8>>);
    table_echo(Vec<Vec<String>>);
    record_table_echo(Vec<Vec<Everything>>);
    cube_echo(Vec<Vec<Vec<u16>>>);
}

/// Nothing in, nothing out.
#[marine]
pub fn nothing() {}

/// A reference into an argument.
#[marine]
pub fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// A reference to an argument that was changed.
#[marine]
pub fn doubled(numbers: &mut Vec<u32>) -> &Vec<u32> {
    numbers.extend_from_within(..);
    numbers
}

/// A reference to a record.
#[marine]
pub fn last(list: &Vec<Everything>, otherwise: &Everything) -> Everything {
    list.last().unwrap_or(otherwise).clone()
}

/// Scalars by reference.
#[marine]
pub fn larger<'a>(one: &'a u64, other: &'a u64) -> &'a u64 {
    one.max(other)
}

/// Many arguments of all kinds; tells what arrived.
#[marine]
#[allow(clippy::too_many_arguments)]
pub fn mixed(
    truth: bool,
    text: &str,
    number: i64,
    bytes: &Vec<u8>,
    ratio: f64,
    record: &Everything,
    names: &Vec<String>,
    small: u8,
) -> String {
    format!(
        "{truth} {text} {number} {bytes:?} {ratio} {} {names:?} {small}",
        record.text
    )
}

/// Traps.
#[marine]
pub fn trap(message: &str) {
    panic!("{message}");
}

/// Runs for ever.
#[marine]
pub fn spin() -> u64 {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

/// Takes so much memory, touches it and returns how much it got.
#[marine]
pub fn take_memory(bytes: u32) -> u32 {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(bytes as usize).is_err() {
        return 0;
    }
    memory.resize(bytes as usize, 1);
    std::hint::black_box(&memory).len() as u32
}

fn main() {}

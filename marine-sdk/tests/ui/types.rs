use marine_sdk::marine;

#[marine]
fn tuple(pair: (u8, u8)) {}

#[marine]
fn array(bytes: [u8; 4]) {}

#[marine]
fn slice(bytes: &[u8]) {}

#[marine]
fn pointer(address: *const u8) {}

#[marine]
fn nested(text: &&str) {}

#[marine]
fn option(maybe: Option<u8>) {}

#[marine]
fn machine_word(size: usize) {}

#[marine]
fn big(number: u128) {}

#[marine]
fn character(letter: char) {}

#[marine]
fn borrowed_elements(texts: Vec<&str>) {}

fn main() {}

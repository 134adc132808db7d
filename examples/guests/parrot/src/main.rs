//! Returns the text it is given.

use marine_sdk::marine;

#[marine]
pub fn say(text: String) -> String {
    text
}

fn main() {}

//! Greets by name.

use marine_sdk::{marine, module_manifest};

module_manifest!();

#[marine]
pub fn greeting(name: String) -> String {
    format!("Hi, {name}")
}

fn main() {}

#[cfg(test)]
mod tests {
    #[test]
    fn greets() {
        assert_eq!(super::greeting("Ada".to_owned()), "Hi, Ada");
    }
}

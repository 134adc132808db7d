use marine_sdk::marine;

#[marine]
struct Empty {}

#[marine]
struct Pair(u8, u8);

#[marine]
struct Generic<T> {
    value: T,
}

#[marine]
struct Borrowed {
    text: &'static str,
}

#[marine]
struct Conditional {
    #[cfg(unix)]
    number: u8,
}

fn main() {}

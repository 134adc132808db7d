use marine_sdk::marine;

#[marine]
fn pattern((left, right): (u8, u8)) -> u8 {
    left + right
}

#[marine]
fn generic<T>(value: Vec<T>) -> u64 {
    value.len() as u64
}

#[marine]
async fn later() -> u8 {
    1
}

#[marine]
const fn constant() -> u8 {
    1
}

#[marine]
fn rename(from: String) -> String {
    from
}

#[marine]
fn method(&self) -> u8 {
    1
}

fn main() {}

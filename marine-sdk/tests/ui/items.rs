use marine_sdk::marine;

#[marine]
enum Choice {
    One,
}

#[marine(fast)]
fn with_parameters() {}

#[marine]
trait Shape {}

fn main() {}

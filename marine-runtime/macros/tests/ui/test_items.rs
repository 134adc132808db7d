use marine_runtime_macros::marine_test;

#[marine_test(config_path = "empty.toml")]
mod with_one_service {
    #[test]
    fn test() {}
}

#[marine_test(config_path = "empty.toml")]
struct NotATest {
    field: u32,
}

#[marine_test(one(config_path = "empty.toml"))]
const NOT_A_TEST_EITHER: u32 = 0;

#[marine_test(one(config_path = "empty.toml"))]
mod elsewhere;

#[marine_test(one(config_path = "empty.toml"))]
fn with_arguments(one: u32, two: u32) {}

#[marine_test(config_path = "empty.toml")]
async fn asynchronous() {}

#[marine_test(config_path = "empty.toml")]
fn generic<T>(value: T) {}

#[marine_test(config_path = "empty.toml")]
fn of_something(&self) {}

fn main() {}

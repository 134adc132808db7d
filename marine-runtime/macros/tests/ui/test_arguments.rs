use marine_runtime_macros::marine_test;

#[marine_test(configpath = "Config.toml")]
fn with_an_unknown_argument() {}

#[marine_test(config_path)]
fn without_a_value() {}

#[marine_test(config_path = 1)]
fn with_a_number() {}

#[marine_test(config_path = concat!("Config", ".toml"))]
fn with_an_expression() {}

#[marine_test("Config.toml")]
fn without_a_name() {}

#[marine_test(config_path = "empty.toml", config_path = "unknown_key.toml")]
fn with_two_configurations() {}

#[marine_test(one(config_path = "empty.toml"), build = false)]
fn with_an_argument_beside_services() {}

#[marine_test(one(config_path = "empty.toml"), one(config_path = "empty.toml"))]
fn with_two_services_of_one_name() {}

#[marine_test(one(config = "empty.toml"))]
fn with_an_unknown_argument_of_a_service() {}

#[marine_test(one::two(config_path = "empty.toml"))]
fn with_a_path_for_a_name() {}

fn main() {}

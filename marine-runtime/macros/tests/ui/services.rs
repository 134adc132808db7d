use marine_runtime_macros::marine_test;

#[marine_test(config_path = "absent.toml")]
fn without_a_configuration() {}

#[marine_test(config_path = "empty.toml")]
fn without_modules() {}

#[marine_test(config_path = "unknown_key.toml")]
fn with_an_unknown_key() {}

#[marine_test(config_path = "absent_module.toml", build = false)]
fn without_a_module() {}

#[marine_test(one(config_path = "no_module.toml"))]
mod with_what_is_no_module {}

fn main() {}

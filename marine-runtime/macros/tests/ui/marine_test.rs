use marine_runtime_macros::marine_test;

#[marine_test]
struct Nothing;

#[marine_test(config = "Config.toml")]
fn unknown() {}

#[marine_test(config_path = Config)]
fn no_text() {}

#[marine_test]
async fn waits() {}

#[marine_test]
fn with_self(&self) {}

#[marine_test]
mod tests {}

#[marine_test(one(config_path = "Config.toml"), config_path = "Config.toml")]
fn both() {}

#[marine_test(one(config_path = "Config.toml"), one(config_path = "Config.toml"))]
fn twice() {}

#[marine_test(one(config_path = "Config.toml"))]
fn with_arguments(one: marine_test_env::one::ModuleInterface) {}

#[marine_test(one(config_path = "no-such-folder/Config.toml"))]
mod elsewhere {}

fn main() {}

use marine_sdk::marine;

#[marine]
extern "C" {
    fn from_nowhere();
}

#[marine]
#[module_import("one")]
#[module_import("two")]
extern "C" {
    fn from_two_modules();
}

#[marine]
#[module_import("")]
extern "C" {
    fn from_a_module_without_a_name();
}

#[marine]
#[module_import("wasi_snapshot_preview1")]
extern "C" {
    fn from_the_system();
}

#[marine]
#[module_import("other")]
extern "system" {
    fn by_another_convention();
}

#[marine]
#[module_import("other")]
extern "C" {
    static NUMBER: u32;
}

#[marine]
#[module_import("other")]
extern "C" {
    fn borrowed() -> &String;
}

#[marine]
#[module_import("other")]
extern "C" {
    #[link_name]
    fn by_no_name();
}

fn main() {}

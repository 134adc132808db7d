use marine_runtime_macros::bindings;

bindings! {}

bindings! {
    mod no_file = 7;
}

bindings! {
    mod unknown = "interface.txt";
}

bindings! {
    mod no_module = "src/lib.wasm";
}

fn main() {}

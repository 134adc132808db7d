use marine_runtime_macros::bindings;

bindings! {}

bindings! { mod without_file; }

bindings! { mod with_a_number = 1; }

bindings! { mod without_end = "notes.wasm" }

bindings! { struct Notes = "notes.wasm"; }

bindings! { notes = "notes.wasm"; }

fn main() {}

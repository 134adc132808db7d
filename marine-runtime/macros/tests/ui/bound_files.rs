use marine_runtime_macros::bindings;

bindings! { mod absent = "absent.wasm"; }

bindings! {
    pub mod listed = "absent.json";
    pub mod configured = "absent.toml";
}

bindings! { mod of_another_kind = "Cargo.lock"; }

bindings! { mod without_a_kind = "Cargo"; }

bindings! { mod a_service_of_nothing = "Cargo.toml"; }

fn main() {}

//! Clients that `bindings!` makes, on committed guests and both engines.

#![cfg(feature = "marine")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{path::Path, time::Duration};

use marine_runtime::{
    CallParameters, Engine, IValue, ModuleConfig, ParticleParameters, Service, ServiceConfig,
    typed::{Typed, TypedError},
};

marine_runtime_macros::bindings! {
    /// Returns what it is given.
    mod echo = "../examples/wasm/echo.wasm";
    /// Keeps notes.
    pub mod notes = "tests/bindings/notes.toml";
    mod odd = "tests/bindings/odd-names.json";
}

fn engines() -> [Engine; 2] {
    [Engine::wasmer(), Engine::wasmtime().unwrap()]
}

fn service(modules: &[&str], engine: &Engine) -> Service {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/wasm");
    let modules = modules
        .iter()
        .map(|name| ModuleConfig::from_file(*name, folder.join(format!("{name}.wasm"))));
    Service::new(ServiceConfig::new(modules.collect()), engine).unwrap()
}

fn everything(number: i8) -> echo::Everything {
    echo::Everything {
        truth: true,
        s8: number,
        s16: -2,
        s32: i32::MIN,
        s64: i64::MIN,
        u8: 255,
        u16: 65_535,
        u32: u32::MAX,
        u64: u64::MAX,
        f32: 0.1,
        f64: f64::INFINITY,
        text: "grüße".to_owned(),
        bytes: vec![0, 255],
    }
}

#[test]
fn values_of_all_types_come_back() {
    for engine in engines() {
        let mut client = echo::Client::new(service(&["echo"], &engine)).unwrap();
        client.nothing().unwrap();
        assert_eq!(client.first_word("one two").unwrap(), "one");
        assert_eq!(client.doubled(vec![1, 2]).unwrap(), [1, 2, 1, 2]);
        let list = vec![everything(1), everything(2)];
        assert_eq!(client.last(list, everything(3)).unwrap(), everything(2));
        assert_eq!(
            client.last(Vec::new(), everything(3)).unwrap(),
            everything(3)
        );
    }
}

#[test]
fn records_are_json_with_the_names_of_the_interface() {
    let record = odd::self_ {
        crate_: vec![vec![1]],
        a_b: 0.5,
    };
    assert_eq!(
        serde_json::to_value(&record).unwrap(),
        serde_json::json!({"crate": [[1]], "a-b": 0.5})
    );
    let outer = odd::Client_ {
        r#impl: vec![record.clone()],
    };
    assert_eq!(
        odd::Client_::from_value(outer.clone().into_value()),
        Ok(outer)
    );
    let wrong = IValue::Record(vec![IValue::Array(vec![IValue::Record(vec![
        IValue::Array(vec![IValue::ByteArray(vec![1]), IValue::U8(1)]),
        IValue::F32(0.5),
    ])])]);
    assert_eq!(
        odd::Client_::from_value(wrong).unwrap_err().to_string(),
        "field impl[0].crate[1]: expected bytes, found u8"
    );
    assert_eq!(odd::trust_graph::default().String, "");
}

#[test]
fn calls_have_parameters_and_an_end() {
    for engine in engines() {
        let mut client = notes::Client::new(service(&["storage", "facade"], &engine)).unwrap();
        let parameters = CallParameters {
            particle: ParticleParameters {
                init_peer_id: "ada".to_owned(),
                ..ParticleParameters::default()
            },
            ..CallParameters::default()
        };
        client.set_parameters(parameters);
        let saved = client.save("title", "text".to_owned()).unwrap();
        assert_eq!((saved.author.as_str(), saved.count), ("ada", 1));
        assert_eq!(client.note("title").unwrap(), vec![saved.note]);

        let mut client = echo::Client::new(service(&["echo"], &engine)).unwrap();
        client.set_timeout(Some(Duration::from_millis(50)));
        let error = client.spin().unwrap_err();
        assert!(matches!(error, TypedError::Service(_)), "{error}");
        client.set_timeout(None);
        client.nothing().unwrap();
    }
}

#[test]
fn a_service_with_another_interface_is_refused() {
    let error = echo::Client::new(service(&["greeting"], &Engine::wasmer())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the service has another interface than this program: it has no function bool_echo"
    );
    assert!(odd::Client::try_from(service(&["greeting"], &Engine::wasmer())).is_err());
}

//! The same tests on every engine that is compiled in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    IType, ModuleConfig, ServiceConfig,
    itypes::{RecordType, templates},
    module::{
        Adapter, Argument, Export, Function, INTERFACE_SECTION, Implementation, Import,
        Instruction, InterfaceSection, SDK_VERSION_SECTION, Type, with_custom_section,
    },
};

mod bombs;
mod isolation;

/// Every engine that is compiled in.
fn engines() -> Vec<Engine> {
    vec![
        #[cfg(feature = "wasmer")]
        Engine::wasmer(),
        #[cfg(feature = "wasmtime")]
        Engine::wasmtime().unwrap(),
    ]
}

/// What every module of the SDK exports, as simple as it can be.
const RUNTIME: &str = r#"
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (global $ptr (mut i32) (i32.const 0))
    (global $size (mut i32) (i32.const 0))
    (func (export "allocate") (param i32 i32) (result i32)
        (local $start i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (local.set $start (global.get $next))
        (global.set $next (i32.add (global.get $next) (local.get 0)))
        (block $fits
            (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
            (br_if $fits (i32.ne (i32.const -1) (memory.grow
                (i32.add (i32.const 1) (i32.shr_u (local.get 0) (i32.const 16))))))
            unreachable)
        (local.get $start))
    (func $release (export "release_objects") (global.set $next (i32.const 4096)))
    (func (export "get_result_size") (result i32) (global.get $size))
    (func (export "get_result_ptr") (result i32) (global.get $ptr))
    (func $set_size (export "set_result_size") (param i32) (global.set $size (local.get 0)))
    (func $set_ptr (export "set_result_ptr") (param i32) (global.set $ptr (local.get 0)))
"#;

/// Builds modules the way the SDK's generator does.
struct Builder {
    section: InterfaceSection,
    /// Functions to import: namespace, name, type.
    imports: Vec<(String, String, Function)>,
    plain: bool,
}

impl Builder {
    fn new() -> Self {
        let mut section = InterfaceSection {
            version: semver::Version::new(0, 27, 0),
            types: Vec::new(),
            imports: Vec::new(),
            adapters: Vec::new(),
            exports: Vec::new(),
            implementations: Vec::new(),
        };
        let int = || vec![("n", IType::I32)];
        for (name, arguments, outputs) in [
            ("allocate", int(), vec![IType::I32]),
            ("release_objects", vec![], vec![]),
            ("get_result_size", vec![], vec![IType::I32]),
            ("get_result_ptr", vec![], vec![IType::I32]),
            ("set_result_size", int(), vec![]),
            ("set_result_ptr", int(), vec![]),
        ] {
            let type_index = u32::try_from(section.types.len()).unwrap();
            section
                .types
                .push(Type::Function(Arc::new(function(arguments, outputs))));
            section.exports.push(Export {
                name: name.to_owned(),
                type_index,
            });
        }
        Self {
            section,
            imports: Vec::new(),
            plain: true,
        }
    }

    /// Adapters that no plan fits, with the same effect.
    fn interpreted(mut self) -> Self {
        self.plain = false;
        self
    }

    fn index(&self) -> u32 {
        u32::try_from(self.section.types.len()).unwrap()
    }

    fn record(mut self, name: &str, fields: Vec<(&str, IType)>) -> Self {
        let fields = function(fields, Vec::new()).arguments;
        self.section.types.push(Type::Record(Arc::new(RecordType {
            name: name.to_owned(),
            fields,
        })));
        self
    }

    fn export(mut self, name: &str, arguments: Vec<(&str, IType)>, outputs: Vec<IType>) -> Self {
        let ty = Arc::new(function(arguments, outputs));
        let adapter = self.index();
        let core = u32::try_from(self.section.exports.len()).unwrap();
        let mut instructions = templates::export(&ty, core);
        if !self.plain {
            instructions.splice(0..0, [Instruction::PushI32(1), Instruction::CallCore(4)]);
        }
        self.section
            .types
            .extend([Type::Function(Arc::clone(&ty)), Type::Function(ty)]);
        self.section.exports.push(Export {
            name: name.to_owned(),
            type_index: adapter + 1,
        });
        self.section.adapters.push(Adapter {
            type_index: adapter,
            instructions,
        });
        self.section.implementations.push(Implementation {
            core: adapter + 1,
            adapter,
        });
        self
    }

    fn import(
        mut self,
        namespace: &str,
        name: &str,
        arguments: Vec<(&str, IType)>,
        outputs: Vec<IType>,
    ) -> Self {
        let ty = function(arguments, outputs);
        self.imports
            .push((namespace.to_owned(), name.to_owned(), ty));
        self
    }

    /// The module; `body` is text after the imports and the usual functions.
    fn build(mut self, imports: &str, body: &str) -> Vec<u8> {
        for (link, (namespace, name, ty)) in (0_u32..).zip(std::mem::take(&mut self.imports)) {
            let declared = self.index();
            let mut raw = Vec::new();
            for argument in &ty.arguments {
                raw.push(("raw", IType::I32));
                if argument.ty.is_complex() && !matches!(argument.ty, IType::Record(_)) {
                    raw.push(("raw", IType::I32));
                }
            }
            let outputs = ty
                .outputs
                .iter()
                .filter(|ty| !ty.is_complex())
                .map(|_| IType::I32);
            let raw = Arc::new(function(raw, outputs.collect()));
            let exports = u32::try_from(self.section.exports.len()).unwrap();
            let mut instructions = templates::import(&ty, exports + link);
            if !self.plain {
                instructions.splice(0..0, [Instruction::PushI32(1), Instruction::CallCore(4)]);
            }
            self.section.types.extend([
                Type::Function(Arc::new(ty)),
                Type::Function(Arc::clone(&raw)),
                Type::Function(raw),
            ]);
            for type_index in [declared, declared + 2] {
                let (namespace, name) = (namespace.clone(), name.clone());
                self.section.imports.push(Import {
                    namespace,
                    name,
                    type_index,
                });
            }
            self.section.adapters.push(Adapter {
                type_index: declared + 1,
                instructions,
            });
            self.section.implementations.push(Implementation {
                core: declared + 2,
                adapter: declared + 1,
            });
        }
        let wasm = wat::parse_str(format!("(module {imports} {RUNTIME} {body})")).unwrap();
        let section = self.section.encode().unwrap();
        let wasm = with_custom_section(INTERFACE_SECTION, &wasm, &section).unwrap();
        with_custom_section(SDK_VERSION_SECTION, &wasm, b"0.14.0").unwrap()
    }
}

fn function(arguments: Vec<(&str, IType)>, outputs: Vec<IType>) -> Function {
    let arguments = arguments.into_iter();
    let arguments = arguments
        .map(|(name, ty)| Argument {
            name: name.to_owned(),
            ty,
        })
        .collect();
    Function { arguments, outputs }
}

/// Returns what it gets: string, bytes, record, numbers.
fn echo(interpreted: bool) -> Vec<u8> {
    let builder = if interpreted {
        Builder::new().interpreted()
    } else {
        Builder::new()
    };
    let record = IType::Record(6);
    builder
        .record(
            "Item",
            vec![
                ("flag", IType::Boolean),
                ("small", IType::S8),
                ("big", IType::U64),
                ("ratio", IType::F64),
                ("text", IType::String),
                ("raw", IType::ByteArray),
                ("list", IType::Array(Arc::new(IType::String))),
            ],
        )
        .export("text", vec![("s", IType::String)], vec![IType::String])
        .export("raw", vec![("b", IType::ByteArray)], vec![IType::ByteArray])
        .export("item", vec![("item", record.clone())], vec![record])
        .export("unsigned", vec![("n", IType::U32)], vec![IType::U32])
        .export("wide", vec![("n", IType::U64)], vec![IType::U64])
        .export("half", vec![("x", IType::F32)], vec![IType::F32])
        .export("not", vec![("x", IType::Boolean)], vec![IType::Boolean])
        .export("nothing", vec![], vec![])
        .export("spin", vec![], vec![])
        .export("trap", vec![], vec![])
        .export("deep", vec![], vec![])
        .export("grow", vec![("pages", IType::S32)], vec![IType::S32])
        .export("fill", vec![], vec![])
        .export("bad", vec![], vec![IType::String])
        .export("exhaust", vec![], vec![])
        .build(
            "",
            r#"
            (func $give (param i32 i32)
                (call $set_ptr (local.get 0)) (call $set_size (local.get 1)))
            (func (export "text") (param i32 i32) (call $give (local.get 0) (local.get 1)))
            (func (export "raw") (param i32 i32) (call $give (local.get 0) (local.get 1)))
            (func (export "item") (param i32) (call $set_ptr (local.get 0)))
            (func (export "unsigned") (param i32) (result i32) (local.get 0))
            (func (export "wide") (param i64) (result i64) (local.get 0))
            (func (export "half") (param f32) (result f32) (f32.mul (local.get 0) (f32.const 0.5)))
            (func (export "not") (param i32) (result i32) (i32.eqz (local.get 0)))
            (func (export "nothing"))
            (func (export "spin") (loop (br 0)))
            (func (export "trap") unreachable)
            (func $deep (export "deep") (call $deep))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "fill") (loop
                (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br 0)))
            (func (export "exhaust") (drop (memory.grow (i32.const 9999))) unreachable)
            (func (export "bad") (call $give (i32.const 0x7fffffff) (i32.const 0x7fffffff)))
            "#,
        )
}

fn service(engine: &Engine, modules: Vec<(&str, Vec<u8>)>) -> Result<Service, ServiceError> {
    let modules = modules
        .into_iter()
        .map(|(name, wasm)| ModuleConfig::from_bytes(name, wasm));
    let mut config = ServiceConfig::new(modules.collect());
    config.total_memory_limit = Some(16 << 20);
    Service::new(config, engine)
}

fn call(service: &mut Service, function: &str, arguments: &str) -> Result<String, String> {
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    service
        .call(function, arguments, &CallParameters::default(), deadline)
        .map_err(|error| error.to_string())
}

#[test]
fn values_come_back() {
    for engine in engines() {
        for interpreted in [false, true] {
            let mut service = service(&engine, vec![("echo", echo(interpreted))]).unwrap();
            let item = r#"{"flag":true,"small":-7,"big":18446744073709551615,"ratio":2.5,"text":"ünï","raw":[0,255],"list":["a","","c"]}"#;
            for (function, argument) in [
                ("text", "\"\""),
                ("text", "\"hello \\\"w\\\"\""),
                ("raw", "[]"),
                ("raw", "[1,2,255]"),
                ("item", item),
                ("unsigned", "4294967295"),
                ("wide", "18446744073709551615"),
            ] {
                let result = call(&mut service, function, &format!("[{argument}]"));
                assert_eq!(result.as_deref(), Ok(argument), "{function} {engine:?}");
            }
            assert_eq!(call(&mut service, "half", "[3]").as_deref(), Ok("1.5"));
            assert_eq!(call(&mut service, "not", "[true]").as_deref(), Ok("false"));
            assert_eq!(call(&mut service, "nothing", "[]").as_deref(), Ok("null"));
            let large = format!("\"{}\"", "x".repeat(1 << 20));
            assert_eq!(call(&mut service, "text", &format!("[{large}]")), Ok(large));
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    for engine in engines() {
        let mut service = service(&engine, vec![("echo", echo(false))]).unwrap();
        let error = call(&mut service, "missing", "[]").unwrap_err();
        assert_eq!(error, "function with name `missing` is missing");
        let error = call(&mut service, "text", "[1]").unwrap_err();
        assert!(
            error.contains("in module \"echo\", function \"text\": error Error"),
            "{error}"
        );
        let error = call(&mut service, "text", "not json").unwrap_err();
        assert!(error.contains("arguments are not JSON"), "{error}");
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let error = call(&mut service, "text", &deep).unwrap_err();
        assert!(error.contains("recursion limit"), "{error}");
        let error = call(&mut service, "trap", "[]").unwrap_err();
        assert!(
            error.contains("while calling the local or import function `trap`"),
            "{error}"
        );
        let error = call(&mut service, "bad", "[]").unwrap_err();
        assert!(
            error.contains("`string.lift_memory` read out of the memory bounds"),
            "{error}"
        );
        // A trap leaves it usable.
        assert_eq!(
            call(&mut service, "text", "[\"a\"]").as_deref(),
            Ok("\"a\"")
        );
        let error = call(&mut service, "deep", "[]").unwrap_err();
        assert!(error.contains("stack"), "{error}");
        assert_eq!(
            call(&mut service, "text", "[\"a\"]").as_deref(),
            Ok("\"a\"")
        );
    }
}

#[test]
fn a_guest_that_spins_is_stopped_and_the_service_lives_on() {
    for engine in engines() {
        let mut service = service(&engine, vec![("echo", echo(false))]).unwrap();
        for function in ["spin", "fill"] {
            let start = Instant::now();
            let deadline = Some(start + Duration::from_millis(50));
            let result = service.call(function, "[]", &CallParameters::default(), deadline);
            assert!(
                matches!(result, Err(ServiceError::Interrupted { .. })),
                "{result:?}"
            );
            assert!(
                start.elapsed() < Duration::from_millis(1000),
                "{:?}",
                start.elapsed()
            );
            assert!(service.is_poisoned());
            assert_eq!(
                call(&mut service, "text", "[\"a\"]").as_deref(),
                Ok("\"a\"")
            );
        }
        let handle = service.cancel_handle();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            handle.cancel();
        });
        let error = call(&mut service, "spin", "[]").unwrap_err();
        assert!(error.contains("cancelled"), "{error}");
        thread.join().unwrap();
        assert_eq!(
            call(&mut service, "text", "[\"a\"]").as_deref(),
            Ok("\"a\"")
        );
    }
}

#[test]
fn memory_is_limited_over_all_modules() {
    for engine in engines() {
        let modules = vec![("other", echo(false)), ("echo", echo(false))];
        let mut service = service(&engine, modules).unwrap();
        // 256 pages in all, two modules have two each.
        assert_eq!(call(&mut service, "grow", "[253]").as_deref(), Ok("-1"));
        assert_eq!(call(&mut service, "grow", "[100]").as_deref(), Ok("2"));
        assert_eq!(call(&mut service, "grow", "[153]").as_deref(), Ok("-1"));
        let stats = service.memory_stats();
        assert_eq!(stats.modules[1], ("echo".to_owned(), 102 * 65536));
        let error = call(&mut service, "exhaust", "[]").unwrap_err();
        let memory = "Engine error when OOM suspected (1 failed allocations), original error: ";
        assert!(error.starts_with(memory), "{error}");
        let mut config = ServiceConfig::new(vec![ModuleConfig::from_bytes("echo", echo(false))]);
        config.total_memory_limit = Some(65536);
        assert!(Service::new(config, &engine).is_err());
    }
}

/// Calls `text` of the module `echo` for its own `relay`.
fn relay(interpreted: bool) -> Vec<u8> {
    let builder = if interpreted {
        Builder::new().interpreted()
    } else {
        Builder::new()
    };
    builder
        .export("relay", vec![("s", IType::String)], vec![IType::String])
        .export("fail", vec![], vec![])
        .import(
            "echo",
            "text",
            vec![("s", IType::String)],
            vec![IType::String],
        )
        .import("echo", "trap", vec![], vec![])
        .build(
            r#"(import "echo" "text" (func $text (param i32 i32)))
               (import "echo" "trap" (func $trap))"#,
            r#"(func (export "relay") (param i32 i32)
                   (call $text (local.get 0) (local.get 1)))
               (func (export "fail") (call $trap))"#,
        )
}

#[test]
fn modules_call_each_other() {
    for engine in engines() {
        for interpreted in [false, true] {
            let modules = vec![("echo", echo(interpreted)), ("relay", relay(interpreted))];
            let mut service = service(&engine, modules).unwrap();
            let result = call(&mut service, "relay", "[\"through\"]");
            assert_eq!(
                result.as_deref(),
                Ok("\"through\""),
                "{engine:?} {interpreted}"
            );
            let error = call(&mut service, "fail", "[]").unwrap_err();
            assert_eq!(error.matches("failed while calling").count(), 3, "{error}");
        }
    }
}

#[test]
fn modules_that_do_not_fit_together() {
    for engine in engines() {
        let error = service(
            &engine,
            vec![("relay", relay(false)), ("echo", echo(false))],
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("module with name 'echo' isn't loaded"),
            "{error}"
        );
        let other = Builder::new()
            .export("text", vec![("n", IType::U8)], vec![])
            .export("trap", vec![], vec![])
            .build(
                "",
                "(func (export \"text\") (param i32)) (func (export \"trap\"))",
            );
        let error = service(&engine, vec![("echo", other), ("relay", relay(false))])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("function 'text' of module 'echo' with another type"),
            "{error}"
        );
        let missing = Builder::new().build("(import \"env\" \"what\" (func))", "");
        let error = service(&engine, vec![("a", missing)])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("import \"env\" \"what\" isn't provided"),
            "{error}"
        );
        let simd = Builder::new().build("", "(func (result v128) (v128.const i64x2 0 0))");
        let error = service(&engine, vec![("a", simd.clone())])
            .unwrap_err()
            .to_string();
        assert!(error.contains("simd = true"), "{error}");
        let mut module = ModuleConfig::from_bytes("a", simd);
        module.simd = true;
        assert!(Service::new(ServiceConfig::new(vec![module]), &engine).is_ok());
    }
}

#[test]
fn call_parameters_reach_the_module() {
    for engine in engines() {
        // The address of the record is the result; its second string is the service id.
        let wasm = Builder::new()
            .export("service", vec![], vec![IType::String])
            .build(
                r#"(import "__marine_host_api_v3" "get_call_parameters" (func $get))"#,
                r#"(func (export "service")
                (call $get)
                (call $set_size (i32.load offset=8 (global.get $ptr)))
                (call $set_ptr (i32.load offset=4 (global.get $ptr))))"#,
            );
        let mut service = service(&engine, vec![("a", wasm), ("echo", echo(false))]).unwrap();
        assert!(service.asks_for_parameters() && !service.reaches_directories());
        let parameters = CallParameters {
            service_id: "the-id".to_owned(),
            ..CallParameters::default()
        };
        let result = service.call_module("a", "service", "[]", &parameters, None);
        assert_eq!(result.unwrap(), "\"the-id\"");
    }
}

#[test]
fn files_environment_and_sleep() {
    for engine in engines() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("in"), "from the host").unwrap();
        let wasm = Builder::new()
            .export("read", vec![], vec![IType::String])
            .export("sleep", vec![], vec![])
            .build(
                r#"(import "wasi_snapshot_preview1" "path_open"
                       (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
                   (import "wasi_snapshot_preview1" "fd_read"
                       (func $read (param i32 i32 i32 i32) (result i32)))
                   (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
                   (import "wasi_snapshot_preview1" "fd_readdir"
                       (func (param i32 i32 i32 i64 i32) (result i32)))
                   (import "wasi_snapshot_preview1" "poll_oneoff"
                       (func $poll (param i32 i32 i32 i32) (result i32)))"#,
                r#"(data (i32.const 16) "in")
                   (data (i32.const 32) "\00\02\00\00\00\01\00\00")
                   (func (export "read")
                       (if (call $open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 2)
                               (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64))
                           (then unreachable))
                       (if (call $read (i32.load (i32.const 64)) (i32.const 32) (i32.const 1)
                               (i32.const 48))
                           (then unreachable))
                       (if (call $close (i32.load (i32.const 64))) (then unreachable))
                       (call $set_size (i32.load (i32.const 48)))
                       (call $set_ptr (i32.const 512)))
                   (func (export "sleep")
                       (i64.store (i32.const 1048) (i64.const 60000000000))
                       (drop (call $poll (i32.const 1024) (i32.const 1200) (i32.const 1)
                           (i32.const 1300))))"#,
            );
        let mut module = ModuleConfig::from_bytes("a", wasm);
        module
            .mapped_dirs
            .insert("/tmp".to_owned(), folder.path().to_owned());
        let mut service = Service::new(ServiceConfig::new(vec![module]), &engine).unwrap();
        assert!(service.reaches_directories() && !service.asks_for_parameters());
        assert_eq!(
            call(&mut service, "read", "[]").as_deref(),
            Ok("\"from the host\"")
        );
        let start = Instant::now();
        let deadline = Some(start + Duration::from_millis(20));
        let result = service.call("sleep", "[]", &CallParameters::default(), deadline);
        assert!(
            matches!(result, Err(ServiceError::Interrupted { .. })),
            "{result:?}"
        );
        assert!(start.elapsed() < Duration::from_millis(500));
    }
}

#[test]
fn machine_code_is_kept_on_disk() {
    for engine in engines() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let engine = engine.clone().with_cache_folder(folder.path());
            let mut service = service(&engine, vec![("echo", echo(false))]).unwrap();
            assert_eq!(
                call(&mut service, "text", "[\"a\"]").as_deref(),
                Ok("\"a\""),
                "{round}"
            );
            let files = std::fs::read_dir(folder.path()).unwrap();
            let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            assert_eq!(files.len(), 2, "{files:?}");
            if round == 1 {
                let code = files
                    .iter()
                    .find(|file| file.extension().unwrap() == "bin")
                    .unwrap();
                let mut bytes = std::fs::read(code).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                drop(service);
                std::fs::remove_file(code).unwrap();
                std::fs::write(code, bytes).unwrap();
            }
        }
    }
}

mod bad_input;

mod mutations {
    use proptest::prelude::*;

    use super::*;

    /// A module with some bytes changed and perhaps cut.
    fn mutated(wasm: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let length = wasm.len();
        let changes = proptest::collection::vec((0..length, any::<u8>()), 0..8);
        (changes, prop_oneof![3 => Just(length), 1 => 0..length]).prop_map(move |(changes, end)| {
            let mut wasm = wasm.clone();
            for (place, byte) in changes {
                wasm[place] = byte;
            }
            wasm.truncate(end);
            wasm
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn decoding_never_panics(wasm in mutated(echo(false))) {
            if let Ok(info) = crate::ModuleInfo::decode("echo", &wasm) {
                let _ = Interface::of(&info.interface);
                let _ = info.interface.encode();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn running_never_panics(wasm in mutated(echo(false))) {
            for engine in engines() {
                let Ok(mut service) = service(&engine, vec![("echo", wasm.clone())]) else {
                    continue;
                };
                let calls = [("text", "[\"hello\"]"), ("raw", "[[1,2,3]]"), ("unsigned", "[7]")];
                for (function, arguments) in calls {
                    let deadline = Some(Instant::now() + Duration::from_millis(200));
                    let parameters = CallParameters::default();
                    let _ = service.call(function, arguments, &parameters, deadline);
                }
            }
        }
    }
}

//! What modules and callers should not send: each is an error that says where and what.

use super::*;
use crate::{IValue, ModuleInfo, module::ModuleError};

/// A module with one function of each kind of misbehaviour.
fn hostile() -> Vec<u8> {
    let record = IType::Record(6);
    let array = |ty: IType| IType::Array(Arc::new(ty));
    Builder::new()
        .record("Item", vec![("text", IType::String), ("next", IType::U32)])
        .export("string", at(), vec![IType::String])
        .export("bytes", at(), vec![IType::ByteArray])
        .export("words", at(), vec![array(IType::String)])
        .export("numbers", at(), vec![array(IType::U64)])
        .export("tables", at(), vec![array(array(IType::S8))])
        .export("item", at(), vec![record.clone()])
        .export("items", at(), vec![array(record.clone())])
        .export("take", vec![("s", IType::String)], vec![])
        .export("take_item", vec![("item", record)], vec![])
        .export("take_flag", vec![("flag", IType::Boolean)], vec![])
        .build(
            "",
            r#"(data (i32.const 16) "\ff\fe")
               (data (i32.const 32) "\10\00\00\00\02\00\00\00\07\00\00\00")
               (data (i32.const 48) "\00\00\ff\7f\02\00\00\00\07\00\00\00")
               (data (i32.const 64) "\20\00\00\00\30\00\00\00")
               (data (i32.const 72) "\50\00\00\00\03\00\00\00\50\00\00\00\03\00\00\00same")
               (func $give (param i32 i32)
                   (call $set_ptr (local.get 0)) (call $set_size (local.get 1)))
               (func (export "string") (param i32 i32) (call $give (local.get 0) (local.get 1)))
               (func (export "bytes") (param i32 i32) (call $give (local.get 0) (local.get 1)))
               (func (export "words") (param i32 i32) (call $give (local.get 0) (local.get 1)))
               (func (export "numbers") (param i32 i32) (call $give (local.get 0) (local.get 1)))
               (func (export "tables") (param i32 i32)
                   (local $cell i32)
                   (local.set $cell (i32.const 4096))
                   (loop
                       (i32.store (local.get $cell) (i32.const 0))
                       (i32.store offset=4 (local.get $cell) (i32.const 131072))
                       (local.set $cell (i32.add (local.get $cell) (i32.const 8)))
                       (br_if 0 (i32.lt_u (local.get $cell) (i32.const 131072))))
                   (call $give (local.get 0) (local.get 1)))
               (func (export "item") (param i32 i32) (call $set_ptr (local.get 0)))
               (func (export "items") (param i32 i32) (call $give (local.get 0) (local.get 1)))
               (func (export "take") (param i32 i32))
               (func (export "take_item") (param i32))
               (func (export "take_flag") (param i32) (result i32) (local.get 0))
               (func (export "far") (param i32 i32) (result i32) (i32.const 131070))
               (func (export "nowhere") (param i32 i32) (result i32) (i32.const 0))
               (func (export "short") (param i32) (result i32) (i32.const 64))
               (func (export "failing") (param i32 i32) (result i32) unreachable)"#,
        )
}

/// Pointer and length of what is returned.
fn at() -> Vec<(&'static str, IType)> {
    vec![("pointer", IType::U32), ("length", IType::U32)]
}

/// A module with another interface section.
fn altered(wasm: &[u8], change: impl FnOnce(&mut InterfaceSection)) -> Vec<u8> {
    let mut section = ModuleInfo::decode("m", wasm).unwrap().interface;
    change(&mut section);
    let section = section.encode().unwrap();
    with_custom_section(INTERFACE_SECTION, wasm, &section).unwrap()
}

/// The same adapters with an instruction more, which no plan has.
fn unplanned(wasm: &[u8]) -> Vec<u8> {
    altered(wasm, |section| {
        for adapter in &mut section.adapters {
            let extra = [Instruction::PushI32(0), Instruction::CallCore(4)];
            adapter.instructions.splice(0..0, extra);
        }
    })
}

/// The error of a call, checked to name module and function; the service lives on.
fn refused(service: &mut Service, function: &str, arguments: &str) -> String {
    let result = service.call(function, arguments, &CallParameters::default(), None);
    let error = result.expect_err(function);
    match &error {
        ServiceError::Execution {
            module,
            function: named,
            ..
        }
        | ServiceError::Arguments {
            module,
            function: named,
            ..
        } => assert_eq!((module.as_str(), named.as_str()), ("m", function)),
        other => panic!("{function}: {other}"),
    }
    let result = service.call("take", "[\"x\"]", &CallParameters::default(), None);
    assert_eq!(result.unwrap(), "null");
    error.to_string()
}

#[test]
fn pointers_of_guests() {
    let outside = "read out of the memory bounds";
    let beyond = "Out-of-bound Wasm memory access";
    let utf8 = "invalid utf-8";
    let cases = [
        ("string", "[131072,1]", outside),
        ("string", "[131071,2]", outside),
        ("string", "[4294967295,4294967295]", outside),
        ("string", "[16,2]", utf8),
        ("bytes", "[1,131072]", outside),
        ("words", "[131065,1]", beyond),
        ("words", "[8,4294967295]", beyond),
        ("words", "[32,1]", utf8),
        ("words", "[48,1]", outside),
        ("numbers", "[4294967288,536870912]", beyond),
        ("tables", "[4096,15872]", "a value of more than"),
        ("item", "[131061,0]", beyond),
        ("item", "[4294967295,0]", beyond),
        ("item", "[32,0]", utf8),
        ("item", "[48,0]", outside),
        ("items", "[64,2]", utf8),
        ("items", "[131072,1]", beyond),
    ];
    for engine in engines() {
        for wasm in [hostile(), unplanned(&hostile())] {
            let mut service = service(&engine, vec![("m", wasm)]).unwrap();
            for (function, arguments, reason) in cases {
                let error = refused(&mut service, function, arguments);
                assert!(error.contains(reason), "{function}{arguments}: {error}");
                assert!(
                    error.contains("lift_memory"),
                    "{function}{arguments}: {error}"
                );
            }
            // The end of memory is still inside, nothing is read for a length of 0, and what
            // overlaps is read twice.
            for (function, arguments, result) in [
                ("string", "[131072,0]", "\"\""),
                ("string", "[4294967295,0]", "\"\""),
                ("bytes", "[131070,2]", "[0,0]"),
                (
                    "words",
                    "[72,2]",
                    "[\"\\u0000\\u0000\\u0000\",\"\\u0000\\u0000\\u0000\"]",
                ),
                ("words", "[4294967295,0]", "[]"),
            ] {
                let found = call(&mut service, function, arguments);
                assert!(found.is_ok(), "{function}{arguments}: {found:?}");
                // What lies in memory there is what earlier calls left.
                if arguments.ends_with(",0]") {
                    assert_eq!(found.as_deref(), Ok(result), "{function}{arguments}");
                } else if function == "words" {
                    let words: Vec<String> = serde_json::from_str(&found.unwrap()).unwrap();
                    assert_eq!(words[0], words[1]);
                }
            }
        }
    }
}

#[test]
fn allocators_of_guests() {
    for (allocator, reason) in [
        ("far", "Out-of-bound Wasm memory access"),
        (
            "nowhere",
            "call to allocate function was failed: it returned 0",
        ),
        ("failing", "allocate"),
        ("short", "allocate func doesn't receive two i32 values"),
    ] {
        let plain = altered(&hostile(), |section| {
            allocator.clone_into(&mut section.exports[0].name);
        });
        for engine in engines() {
            for wasm in [plain.clone(), unplanned(&plain)] {
                let mut service = service(&engine, vec![("m", wasm)]).unwrap();
                for (function, arguments) in [
                    ("take", "[\"some text\"]"),
                    ("take_item", r#"[{"text":"a","next":1}]"#),
                ] {
                    let result =
                        service.call(function, arguments, &CallParameters::default(), None);
                    let error = result.expect_err(allocator).to_string();
                    // The form of strings calls the allocator itself, and says so in its words, or
                    // is left with what the allocator did not take.
                    let itself = error.contains("`call-core 0`")
                        || error.contains("`string.lower")
                        || (allocator == "short" && error.contains("aren't compatible"));
                    assert!(
                        error.contains(reason) || itself,
                        "{allocator} {function}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn exports_of_another_type() {
    let odd = |core: &str| {
        Builder::new()
            .export("odd", vec![("s", IType::String)], vec![IType::U8])
            .export("take", vec![("s", IType::String)], vec![])
            .build(
                "",
                &format!("(func (export \"take\") (param i32 i32)) {core}"),
            )
    };
    for engine in engines() {
        for core in [
            "(func (export \"odd\") (param i64) (result i32) (i32.const 1))",
            "(func (export \"odd\") (param i32 i64) (result i32) (i32.const 1))",
            "(func (export \"odd\") (param i32 i32 i32) (result i32) (i32.const 1))",
            "(func (export \"odd\") (param i32 i32) (result f32) (f32.const 1))",
            "(func (export \"odd\") (param i32 i32))",
        ] {
            let mut service = service(&engine, vec![("m", odd(core))]).unwrap();
            refused(&mut service, "odd", "[\"text\"]");
        }
        for (core, reason) in [
            ("", "export not found: odd (module 'm')"),
            ("(global (export \"odd\") i32 (i32.const 1))", "odd"),
            (
                "(func (export \"odd\") (param externref) (result i32) (i32.const 1))",
                "module 'm'",
            ),
        ] {
            let error = service(&engine, vec![("m", odd(core))])
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{core}: {error}");
        }
    }
}

/// A module that imports a function of another one and calls it in its own `run`, and has `more`
/// functions.
fn caller(namespace: &str, name: &str, body: &str, more: &str) -> Vec<u8> {
    Builder::new()
        .export("run", vec![], vec![])
        .import(
            namespace,
            name,
            vec![("s", IType::String)],
            vec![IType::String],
        )
        .build(
            &format!("(import \"{namespace}\" \"{name}\" (func $other (param i32 i32)))"),
            &format!(
                "(data (i32.const 16) \"\\ff\\fe\") (func $run (export \"run\") {body}) {more}"
            ),
        )
}

#[test]
fn imports_that_are_not_there() {
    let call_other = "(call $other (i32.const 16) (i32.const 0))";
    let (a, b) = (
        caller("b", "run", call_other, ""),
        caller("a", "run", call_other, ""),
    );
    let own = caller("own", "run", call_other, "");
    let ring = caller("m", "no such function", call_other, "");
    for engine in engines() {
        for (modules, module, import) in [
            (vec![("a", a.clone()), ("b", b.clone())], "'a'", "'b'"),
            (vec![("b", b.clone()), ("a", a.clone())], "'b'", "'a'"),
            (vec![("own", own.clone())], "'own'", "'own'"),
            (
                vec![("m", hostile()), ("r", ring.clone())],
                "'r'",
                "no such function",
            ),
        ] {
            let error = service(&engine, modules).unwrap_err().to_string();
            assert!(error.contains(module) && error.contains(import), "{error}");
        }
    }
}

#[test]
fn strings_between_modules() {
    let wasm = caller(
        "echo",
        "text",
        "(call $other (i32.const 16) (i32.const 2))",
        "",
    );
    let far = caller(
        "echo",
        "text",
        "(call $other (i32.const 131071) (i32.const 2))",
        "",
    );
    for engine in engines() {
        for (wasm, reason) in [
            (wasm.clone(), "invalid utf-8"),
            (unplanned(&wasm), "invalid utf-8"),
            (far.clone(), "read out of the memory bounds"),
            (unplanned(&far), "read out of the memory bounds"),
        ] {
            let modules = vec![("echo", echo(false)), ("m", wasm)];
            let mut service = service(&engine, modules).unwrap();
            let error = call(&mut service, "run", "[]").unwrap_err();
            assert!(
                error.contains("string.lift_memory") && error.contains(reason),
                "{error}"
            );
        }
    }
}

#[test]
fn arguments_of_another_shape() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", "{\"text\":".repeat(levels), "}".repeat(levels));
    for engine in engines() {
        let mut service = service(&engine, vec![("m", hostile())]).unwrap();
        for arguments in [
            r#"[{"text":"a"}]"#.to_owned(),
            r#"[{"text":"a","next":1,"more":2}]"#.to_owned(),
            r#"[{"text":"a","next":-1}]"#.to_owned(),
            r#"[{"text":null,"next":1}]"#.to_owned(),
            r#"[{"next":1,"next":1}]"#.to_owned(),
            r#"[["a",1,2]]"#.to_owned(),
            r#"["a"]"#.to_owned(),
            "[1.5]".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            "null".to_owned(),
            "7".to_owned(),
            "[".to_owned(),
            String::new(),
            deep(300),
            deep(100_000),
            objects(300),
            objects(100_000),
            "[\"\\ud800\"]".to_owned(),
        ] {
            let error = refused(&mut service, "take_item", &arguments);
            assert!(
                error.starts_with(
                    "arguments from json deserialization error in module \"m\", function \
                     \"take_item\": "
                ),
                "{error}"
            );
            assert!(error.len() < 10_000, "{} bytes", error.len());
        }
        // A document that is parsed already.
        let mut document = Value::Null;
        for _ in 0..300 {
            document = Value::Array(vec![document]);
        }
        let parameters = CallParameters::default();
        let error = service.call_value("take_item", &document, &parameters, None);
        assert!(
            matches!(error, Err(ServiceError::Arguments { .. })),
            "{error:?}"
        );
        for values in [
            vec![],
            vec![IValue::U8(1)],
            vec![IValue::Record(vec![])],
            vec![IValue::Record(vec![IValue::U32(1), IValue::U32(1)])],
            vec![IValue::Record(vec![IValue::String(String::new()); 3])],
        ] {
            let error = service.call_values("take_item", &values, &parameters, None);
            assert!(
                matches!(&error, Err(ServiceError::Execution { module, function, .. })
                    if module == "m" && function == "take_item"),
                "{error:?}"
            );
        }
    }
}

#[test]
fn sections_that_lie() {
    let wasm = hostile();
    let section = ModuleInfo::decode("m", &wasm).unwrap().interface;
    let payload = section.encode().unwrap();
    // Every byte of the section as a length that is too long, and every place as its end. Where a
    // group of items ends, the rest may be missing.
    let mut whole = 0;
    for place in 0..payload.len() {
        for length in [0x7F, 0xFF] {
            let mut lying = payload.clone();
            lying[place] = length;
            let wasm = with_custom_section(INTERFACE_SECTION, &wasm, &lying).unwrap();
            let _ = AdapterSurvey::of("m", &wasm);
        }
        let wasm = with_custom_section(INTERFACE_SECTION, &wasm, &payload[..place]).unwrap();
        whole += usize::from(AdapterSurvey::of("m", &wasm).is_ok());
    }
    assert!(whole <= 5, "{whole} of the cut sections are read");
    // Counts of billions.
    for group in 0..5 {
        let mut lying = payload.clone();
        lying.extend([group, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        let wasm = with_custom_section(INTERFACE_SECTION, &wasm, &lying).unwrap();
        let error = ModuleInfo::decode("m", &wasm).unwrap_err();
        assert!(matches!(error, ModuleError::Interface(_)), "{error}");
    }
    // A section of the file that is longer than the file.
    let mut lying = wasm.clone();
    lying.extend([0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1, b'x']);
    let error = ModuleInfo::decode("m", &lying).unwrap_err();
    assert!(
        matches!(&error, ModuleError::NotWasm { module, .. } if module == "m"),
        "{error}"
    );
    // Records that contain themselves.
    let mut cyclic = section;
    let own = Argument {
        name: "own".to_owned(),
        ty: IType::Array(Arc::new(IType::Record(6))),
    };
    cyclic.types[6] = Type::Record(Arc::new(RecordType {
        name: "Item".to_owned(),
        fields: vec![own],
    }));
    let cyclic = cyclic.encode().unwrap();
    let wasm = with_custom_section(INTERFACE_SECTION, &wasm, &cyclic).unwrap();
    let error = ModuleInfo::decode("m", &wasm).unwrap_err();
    assert!(
        matches!(&error, ModuleError::InvalidInterface { module, .. } if module == "m"),
        "{error}"
    );
}

#[test]
fn calls_while_a_module_starts() {
    let call_other = "(call $other (i32.const 16) (i32.const 0))";
    let start = |function: &str| caller("echo", "text", call_other, function);
    for engine in engines() {
        let both = |wasm: Vec<u8>| service(&engine, vec![("echo", echo(false)), ("m", wasm)]);
        // Once it is linked a module may call others.
        let mut running = both(start("(func (export \"_start\") (call $run))")).unwrap();
        assert_eq!(call(&mut running, "run", "[]").as_deref(), Ok("null"));
        assert!(both(start("(func (export \"_initialize\") (call $run))")).is_ok());
        // The start section runs before that.
        let error = both(start("(func $first (call $run)) (start $first)"));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("import 'text' was called before the module was linked"),
            "{error}"
        );
        for (function, reason) in [
            (
                "(func (export \"_start\") unreachable)",
                "module 'm' failed in _start",
            ),
            (
                "(func (export \"_initialize\") unreachable)",
                "module 'm' failed in _initialize",
            ),
            (
                "(func (export \"_start\") (param i32))",
                "module 'm' exports _start with parameters or results",
            ),
        ] {
            let error = both(start(function)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let spin = start("(func (export \"_start\") (loop (br 0)))");
        let modules = [("echo", echo(false)), ("m", spin)]
            .map(|(name, wasm)| ModuleConfig::from_bytes(name, wasm));
        let deadline = Some(Instant::now() + Duration::from_millis(50));
        let config = ServiceConfig::new(modules.to_vec());
        let error = Service::with_deadline(config, &engine, deadline).unwrap_err();
        assert!(error.to_string().contains("deadline"), "{error}");
    }
}

/// As many functions as fit into a section, all of the same type, and a module that calls each.
fn crowd(count: usize) -> (Vec<u8>, Vec<u8>) {
    use std::fmt::Write as _;

    /// Records, each in the next, that comparing takes long.
    const DEPTH: u32 = 200;
    let records = |mut builder: Builder| {
        for level in 0..DEPTH {
            let inner = match level {
                0 => IType::U32,
                level => IType::Record(5 + level),
            };
            let inner = IType::Array(Arc::new(inner));
            builder = builder.record(
                &format!("r{level}"),
                vec![("a", inner.clone()), ("b", inner)],
            );
        }
        builder
    };
    let last = IType::Record(5 + DEPTH);
    let (mut callee, mut caller) = (records(Builder::new()), records(Builder::new()));
    let (mut imports, mut functions) = (String::new(), String::new());
    for number in 0..count {
        let name = format!("{number:x}");
        let record = vec![("r", last.clone())];
        callee = callee.export(&name, record.clone(), vec![]);
        caller = caller.import("a", &name, record, vec![]);
        write!(functions, "(func (export {name:?}) (param i32))").unwrap();
        write!(imports, "(import \"a\" {name:?} (func (param i32)))").unwrap();
    }
    (callee.build("", &functions), caller.build(&imports, ""))
}

/// Longest that anything with a full section may take: many times what it does take, and far less
/// than work for every pair of functions would.
const FULL_SECTION: Duration = Duration::from_secs(30);

#[test]
fn a_full_section_is_read_in_good_time() {
    let (callee, caller) = crowd(15_000);
    let section = crate::module::Outline::read("m", &caller).unwrap();
    let size = section.interface_section().unwrap().len();
    assert!(size > crate::limits::MAX_INTERFACE_SECTION / 2, "{size}");
    for wasm in [callee, caller] {
        let start = Instant::now();
        ModuleInfo::decode("m", &wasm).unwrap();
        let survey = AdapterSurvey::of("m", &wasm).unwrap();
        assert_eq!((survey.planned, survey.interpreted.len()), (15_000, 0));
        assert!(start.elapsed() < FULL_SECTION, "{:?}", start.elapsed());
    }
}

#[test]
fn many_functions_are_linked_in_good_time() {
    let (callee, caller) = crowd(4_000);
    for engine in engines() {
        let start = Instant::now();
        let modules = vec![("a", callee.clone()), ("m", caller.clone())];
        let service = service(&engine, modules).unwrap();
        assert_eq!(service.interfaces().len(), 2);
        assert!(start.elapsed() < FULL_SECTION, "{:?}", start.elapsed());
    }
}

//! What a module cannot do to its host: keep it busy, take its memory, run its programs.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use sha2::Digest as _;

use super::*;
use crate::{AllowedBinary, HostImport, IValue, MountedBinary, ServiceLimits};

/// How long a call may go on after its deadline.
const GRACE: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_millis(50);

/// A module that does nothing but `body`, over and over, with 16 MiB of memory: one operation
/// over all of it cannot be interrupted.
fn forever(imports: &str, body: &str) -> Vec<u8> {
    Builder::new().export("go", vec![], vec![]).build(
        imports,
        &format!(
            r#"(func (export "go")
                (drop (memory.grow (i32.const 254)))
                (loop $again {body} (br $again)))"#
        ),
    )
}

/// Calls `go`, which must end with its deadline. A loaded machine may be late; one that is late every
/// time is not loaded.
fn assert_killed(service: &mut Service, what: &str) {
    let mut late = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let parameters = CallParameters::default();
        let result = service.call("go", "[]", &parameters, Some(start + DEADLINE));
        let took = start.elapsed();
        assert!(
            matches!(result, Err(ServiceError::Interrupted { .. })),
            "{what}: {result:?}"
        );
        assert!(service.is_poisoned(), "{what}");
        if took < DEADLINE + GRACE {
            return;
        }
        late.push(took);
    }
    panic!("{what} went on after its deadline: {late:?}");
}

/// Arguments with which a function of WASI has much to do.
fn busy(name: &str, parameters: &str) -> Vec<String> {
    let given: &[u64] = match name {
        "random_get" => &[0, 16 << 20],
        // A mebibyte of empty lines, many times.
        "fd_write" => &[1, 64, 1, 32],
        "poll_oneoff" => &[1024, 2048, 1, 32],
        "fd_read" => &[3, 64, 1, 32],
        "fd_readdir" => &[3, 4096, 1 << 20, 0, 32],
        "path_open" => &[3, 1, 256, 4, 1, 64, 0, 0, 32],
        _ => &[],
    };
    let types = parameters.bytes().map(|letter| match letter {
        b'I' => "i64",
        _ => "i32",
    });
    types
        .enumerate()
        .map(|(index, ty)| {
            let value = given.get(index).copied().unwrap_or(0);
            format!("({ty}.const {value})")
        })
        .collect()
}

#[test]
fn every_function_of_wasi_ends_with_the_call() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..2_000 {
        std::fs::write(folder.path().join(format!("{index}")), "").unwrap();
    }
    for engine in engines() {
        for (name, parameters) in crate::wasi::functions() {
            if name == "proc_exit" {
                continue;
            }
            let types: String = parameters
                .bytes()
                .map(|letter| if letter == b'I' { " i64" } else { " i32" })
                .collect();
            let imports = format!(
                r#"(import "wasi_snapshot_preview1" "{name}"
                    (func $f (param {types}) (result i32)))"#
            );
            let body = format!(
                r#"(memory.fill (i32.const 65536) (i32.const 10) (i32.const 1048576))
                   (i64.store (i32.const 64) (i64.const 0x0010_0000_0001_0000))
                   (i32.store (i32.const 256) (i32.const 0x656c6966))
                   (i64.store (i32.const 1048) (i64.const 60000000000))
                   (drop (call $f {}))"#,
                busy(name, parameters).join(" ")
            );
            let wasm = forever(&imports, &body);
            let mut module = ModuleConfig::from_bytes("a", wasm);
            let data = folder.path().to_owned();
            module.mapped_dirs.insert("/data".to_owned(), data);
            let mut service = Service::new(ServiceConfig::new(vec![module]), &engine).unwrap();
            assert_killed(&mut service, name);
        }
    }
}

#[test]
fn spinning_and_allocating_end_with_the_call() {
    for engine in engines() {
        for (what, body) in [
            ("a loop", ""),
            ("memory.grow", "(drop (memory.grow (i32.const 0)))"),
            (
                "memory.fill",
                "(memory.fill (i32.const 0) (i32.const 1) (i32.const 0x0ff0000))",
            ),
            (
                "memory.copy",
                "(memory.copy (i32.const 0) (i32.const 1) (i32.const 0x0ff0000))",
            ),
        ] {
            let mut service = service_without_limit(&engine, forever("", body));
            assert_killed(&mut service, what);
        }
    }
}

fn service_without_limit(engine: &Engine, wasm: Vec<u8>) -> Service {
    let module = ModuleConfig::from_bytes("a", wasm);
    Service::new(ServiceConfig::new(vec![module]), engine).unwrap()
}

#[test]
fn logger_and_call_parameters_end_with_the_call() {
    for engine in engines() {
        let log = forever(
            r#"(import "host" "log_utf8_string" (func $f (param i32 i32 i32 i32)))"#,
            "(call $f (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0x0ff0000))",
        );
        assert_killed(&mut service_without_limit(&engine, log), "log_utf8_string");
        let parameters = forever(
            r#"(import "__marine_host_api_v3" "get_call_parameters" (func $f))"#,
            "(call $f) (call $release)",
        );
        let mut service = service_without_limit(&engine, parameters);
        assert_killed(&mut service, "get_call_parameters");
    }
}

/// A module that runs the program `tool` with one argument and returns what it wrote.
fn tool(argument: &str) -> Vec<u8> {
    let length = argument.len();
    Builder::new()
        .export("go", vec![], vec![IType::String])
        .export("code", vec![], vec![IType::S32])
        .build(
            r#"(import "host" "tool" (func $tool (param i32 i32)))"#,
            &format!(
                r#"(data (i32.const 1024) "-c")
                   (data (i32.const 1040) "{argument}")
                   (data (i32.const 1000) "\00\04\00\00\02\00\00\00\10\04\00\00")
                   (func $run
                       (i32.store (i32.const 1012) (i32.const {length}))
                       (call $tool (i32.const 1000) (i32.const 2)))
                   (func (export "go")
                       (call $run)
                       (call $set_size (i32.load offset=16 (global.get $ptr)))
                       (call $set_ptr (i32.load offset=12 (global.get $ptr))))
                   (func (export "code") (result i32)
                       (call $run)
                       (i32.load (global.get $ptr)))"#
            ),
        )
}

fn with_tool(engine: &Engine, argument: &str, change: impl FnOnce(&mut ServiceConfig)) -> Service {
    let mut module = ModuleConfig::from_bytes("a", tool(argument));
    module
        .mounted_binaries
        .insert("tool".to_owned(), MountedBinary::new("/bin/sh"));
    let mut config = ServiceConfig::new(vec![module]);
    change(&mut config);
    Service::new(config, engine).unwrap()
}

fn binary(config: &mut ServiceConfig) -> &mut MountedBinary {
    config.modules[0].mounted_binaries.get_mut("tool").unwrap()
}

#[test]
fn mounted_binaries_end_with_the_call_and_so_does_what_they_started() {
    for engine in engines() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("left");
        let script = format!(
            "trap '' TERM; (sleep 1; touch {}) & sleep 60",
            left.display()
        );
        let mut service = with_tool(&engine, &script, |_| {});
        assert_killed(&mut service, "a mounted binary");
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(!left.exists(), "what it started lived on");
    }
}

#[test]
fn mounted_binaries_have_bounds_of_their_own() {
    for engine in engines() {
        let mut slow = with_tool(&engine, "sleep 60", |config| {
            binary(config).max_time = Duration::from_millis(50);
        });
        assert_eq!(call(&mut slow, "code", "[]").as_deref(), Ok("100001"));
        let mut chatty = with_tool(&engine, "while true; do echo line; done", |config| {
            binary(config).max_output = 1_000;
        });
        assert_eq!(call(&mut chatty, "code", "[]").as_deref(), Ok("100001"));
        let mut fine = with_tool(&engine, "echo ok; exit 7", |_| {});
        assert_eq!(call(&mut fine, "go", "[]").as_deref(), Ok("\"ok\\n\""));
        assert_eq!(call(&mut fine, "code", "[]").as_deref(), Ok("7"));
        let mut killed = with_tool(&engine, "kill -9 $$", |_| {});
        assert_eq!(call(&mut killed, "code", "[]").as_deref(), Ok("100000"));
    }
}

#[test]
fn mounted_binaries_see_the_environment_they_are_given() {
    for engine in engines() {
        let mut service = with_tool(&engine, "env | sort", |config| {
            binary(config).pass_envs = BTreeSet::new();
            let envs = &mut binary(config).envs;
            envs.insert("ONLY".to_owned(), "this".to_owned());
        });
        let seen = call(&mut service, "go", "[]").unwrap();
        assert!(seen.contains("ONLY=this"), "{seen}");
        // What the shell sets for itself.
        let own = ["ONLY", "PWD", "OLDPWD", "SHLVL", "_"];
        let text: String = serde_json::from_str(&seen).unwrap();
        for line in text.lines() {
            let name = line.split('=').next().unwrap();
            assert!(own.contains(&name), "{line}");
        }
    }
}

#[test]
fn binaries_are_mounted_for_listed_modules_only() {
    let wasm = tool("true");
    let allowed = |module: [u8; 32], binary: MountedBinary| AllowedBinary {
        module,
        name: "tool".to_owned(),
        binary,
    };
    let hash: [u8; 32] = sha2::Sha256::digest(&wasm).into();
    let shell = MountedBinary::new("/bin/sh");
    let mut envs = shell.clone();
    envs.envs.insert("KEY".to_owned(), "value".to_owned());
    let create = |engine: &Engine, list: Vec<AllowedBinary>| {
        let mut module = ModuleConfig::from_bytes("a", wasm.clone());
        module
            .mounted_binaries
            .insert("tool".to_owned(), shell.clone());
        let mut config = ServiceConfig::new(vec![module]);
        config.allowed_binaries = Some(list.into());
        Service::new(config, engine).map_err(|error| error.to_string())
    };
    for engine in engines() {
        assert!(create(&engine, vec![allowed(hash, shell.clone())]).is_ok());
        let others = [
            allowed([0; 32], shell.clone()),
            allowed(hash, MountedBinary::new("/bin/bash")),
            allowed(hash, envs.clone()),
            AllowedBinary {
                name: "other".to_owned(),
                ..allowed(hash, shell.clone())
            },
        ];
        let error = create(&engine, others.into()).unwrap_err();
        assert!(
            error.contains("module 'a' with SHA-256 ") && error.contains("'tool'"),
            "{error}"
        );
    }
}

#[test]
fn values_of_modules_are_bounded() {
    for engine in engines() {
        let mut config = ServiceConfig::new(vec![ModuleConfig::from_bytes("echo", echo(false))]);
        config.limits = ServiceLimits {
            value_size: 1_000,
            ..ServiceLimits::default()
        };
        let mut service = Service::new(config, &engine).unwrap();
        let text = |length: usize| format!("[\"{}\"]", "x".repeat(length));
        assert!(call(&mut service, "text", &text(1_000)).is_ok());
        let error = call(&mut service, "text", &text(1_001)).unwrap_err();
        assert!(error.contains("a value of more than 1000 bytes"), "{error}");
    }
}

#[test]
fn a_service_may_bound_its_calls_itself() {
    for engine in engines() {
        let mut config = ServiceConfig::new(vec![ModuleConfig::from_bytes("echo", echo(false))]);
        config.limits.call_time = Some(Duration::from_millis(50));
        let mut service = Service::new(config, &engine).unwrap();
        for deadline in [None, Some(Instant::now() + Duration::from_secs(60))] {
            let result = service.call("spin", "[]", &CallParameters::default(), deadline);
            assert!(
                matches!(result, Err(ServiceError::Interrupted { .. })),
                "{result:?}"
            );
        }
    }
}

/// A module that gives the host's `join` a text and a number, and returns its result.
fn joining() -> Vec<u8> {
    Builder::new()
        .export("go", vec![("s", IType::String)], vec![IType::String])
        .build(
            r#"(import "__marine_host_api_v2" "join" (func $join (param i32 i32 i64)))"#,
            r#"(func (export "go") (param i32 i32)
                   (call $join (local.get 0) (local.get 1) (i64.const -5)))"#,
        )
}

#[test]
fn functions_of_the_host_take_and_return_values() {
    for engine in engines() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let types = vec![IType::String, IType::S64];
        let join = HostImport::new(types, Some(IType::String), move |call, arguments| {
            counted.fetch_add(1, Ordering::Relaxed);
            assert_eq!(call.module, "a");
            match &arguments[..] {
                [IValue::String(text), IValue::S64(number)] if !text.is_empty() => {
                    let id = &call.parameters.service_id;
                    Ok(Some(IValue::String(format!("{text}{number}{id}"))))
                }
                other => Err(format!("what is {other:?}?")),
            }
        });
        let mut module = ModuleConfig::from_bytes("a", joining());
        module.host_functions.insert("join".to_owned(), join);
        let mut service = Service::new(ServiceConfig::new(vec![module]), &engine).unwrap();
        let parameters = CallParameters {
            service_id: "-id".to_owned(),
            ..CallParameters::default()
        };
        let result = service.call("go", "[\"ü\"]", &parameters, None).unwrap();
        assert_eq!(result, "\"ü-5-id\"");
        let error = call(&mut service, "go", "[\"\"]").unwrap_err();
        assert!(error.contains("host function join: what is"), "{error}");
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn functions_of_the_host_that_return_something_else_trap() {
    for engine in engines() {
        let join = HostImport::new(
            vec![IType::String, IType::S64],
            Some(IType::String),
            |_, _| Ok(None),
        );
        let mut module = ModuleConfig::from_bytes("a", joining());
        module
            .host_functions
            .insert("join".to_owned(), join.clone());
        let mut service = Service::new(ServiceConfig::new(vec![module.clone()]), &engine).unwrap();
        let error = call(&mut service, "go", "[\"a\"]").unwrap_err();
        assert!(error.contains("returned None, expected Some"), "{error}");
        let program = MountedBinary::new(PathBuf::from("/bin/true"));
        module.mounted_binaries.insert("join".to_owned(), program);
        let error = Service::new(ServiceConfig::new(vec![module.clone()]), &engine).unwrap_err();
        assert!(
            error.to_string().contains("under the name 'join'"),
            "{error}"
        );
        module.mounted_binaries.clear();
        module
            .host_functions
            .insert("log_utf8_string".to_owned(), join);
        let error = Service::new(ServiceConfig::new(vec![module]), &engine).unwrap_err();
        assert!(error.to_string().contains("reserved name"), "{error}");
    }
}

/// The bits of a NaN that comes out of arithmetic are the same everywhere.
#[test]
fn nans_are_canonical() {
    for engine in engines() {
        let wasm = Builder::new().export("go", vec![], vec![IType::S64]).build(
            "",
            r#"(func (export "go") (result i64)
                    (i64.reinterpret_f64 (f64.add
                        (f64.reinterpret_i64 (i64.const 0x7ff0_0000_0000_0001))
                        (f64.reinterpret_i64 (i64.const 0xfff8_0000_0000_1234)))))"#,
        );
        let mut service = service(&engine, vec![("a", wasm)]).unwrap();
        let canonical = 0x7ff8_0000_0000_0000_u64.to_string();
        assert_eq!(call(&mut service, "go", "[]"), Ok(canonical));
    }
}

#[test]
fn threads_and_relaxed_simd_are_off() {
    for engine in engines() {
        for body in [
            "(func (result i32) (i32.atomic.load (i32.const 0)))",
            r#"(func (result v128) (i8x16.relaxed_swizzle
                (v128.const i64x2 0 0) (v128.const i64x2 0 0)))"#,
        ] {
            let mut module = ModuleConfig::from_bytes("a", Builder::new().build("", body));
            module.simd = true;
            assert!(Service::new(ServiceConfig::new(vec![module]), &engine).is_err());
        }
    }
}

/// Loading one more module leaves the directories of the others where they are.
#[test]
fn modules_that_are_loaded_later_move_no_directories() {
    for engine in engines() {
        // A relative directory, as configurations have them.
        let folder = tempfile::tempdir_in(".").unwrap();
        let relative = PathBuf::from(folder.path().file_name().unwrap());
        let mut first = ModuleConfig::from_bytes("first", echo(false));
        first.mapped_dirs.insert("/data".to_owned(), "data".into());
        let mut config = ServiceConfig::new(vec![first]);
        config.working_dir.clone_from(&relative);
        let mut service = Service::new(config, &engine).unwrap();
        let expected = relative.join("data").display().to_string();
        for name in ["second", "third"] {
            let module = ModuleConfig::from_bytes(name, echo(false));
            service.load_module(module, None).unwrap();
            assert_eq!(service.envs("first").unwrap()["/data"], expected);
        }
        assert_eq!(
            call(&mut service, "text", "[\"a\"]").as_deref(),
            Ok("\"a\"")
        );
        assert!(
            service
                .load_module(ModuleConfig::from_bytes("third", echo(false)), None)
                .is_err()
        );
        service.unload_module("third").unwrap();
        assert!(service.unload_module("third").is_err());
    }
}

#[test]
fn a_module_that_starts_for_ever_poisons_the_service() {
    for engine in engines() {
        let mut service = service(&engine, vec![("echo", echo(false))]).unwrap();
        for (function, body) in [
            ("_start", "(func (export \"_start\") (loop (br 0)))"),
            (
                "start section",
                "(func $first (loop (br 0))) (start $first)",
            ),
        ] {
            let spinning = ModuleConfig::from_bytes("spin", Builder::new().build("", body));
            let deadline = Some(Instant::now() + DEADLINE);
            let error = service.load_module(spinning, deadline).unwrap_err();
            assert!(error.is_interruption(), "{function}: {error}");
            assert!(service.is_poisoned(), "{function}");
            // Created anew without the module.
            let answer = call(&mut service, "text", "[\"a\"]");
            assert_eq!(answer.as_deref(), Ok("\"a\""), "{function}");
            assert_eq!(service.interfaces().len(), 1);
        }
        // One that fails by itself changes nothing.
        let body = "(func (export \"_start\") unreachable)";
        let failing = ModuleConfig::from_bytes("fail", Builder::new().build("", body));
        let error = service.load_module(failing, None).unwrap_err();
        assert!(
            !error.is_interruption() && !service.is_poisoned(),
            "{error}"
        );
        assert_eq!(service.memory_stats().modules.len(), 1);
    }
}

/// How deep a function can call itself.
fn depth(service: &mut Service) -> u32 {
    let mut bounds = (1_u32, 1 << 20);
    while bounds.1 - bounds.0 > 16 {
        let middle = bounds.0.midpoint(bounds.1);
        match call(service, "sum", &format!("[{middle}]")) {
            Ok(_) => bounds.0 = middle,
            Err(error) => {
                assert!(error.contains("stack"), "{error}");
                bounds.1 = middle;
            }
        }
    }
    bounds.0
}

/// Each service of one engine has its own. Wasmer's stacks are those of the process, which other
/// tests have as well.
#[cfg(feature = "wasmtime")]
#[test]
fn stacks_have_the_size_that_is_configured() {
    let sum = Builder::new()
        .export("sum", vec![("n", IType::U32)], vec![IType::U32])
        .build(
            "",
            r#"(func $sum (export "sum") (param i32) (result i32)
                (if (result i32) (i32.eqz (local.get 0))
                    (then (i32.const 0))
                    (else (i32.add (local.get 0)
                        (call $sum (i32.sub (local.get 0) (i32.const 1)))))))"#,
        );
    let engine = Engine::wasmtime().unwrap();
    let mut services: Vec<Service> = [128 << 10, 1 << 20, 512 << 10]
        .into_iter()
        .map(|stack_size| {
            let module = ModuleConfig::from_bytes("sum", sum.clone());
            let mut config = ServiceConfig::new(vec![module]);
            config.limits.stack_size = stack_size;
            Service::new(config, &engine).unwrap()
        })
        .collect();
    let depths: Vec<u32> = services.iter_mut().map(depth).collect();
    let [small, usual, half] = depths.as_slice() else {
        panic!("{depths:?}")
    };
    assert!(small * 3 < *half && half + half / 2 < *usual, "{depths:?}");
    let mut config = ServiceConfig::new(vec![ModuleConfig::from_bytes("sum", sum)]);
    config.limits.stack_size = 1;
    let error = Service::new(config, &engine).unwrap_err().to_string();
    assert!(error.contains("a stack of 1 bytes is too small"), "{error}");
}

/// Wasmer gives machine code back for a whole engine only.
#[cfg(feature = "wasmer")]
#[test]
fn code_goes_away_with_its_services() {
    use crate::backend::WasmerBackend;

    let backend = Arc::new(WasmerBackend::new());
    let engine = Engine::new(Arc::clone(&backend) as _);
    let other = Builder::new().build("", "");
    let one = service(&engine, vec![("a", echo(false))]).unwrap();
    let same = service(&engine, vec![("a", echo(false))]).unwrap();
    assert_eq!(backend.groups(), 1);
    let mut two = service(&engine, vec![("a", other.clone()), ("b", echo(false))]).unwrap();
    assert_eq!(backend.groups(), 2);
    // A module that is loaded later belongs to the others.
    two.load_module(ModuleConfig::from_bytes("c", other), None)
        .unwrap();
    assert_eq!(backend.groups(), 2);
    drop(one);
    assert_eq!(backend.groups(), 2);
    drop(same);
    assert_eq!(backend.groups(), 1);
    two.unload_module("c").unwrap();
    assert_eq!(call(&mut two, "text", "[\"a\"]").as_deref(), Ok("\"a\""));
    drop(two);
    assert_eq!(backend.groups(), 0);
}

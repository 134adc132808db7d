//! Modules of a few kilobytes that ask for much.

use super::*;

/// What a module may take here, in bytes.
const LIMIT: u64 = 16 << 20;

fn limited(engine: &Engine, wasm: Vec<u8>) -> Result<Service, ServiceError> {
    assert!(wasm.len() < 64 << 10, "{} bytes", wasm.len());
    let mut config = ServiceConfig::new(vec![ModuleConfig::from_bytes("a", wasm)]);
    config.total_memory_limit = Some(LIMIT);
    Service::new(config, engine)
}

/// Tables and memories are counted before anything is allocated for them.
#[test]
fn what_a_module_declares_is_counted() {
    for engine in engines() {
        for size in [10_000_000, 4_000_000_000_u64] {
            let table = format!("(table {size} funcref)");
            let wasm = Builder::new().build("", &table);
            let error = limited(&engine, wasm).unwrap_err().to_string();
            assert!(
                error.contains("table") || error.contains("memory"),
                "{error}"
            );
        }
        // Many small ones are as much as a large one.
        let tables = "(table 100000 funcref)".repeat(50);
        let wasm = Builder::new().build("", &tables);
        assert!(limited(&engine, wasm).is_err(), "{engine:?}");
    }
}

/// Fifty thousand locals take four bytes to declare, and their zeros machine code. What a module
/// does with them is compiled in good time, or refused.
#[test]
fn locals_without_number() {
    for engine in engines() {
        let locals = "i64 ".repeat(50_000);
        let function = format!(
            "(func (local {locals}) (block (loop (br_if 0 (i32.const 0)) (local.set 49999 (local.get 7)))))"
        );
        let wasm = Builder::new().build("", &function.repeat(40));
        let started = Instant::now();
        // Either is fine; the process is not in danger.
        let made = limited(&engine, wasm);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(30), "{engine:?}: {took:?}");
        if let Ok(mut service) = made {
            assert!(service.memory_stats().modules.len() == 1);
        }
    }
}

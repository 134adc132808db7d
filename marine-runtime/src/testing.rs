//! Services for tests: what the code of `#[marine_test]` is made of.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    sync::OnceLock,
};

use crate::{
    CallParameters, Engine, IValue, Service, ServiceConfig,
    typed::{Output, result},
};

/// A service of its own for one test, with a random id and an empty working folder that goes away with it.
///
/// Its clones are the same service.
#[derive(Clone, Debug)]
pub struct TestService {
    running: Rc<RefCell<Running>>,
}

#[derive(Debug)]
struct Running {
    service: Option<Service>,
    folder: PathBuf,
}

impl TestService {
    /// Starts the service that a configuration (TOML) describes. `file` names it in messages, its relative paths begin
    /// at `folder`, and machine code is kept in `cache` between runs.
    ///
    /// # Panics
    /// When the service does not start: that is a failed test.
    #[must_use]
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn start(config: &str, file: &str, folder: &str, cache: &str) -> Self {
        match Self::try_start(config, file, Path::new(folder), cache) {
            Ok(service) => service,
            Err(error) => panic!("the service of {file} does not start: {error}"),
        }
    }

    fn try_start(
        config: &str,
        file: &str,
        folder: &Path,
        cache: &str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut config = ServiceConfig::from_toml(config, file, folder)?;
        let id = random_id();
        let folder = std::env::temp_dir().join(format!("marine-test-{id}"));
        fs::create_dir_all(&folder)?;
        config.working_dir.clone_from(&folder);
        config.service_id = Some(id);
        // Before the service is there, so that the folder goes away when it does not start.
        let running = Rc::new(RefCell::new(Running {
            service: None,
            folder,
        }));
        let service = Service::new(config, engine(cache))?;
        running.borrow_mut().service = Some(service);
        Ok(Self { running })
    }

    /// Calls a function of one of the modules.
    ///
    /// # Panics
    /// When the call fails: that is a failed test.
    #[must_use]
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn call<T: Output>(
        &self,
        module: &str,
        function: &str,
        arguments: &[IValue],
        parameters: &CallParameters,
    ) -> T {
        let mut running = self.running.borrow_mut();
        let Some(service) = &mut running.service else {
            panic!("the service is gone");
        };
        let outcome = service
            .call_module_values(module, function, arguments, parameters, None)
            .map_err(Into::into)
            .and_then(|values| result(function, values));
        match outcome {
            Ok(value) => value,
            Err(error) => panic!("call to Marine failed: {module}.{function}: {error}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its files must be closed first.
        self.service = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The engine of this process.
fn engine(cache: &str) -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| default_engine().with_cache_folder(cache))
}

#[cfg(all(feature = "wasmtime", feature = "wasmer"))]
fn default_engine() -> Engine {
    Engine::wasmtime().unwrap_or_else(|_| Engine::wasmer())
}

#[cfg(all(feature = "wasmtime", not(feature = "wasmer")))]
#[expect(clippy::panic, reason = "a test fails by panicking")]
fn default_engine() -> Engine {
    match Engine::wasmtime() {
        Ok(engine) => engine,
        Err(error) => panic!("wasmtime does not start: {error}"),
    }
}

#[cfg(not(feature = "wasmtime"))]
fn default_engine() -> Engine {
    Engine::wasmer()
}

/// A random UUID (version 4).
fn random_id() -> String {
    let bits = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let digits = format!("{bits:032x}");
    let part = |range| {
        digits
            .get::<std::ops::Range<usize>>(range)
            .unwrap_or_default()
    };
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let id = random_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(id, random_id());
    }
}

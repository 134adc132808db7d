//! What the two workers of the Marine benchmark share: one runs services in our runtime, the other
//! in the published one. Each answers requests, a line each; `cargo xtask bench marine` asks them in
//! turn.

pub mod clock;

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    io::{Write as _, stdin, stdout},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Least time that one sample takes: the clock costs a system call.
const LEAST_SAMPLE: u64 = 1_000_000;
/// Fewest calls in one sample: memory that one gives back, the next one uses.
const FEWEST_CALLS: u64 = 8;
/// Most calls in one sample.
const MOST_CALLS: u64 = 20_000;

/// A service to start.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServiceSpec {
    /// Its modules, the facade last.
    pub modules: Vec<ModuleSpec>,
    /// The folder that its directories are in.
    pub folder: PathBuf,
}

/// A module of a service.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ModuleSpec {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
}

/// What a worker is asked.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    /// Starts a service: nanoseconds of all threads.
    Load { service: String, spec: ServiceSpec },
    /// Calls its facade some times: nanoseconds of this thread for each call, and the last result.
    Call {
        service: String,
        function: String,
        arguments: Value,
        /// With interface values instead of JSON: one argument, an array of bytes.
        typed: bool,
    },
    /// Starts services beside one that is there: bytes of memory for each.
    Idle { count: usize, spec: ServiceSpec },
}

/// A runtime.
pub trait Worker {
    /// A running service.
    type Service;
    /// Arguments in the form in which the runtime takes them from JSON.
    type Arguments: Clone;
    /// A result as the runtime gives it.
    type Answer;

    /// Starts a service.
    fn load(&mut self, spec: &ServiceSpec) -> Result<Self::Service, String>;

    /// Arguments, before the clock starts.
    fn arguments(&self, arguments: &Value) -> Self::Arguments;

    /// Calls with JSON.
    fn call(
        &mut self,
        service: &mut Self::Service,
        function: &str,
        arguments: Self::Arguments,
    ) -> Result<Self::Answer, String>;

    /// The result as a document, after the clock stopped.
    fn value(answer: Self::Answer) -> Result<Value, String>;

    /// Calls with bytes for bytes.
    fn call_bytes(
        &mut self,
        service: &mut Self::Service,
        function: &str,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, String>;
}

/// Answers requests until there are no more.
pub fn serve(mut worker: impl Worker) {
    let mut services = BTreeMap::new();
    for line in stdin().lines() {
        let answer = line
            .map_err(described)
            .and_then(|line| serde_json::from_str(&line).map_err(described))
            .and_then(|request| answer(&mut worker, &mut services, request))
            .unwrap_or_else(|error| json!({ "error": error }));
        println!("{answer}");
        // Who asks is gone when nobody reads.
        if stdout().flush().is_err() {
            return;
        }
    }
}

fn answer<W: Worker>(
    worker: &mut W,
    services: &mut BTreeMap<String, W::Service>,
    request: Request,
) -> Result<Value, String> {
    match request {
        Request::Load { service, spec } => {
            // The one before is closed first, so that nothing of it is shared.
            services.remove(&service);
            let (loaded, nanoseconds) = clock::timed_process(|| worker.load(&spec));
            services.insert(service, loaded?);
            Ok(json!({ "nanoseconds": nanoseconds }))
        }
        Request::Call {
            service,
            function,
            arguments,
            typed,
        } => {
            let service = services
                .get_mut(&service)
                .ok_or_else(|| format!("{service} was not loaded"))?;
            if typed {
                return typed_calls(worker, service, &function, &arguments);
            }
            let prepared = worker.arguments(&arguments);
            // The first call tells how many make a sample.
            let (result, once) =
                clock::timed(|| worker.call(service, &function, prepared.clone()));
            let result = W::value(result?)?;
            let calls = calls_for(once);
            let mut copies = vec![prepared; calls as usize];
            // The result is given back as whoever got it would, and its memory with it.
            let (done, nanoseconds) = clock::timed(|| {
                for copy in copies.drain(..) {
                    drop(worker.call(service, &function, copy)?);
                }
                Ok::<_, String>(())
            });
            done?;
            let shown = match arguments.to_string().len() {
                0..65_536 => result,
                _ => json!(result == *arguments.get(0).unwrap_or(&Value::Null)),
            };
            Ok(json!({
                "nanoseconds": nanoseconds as f64 / calls as f64,
                "result": shown,
            }))
        }
        Request::Idle { count, spec } => {
            let keep = worker.load(&spec)?;
            let before = resident()?;
            let mut more = Vec::with_capacity(count);
            for number in 0..count {
                let mut own = spec.clone();
                own.folder.push(number.to_string());
                more.push(worker.load(&own)?);
            }
            let after = resident()?;
            drop((keep, more));
            Ok(json!({ "bytes": after.saturating_sub(before) as f64 / count as f64 }))
        }
    }
}

fn typed_calls<W: Worker>(
    worker: &mut W,
    service: &mut W::Service,
    function: &str,
    arguments: &Value,
) -> Result<Value, String> {
    let bytes: Vec<u8> =
        serde_json::from_value(arguments[0].clone()).map_err(described)?;
    let (result, once) =
        clock::timed(|| worker.call_bytes(service, function, bytes.clone()));
    let same = result? == bytes;
    let calls = calls_for(once).min(64);
    let mut copies = vec![bytes; calls as usize];
    let (done, nanoseconds) = clock::timed(|| {
        for copy in copies.drain(..) {
            drop(worker.call_bytes(service, function, copy)?);
        }
        Ok::<_, String>(())
    });
    done?;
    Ok(json!({ "nanoseconds": nanoseconds as f64 / calls as f64, "result": same }))
}

fn calls_for(once: u64) -> u64 {
    (LEAST_SAMPLE / once.max(1)).clamp(FEWEST_CALLS, MOST_CALLS)
}

/// Bytes of memory that the process has.
fn resident() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/self/statm").map_err(described)?;
    let pages: u64 = text
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .ok_or("no resident pages")?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// An error as text.
pub fn described(error: impl Display) -> String {
    error.to_string()
}

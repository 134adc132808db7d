//! Plans against instructions: every function of every published module is called with random
//! values, once with its adapters as plans and once with their instructions one by one, in an
//! engine that runs no code but writes down what happens. Both must do the same, and both must pass
//! on the values that were given.

mod engine;
mod values;

use std::sync::Arc;

use marine_runtime::{
    AdapterSurvey, CallParameters, Engine, IValue, ModuleConfig, Service, ServiceConfig,
    module::{INTERFACE_SECTION, Instruction, InterfaceSection, ModuleInfo, with_custom_section},
};

use self::{
    engine::{Paper, Record},
    values::{equal, random},
};
use super::{Report, published::Document, service::Bytes};
use crate::random::Random;

/// Calls of each function.
const ROUNDS: u64 = 8;
/// What an adapter that must not become a plan hands to `set_result_size` first.
const MARK: i32 = 0x0ddb_a115;
/// The place of `set_result_size` among the exports of every module.
const SET_RESULT_SIZE: u32 = 4;

/// Rehearses every distinct module that can be had.
pub(super) fn rehearse(document: &Document, report: &mut Report) {
    let files = document.distinct(&mut Report::default());
    for (title, bytes) in &files {
        report.record(
            format!("plans of {title}"),
            rehearse_one(title, bytes, &files),
        );
    }
}

fn rehearse_one(title: &str, bytes: &Bytes, all: &[(String, Bytes)]) -> Result<(), String> {
    let name = stem(title);
    let info = ModuleInfo::decode(name, bytes).map_err(|error| error.to_string())?;
    let others = others(&info.interface, name, all);
    let usual = AdapterSurvey::of(name, bytes).map_err(|error| error.to_string())?;
    let instructed = without_plans(name, bytes, &info.interface)?;
    let survey = AdapterSurvey::of(name, &instructed).map_err(|error| error.to_string())?;
    if survey.planned > 0 {
        return Err(format!("{} adapters are plans still", survey.planned));
    }
    let mut planned = Rehearsal::start(&others, name, bytes)?;
    let mut instructed = Rehearsal::start(&others, name, &instructed)?;
    let mut random = Random::new(7);
    let interface = &info.interface;
    for function in planned.service.interface().function_signatures {
        let adapter = interface
            .implementations
            .iter()
            .find(|implementation| {
                interface.exports.iter().any(|export| {
                    export.name == function.name && export.type_index == implementation.core
                })
            })
            .and_then(|implementation| interface.function(implementation.adapter))
            .ok_or_else(|| format!("{} has no type", function.name))?;
        for round in 0..ROUNDS {
            let arguments: Vec<IValue> = adapter
                .arguments
                .iter()
                .map(|argument| self::random(&argument.ty, interface, &mut random))
                .collect();
            let seed = random.next();
            let fail = |reason: String| format!("{} in round {round}: {reason}", function.name);
            // What an adapter of another form should pass on is not known.
            let is_known = !usual.interpreted.contains(&function.name);
            let call = |rehearsal: &mut Rehearsal| -> Result<Outcome, String> {
                let outcome = rehearsal.call(&function.name, &arguments, seed)?;
                if is_known {
                    outcome.check(&arguments)?;
                }
                Ok(outcome)
            };
            let left = call(&mut planned).map_err(fail)?;
            let right = call(&mut instructed).map_err(fail)?;
            if left != right {
                let reason = match left.events.iter().zip(&right.events).find(|(l, r)| l != r) {
                    Some((left, right)) => format!("{left:?} is not {right:?}"),
                    None => format!("{left:?} is not {right:?}"),
                };
                return Err(fail(shortened(&reason)));
            }
        }
    }
    let imports = interface.linkable_imports().count();
    let called = planned.paper.called_imports();
    if called < imports && ROUNDS as usize * interface.exports.len() > 2 * imports {
        return Err(format!("only {called} of {imports} imports were called"));
    }
    Ok(())
}

/// A service on paper.
struct Rehearsal {
    paper: Paper,
    service: Service,
}

/// What a call did.
#[derive(Debug, PartialEq)]
struct Outcome {
    result: Result<Vec<IValue>, String>,
    events: Vec<Record>,
}

impl Rehearsal {
    fn start(others: &[(&str, &Bytes)], name: &str, wasm: &[u8]) -> Result<Self, String> {
        let paper = Paper::default();
        let engine = Engine::new(Arc::new(paper.clone()));
        let others = others.iter();
        let mut modules: Vec<ModuleConfig> = others
            .map(|(name, bytes)| ModuleConfig::from_bytes(*name, Arc::clone(bytes)))
            .collect();
        modules.push(ModuleConfig::from_bytes(name, wasm));
        for module in &mut modules {
            module.simd = true;
        }
        let service = Service::new(ServiceConfig::new(modules), &engine);
        let service = service.map_err(|error| error.to_string())?;
        Ok(Self { paper, service })
    }

    fn call(&mut self, function: &str, arguments: &[IValue], seed: u64) -> Result<Outcome, String> {
        self.paper.begin(seed);
        let parameters = CallParameters::default();
        let result = self
            .service
            .call_values(function, arguments, &parameters, None);
        let (events, problems) = self.paper.end();
        if let Some(problem) = problems.first() {
            return Err(problem.clone());
        }
        Ok(Outcome {
            result: result.map_err(|error| error.to_string()),
            events,
        })
    }
}

impl Outcome {
    /// Whether the function got what it was given, and its caller what it returned.
    fn check(&self, arguments: &[IValue]) -> Result<(), String> {
        let given = self.events.iter().find_map(|event| match event {
            Record::Own { arguments, .. } => Some(arguments),
            _ => None,
        });
        if !given.is_some_and(|given| equal(given, arguments)) {
            return Err(shortened(&format!("{arguments:?} became {given:?}")));
        }
        let returned = self.events.iter().rev().find_map(|event| match event {
            Record::Returned { value } => Some(value.as_slice()),
            _ => None,
        });
        match (&self.result, returned) {
            (Ok(result), Some(returned)) if equal(result, returned) => Ok(()),
            (result, returned) => Err(shortened(&format!("{returned:?} became {result:?}"))),
        }
    }
}

/// The module with a call before each of its adapters, which no plan has.
fn without_plans(name: &str, wasm: &[u8], interface: &InterfaceSection) -> Result<Vec<u8>, String> {
    let mut changed = interface.clone();
    for adapter in &mut changed.adapters {
        let mark = [
            Instruction::PushI32(MARK),
            Instruction::CallCore(SET_RESULT_SIZE),
        ];
        adapter.instructions.splice(0..0, mark);
    }
    let section = changed
        .encode()
        .map_err(|error| format!("{name}: {error}"))?;
    with_custom_section(INTERFACE_SECTION, wasm, &section).map_err(|error| error.to_string())
}

/// For each module that `interface` imports from, one of this name that has what it asks for.
fn others<'a>(
    interface: &'a InterfaceSection,
    name: &str,
    all: &'a [(String, Bytes)],
) -> Vec<(&'a str, &'a Bytes)> {
    let mut found: Vec<(&str, &Bytes)> = Vec::new();
    for import in interface.linkable_imports() {
        let namespace = import.namespace.as_str();
        if namespace == name || found.iter().any(|(known, _)| *known == namespace) {
            continue;
        }
        let fits = |bytes: &Bytes| {
            ModuleInfo::decode(namespace, bytes).is_ok_and(|info| {
                let mut wanted = interface
                    .linkable_imports()
                    .filter(|import| import.namespace == namespace);
                wanted.all(|import| {
                    let mut exports = info.interface.exports.iter();
                    exports.any(|export| export.name == import.name)
                })
            })
        };
        let mut candidates = all.iter();
        let candidate = candidates.find(|(title, bytes)| stem(title) == namespace && fits(bytes));
        found.extend(candidate.map(|(_, bytes)| (namespace, bytes)));
    }
    found
}

/// The name of the module in a file.
fn stem(title: &str) -> &str {
    let file = title.rsplit('/').next().unwrap_or(title);
    file.strip_suffix(".wasm").unwrap_or(file)
}

fn shortened(text: &str) -> String {
    text.chars().take(700).collect()
}

//! Replays `vectors/aqua-compiled`: scripts as the Aqua compiler writes them.
//!
//! Each is parsed, printed, and run in a small network whose hosts answer with made-up values until
//! nothing moves.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
};

use aquavm::{CallResult, CallResults, Compat, Limits, RunParameters, Script, step};
use particle::KeyPair;
use serde_json::{Value, json};

use air_parser::{
    Ast, Instruction, InstructionKind, ParseErrorKind, ParseErrors, ParseOptions, ValueKind, parse,
    parse_syntax,
};
use serde::Deserialize;

use super::{
    Report, read_text,
    stub::{Shape, Uses, value_of_type},
};

/// Replays `files`.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for (index, line) in read_text(file)?.lines().enumerate() {
            match serde_json::from_str::<Compiled>(line) {
                Ok(compiled) => {
                    let title = format!(
                        "{name}:{} {} {}",
                        index + 1,
                        compiled.source,
                        compiled.function
                    );
                    report.record(title, check(&compiled));
                }
                Err(_) => {
                    report.unknown.push(file.clone());
                    break;
                }
            }
        }
    }
    Ok(())
}

/// A compiled function.
#[derive(Deserialize)]
struct Compiled {
    source: String,
    function: String,
    aqua_api: String,
    arguments: Value,
    air: String,
}

fn check(compiled: &Compiled) -> Result<(), String> {
    match parse(&compiled.air) {
        Ok(ast) => {
            check_printing(&ast)?;
            check_run(compiled, &ast)
        }
        Err(errors) if is_compiler_defect(compiled, &errors) => Ok(()),
        Err(errors) => Err(errors.to_string()),
    }
}

/// Old compilers wrote a few scripts that no interpreter accepts: they use a name that nothing
/// defines (an arrow that is returned, a canon that is a scalar) or name a variable like a
/// keyword. Here the verdict is what is checked: the tree itself shows that it is right.
fn is_compiler_defect(compiled: &Compiled, errors: &ParseErrors) -> bool {
    if !OLD_COMPILERS.contains(&compiled.aqua_api.as_str()) {
        return false;
    }
    let defined: BTreeSet<_> = parse_syntax(&compiled.air, &ParseOptions::default())
        .map(|ast| ast.instructions().filter_map(defined_name).collect())
        .unwrap_or_default();
    errors.errors().iter().all(|error| match &error.kind {
        ParseErrorKind::UndefinedVariable { name } => !defined.contains(name.as_str()),
        ParseErrorKind::Unexpected { expected } => {
            let span = error.span.start as usize..error.span.end as usize;
            expected.contains("Scalar")
                && compiled
                    .air
                    .get(span)
                    .is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_lowercase()))
        }
        _ => false,
    })
}

const OLD_COMPILERS: [&str; 3] = ["0.9.3", "0.10.6", "0.12.0"];

/// The name an instruction gives a value to.
fn defined_name<'s>(instruction: Instruction<'_, 's>) -> Option<&'s str> {
    let variable = match instruction.kind() {
        InstructionKind::Call { output, .. } => output?,
        InstructionKind::Canon { target, .. } | InstructionKind::Ap { target, .. } => target,
        InstructionKind::ApMap { map, .. } => map,
        InstructionKind::Fold { iterator, .. } => iterator,
        InstructionKind::New { variable, .. } => variable,
        _ => return None,
    };
    Some(variable.name)
}

/// Printing and parsing again gives the same tree with the same canonical texts.
fn check_printing(ast: &Ast<'_>) -> Result<(), String> {
    let printed = ast.to_air().to_string();
    let again = parse(&printed).map_err(|errors| format!("printed text: {errors}"))?;
    if again != *ast {
        return Err(format!(
            "parsing the printed text gives another tree:\n{printed}"
        ));
    }
    if again.to_air().to_string() != printed {
        return Err(format!(
            "printing twice gives another text than:\n{printed}"
        ));
    }
    for (instruction, other) in ast.instructions().zip(again.instructions()) {
        let (text, again) = (instruction.to_string(), other.to_string());
        if text != again {
            return Err(format!("canonical text `{text}` became `{again}`"));
        }
    }
    Ok(())
}

/// Runs of one script before it counts as one that never ends.
const MAX_RUNS: usize = 20_000;
/// Arrays that a function answers before it answers empty ones only.
const MAX_ANSWERS: usize = 10;

/// Runs the script where every peer is known, so that signatures are checked, and where every
/// text is a peer, so that more of the script is reached.
fn check_run(compiled: &Compiled, ast: &Ast<'_>) -> Result<(), String> {
    let script = Script::parse(&compiled.air).map_err(|errors| errors.to_string())?;
    for signed in [true, false] {
        let mut network = Network::new(compiled, ast, &script, signed);
        network.run().map_err(|error| match signed {
            true => format!("with signatures: {error}"),
            false => format!("without signatures: {error}"),
        })?;
    }
    Ok(())
}

/// Peers with stub hosts; messages arrive in the order of sending.
struct Network<'r, 's> {
    script: &'r Script,
    compiled: &'r Compiled,
    signed: bool,
    /// By function: what the results must look like.
    results: BTreeMap<&'s str, Shape>,
    keys: BTreeMap<String, KeyPair>,
    ids: Vec<String>,
    stored: BTreeMap<String, Vec<u8>>,
    sent: VecDeque<(String, Vec<u8>, CallResults)>,
    /// How often each function was asked.
    answered: BTreeMap<(String, String), usize>,
}

impl<'r, 's> Network<'r, 's> {
    fn new(compiled: &'r Compiled, ast: &Ast<'s>, script: &'r Script, signed: bool) -> Self {
        let keys: Vec<KeyPair> = (1..=5).map(|n| KeyPair::from_seed(&[n; 32])).collect();
        let ids: Vec<String> = keys.iter().map(|key| key.peer_id().to_string()).collect();
        let uses = Uses::of(ast);
        let mut results: BTreeMap<_, Shape> = BTreeMap::new();
        for instruction in ast.instructions() {
            if let InstructionKind::Call {
                function,
                output: Some(output),
                ..
            } = instruction.kind()
                && let ValueKind::Literal(function) = function.kind
            {
                let shape = results.entry(function).or_default();
                shape.join(uses.shape(output.name));
            }
        }
        let first = ids.first().cloned().unwrap_or_default();
        Self {
            script,
            compiled,
            signed,
            results,
            sent: [(first, Vec::new(), CallResults::new())].into(),
            keys: ids.iter().cloned().zip(keys).collect(),
            ids,
            stored: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let mut runs = 0;
        while let Some((peer, current, results)) = self.sent.pop_front() {
            let key = match self.keys.get(&peer) {
                Some(key) => key.clone(),
                None if self.signed => continue,
                None => KeyPair::from_seed(&[9; 32]),
            };
            runs += 1;
            if runs > MAX_RUNS {
                return Err(format!("does not end within {MAX_RUNS} runs"));
            }
            let parameters = RunParameters {
                init_peer_id: self.ids.first().cloned().unwrap_or_default(),
                current_peer_id: peer.clone(),
                timestamp: 1_700_000_000_000,
                ttl: 120_000,
                particle_id: "compiled".to_owned(),
                key: key.into(),
                limits: Limits::default(),
                compat: Compat::V0_64,
                check_signatures: self.signed,
                policy: Default::default(),
            };
            let previous = self.stored.get(&peer).map_or(&[][..], Vec::as_slice);
            let outcome = step(self.script, previous, &current, &parameters, &results);
            let code = outcome.ret_code;
            if code != 0 && !(10_000..20_000).contains(&code) {
                let message = outcome.error_message;
                return Err(format!("code {code} at {peer} in run {runs}: {message}"));
            }
            for next in &outcome.next_peers {
                let message = (next.clone(), outcome.data.clone(), CallResults::new());
                self.sent.push_back(message);
            }
            let results: CallResults = outcome
                .call_requests
                .iter()
                .map(|(id, request)| (*id, self.answer(request)))
                .collect();
            if !results.is_empty() {
                self.sent.push_back((peer.clone(), Vec::new(), results));
            }
            self.stored.insert(peer, outcome.data);
        }
        Ok(())
    }

    fn answer(&mut self, request: &aquavm::CallRequest) -> CallResult {
        let asked = (request.service_id.clone(), request.function_name.clone());
        let answered = self.answered.entry(asked).or_default();
        *answered += 1;
        let (service, function) = (&*request.service_id, &*request.function_name);
        let shape = self.results.get(function);
        let shape = shape.unwrap_or(&Shape::Any);
        let parameter = self.compiled.arguments.get("fields");
        let parameter = parameter.and_then(|fields| fields.get(function));
        let value = match (service, function, parameter) {
            ("getDataSrv", "-relay-", _) => json!(self.ids.get(1)),
            ("getDataSrv", _, Some(kind)) => value_of_type(kind, shape, &self.ids),
            // Streams that are folded over while they grow come to an end.
            _ if *answered > MAX_ANSWERS && matches!(shape, Shape::Array(..)) => json!([]),
            _ => shape.value(&self.ids, *answered),
        };
        CallResult::ok(value.to_string())
    }
}

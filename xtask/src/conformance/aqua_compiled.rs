//! Replays `vectors/aqua-compiled`: scripts as the Aqua compiler writes them.

use std::{collections::BTreeSet, path::PathBuf};

use air_parser::{
    Ast, Instruction, InstructionKind, ParseErrorKind, ParseErrors, ParseOptions, parse,
    parse_syntax,
};
use serde::Deserialize;

use super::{Report, read_text};

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
    air: String,
}

fn check(compiled: &Compiled) -> Result<(), String> {
    match parse(&compiled.air) {
        Ok(ast) => check_printing(&ast),
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

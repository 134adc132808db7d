//! Replays `vectors/aqua-compiled`: scripts as the Aqua compiler writes them.

use std::path::PathBuf;

use air_parser::{Ast, parse};
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
    air: String,
}

fn check(compiled: &Compiled) -> Result<(), String> {
    let ast = parse(&compiled.air).map_err(|errors| errors.to_string())?;
    check_printing(&ast)
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

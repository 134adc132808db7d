//! Replays `vectors/air-parser`: verdicts, messages, tokens, formatted texts and lambdas; of runs
//! (`vectors/air`) the verdict of the parser.

use std::{collections::BTreeSet, path::PathBuf};

use air_parser::{
    FormatOptions, Lambda, ParseError, ParseErrorKind, ParseErrors, ParseOptions, parse,
    parse_syntax, tokens,
};
use serde::Deserialize;

use super::{Report, read_text};

/// Replays `files`.
pub(super) fn replay(files: &[PathBuf], report: &mut Report) -> Result<(), String> {
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for (index, line) in read_text(file)?.lines().enumerate() {
            let place = format!("{name}:{}", index + 1);
            match serde_json::from_str(line) {
                Ok(Record::Script(record)) => {
                    report.record(format!("{place} {}", record.test), check_script(&record));
                }
                Ok(Record::Lambda(record)) => {
                    report.record(format!("{place} {}", record.test), check_lambda(&record));
                }
                Ok(Record::Run(record)) => {
                    report.record(format!("{place} {}", record.name), check_run(&record));
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

#[derive(Deserialize)]
#[serde(untagged)]
enum Record {
    Lambda(LambdaRecord),
    Script(ScriptRecord),
    Run(RunRecord),
}

#[derive(Deserialize)]
struct LambdaRecord {
    test: String,
    lambda: String,
    ok: bool,
    display: Option<String>,
}

#[derive(Deserialize)]
struct ScriptRecord {
    test: String,
    air: String,
    ok: bool,
    syntax_ok: bool,
    error: Option<String>,
    beautified: Option<String>,
    beautified_patterns: Option<String>,
    beautified_indent2: Option<String>,
    tokens: Option<Vec<TokenRecord>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TokenRecord {
    Token(
        u32,
        u32,
        #[expect(dead_code, reason = "informative")] String,
    ),
    Error {
        error: String,
    },
}

#[derive(Deserialize)]
struct RunRecord {
    name: String,
    script: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    ret_code: i64,
    #[serde(default)]
    error_message: String,
}

/// Return code of a script that is none.
const PARSE_ERROR: i64 = 1;

fn check_run(record: &RunRecord) -> Result<(), String> {
    let Some(step) = record.steps.first() else {
        return Ok(());
    };
    match parse(&record.script) {
        Ok(_) => same("rejected", &false, &(step.ret_code == PARSE_ERROR)),
        Err(errors) => {
            same("rejected", &true, &(step.ret_code == PARSE_ERROR))?;
            check_diagnostic(&errors, &step.error_message)
        }
    }
}

/// Compares errors with a rendered diagnostic, as far as it does not depend on how a grammar is
/// built.
pub(super) fn check_diagnostic(errors: &ParseErrors, rendered: &str) -> Result<(), String> {
    // Which word is blamed may differ where it is the grammar that finds the error, and what its
    // recovery leaves of the script to be checked.
    let is_grammar = |error: &ParseError| matches!(error.kind, ParseErrorKind::Unexpected { .. });
    let ours = errors.errors().iter().all(is_grammar);
    let mut labels = labels(rendered);
    if labels.clone().all(|label| label.starts_with("expected "))
        || ours && labels.any(|label| label.starts_with("expected "))
    {
        return Ok(());
    }
    check_errors(errors, rendered)
}

fn check_lambda(record: &LambdaRecord) -> Result<(), String> {
    let parsed = Lambda::parse(&record.lambda);
    if parsed.is_ok() != record.ok {
        return Err(format!("{}: ok should be {}", record.lambda, record.ok));
    }
    let display = parsed.ok().map(|lambda| lambda.to_string());
    same("display", &display, &record.display)
}

fn check_script(record: &ScriptRecord) -> Result<(), String> {
    let text = &record.air;
    let syntax = parse_syntax(text, &ParseOptions::default());
    let checked = parse(text);
    same("syntax_ok", &syntax.is_ok(), &record.syntax_ok)?;
    same("ok", &checked.is_ok(), &record.ok)?;
    if let (Err(errors), Some(expected)) = (&checked, &record.error) {
        check_errors(errors, expected)?;
    }
    let formatted = |options| {
        syntax
            .as_ref()
            .ok()
            .map(|ast| ast.format(options).to_string())
    };
    let options = FormatOptions::default();
    same("beautified", &formatted(options), &record.beautified)?;
    let patterns = FormatOptions {
        patterns: true,
        ..options
    };
    let expected = &record.beautified_patterns;
    same("beautified_patterns", &formatted(patterns), expected)?;
    let indent2 = FormatOptions {
        indent: 2,
        ..options
    };
    let expected = &record.beautified_indent2;
    same("beautified_indent2", &formatted(indent2), expected)?;
    if let Some(expected) = &record.tokens {
        check_tokens(text, expected)?;
    }
    Ok(())
}

/// The messages that do not depend on how a grammar is built, as a set, and the place.
fn check_errors(errors: &ParseErrors, rendered: &str) -> Result<(), String> {
    let errors = errors.errors();
    let expected: Vec<_> = labels(rendered).collect();
    let lambda = |error: &ParseError| {
        matches!(error.kind, ParseErrorKind::Lambda(kind)
            if kind != air_parser::LambdaErrorKind::NoAccessor)
    };
    // Whatever the recording says about a lambda is an internal dump.
    let dumps = expected.iter().any(|label| label.contains(" { "));
    same("a lambda error", &errors.iter().any(lambda), &dumps)?;
    let ours: BTreeSet<_> = errors
        .iter()
        .filter(|error| !lambda(error))
        .map(ToString::to_string)
        .filter(|message| !message.starts_with("expected "))
        .collect();
    let theirs: BTreeSet<_> = expected
        .into_iter()
        .filter(|label| !label.starts_with("expected ") && !label.contains(" { "))
        .map(str::to_owned)
        .collect();
    same("messages", &ours, &theirs)?;
    let place = rendered
        .split_once("script.air:")
        .and_then(|(_, rest)| rest.lines().next())
        .unwrap_or("");
    let places: Vec<_> = errors
        .iter()
        .map(|error| format!("{}:{}", error.line, error.column))
        .collect();
    if places.iter().any(|ours| ours == place) {
        Ok(())
    } else {
        Err(format!("error at {places:?}, recorded: {place}"))
    }
}

/// The label texts of a rendered diagnostic: what is left of the lines without a number when the
/// drawing is taken off.
fn labels(rendered: &str) -> impl Iterator<Item = &str> + Clone {
    rendered
        .lines()
        .filter(|line| line.starts_with(' ') && !line.contains('┌'))
        .filter(|line| {
            let gutter = line.split('│').next().unwrap_or("");
            !gutter.trim().bytes().any(|byte| byte.is_ascii_digit())
        })
        .map(|line| line.trim_matches(|c: char| c.is_whitespace() || "│╭╰─^·".contains(c)))
        .filter(|label| !label.is_empty())
}

fn check_tokens(text: &str, expected: &[TokenRecord]) -> Result<(), String> {
    let ours: Vec<_> = tokens(text)
        .map(|token| match token {
            Ok(token) => Ok((token.span.start, token.span.end)),
            Err(error) => Err(error.to_string()),
        })
        .collect();
    let theirs: Vec<_> = expected
        .iter()
        .map(|token| match token {
            TokenRecord::Token(start, end, _) => Ok((*start, *end)),
            TokenRecord::Error { error } => Err(error.clone()),
        })
        .collect();
    same("tokens", &ours, &theirs)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, recorded: &T) -> Result<(), String> {
    if ours == recorded {
        Ok(())
    } else {
        Err(format!(
            "{what} differs:\n     ours: {ours:?}\n recorded: {recorded:?}"
        ))
    }
}

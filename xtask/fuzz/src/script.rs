//! The text of a script.

use air_parser::{
    Ast, FormatOptions, Lambda, ParseErrorKind, ParseErrors, ParseOptions,
    arbitrary::{Sketch, sketch},
    parse, parse_syntax, tokens,
};
use aquavm::Script;
use proptest::{
    strategy::{BoxedStrategy, Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{bounded, choices::Choices, described};

/// Bytes that a tree, its checks and its program may take for each byte of the text.
const FACTOR: usize = 100;

/// Instructions that are parsed again by themselves.
const ALONE: usize = 16;

/// Checks a text, or one that the property tests' generator makes of the bytes after a zero.
pub fn script(input: &[u8]) {
    match input.split_first() {
        Some((0, choices)) => generated(choices),
        _ => check(&String::from_utf8_lossy(input)),
    }
}

/// A script that must parse, and the same one with some damage.
fn generated(choices: &[u8]) {
    thread_local! {
        // Its regular expressions take longer to compile than a script to check.
        static SKETCHES: BoxedStrategy<Sketch> = sketch().boxed();
    }

    let mut seed = [0; 32];
    let length = choices.len().min(seed.len());
    let (start, rest) = choices.split_at(length);
    seed[..length].copy_from_slice(start);
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let Ok(tree) = SKETCHES.with(|sketches| sketches.new_tree(&mut runner)) else {
        return;
    };
    let sketch = tree.current();
    let mut rest = Choices(rest);
    let mut text = sketch.text(u64::from(rest.short()) << 48);
    let ast = parse(&text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let lines: Vec<_> = ast.instructions().map(|line| line.to_string()).collect();
    assert_eq!(lines, sketch.canonical_lines());

    while !rest.is_empty() {
        let at = text.floor_char_boundary(rest.below(text.len()));
        let junk = ["(", ")", "\"", "[", "]", ".$", " ", ";", "$", "#", "%", "x"];
        text.insert_str(at, rest.of(&junk));
    }
    check(&text);
}

fn check(text: &str) {
    bounded("a script", text.len(), FACTOR, || {
        // Only the result is of interest: the tree, then the program.
        let _ = parse(text);
        let _ = Script::parse(text);
    });
    check_tokens(text);
    match parse_syntax(text, &ParseOptions::default()) {
        Ok(ast) => check_tree(text, &ast),
        Err(errors) => check_errors(text, &errors),
    }
    if let Ok(lambda) = Lambda::parse(text) {
        let printed = lambda.to_string();
        let again = Lambda::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(again, lambda);
        assert_eq!(again.to_string(), printed);
    }
}

fn check_tokens(text: &str) {
    let mut end = 0;
    for token in tokens(text) {
        let span = token.map_or_else(|error| error.span, |token| token.span);
        assert!(end <= span.start && span.start <= span.end, "{span:?}");
        end = span.end;
        let place = span.start as usize..span.end as usize;
        assert!(text.get(place).is_some(), "{span:?} is no part of the text");
    }
}

/// A tree is what its text says, and the checks find the same in it.
fn check_tree(text: &str, ast: &Ast<'_>) {
    let printed = ast.to_air().to_string();
    let again = parse_syntax(&printed, &ParseOptions::default())
        .unwrap_or_else(|errors| panic!("{printed}\n{errors}"));
    assert!(*ast == again, "printed: {printed}");
    assert_eq!(again.to_air().to_string(), printed);
    for (one, other) in ast.instructions().zip(again.instructions()) {
        assert_eq!(one.to_string(), other.to_string());
    }
    let options = FormatOptions {
        max_indented: 20,
        ..FormatOptions::default()
    };
    assert_eq!(
        ast.format(options).to_string(),
        again.format(options).to_string()
    );
    for instruction in ast.instructions().take(ALONE) {
        let alone = parse_syntax(instruction.source(), &ParseOptions::default())
            .unwrap_or_else(|errors| panic!("{}\n{errors}", instruction.source()));
        assert_eq!(alone.root().to_string(), instruction.to_string());
    }

    let (checked, checked_again) = (parse(text), parse(&printed));
    assert_eq!(faults(&checked), faults(&checked_again), "{printed}");
    assert_eq!(Script::parse(text).is_ok(), checked.is_ok());
    if let Err(errors) = checked {
        check_errors(text, &errors);
    }
}

fn faults(parsed: &Result<Ast<'_>, ParseErrors>) -> Vec<ParseErrorKind> {
    let errors = parsed.as_ref().err().map(ParseErrors::errors);
    let errors = errors.unwrap_or_default().iter();
    errors.map(|error| error.kind.clone()).collect()
}

/// Errors name a place in the text.
fn check_errors(text: &str, errors: &ParseErrors) {
    assert!(described(errors).starts_with("error: \n"), "{errors}");
    assert!(!errors.errors().is_empty());
    for error in errors.errors() {
        let span = error.span;
        let place = text.get(span.start as usize..span.end as usize);
        assert!(place.is_some(), "{span:?} is no part of the text");
        assert!(error.line > 0 && error.column > 0, "{error:?}");
    }
}

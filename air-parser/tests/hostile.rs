//! Texts made to hurt: all of them give a tree or an error, in time and on a small stack.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails may panic"
)]

use air_parser::{FormatOptions, ParseErrorKind, ParseOptions, parse, parse_with, tokens};

const UNLIMITED: ParseOptions = ParseOptions {
    max_depth: usize::MAX,
    max_size: usize::MAX,
};

/// Runs on a stack that no recursion over a script would survive.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 * 1024);
    thread.spawn(run).unwrap().join().unwrap();
}

fn first_error(text: &str) -> ParseErrorKind {
    let errors = parse(text).unwrap_err();
    assert!(errors.to_string().len() < 100_000);
    errors.errors()[0].kind.clone()
}

#[test]
fn brackets_without_end() {
    on_a_small_stack(|| {
        assert!(matches!(
            first_error(&"(".repeat(100_000)),
            ParseErrorKind::Unexpected { .. }
        ));
        assert!(matches!(
            first_error(&"(seq ".repeat(100_000)),
            ParseErrorKind::Unexpected { .. }
        ));
        assert!(matches!(
            first_error(&"(seq ".repeat(100_001)),
            ParseErrorKind::TooDeep { limit: 100_000 }
        ));
        let word = format!("(ap {} x)", "x(".repeat(1_000_000));
        assert!(parse(&word).is_err());
        let lambda = format!("(ap x.$.{} x)", "[0]".repeat(1_000_000));
        assert!(parse(&lambda).is_err());
        let lambda = format!("(ap x.$.{} x)", "[".repeat(1_000_000));
        assert!(parse(&lambda).is_err());
    });
}

#[test]
fn deep_scripts_parse_print_and_drop() {
    on_a_small_stack(|| {
        let depth = 300_000;
        for (open, close) in [
            ("(seq (null) ", ")"),
            ("(seq ", " (null))"),
            ("(new x ", ")"),
            ("(fold [] i (null) ", ")"),
        ] {
            let text = format!("{}(null){}", open.repeat(depth), close.repeat(depth));
            let too_deep = parse(&text).unwrap_err();
            assert!(matches!(
                too_deep.errors()[0].kind,
                ParseErrorKind::TooDeep { .. }
            ));
            // The checks run over the whole depth, whatever they find.
            match parse_with(&text, &UNLIMITED) {
                Ok(ast) => {
                    let printed = ast.to_air().to_string();
                    assert!(parse_with(&printed, &UNLIMITED).unwrap() == ast);
                    let options = FormatOptions {
                        max_indented: 3,
                        ..FormatOptions::default()
                    };
                    assert!(ast.format(options).to_string().len() < 30 * depth);
                }
                Err(errors) => assert_eq!(errors.errors().len(), 256),
            }
        }
    });
}

#[test]
fn quotes() {
    let quotes = "\"".repeat(16 * 1024 * 1024);
    assert!(matches!(
        first_error(&quotes),
        ParseErrorKind::Unexpected { .. }
    ));
    assert_eq!(tokens(&quotes).count(), quotes.len() / 2);
    assert_eq!(first_error("(ap \"x"), ParseErrorKind::UnclosedQuote);
    let long = format!("(ap \"{}", "x".repeat(1_000_000));
    assert_eq!(first_error(&long), ParseErrorKind::UnclosedQuote);
}

#[test]
fn sizes() {
    let text = " ".repeat(16 * 1024 * 1024 + 1);
    assert!(matches!(
        first_error(&text),
        ParseErrorKind::TooLarge {
            limit: 16_777_216,
            ..
        }
    ));
    assert!(parse(&text[1..]).is_err());
}

#[test]
fn many_errors_in_one_line() {
    let call = |n| format!("(seq (call undefined{n} (\"\" \"\") [a{n} b{n} c{n}]) ");
    let count = 20_000;
    let text: String = (0..count).map(call).collect();
    let text = format!("{text}(null){}", ")".repeat(count));
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.errors().len(), 256);
    assert!(errors.to_string().len() < 100_000);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let errors = parse("(ap \u{1b}[2J x)").unwrap_err().to_string();
    assert!(!errors.contains('\u{1b}'), "{errors}");
}

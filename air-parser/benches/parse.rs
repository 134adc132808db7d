//! Time to parse and check scripts of the shapes that compilers and stress tests produce.
//! `cargo bench -p aquamarine-air-parser`; a file named as an argument is measured instead.

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use air_parser::{ParseOptions, parse, parse_syntax};

fn main() {
    let files: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?)))
        .collect();
    if files.is_empty() {
        measure("calls in a balanced tree", &calls(10_000));
        measure("assignments in a chain", &assignments(10_000));
        measure("hops with error handlers", &hops(2_000));
    }
    for (path, text) in files {
        measure(&path, &text);
    }
}

fn measure(name: &str, text: &str) {
    let syntax = fastest(|| {
        black_box(parse_syntax(black_box(text), &ParseOptions::default()).is_ok());
    });
    let checked = fastest(|| {
        black_box(parse(black_box(text)).is_ok());
    });
    let megabytes = text.len() as f64 / 1e6;
    println!(
        "{name}: {} bytes, syntax {syntax:?}, checked {checked:?} ({:.0} MB/s)",
        text.len(),
        megabytes / checked.as_secs_f64()
    );
}

/// The fastest of many runs: the others were disturbed.
fn fastest(run: impl Fn()) -> Duration {
    let mut fastest = Duration::MAX;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        let start = Instant::now();
        run();
        fastest = fastest.min(start.elapsed());
    }
    fastest
}

/// Every call uses the result of the call before it.
fn calls(count: usize) -> String {
    let leaves = (1..=count)
        .map(|n| format!("(call var{} (\"service\" \"function\") [] var{n})", n - 1))
        .collect();
    let tree = balanced(leaves);
    format!("(seq (call \"peer\" (\"service\" \"function\") [] var0) {tree})")
}

/// Pairs neighbours until one is left.
fn balanced(mut level: Vec<String>) -> String {
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => format!("(seq {left} {right})"),
                _ => pair.concat(),
            })
            .collect();
    }
    level.concat()
}

/// A fold whose body is a right-leaning chain of assignments to long names.
fn assignments(count: usize) -> String {
    let mut text =
        String::from("(seq (call \"peer\" (\"service\" \"function\") [] items) (fold items i ");
    for n in 0..count {
        let name = format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let _ = write!(
            text,
            "(seq (ap i a{}{name}) ",
            name.get(..n % name.len()).unwrap_or("")
        );
    }
    text.push_str("(next i)");
    text.extend(std::iter::repeat_n(')', count + 2));
    text
}

/// What a compiler writes: a hop and a call in an error handler, one instruction a line.
fn hops(count: usize) -> String {
    let leaves = (0..count)
        .map(|n| {
            format!(
                "(xor\n (seq\n  (new $-hop-\n   (new #-hopc-\n    \
                 (canon %init_peer_id% $-hop-  #-hopc-)\n   )\n  )\n  \
                 (call %init_peer_id% (\"srv\" \"fn\") [true 42 \"literal\"] ret-{n})\n )\n \
                 (fail :error:)\n)\n"
            )
        })
        .collect();
    balanced(leaves)
}

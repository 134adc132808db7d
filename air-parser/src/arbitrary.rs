//! Random scripts for property tests (feature `proptest`): [`script`] for texts that parse,
//! [`sketch`] for trees that know what their text has to mean.

use std::fmt::Write as _;

use proptest::prelude::*;

/// A random script that passes every check. Its peers are the literals `"A"` to `"D"` and
/// `%init_peer_id%`, its streams, maps, scalars and canons are all defined before they are used.
pub fn script() -> impl Strategy<Value = String> {
    (sketch(), any::<u64>()).prop_map(|(sketch, layout)| sketch.text(layout))
}

/// A random tree that passes every check.
pub fn sketch() -> impl Strategy<Value = Sketch> {
    shape().prop_map(|shape| {
        let body = shape.sketch(0);
        PROLOGUE.iter().rev().fold(body, |right, definition| {
            let left = Sketch::leaf(Text::plain(*definition));
            Sketch::new(Text::plain("seq"), vec![left, right])
        })
    })
}

/// An instruction as text: what is written and what its canonical line has to be.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Name and operands as AIR source.
    pub air: String,
    /// The canonical line.
    pub canonical: String,
    /// The instructions below it.
    pub children: Vec<Sketch>,
}

impl Sketch {
    fn new(line: Text, children: Vec<Self>) -> Self {
        Self {
            air: line.air,
            canonical: line.canonical,
            children,
        }
    }

    fn leaf(line: Text) -> Self {
        Self::new(line, Vec::new())
    }

    /// AIR source; `layout` chooses white space and comments.
    #[must_use]
    pub fn text(&self, layout: u64) -> String {
        let mut text = String::new();
        self.write(&mut text, &mut Layout(layout));
        text
    }

    /// The canonical lines in source order.
    #[must_use]
    pub fn canonical_lines(&self) -> Vec<&str> {
        let mut lines = vec![self.canonical.as_str()];
        for child in &self.children {
            lines.extend(child.canonical_lines());
        }
        lines
    }

    fn write(&self, text: &mut String, layout: &mut Layout) {
        let _ = write!(text, "({}{}", layout.gap(true), self.air);
        for (position, child) in self.children.iter().enumerate() {
            // A word goes on until white space, so only a bracket may be followed by nothing.
            text.push_str(layout.gap(position > 0));
            child.write(text, layout);
        }
        text.push_str(layout.gap(true));
        text.push(')');
    }
}

/// White space as chosen by the bits of a number.
struct Layout(u64);

impl Layout {
    fn gap(&mut self, may_be_empty: bool) -> &'static str {
        self.0 = self.0.rotate_left(5).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        match self.0 >> 61 {
            0 | 1 if may_be_empty => "",
            0..=3 => " ",
            4 => "\n  ",
            5 => "\r\n\t",
            6 => " ; a comment (with [brackets] and \"quotes\n",
            _ => "\u{2003}",
        }
    }
}

/// A text and what it is in canonical form.
#[derive(Clone, Debug)]
struct Text {
    air: String,
    canonical: String,
}

impl Text {
    fn new(air: impl Into<String>, canonical: impl Into<String>) -> Self {
        Self {
            air: air.into(),
            canonical: canonical.into(),
        }
    }

    fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::new(text.clone(), text)
    }

    fn then(self, other: &Self) -> Self {
        Self::new(self.air + &other.air, self.canonical + &other.canonical)
    }

    fn and(self, text: &str) -> Self {
        Self::new(self.air + text, self.canonical + text)
    }
}

/// What is defined in front of every script; the canonical texts are the same.
const PROLOGUE: &[&str] = &[
    "ap 1 x0",
    "ap \"A\" größe",
    "ap [] -x-1-",
    "ap 1 $s0",
    "ap 1 $-s-1-",
    "ap (\"k\" 1) %m0",
    "canon \"A\" $s0 #c0",
    "canon \"A\" $s0 #$c0",
    "canon \"A\" %m0 #%m0",
];

/// A tree before its iterators have names.
#[derive(Clone, Debug)]
enum Shape {
    Leaf(Text),
    Pair(&'static str, Box<Shape>, Box<Shape>),
    Wrapper(Text, Box<Shape>),
    /// The iterator is named by the depth, so that no fold is nested in one with the same name,
    /// and `next` is the last thing in the body.
    Fold(Text, Box<Shape>, Option<Box<Shape>>),
}

impl Shape {
    fn sketch(self, depth: usize) -> Sketch {
        match self {
            Self::Leaf(line) => Sketch::leaf(line),
            Self::Pair(name, left, right) => Sketch::new(
                Text::plain(name),
                vec![left.sketch(depth), right.sketch(depth)],
            ),
            Self::Wrapper(line, body) => Sketch::new(line, vec![body.sketch(depth)]),
            Self::Fold(iterable, body, last) => {
                let line = Text::plain("fold ")
                    .then(&iterable)
                    .and(&format!(" i{depth}"));
                let next = Sketch::leaf(Text::plain(format!("next i{depth}")));
                let body = vec![body.sketch(depth + 1), next];
                let mut children = vec![Sketch::new(Text::plain("seq"), body)];
                children.extend(last.map(|last| last.sketch(depth + 1)));
                Sketch::new(line, children)
            }
        }
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    leaf().prop_recursive(6, 60, 2, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let pair = (
            prop_oneof![Just("seq"), Just("par"), Just("xor")],
            boxed(),
            boxed(),
        );
        let compare = (prop_oneof!["match", "mismatch"], value(), value(), boxed());
        prop_oneof![
            4 => pair.prop_map(|(name, left, right)| Shape::Pair(name, left, right)),
            1 => compare.prop_map(|(name, left, right, body)| {
                let line = Text::plain(name + " ").then(&left).and(" ").then(&right);
                Shape::Wrapper(line, body)
            }),
            1 => (variable(ANY), boxed())
                .prop_map(|(name, body)| Shape::Wrapper(Text::plain(format!("new {name}")), body)),
            2 => (iterable(), boxed(), proptest::option::of(boxed()))
                .prop_map(|(iterable, body, last)| Shape::Fold(iterable, body, last)),
        ]
    })
}

fn leaf() -> impl Strategy<Value = Shape> {
    let call = (
        peer(),
        text(),
        text(),
        proptest::collection::vec(value(), 0..4),
        proptest::option::of(variable(OUTPUTS)),
    );
    let call = call.prop_map(|(peer, service, function, arguments, output)| {
        let mut line = Text::plain("call ").then(&peer).and(" (").then(&service);
        line = line.and(" ").then(&function).and(") [");
        for (position, argument) in arguments.iter().enumerate() {
            line = line.and(if position > 0 { " " } else { "" }).then(argument);
        }
        let output = output.map_or("", |output| output);
        line.and("] ").and(output)
    });
    let canon = prop_oneof![
        Just("$s0 #c0"),
        Just("$-s-1- #$c0"),
        Just("%m0 #%m0"),
        Just("%m0 x0")
    ];
    let canon = (peer(), canon)
        .prop_map(|(peer, names)| Text::plain("canon ").then(&peer).and(" ").and(names));
    let ap = (ap_argument(), variable(OUTPUTS))
        .prop_map(|(argument, target)| Text::plain("ap ").then(&argument).and(" ").and(target));
    let key = prop_oneof![literal(), integer(), Just(Text::plain("x0"))];
    let ap_map = (key, ap_argument()).prop_map(|(key, argument)| {
        let pair = Text::plain("ap (").then(&key).and(" ").then(&argument);
        pair.and(") %m0")
    });
    let fail = prop_oneof![
        (1..=i64::MAX, literal())
            .prop_map(|(code, message)| Text::plain(format!("fail {code} ")).then(&message)),
        prop_oneof![
            Just("x0"),
            Just("#c0"),
            Just("%last_error%"),
            Just(":error:")
        ]
        .prop_map(|operand| match operand {
            "#c0" => Text::plain("fail #c0.$.[0]"),
            _ => Text::plain(format!("fail {operand}")),
        }),
    ];
    let rest = prop_oneof![Just(Text::plain("null")), Just(Text::plain("never"))];
    prop_oneof![4 => call, 1 => canon, 2 => ap, 1 => ap_map, 1 => fail, 1 => rest]
        .prop_map(Shape::Leaf)
}

const SCALARS: &[&str] = &["x0", "größe", "-x-1-"];
const OUTPUTS: &[&str] = &["x0", "größe", "-x-1-", "$s0", "$-s-1-"];
const ANY: &[&str] = &["x0", "größe", "$s0", "$-s-1-", "%m0", "#c0", "#$c0", "#%m0"];

fn variable(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(names)
}

fn iterable() -> impl Strategy<Value = Text> {
    let plain = proptest::sample::select(
        ["x0", "größe", "$s0", "%m0", "#c0", "#$c0", "#%m0", "[]"].as_slice(),
    );
    let path = (
        proptest::sample::select(["x0", "#%m0"].as_slice()),
        lambda(),
    )
        .prop_map(|(name, lambda)| Text::plain(name).then(&lambda));
    prop_oneof![3 => plain.prop_map(Text::plain), 1 => path]
}

fn peer() -> impl Strategy<Value = Text> {
    let known = proptest::sample::select(
        [
            "%init_peer_id%",
            "\"A\"",
            "\"B\"",
            "\"C\"",
            "\"D\"",
            "größe",
        ]
        .as_slice(),
    );
    prop_oneof![4 => known.prop_map(Text::plain), 1 => with_lambda()]
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        literal(),
        with_lambda(),
        variable(SCALARS).prop_map(Text::plain)
    ]
}

fn value() -> impl Strategy<Value = Text> {
    prop_oneof![6 => ap_argument(), 1 => Just(Text::plain("#%m0"))]
}

fn ap_argument() -> impl Strategy<Value = Text> {
    let fixed = proptest::sample::select(
        [
            "%init_peer_id%",
            "%timestamp%",
            "%ttl%",
            "true",
            "false",
            "[]",
            "%last_error%",
            ":error:",
            "#c0",
            "#$c0",
        ]
        .as_slice(),
    );
    prop_oneof![
        fixed.prop_map(Text::plain),
        literal(),
        integer(),
        float(),
        variable(SCALARS).prop_map(Text::plain),
        with_lambda(),
    ]
}

fn literal() -> impl Strategy<Value = Text> {
    "[^\"]{0,8}".prop_map(|text| Text::plain(format!("\"{text}\"")))
}

fn integer() -> impl Strategy<Value = Text> {
    (any::<i64>(), any::<bool>()).prop_map(|(number, plus)| {
        let sign = if plus && number >= 0 { "+" } else { "" };
        Text::new(format!("{sign}{number}"), number.to_string())
    })
}

/// Quarters: their canonical text is known without a printer of floats.
fn float() -> impl Strategy<Value = Text> {
    let fraction = proptest::sample::select(
        [
            ("", ""),
            ("0", ""),
            ("25", ".25"),
            ("50", ".5"),
            ("750", ".75"),
        ]
        .as_slice(),
    );
    (any::<bool>(), 1..999_999_u32, fraction).prop_map(|(minus, whole, (written, canonical))| {
        let sign = if minus { "-" } else { "" };
        Text::new(
            format!("{sign}{whole}.{written}"),
            format!("{sign}{whole}{canonical}"),
        )
    })
}

fn with_lambda() -> impl Strategy<Value = Text> {
    let name = proptest::sample::select(["x0", "größe", "#c0", "#$c0", "#%m0"].as_slice());
    (name, lambda()).prop_map(|(name, lambda)| Text::plain(name).then(&lambda))
}

fn lambda() -> impl Strategy<Value = Text> {
    let field = "[a-zA-Z_-][a-zA-Z0-9_-]{0,6}".prop_map(|name| Text::plain(format!(".{name}")));
    let bracket = prop_oneof![
        any::<u32>().prop_map(|index| format!("[{index}]")),
        variable(SCALARS).prop_map(|name| format!("[{name}]")),
    ];
    let bracket = (any::<bool>(), bracket).prop_map(|(dot, bracket)| {
        let dot = if dot { "." } else { "" };
        Text::new(format!("{dot}{bracket}"), format!(".{bracket}"))
    });
    let path = proptest::collection::vec(prop_oneof![field, bracket], 1..4);
    let path = (path, any::<bool>()).prop_map(|(accessors, flattened)| {
        let path = accessors
            .iter()
            .fold(Text::plain(".$"), |path, accessor| path.then(accessor));
        match flattened {
            true => Text::new(path.air + "!", path.canonical),
            false => path,
        }
    });
    prop_oneof![1 => Just(Text::plain(".length")), 4 => path]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FormatOptions, Lambda, ParseOptions, parse, parse_syntax, tokens};

    proptest! {
        #[test]
        fn a_text_means_what_was_sketched(sketch in sketch(), layout: u64) {
            let text = sketch.text(layout);
            let ast = parse(&text).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
            let lines: Vec<_> = ast.instructions().map(|line| line.to_string()).collect();
            prop_assert_eq!(lines, sketch.canonical_lines());
        }

        #[test]
        fn printing_and_parsing_is_the_identity(text in script()) {
            let ast = parse(&text).unwrap();
            let printed = ast.to_air().to_string();
            let again = parse(&printed).unwrap();
            prop_assert!(ast == again, "{}", printed);
            prop_assert_eq!(&again.to_air().to_string(), &printed);
            let options = FormatOptions::default();
            prop_assert_eq!(ast.format(options).to_string(), again.format(options).to_string());
        }

        #[test]
        fn the_span_of_an_instruction_is_its_text(text in script()) {
            let ast = parse(&text).unwrap();
            for instruction in ast.instructions() {
                let alone = parse_syntax(instruction.source(), &ParseOptions::default()).unwrap();
                prop_assert_eq!(alone.root().to_string(), instruction.to_string());
                let size = instruction.end().index() - instruction.id().index();
                prop_assert_eq!(alone.len(), size);
            }
        }

        #[test]
        fn the_canonical_lambda_is_a_fixed_point(lambda in lambda()) {
            let parsed = Lambda::parse(&lambda.air).unwrap();
            prop_assert_eq!(parsed.to_string(), lambda.canonical.clone());
            prop_assert_eq!(Lambda::parse(&lambda.canonical).unwrap(), parsed);
        }

        #[test]
        fn damaged_scripts_give_errors_with_a_place(text in script(), at: usize, junk in ".{0,3}") {
            let mut damaged = text;
            let at = damaged.floor_char_boundary(at % (damaged.len() + 1));
            damaged.insert_str(at, &junk);
            for token in tokens(&damaged) {
                let span = token.map_or_else(|error| error.span, |token| token.span);
                prop_assert!(span.start <= span.end && span.end as usize <= damaged.len());
            }
            if let Err(errors) = parse(&damaged) {
                let first = &errors.errors()[0];
                let place = format!("error: \n{:w$} ┌─ script.air:{}:{}\n", "", first.line,
                    first.column, w = errors.errors().last().unwrap().line.to_string().len());
                prop_assert!(errors.to_string().starts_with(&place), "{}", errors);
            }
        }

        #[test]
        fn no_text_is_a_panic(text in "[()\\[\\]\"$#%!.;a-z0-9 -]{0,40}") {
            let _ = parse(&text).map_err(|errors| errors.to_string());
            let _ = Lambda::parse(&text);
        }
    }
}

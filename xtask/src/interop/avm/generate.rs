//! Random scripts that are likely to run: variables are mostly used after they were defined and
//! for what they hold, peers are those of the network (`@A` to `@D`).

use std::fmt::Write as _;

use super::services::{FUNCTIONS, Kind};
use crate::random::Random;

/// Tries until a script passes the parser's checks.
const TRIES: usize = 200;

/// A random script with at most about `size` instructions.
pub(super) fn script(random: &mut Random, size: usize) -> String {
    for _ in 0..TRIES {
        let mut writer = Writer::new(random.next(), size);
        writer.script();
        // The names of peers are what stands for their ids.
        if air_parser::parse(&writer.text).is_ok() {
            return writer.text;
        }
    }
    "(null)".to_owned()
}

struct Scalar {
    name: String,
    kind: Kind,
}

struct Fold {
    iterator: String,
    over_stream: bool,
    next_used: bool,
}

struct Writer {
    random: Random,
    text: String,
    /// Instructions that may still be written.
    budget: usize,
    scalars: Vec<Scalar>,
    streams: Vec<String>,
    maps: Vec<String>,
    canons: Vec<String>,
    canon_maps: Vec<String>,
    folds: Vec<Fold>,
    names: usize,
}

const PEERS: [&str; 4] = ["\"@A\"", "\"@B\"", "\"@C\"", "\"@D\""];
const TEXTS: [&str; 6] = [
    "\"a\"",
    "\"key\"",
    "\"num\"",
    "\"\"",
    "\"größe ; ()\"",
    "\"42\"",
];
const NUMBERS: [&str; 10] = ["0", "1", "2", "3", "-1", "42", "1.0", "2.50", "-0.0", "+7"];
const KEYS: [&str; 7] = ["\"a\"", "\"b\"", "\"num\"", "\"key\"", "1", "2", "-5"];

impl Writer {
    fn new(seed: u64, size: usize) -> Self {
        Self {
            random: Random::new(seed),
            text: String::new(),
            budget: size,
            scalars: Vec::new(),
            streams: Vec::new(),
            maps: Vec::new(),
            canons: Vec::new(),
            canon_maps: Vec::new(),
            folds: Vec::new(),
            names: 0,
        }
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn name(&mut self, sigil: &str) -> String {
        self.names += 1;
        format!("{sigil}v{}", self.names)
    }

    /// Values first, mostly, then what uses them.
    fn script(&mut self) {
        let values = self.random.below(5);
        for _ in 0..values {
            self.put("(seq ");
            self.leaf();
            self.put(" ");
        }
        self.block();
        for _ in 0..values {
            self.put(")");
        }
    }

    /// A chain of instructions, so that later ones can use what earlier ones gave.
    fn block(&mut self) {
        let length = 2 + self.random.below(5);
        for _ in 1..length {
            let joint = if self.random.chance(85) {
                "(seq "
            } else {
                "(par "
            };
            self.put(joint);
            self.instruction();
            self.put(" ");
        }
        self.instruction();
        for _ in 1..length {
            self.put(")");
        }
    }

    fn instruction(&mut self) {
        self.budget = self.budget.saturating_sub(1);
        if self.budget == 0 {
            return self.leaf();
        }
        match self.random.below(100) {
            0..=11 => self.pair("seq"),
            12..=20 => self.pair("par"),
            21..=30 => self.pair("xor"),
            31..=47 => self.fold(),
            48..=52 => self.new_scope(),
            53..=60 => self.compare(),
            61..=62 => self.block(),
            _ => self.leaf(),
        }
    }

    fn pair(&mut self, name: &str) {
        let _ = write!(self.text, "({name} ");
        self.instruction();
        self.put(" ");
        self.instruction();
        self.put(")");
    }

    fn compare(&mut self) {
        let name = if self.random.chance(60) {
            "match"
        } else {
            "mismatch"
        };
        let left = self.value();
        // Often the same, so that both ends are met.
        let right = if self.random.chance(40) {
            left.clone()
        } else {
            self.value()
        };
        let _ = write!(self.text, "({name} {left} {right} ");
        self.instruction();
        self.put(")");
    }

    fn new_scope(&mut self) {
        let target = match self.random.below(5) {
            0 => self.name_of_scalar(),
            1 | 2 => self.stream(),
            3 => self.map(),
            _ => match self.random.pick(&self.canons) {
                Some(name) => name.clone(),
                None => self.stream(),
            },
        };
        let _ = write!(self.text, "(new {target} ");
        self.instruction();
        self.put(")");
    }

    fn leaf(&mut self) {
        match self.random.below(100) {
            0..=51 => self.call(),
            52..=60 => {
                let value = self.ap_value();
                let target = self.new_scalar(Kind::Any);
                let _ = write!(self.text, "(ap {value} {target})");
            }
            61..=73 => {
                let (value, stream) = (self.ap_value(), self.stream());
                let _ = write!(self.text, "(ap {value} {stream})");
            }
            74..=80 => {
                let (key, value, map) = (self.key(), self.ap_value(), self.map());
                let _ = write!(self.text, "(ap ({key} {value}) {map})");
            }
            81..=91 => self.canon(),
            92..=95 => self.fail(),
            96..=98 => self.put("(null)"),
            _ => self.put("(never)"),
        }
    }

    fn call(&mut self) {
        let peer = self.peer();
        let total: usize = FUNCTIONS.iter().map(|(_, _, weight)| weight).sum();
        let mut left = self.random.below(total);
        let (mut function, mut kind) = ("echo", Kind::Any);
        for (name, gives, weight) in FUNCTIONS {
            if left < weight {
                (function, kind) = (name, gives);
                break;
            }
            left -= weight;
        }
        let count = self.random.below(4);
        let arguments: Vec<String> = (0..count).map(|_| self.value()).collect();
        let service = match self.scalar(&[Kind::Text]) {
            Some(name) if self.random.chance(8) => name,
            _ => "\"s\"".to_owned(),
        };
        let output = match self.random.below(10) {
            0..=5 => format!(" {}", self.new_scalar(kind)),
            6..=7 => format!(" {}", self.stream()),
            _ => String::new(),
        };
        let arguments = arguments.join(" ");
        let _ = write!(
            self.text,
            "(call {peer} ({service} \"{function}\") [{arguments}]{output})"
        );
    }

    fn canon(&mut self) {
        let peer = self.peer();
        match self.random.below(10) {
            0..=5 => {
                let stream = self.stream();
                let sigil = if self.random.chance(15) { "#$" } else { "#" };
                let target = self.name(sigil);
                let _ = write!(self.text, "(canon {peer} {stream} {target})");
                self.canons.push(target);
            }
            6..=7 => {
                let map = self.map();
                let target = self.name("#%");
                let _ = write!(self.text, "(canon {peer} {map} {target})");
                self.canon_maps.push(target);
            }
            _ => {
                let map = self.map();
                let target = self.new_scalar(Kind::Object);
                let _ = write!(self.text, "(canon {peer} {map} {target})");
            }
        }
    }

    fn fail(&mut self) {
        let operand = match self.random.below(6) {
            0 | 1 => "5 \"mine\"".to_owned(),
            2 => "%last_error%".to_owned(),
            3 => self
                .scalar(&[Kind::Object, Kind::Any])
                .unwrap_or_else(|| ":error:".to_owned()),
            _ => ":error:".to_owned(),
        };
        let _ = write!(self.text, "(fail {operand})");
    }

    fn fold(&mut self) {
        let (iterable, over_stream) = self.iterable();
        let kind = if iterable.starts_with(['#', '%']) {
            Kind::Object
        } else {
            Kind::Any
        };
        let iterator = self.name("");
        let _ = write!(self.text, "(fold {iterable} {iterator} ");
        self.folds.push(Fold {
            iterator: iterator.clone(),
            over_stream,
            next_used: false,
        });
        self.scalars.push(Scalar {
            name: iterator.clone(),
            kind,
        });
        self.fold_body(&iterator, over_stream);
        if self.random.chance(45) {
            self.put(" ");
            match self.random.below(4) {
                0 | 1 => self.put("(null)"),
                2 => self.put("(never)"),
                _ => self.instruction(),
            }
        }
        self.put(")");
        self.folds.pop();
        // What a fold defines is gone after it; some later uses of its iterator shall join.
        if self.random.chance(85) {
            self.scalars.retain(|scalar| scalar.name != iterator);
        }
    }

    fn fold_body(&mut self, iterator: &str, over_stream: bool) {
        let shape = self.random.below(if over_stream { 8 } else { 12 });
        let next = format!("(next {iterator})");
        let instruction = |before: &str, writer: &mut Self, after: &str| {
            writer.put(before);
            writer.instruction();
            writer.put(after);
        };
        match shape {
            0..=2 => instruction("(seq ", self, &format!(" {next})")),
            3 | 4 => instruction("(par ", self, &format!(" {next})")),
            5 => instruction("(seq ", self, &format!(" (xor {next} (null)))")),
            6 => instruction("(xor ", self, &format!(" {next})")),
            7 if self.random.chance(50) => self.instruction(),
            7 => {
                let (left, right) = (self.value(), self.value());
                let guard = format!(" (match {left} {right} {next}))");
                instruction("(seq ", self, &guard);
            }
            8 => {
                instruction("(seq ", self, &format!(" (seq {next} "));
                instruction("", self, "))");
            }
            9 => instruction(&format!("(par {next} "), self, ")"),
            10 => {
                instruction("(seq ", self, &format!(" (xor {next} "));
                instruction("", self, "))");
            }
            _ => {
                // The next of an outer fold, from within an inner one.
                let outer = self
                    .folds
                    .iter_mut()
                    .rev()
                    .skip(1)
                    .find(|fold| !fold.next_used && !fold.over_stream);
                match outer {
                    Some(fold) if self.random.chance(30) => {
                        fold.next_used = true;
                        let outer = fold.iterator.clone();
                        instruction("(seq ", self, &format!(" (par (next {outer}) {next}))"));
                    }
                    _ => instruction(&format!("(seq {next} "), self, ")"),
                }
            }
        }
    }

    fn iterable(&mut self) -> (String, bool) {
        loop {
            let found = match self.random.below(12) {
                0..=2 => self.scalar(&[Kind::Array, Kind::Peers, Kind::Objects]),
                3 => self
                    .scalar(&[Kind::Object])
                    .map(|name| format!("{name}.$.arr")),
                4 => self.random.pick(&self.canons).cloned(),
                5 => self.random.pick(&self.canon_maps).cloned(),
                6 => {
                    let map = self.random.pick(&self.canon_maps).cloned();
                    map.map(|map| format!("{map}.$.{}", self.random.word(&["a", "key", "[1]"])))
                }
                7 if self.random.chance(20) => Some("[]".to_owned()),
                7 | 8 => {
                    let map = self.random.pick(&self.maps).cloned();
                    if let Some(map) = map {
                        return (map, true);
                    }
                    None
                }
                _ => {
                    let stream = self.random.pick(&self.streams).cloned();
                    if let Some(stream) = stream {
                        return (stream, true);
                    }
                    None
                }
            };
            match found {
                Some(name) => return (name, false),
                None if self.random.chance(6) => return ("[]".to_owned(), false),
                None => {}
            }
        }
    }

    /// A scalar that holds one of `kinds`.
    fn scalar(&mut self, kinds: &[Kind]) -> Option<String> {
        let fitting: Vec<&Scalar> = self
            .scalars
            .iter()
            .filter(|scalar| kinds.contains(&scalar.kind))
            .collect();
        self.random.pick(&fitting).map(|scalar| scalar.name.clone())
    }

    fn any_scalar(&mut self) -> Option<(String, Kind)> {
        self.random
            .pick(&self.scalars)
            .map(|scalar| (scalar.name.clone(), scalar.kind))
    }

    fn name_of_scalar(&mut self) -> String {
        let known = self.any_scalar();
        match known {
            Some((name, _)) if self.random.chance(70) => name,
            _ => self.new_scalar(Kind::Any),
        }
    }

    /// A scalar to be set; now and then one that has a value.
    fn new_scalar(&mut self, kind: Kind) -> String {
        let known = self.any_scalar();
        let again = if self.folds.is_empty() { 3 } else { 15 };
        if let Some((name, _)) = known
            && self.random.chance(again)
            && !self.folds.iter().any(|fold| fold.iterator == name)
        {
            return name;
        }
        let name = self.name("");
        self.scalars.push(Scalar {
            name: name.clone(),
            kind,
        });
        name
    }

    fn stream(&mut self) -> String {
        Self::container(&mut self.random, &mut self.streams, "$s", 3)
    }

    fn map(&mut self) -> String {
        Self::container(&mut self.random, &mut self.maps, "%m", 2)
    }

    fn container(random: &mut Random, known: &mut Vec<String>, name: &str, most: usize) -> String {
        if known.is_empty() || (known.len() < most && random.chance(25)) {
            known.push(format!("{name}{}", known.len()));
        }
        random.pick(known).cloned().unwrap_or_default()
    }

    fn peer(&mut self) -> String {
        match self.random.below(20) {
            0 => "%init_peer_id%".to_owned(),
            1 | 2 => self
                .scalar(&[Kind::Peer])
                .unwrap_or_else(|| self.literal_peer()),
            3 => match self.scalar(&[Kind::Object]) {
                Some(name) => format!("{name}.$.peer"),
                None => self.literal_peer(),
            },
            4 => match self.scalar(&[Kind::Peers]) {
                Some(name) => format!("{name}.$.[{}]", self.random.below(2)),
                None => self.literal_peer(),
            },
            _ => self.literal_peer(),
        }
    }

    fn literal_peer(&mut self) -> String {
        // Few peers make many meetings.
        let among = if self.random.chance(70) { 2 } else { 4 };
        let index = self.random.below(among);
        PEERS.get(index).copied().unwrap_or("\"@A\"").to_owned()
    }

    fn key(&mut self) -> String {
        match self.random.below(10) {
            0 => self.scalar(&[Kind::Text, Kind::Number]),
            1 => self.any_scalar().map(|(name, _)| name),
            _ => None,
        }
        .unwrap_or_else(|| self.random.word(&KEYS).to_owned())
    }

    fn value(&mut self) -> String {
        if self.random.chance(6)
            && let Some(map) = self.random.pick(&self.canon_maps)
        {
            return map.clone();
        }
        self.ap_value()
    }

    fn ap_value(&mut self) -> String {
        let variable = match self.random.below(20) {
            0..=6 => self.any_scalar().map(|(name, _)| name),
            7..=9 => {
                let scalar = self.any_scalar();
                scalar.map(|(name, kind)| name + &self.path(kind))
            }
            10 | 11 => self.random.pick(&self.canons).cloned(),
            12 => {
                let canon = self.random.pick(&self.canons).cloned();
                canon.map(|name| {
                    let path = [".length", ".$.[0]", ".$.[1]", ".$.[0].num", ".$.[0].[1]"];
                    name + self.random.word(&path)
                })
            }
            13 => {
                let map = self.random.pick(&self.canon_maps).cloned();
                map.map(|name| {
                    let path = [".length", ".$.a", ".$.key.[0]", ".$.[1]", ".$.[2].[0].num"];
                    name + self.random.word(&path)
                })
            }
            14 => {
                let error = [
                    ":error:",
                    "%last_error%",
                    ":error:.$.error_code",
                    ":error:.$.message",
                    "%last_error%.$.error_code",
                    "%last_error%.$.instruction",
                    ":error:.$.peer_id",
                ];
                Some(self.random.word(&error).to_owned())
            }
            _ => None,
        };
        variable.unwrap_or_else(|| self.literal())
    }

    /// A path into a scalar; mostly one that exists.
    fn path(&mut self, kind: Kind) -> String {
        let paths: &[&'static str] = match kind {
            Kind::Object => &[
                ".$.num",
                ".$.arr",
                ".$.arr.[1].num",
                ".$.obj",
                ".$.peer",
                ".$.none",
            ],
            Kind::Array | Kind::Peers => &[".$.[0]", ".$.[1]", ".length", ".$.[7]", ".$.[0].[0]"],
            Kind::Objects => &[".$.[0]", ".$.[0].num", ".$.[1].arr.[0]", ".length"],
            Kind::Text | Kind::Peer | Kind::Number | Kind::Failure => &[".$.num", ".length"],
            Kind::Any => &[
                ".$.num", ".$.key", ".$.value", ".$.[0]", ".length", ".$.num!",
            ],
        };
        if self.random.chance(12)
            && let Some(index) = self.scalar(&[Kind::Number, Kind::Text])
        {
            return format!(".$.[{index}]");
        }
        self.random.word(paths).to_owned()
    }

    fn literal(&mut self) -> String {
        match self.random.below(12) {
            0..=3 => self.random.word(&NUMBERS).to_owned(),
            4..=6 => self.random.word(&TEXTS).to_owned(),
            7 => self.literal_peer(),
            8 => self.random.word(&["true", "false"]).to_owned(),
            9 => "[]".to_owned(),
            _ => self
                .random
                .word(&["%init_peer_id%", "%timestamp%", "%ttl%"])
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_pass_every_check_and_use_every_instruction() {
        let mut random = Random::new(1);
        let scripts: Vec<String> = (0..300).map(|_| script(&mut random, 25)).collect();
        let all = scripts.join("\n");
        for name in [
            "call", "canon", "ap", "seq", "par", "fail", "fold", "xor", "never", "new", "next",
            "null", "match", "mismatch",
        ] {
            assert!(all.contains(&format!("({name}")), "{name}");
        }
        assert!(scripts.iter().filter(|text| text.len() > 30).count() > 290);
        let mut again = Random::new(1);
        assert!(scripts.iter().all(|text| *text == script(&mut again, 25)));
    }
}

//! Random scripts, and networks that lose, repeat and reorder what peers send.

use aquavm::{CallRequest, CallResult, CallResults, Compat, Policy, RunParameters, Script, step};
use particle::KeyPair;

/// Number of peers.
const PEERS: usize = 4;

/// Random numbers of a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Makes scripts whose control flow follows from values only: no fold over a stream ends early, and
/// no call takes the text of an error, so all peers must agree on what happened.
pub(crate) struct Writer<'r> {
    random: &'r mut Random,
    scalars: Vec<String>,
    streams: Vec<String>,
    names: usize,
}

impl<'r> Writer<'r> {
    pub(crate) fn script(random: &'r mut Random, depth: usize) -> String {
        let mut writer = Writer {
            random,
            scalars: Vec::new(),
            streams: vec!["$s".to_owned(), "$t".to_owned()],
            names: 0,
        };
        let body = writer.instruction(depth);
        format!(
            "(seq (seq (ap 1 $s) (ap 2 $t)) (seq (call %init_peer_id% (\"s\" \"list\") [] all) {body}))"
        )
    }

    fn instruction(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.leaf();
        }
        let depth = depth - 1;
        match self.random.below(10) {
            0..=2 => format!(
                "(seq {} {})",
                self.instruction(depth),
                self.instruction(depth)
            ),
            3 | 4 => format!(
                "(par {} {})",
                self.instruction(depth),
                self.instruction(depth)
            ),
            5 => {
                // What only one of the branches defines is not used after them.
                let known = self.scalars.len();
                let left = self.instruction(depth);
                self.scalars.truncate(known);
                let right = self.instruction(depth);
                self.scalars.truncate(known);
                format!("(xor {left} {right})")
            }
            6 => self.fold(depth),
            7 => {
                let (stream, canon) = (self.stream(), self.name("#c"));
                let (maker, user) = (self.peer(), self.peer());
                let output = self.name("x");
                let text = format!(
                    "(seq (canon {maker} {stream} {canon}) \
                     (call {user} (\"s\" \"f\") [{canon}] {output}))"
                );
                self.scalars.push(output);
                text
            }
            8 => {
                let left = self.argument();
                let known = self.scalars.len();
                let body = self.instruction(depth);
                self.scalars.truncate(known);
                format!("(xor (match {left} \"f 1\" {body}) (null))")
            }
            _ => {
                let stream = self.name("$n");
                self.streams.push(stream.clone());
                let known = self.scalars.len();
                let body = self.instruction(depth);
                self.scalars.truncate(known);
                self.streams.pop();
                format!("(new {stream} (seq (ap 0 {stream}) {body}))")
            }
        }
    }

    fn fold(&mut self, depth: usize) -> String {
        let iterator = self.name("i");
        let known = self.scalars.len();
        let (list, kind) = match self.random.below(2) {
            0 => ("all".to_owned(), "seq"),
            _ => (self.stream(), "par"),
        };
        // A fold that feeds its own stream need not end.
        let streams = self.streams.clone();
        self.streams.retain(|stream| *stream != list);
        self.scalars.push(iterator.clone());
        let body = match self.streams.is_empty() {
            true => "(null)".to_owned(),
            false => self.instruction(depth.min(1)),
        };
        self.scalars.truncate(known);
        self.streams = streams;
        format!("(fold {list} {iterator} ({kind} {body} (next {iterator})))")
    }

    fn leaf(&mut self) -> String {
        let peer = self.peer();
        let argument = self.argument();
        match self.random.below(8) {
            0 => format!("(call {peer} (\"s\" \"log\") [{argument}])"),
            1 => format!("(call {peer} (\"s\" \"fail\") [{argument}])"),
            2 | 3 => format!("(call {peer} (\"s\" \"g\") [{argument}] {})", self.stream()),
            4 => format!("(ap {argument} {})", self.stream()),
            _ => {
                let output = self.name("x");
                let text = format!("(call {peer} (\"s\" \"f\") [{argument}] {output})");
                self.scalars.push(output);
                text
            }
        }
    }

    fn peer(&mut self) -> String {
        format!("\"{}\"", (b'A' + self.random.below(PEERS) as u8) as char)
    }

    fn argument(&mut self) -> String {
        match self.random.below(self.scalars.len() + 1) {
            0 => format!("\"v{}\"", self.random.below(3)),
            index => self.scalars[index - 1].clone(),
        }
    }

    fn stream(&mut self) -> String {
        let index = self.random.below(self.streams.len());
        self.streams[index].clone()
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }
}

/// Peers with stub hosts, and what is on its way.
pub(crate) struct Network {
    pub(crate) script: Script,
    keys: Vec<KeyPair>,
    ids: Vec<String>,
    pub(crate) stored: Vec<Vec<u8>>,
    sent: Vec<(usize, Vec<u8>)>,
    asked: Vec<(usize, u32, CallResult)>,
    pub(crate) policy: Policy,
    /// Everything that was ever sent, and to whom.
    pub(crate) traffic: Vec<(usize, Vec<u8>)>,
    /// Data of runs that sent nothing.
    pub(crate) kept: Vec<(usize, Vec<u8>)>,
}

impl Network {
    pub(crate) fn new(text: &str) -> Self {
        let keys: Vec<_> = (1..=PEERS as u8)
            .map(|number| KeyPair::from_seed(&[number; 32]))
            .collect();
        let ids: Vec<_> = keys.iter().map(|key| key.peer_id().to_string()).collect();
        let text = (b'A'..)
            .zip(&ids)
            .fold(text.to_owned(), |text, (letter, id)| {
                text.replace(&format!("\"{}\"", letter as char), &format!("\"{id}\""))
            });
        Self {
            script: Script::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}")),
            keys,
            ids,
            stored: vec![Vec::new(); PEERS],
            sent: vec![(0, Vec::new())],
            asked: Vec::new(),
            policy: Policy::default(),
            traffic: Vec::new(),
            kept: Vec::new(),
        }
    }

    pub(crate) fn parameters(&self, peer: usize) -> RunParameters {
        RunParameters {
            init_peer_id: self.ids[0].clone(),
            current_peer_id: self.ids[peer].clone(),
            timestamp: 1,
            ttl: 7000,
            particle_id: "particle".to_owned(),
            key: self.keys[peer].clone().into(),
            limits: Default::default(),
            compat: Compat::V0_64,
            check_signatures: true,
            policy: self.policy,
        }
    }

    /// Parameters of a peer that the script does not name.
    pub(crate) fn bystander(&self) -> RunParameters {
        let key = KeyPair::from_seed(&[PEERS as u8 + 1; 32]);
        RunParameters {
            current_peer_id: key.peer_id().to_string(),
            key: key.into(),
            ..self.parameters(0)
        }
    }

    /// Delivers everything in a random order, some of it twice, some of it late.
    pub(crate) fn run(&mut self, random: &mut Random) {
        let mut lost = Vec::new();
        while !(self.sent.is_empty() && self.asked.is_empty() && lost.is_empty()) {
            if self.sent.is_empty() && self.asked.is_empty() {
                self.sent.append(&mut lost);
            }
            let choice = random.below(self.sent.len() + self.asked.len());
            if choice < self.sent.len() {
                match random.below(8) {
                    0 => lost.push(self.sent.swap_remove(choice)),
                    1 => {
                        let (peer, data) = self.sent[choice].clone();
                        self.step(peer, &data, &CallResults::new());
                        let again = (peer, data);
                        lost.push(again);
                        self.sent.swap_remove(choice);
                    }
                    _ => {
                        let (peer, data) = self.sent.swap_remove(choice);
                        self.step(peer, &data, &CallResults::new());
                    }
                }
            } else {
                let answer = self.asked.swap_remove(choice - self.sent.len());
                let (peer, id, result) = answer;
                self.step(peer, &[], &[(id, result)].into());
            }
        }
    }

    /// Tells everybody everything that anybody knows.
    pub(crate) fn exchange(&mut self, random: &mut Random) {
        for _ in 0..3 {
            for from in 0..PEERS {
                for to in 0..PEERS {
                    let data = self.stored[from].clone();
                    self.sent.push((to, data));
                }
            }
            self.run(random);
        }
    }

    fn step(&mut self, peer: usize, current: &[u8], results: &CallResults) {
        let parameters = self.parameters(peer);
        let previous = &self.stored[peer];
        let outcome = step(&self.script, previous, current, &parameters, results);
        assert!(
            outcome.ret_code < 20000 && (outcome.ret_code == 0 || outcome.ret_code >= 10000),
            "code {} at {peer}: {}\n{}",
            outcome.ret_code,
            outcome.error_message,
            self.script.text()
        );
        for next in &outcome.next_peers {
            if let Some(to) = self.ids.iter().position(|id| id == next) {
                self.sent.push((to, outcome.data.clone()));
                self.traffic.push((to, outcome.data.clone()));
            }
        }
        if outcome.next_peers.is_empty() {
            self.kept.push((peer, outcome.data.clone()));
        }
        for (id, request) in &outcome.call_requests {
            self.asked.push((peer, *id, answer(request)));
        }
        self.stored[peer] = outcome.data;
    }
}

/// What the stub host says.
fn answer(request: &CallRequest) -> CallResult {
    let size = request.arguments.len();
    match &*request.function_name {
        "fail" => CallResult {
            ret_code: 1,
            result: "\"no\"".to_owned(),
        },
        "list" => CallResult::ok("[1,2]"),
        name => CallResult::ok(format!("\"{name} {}\"", size % 3)),
    }
}

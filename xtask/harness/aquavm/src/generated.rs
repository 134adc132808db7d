//! Inputs that are made, not recorded.

use aquavm::{CallResult, CallResults};
use particle::KeyPair;

use crate::input::{Input, Parameters};

/// Bytes of the random string of the large inputs; it is written in hex.
const LARGE: usize = 50 << 20;
/// Calls of the largest script.
const LARGE_CALLS: usize = 2_800_000;

/// Two peers and a script between them.
struct Scene {
    seeds: [[u8; 32]; 2],
    peers: [String; 2],
}

impl Scene {
    fn new() -> Self {
        let seeds = [[1; 32], [2; 32]];
        let peers = seeds.map(|seed| KeyPair::from_seed(&seed).peer_id().to_string());
        Self { seeds, peers }
    }

    /// A call at peer 0 (who starts it) or 1.
    fn input(&self, name: &str, at: usize, script: &str, data: [&[u8]; 2]) -> Input {
        let large = 92_233_720_367;
        let current = self.peers.get(at).cloned().unwrap_or_default();
        Input {
            name: name.to_owned(),
            script: script.to_owned(),
            previous: data[0].to_vec(),
            current: data[1].to_vec(),
            results: CallResults::new(),
            parameters: Parameters {
                init_peer_id: self.peers[0].clone(),
                current_peer_id: current,
                timestamp: 0,
                ttl: u32::MAX,
                secret_key_hex: hex::encode(self.seeds.get(at).unwrap_or(&[0; 32])),
                particle_id: "particle".to_owned(),
                air_size_limit: large,
                particle_size_limit: large,
                call_result_size_limit: large,
                hard_limit_enabled: false,
            },
        }
    }
}

impl Input {
    /// The new data of our run of this input.
    pub fn data(&self) -> Result<Vec<u8>, String> {
        let results = aquavm::encode_call_results(&self.results);
        let outcome = aquavm::invoke(
            &self.script,
            &self.previous,
            &self.current,
            &self.ours()?,
            &results,
        );
        match outcome.ret_code {
            0 => Ok(outcome.data),
            code => Err(format!("{}: {code} {}", self.name, outcome.error_message)),
        }
    }
}

/// Steps of one particle whose trace has about `states` states, by what happens in them: requests
/// go out, results come in, another peer checks everything, what it did is merged.
pub fn trace(states: usize) -> Result<Vec<Input>, String> {
    let scene = Scene::new();
    let [a, b] = &scene.peers;
    let script = format!(
        r#"(seq (call "{a}" ("list" "numbers") [] xs)
             (seq (fold xs x (par (call "{a}" ("work" "do") [x] y) (next x)))
                  (call "{b}" ("work" "end") [])))"#
    );
    steps(&scene, &script, states / 2)
}

/// The same for a stream of `values` values: filled, fixed, visited.
pub fn stream(values: usize) -> Result<Vec<Input>, String> {
    let scene = Scene::new();
    let [a, b] = &scene.peers;
    let script = format!(
        r#"(seq (call "{a}" ("list" "numbers") [] xs)
             (seq (fold xs x (seq (ap x $numbers) (next x)))
                  (seq (canon "{a}" $numbers #numbers)
                       (par (fold $numbers n (par (call "{a}" ("work" "do") [n] $done) (next n)))
                            (call "{b}" ("work" "end") [#numbers])))))"#
    );
    steps(&scene, &script, values)
}

fn steps(scene: &Scene, script: &str, count: usize) -> Result<Vec<Input>, String> {
    let ask = scene.input("ask", 0, script, [&[], &[]]).data()?;
    let numbers: Vec<usize> = (0..count).collect();
    let numbers = serde_json::to_string(&numbers).map_err(|error| error.to_string())?;
    let mut requests = scene.input("requests", 0, script, [&ask, &[]]);
    requests.results = [(1, CallResult::ok(numbers))].into();
    let mut results = scene.input("results", 0, script, [&requests.data()?, &[]]);
    results.results = (0..count as u32)
        .map(|index| (index + 2, CallResult::ok(format!(r#""result {index}""#))))
        .collect();
    let done = results.data()?;
    let check = scene.input("check", 1, script, [&[], &done]);
    let merge = scene.input("merge", 0, script, [&done, &check.data()?]);
    Ok(vec![requests, results, check, merge])
}

/// The names of the inputs of about 100 MiB.
pub const LARGE_NAMES: [&str; 6] = [
    "call-result-100mb",
    "lense-100mb",
    "map-100mb",
    "canon-map-100mb",
    "hybrid-100mb",
    "parser-air-100mb",
];

/// The input of about 100 MiB with that name.
pub fn large(name: &str) -> Result<Input, String> {
    let scene = Scene::new();
    if name == "parser-air-100mb" {
        let mut script = format!(r#"(seq (call "{}" ("srv" "fun") [] v0) "#, scene.peers[0]);
        write_calls(&mut script, 0..LARGE_CALLS);
        script.push(')');
        return Ok(scene.input(name, 1, &script, [&[], &[]]));
    }
    let [a, b] = &scene.peers;
    let tail = match name {
        "call-result-100mb" => {
            format!(r#"(seq (fold data i (next i)) (new %map (canon "{b}" %map #%fixed)))"#)
        }
        "lense-100mb" => format!(
            r#"(seq (fold data i (seq (ap i.$.attrib $stream) (next i)))
                    (canon "{b}" $stream #fixed))"#
        ),
        "map-100mb" => format!(
            r#"(seq (fold data i (seq (ap ("key" i) %map) (next i)))
                    (seq (canon "{b}" %map fixed) (canon "{a}" %map other)))"#
        ),
        "canon-map-100mb" => format!(
            r#"(seq (fold data i (seq (ap ("key" i) %map) (next i)))
                    (seq (canon "{b}" %map #%fixed) (canon "{a}" %map #%other)))"#
        ),
        "hybrid-100mb" => format!(
            r#"(seq (fold data i (seq (ap ("key" i.$.attrib) %map) (next i)))
                    (seq (ap ("other" "value") %map)
                         (seq (canon "{b}" %map fixed) (canon "{a}" %map other))))"#
        ),
        name => return Err(format!("no input {name}")),
    };
    let script = format!(r#"(seq (call "{a}" ("source" "data") [] data) {tail})"#);
    let string = random_hex(LARGE);
    let value = match name {
        "lense-100mb" | "hybrid-100mb" => format!(r#"[{{"attrib":"{string}"}}]"#),
        _ => format!(r#"["{string}"]"#),
    };
    let ask = scene.input(name, 0, &script, [&[], &[]]).data()?;
    let mut got = scene.input(name, 0, &script, [&ask, &[]]);
    got.results = [(1, CallResult::ok(value))].into();
    Ok(scene.input(name, 1, &script, [&[], &got.data()?]))
}

/// A balanced tree of calls over ten variables, of which each call reads one and binds the next.
fn write_calls(text: &mut String, range: std::ops::Range<usize>) {
    if range.len() <= 1 {
        let (from, to) = (range.start % 10, (range.start + 1) % 10);
        text.push_str(&format!(r#"(call "peer" ("srv" "fun") [v{from}] v{to})"#));
        return;
    }
    let middle = range.start + range.len() / 2;
    text.push_str("(seq ");
    write_calls(text, range.start..middle);
    text.push(' ');
    write_calls(text, middle..range.end);
    text.push(')');
}

/// Lower-case hex of random bytes, always the same.
fn random_hex(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = String::with_capacity(2 * bytes);
    while text.len() < 2 * bytes {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(2 * bytes);
    text
}

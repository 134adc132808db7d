//! What is counted about the calls of a service (§3.8 of the peer description).

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};

/// How many of the last calls are listed one by one.
pub const DEFAULT_HISTORY: usize = 5;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a result.
    Ok,
    /// With an error.
    Failed,
    /// There is no such function.
    NoFunction,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) ended: Ended,
    /// When its particle was made, in milliseconds since the Unix epoch.
    pub(super) timestamp: u64,
    pub(super) took: Duration,
    /// By how much the service's memory grew.
    pub(super) grown: i64,
}

/// The calls of a service, all together and by function.
#[derive(Debug, Default)]
pub(super) struct Stats {
    total: Counts,
    functions: BTreeMap<String, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    successes: u64,
    failures: u64,
    memory: Series,
    time: Series,
    timestamps: VecDeque<u64>,
}

/// The last values, and the sum of all.
#[derive(Debug, Default)]
struct Series {
    last: VecDeque<f64>,
    total: f64,
}

impl Stats {
    pub(super) fn add(&mut self, function: &str, call: Measured, history: usize) {
        self.total.add(call, history);
        // Otherwise scripts could make this grow without end.
        if call.ended != Ended::NoFunction {
            match self.functions.get_mut(function) {
                Some(counts) => counts.add(call, history),
                None => {
                    let counts = self.functions.entry(function.to_owned()).or_default();
                    counts.add(call, history);
                }
            }
        }
    }

    /// Nothing while nobody called.
    pub(super) fn describe(&self) -> Option<Value> {
        if self.total.timestamps.is_empty() {
            return None;
        }
        let functions: Vec<Value> = self
            .functions
            .iter()
            .map(|(name, counts)| json!({ "name": name, "stats": counts.describe() }))
            .collect();
        Some(json!({
            "total_stats": self.total.describe(),
            "functions_stats": functions,
        }))
    }
}

impl Counts {
    fn add(&mut self, call: Measured, history: usize) {
        push(&mut self.timestamps, call.timestamp, history);
        if call.ended == Ended::Ok {
            self.successes += 1;
            self.memory.add(call.grown as f64, history);
            self.time.add(call.took.as_secs_f64(), history);
        } else {
            self.failures += 1;
        }
    }

    fn describe(&self) -> Value {
        json!({
            "success_req_count": self.successes,
            "failed_req_count": self.failures,
            "memory_deltas_bytes": self.memory.describe(self.successes),
            "call_time_sec": self.time.describe(self.successes),
            "timestamps": self.timestamps,
        })
    }
}

impl Series {
    fn add(&mut self, value: f64, history: usize) {
        push(&mut self.last, value, history);
        self.total += value;
    }

    fn describe(&self, count: u64) -> Value {
        let average = if count == 0 {
            0.0
        } else {
            self.total / count as f64
        };
        json!({ "series": self.last, "total": self.total, "avg": average })
    }
}

fn push<T>(last: &mut VecDeque<T>, value: T, history: usize) {
    last.push_back(value);
    while last.len() > history.max(1) {
        last.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_calls_and_all_of_them() {
        let mut stats = Stats::default();
        assert_eq!(stats.describe(), None);
        let call = |ended, timestamp| Measured {
            ended,
            timestamp,
            took: Duration::from_millis(500),
            grown: 100,
        };
        for timestamp in 0..7 {
            stats.add("a", call(Ended::Ok, timestamp), 5);
        }
        stats.add("a", call(Ended::Failed, 7), 5);
        stats.add("nope", call(Ended::NoFunction, 8), 5);
        let described = stats.describe().unwrap();
        let total = &described["total_stats"];
        assert_eq!(total["success_req_count"], 7);
        assert_eq!(total["failed_req_count"], 2);
        assert_eq!(total["timestamps"], json!([4, 5, 6, 7, 8]));
        assert_eq!(
            total["call_time_sec"],
            json!({ "series": [0.5, 0.5, 0.5, 0.5, 0.5], "total": 3.5, "avg": 0.5 })
        );
        let functions = described["functions_stats"].as_array().unwrap();
        assert_eq!(functions.len(), 1);
        assert_eq!(functions[0]["stats"]["failed_req_count"], 1);
        assert_eq!(functions[0]["stats"]["memory_deltas_bytes"]["total"], 700.0);
    }
}

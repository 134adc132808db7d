//! Who may call, and how often.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// Shorter keys are guessed.
const MIN_LENGTH: usize = 16;

/// A key that callers show, an entry of `[[keys]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyConfig {
    /// Whose it is, for the log.
    pub(crate) name: String,
    /// The key.
    pub(crate) key: String,
    /// Calls in a minute, over time.
    pub(crate) requests_per_minute: u32,
    /// Calls at once after a quiet time; as many as in a minute when absent.
    pub(crate) burst: Option<u32>,
}

/// The keys of a gateway; without any of them everybody may call.
pub(crate) struct Keys(Vec<Key>);

struct Key {
    config: KeyConfig,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Why a call is not let through.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// No key, or one that nobody has.
    Unknown,
    /// Too many calls; one more after this time.
    TooMany(Duration),
}

impl Keys {
    /// The error names a key that cannot be one.
    pub(crate) fn new(configs: Vec<KeyConfig>) -> Result<Self, String> {
        for (index, KeyConfig { name, key, .. }) in configs.iter().enumerate() {
            let length = key.len();
            if length < MIN_LENGTH {
                return Err(format!(
                    "the key of `{name}` has {length} bytes, expected at least {MIN_LENGTH}"
                ));
            }
            let mut others = configs.iter().skip(index + 1);
            if let Some(other) = others.find(|other| other.key == *key) {
                return Err(format!("`{name}` and `{}` have the same key", other.name));
            }
        }
        let now = Instant::now();
        let key = |config: KeyConfig| {
            let tokens = f64::from(burst(&config));
            let bucket = Mutex::new(Bucket {
                tokens,
                filled: now,
            });
            Key { config, bucket }
        };
        Ok(Self(configs.into_iter().map(key).collect()))
    }

    /// Whether everybody may call.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts a call with this key.
    pub(crate) fn admit(&self, given: Option<&str>, now: Instant) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        let given = given.ok_or(Refusal::Unknown)?;
        let known = self.0.iter().find(|key| equal(&key.config.key, given));
        let Key { config, bucket } = known.ok_or(Refusal::Unknown)?;
        let per_second = f64::from(config.requests_per_minute) / 60.0;
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * per_second).min(f64::from(burst(config)));
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        tracing::info!(key = config.name, "too many calls");
        let missing = (1.0 - bucket.tokens) / per_second;
        let wait = Duration::try_from_secs_f64(missing).unwrap_or(Duration::from_secs(3600));
        Err(Refusal::TooMany(wait))
    }
}

fn burst(config: &KeyConfig) -> u32 {
    config.burst.unwrap_or(config.requests_per_minute).max(1)
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn equal(one: &str, other: &str) -> bool {
    let bytes = one.bytes().zip(other.bytes());
    let differing = bytes.fold(0, |sum, (one, other)| sum | (one ^ other));
    one.len() == other.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of tests";

    fn config(name: &str, key: &str) -> KeyConfig {
        KeyConfig {
            name: name.to_owned(),
            key: key.to_owned(),
            requests_per_minute: 60,
            burst: Some(2),
        }
    }

    fn keys() -> Keys {
        Keys::new(vec![config("test", SECRET)]).unwrap()
    }

    #[test]
    fn keys_that_are_none_are_named() {
        for (configs, message) in [
            (
                vec![config("test", "")],
                "the key of `test` has 0 bytes, expected at least 16",
            ),
            (
                vec![config("one", SECRET), config("two", SECRET)],
                "`one` and `two` have the same key",
            ),
        ] {
            assert_eq!(Keys::new(configs).err().unwrap(), message);
        }
    }

    #[test]
    fn strangers_are_refused() {
        for given in [
            None,
            Some(""),
            Some("a secret of test"),
            Some("a secret of tests2"),
            Some("A secret of tests"),
        ] {
            assert_eq!(keys().admit(given, Instant::now()), Err(Refusal::Unknown));
        }
        let nobody = Keys::new(Vec::new()).unwrap();
        assert_eq!(nobody.admit(None, Instant::now()), Ok(()));
    }

    #[test]
    fn a_key_has_its_rate() {
        let keys = keys();
        let start = Instant::now();
        let admit = |millis| keys.admit(Some(SECRET), start + Duration::from_millis(millis));
        assert_eq!([admit(0), admit(0)], [Ok(()), Ok(())]);
        let Err(Refusal::TooMany(wait)) = admit(0) else {
            panic!("a third call at once");
        };
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(900));
        assert!(admit(500).is_err());
        assert_eq!(admit(1100), Ok(()));
        assert!(admit(1200).is_err());
        // What was not used does not add up.
        assert_eq!([admit(99_000), admit(99_000)], [Ok(()), Ok(())]);
        assert!(admit(99_000).is_err());
    }
}

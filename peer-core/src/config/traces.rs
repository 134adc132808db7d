//! Where traces of particles go.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Kind, Setting};

settings! {
    /// Traces of particles for OpenTelemetry, table `[tracing]`.
    pub table TracingConfig {
        /// Where they go: nowhere; to stdout, a line of JSON for each batch; or to a collector, by
        /// OTLP over HTTP with JSON.
        pub r#type: TracingType = TracingType::default(),
        /// URL of the collector, `http://` or `https://`; without a path, `/v1/traces` is meant.
        pub endpoint: String = "http://127.0.0.1:4318".to_owned(),
        /// The share of particles that are traced, from 0 to 1. Peers with the same share choose the
        /// same particles.
        pub sample_ratio: SampleRatio = SampleRatio::ALL,
    }
}

impl TracingConfig {
    /// The endpoint without what may be a key in its path.
    pub(super) fn public_endpoint(&self) -> String {
        let host = self.endpoint.find("://").map_or(0, |at| at + 3);
        let path = |rest: &str| rest.find('/').map(|at| host + at);
        let path = self.endpoint.get(host..).and_then(path);
        match path.and_then(|at| self.endpoint.split_at_checked(at)) {
            Some((host, path)) if !["/", "/v1/traces"].contains(&path) => format!("{host}/…"),
            _ => self.endpoint.clone(),
        }
    }
}

/// What becomes of traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TracingType {
    /// There are none.
    #[default]
    Disabled,
    /// They are written to stdout.
    Stdout,
    /// They are sent to a collector.
    Otlp,
}

impl Setting for TracingType {
    fn kind() -> Kind {
        Kind::Text("`disabled`, `stdout` or `otlp`")
    }
}

/// A share of particles: a number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct SampleRatio(f64);

// It is never NaN.
impl Eq for SampleRatio {}

impl SampleRatio {
    /// Every particle.
    pub const ALL: Self = Self(1.0);

    /// As a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for SampleRatio {
    type Error = String;

    fn try_from(ratio: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&ratio) {
            Ok(Self(ratio))
        } else {
            Err(format!("{ratio} is not a share, expected 0 to 1"))
        }
    }
}

impl From<SampleRatio> for f64 {
    fn from(ratio: SampleRatio) -> Self {
        ratio.0
    }
}

impl fmt::Display for SampleRatio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Setting for SampleRatio {
    fn kind() -> Kind {
        Kind::Number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigLayers, from_toml};

    #[test]
    fn tables_of_the_published_peer_are_understood() {
        let read = |text: &str| from_toml::<TracingConfig>(text).unwrap();
        let config = read("type = 'otlp'\nendpoint = 'http://collector:4318'\nsample_ratio = 0.25");
        assert_eq!(config.r#type, TracingType::Otlp);
        assert_eq!(config.sample_ratio.get(), 0.25);
        assert_eq!(read(""), TracingConfig::default());
        assert_eq!(read("sample_ratio = 1").sample_ratio, SampleRatio::ALL);
        for (text, part) in [
            ("type = 'jaeger'", "`stdout`"),
            ("typ = 'otlp'", "did you mean `type`?"),
            ("sample_ratio = 1.5", "1.5 is not a share"),
            ("sample_ratio = nan", "NaN is not a share"),
            ("sample_ratio = -1", "-1 is not a share"),
        ] {
            let error = from_toml::<TracingConfig>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn variables_are_read() {
        let mut layers = ConfigLayers::default();
        let variable = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        for (name, value) in [
            ("FLUENCE_TRACING__TYPE", "stdout"),
            ("FLUENCE_TRACING__SAMPLE_RATIO", "0.5"),
        ] {
            layers.environment(variable(name, value)).unwrap();
        }
        let config = layers.finish().unwrap().tracing;
        assert_eq!(config.r#type, TracingType::Stdout);
        assert_eq!(config.sample_ratio.get(), 0.5);
        for value in ["some", "2"] {
            let wrong = variable("FLUENCE_TRACING__SAMPLE_RATIO", value);
            let error = layers.environment(wrong).unwrap_err().to_string();
            assert!(error.contains(value), "{error}");
        }
    }

    #[test]
    fn keys_in_paths_are_not_shown() {
        for (endpoint, shown) in [
            ("http://host:4318", "http://host:4318"),
            ("https://host/v1/traces", "https://host/v1/traces"),
            ("https://host/v1/traces?key=geheim", "https://host/…"),
            ("host/geheim", "host/…"),
        ] {
            let config = TracingConfig {
                endpoint: endpoint.to_owned(),
                ..TracingConfig::default()
            };
            assert_eq!(config.public_endpoint(), shown);
        }
    }
}

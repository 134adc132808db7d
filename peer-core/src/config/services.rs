//! Marine services that are created when the peer starts.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{
        IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
        value::SeqAccessDeserializer,
    },
};

use super::{ByteSize, HumanDuration};

settings! {
    /// A service made of Wasm modules, an entry of `[[services]]`.
    pub entry ServiceConfig {
        /// The service id that scripts use.
        pub name: String,
        /// Further names of the service.
        #[serde(default)]
        pub aliases: Vec<String>,
        /// The modules, dependencies before their users; the last one is the facade.
        pub modules: Vec<ModuleConfig>,
        /// Linear memory of all modules together.
        #[serde(default)]
        pub memory_limit: Option<ByteSize>,
        /// Time for one call; `20s` when absent.
        #[serde(default = "default_call_timeout")]
        pub call_timeout: HumanDuration,
        /// Calls that may wait for the service, `1024` when absent; further ones fail at once.
        #[serde(default = "default_queue")]
        pub max_queued_calls: usize,
    }
}

settings! {
    /// One Wasm module of a service.
    pub entry ModuleConfig {
        /// The name other modules import it by.
        pub name: String,
        /// The module file.
        pub path: PathBuf,
        /// Environment variables.
        #[serde(default)]
        pub envs: BTreeMap<String, String>,
        /// Directories of the host the module may use, by the path the module sees.
        #[serde(default)]
        pub mapped_dirs: BTreeMap<String, PathBuf>,
        /// Whether the module's log output is shown.
        #[serde(default)]
        pub logger_enabled: bool,
    }
}

fn default_call_timeout() -> HumanDuration {
    HumanDuration::from_secs(20)
}

fn default_queue() -> usize {
    1024
}

/// Reads `[[services]]`. In files of the published peer `[services]` is a table of settings of its
/// engine, which have no effect here.
pub(super) fn list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ServiceConfig>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Published {
        #[serde(default, rename = "wasm_backend")]
        _wasm_backend: IgnoredAny,
    }

    struct Services;

    impl<'de> Visitor<'de> for Services {
        type Value = Vec<ServiceConfig>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("services, each in a table `[[services]]`")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(sequence))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Published::deserialize(MapAccessDeserializer::new(map))?;
            Ok(Vec::new())
        }
    }

    deserializer.deserialize_any(Services)
}

//! A configuration from several sources, of which later ones win (§8.1 of the peer description).

use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, Kind, PeerConfig, Setting as _, from_toml, suggest};

/// Tables of the file that the published image ships: their keys belong to the top level.
const FLATTENED: [&str; 6] = [
    "health_config",
    "http_config",
    "listen_config",
    "metrics_config",
    "node_config",
    "transport_config",
];

/// Another name of a key, and the key.
const RENAMED: [(&str, &str); 2] = [
    ("base_dir", "data_dir"),
    ("management_key", "management_peer_id"),
];

/// Variables with the prefix that are no keys: what the image and the logs use.
const NO_KEYS: [&str; 4] = ["CONFIG", "LOG_DISPLAY_SPAN_LIST", "LOG_FORMAT", "UID"];

/// The prefix of environment variables that are keys.
const PREFIX: &str = "FLUENCE_";

/// Sources of a configuration on top of each other: tables are joined, other values replaced.
///
/// ```
/// use peer_core::config::ConfigLayers;
///
/// let mut layers = ConfigLayers::default();
/// layers.text("tcp_port = 1\n[kademlia]\nquery_timeout = '1s'").unwrap();
/// layers.text("[kademlia]\nban_cooldown = '5s'").unwrap();
/// layers.environment([("FLUENCE_TCP_PORT".into(), "2".into())]).unwrap();
/// let config = layers.finish().unwrap();
/// assert_eq!(config.tcp_port, 2);
/// assert_eq!(config.kademlia.query_timeout.as_millis(), 1_000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConfigLayers {
    table: Table,
    notes: Vec<String>,
}

impl ConfigLayers {
    /// Adds a file.
    ///
    /// # Errors
    /// A file that cannot be read or is no configuration; the error names it.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.text(&text).map_err(|error| ConfigError::In {
            path: path.to_owned(),
            source: Box::new(error),
        })
    }

    /// Adds the text of a file.
    ///
    /// # Errors
    /// Text that is no configuration: unknown keys are refused with a suggestion.
    pub fn text(&mut self, text: &str) -> Result<(), ConfigError> {
        let mut table: Table = from_toml(text)?;
        if !self.flatten(&mut table)? {
            // With the original text, an error shows the line.
            from_toml::<PeerConfig>(text)?;
        }
        if let Kind::Table(keys) = PeerConfig::kind() {
            for key in keys {
                if key.kind == Kind::Ignored && table.contains_key(key.name) {
                    self.notes
                        .push(format!("the key `{}` has no effect here", key.name));
                }
            }
        }
        join(&mut self.table, table);
        Ok(())
    }

    /// Adds the variables of an environment that begin with `FLUENCE_`: `FLUENCE_TCP_PORT` is
    /// `tcp_port`, `FLUENCE_KADEMLIA__QUERY_TIMEOUT` is `query_timeout` in the table `kademlia`.
    /// Lists are separated by commas. Variables that are no keys are noted.
    ///
    /// # Errors
    /// A value that is not of its key's kind.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let schema = PeerConfig::kind();
        let mut variables: Vec<(String, String)> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        variables.sort();
        for (variable, text) in variables {
            let name = variable.strip_prefix(PREFIX).unwrap_or_default();
            if NO_KEYS.contains(&name) {
                continue;
            }
            let lower = name.to_lowercase();
            let renamed = RENAMED.iter().find(|(old, _)| *old == lower);
            let lower = renamed.map_or(lower, |(_, new)| (*new).to_owned());
            let path: Vec<&str> = lower.split("__").collect();
            let Some(kind) = schema.at(&path) else {
                let hint = suggest::closest(&lower, &key_names(&schema));
                let hint =
                    hint.map(|key| format!("; did you mean {PREFIX}{}?", key.to_uppercase()));
                let hint = hint.unwrap_or_default();
                self.notes.push(format!(
                    "the variable {variable} is no key of the configuration{hint}"
                ));
                continue;
            };
            if *kind == Kind::Ignored {
                self.notes
                    .push(format!("the variable {variable} has no effect here"));
                continue;
            }
            let value = read(kind, &text).ok_or_else(|| ConfigError::Variable {
                variable: variable.clone(),
                value: text.clone(),
                expected: expected(kind),
            })?;
            let mut layer = Table::new();
            insert(&mut layer, &path, value);
            from_toml::<PeerConfig>(&layer.to_string()).map_err(|error| ConfigError::Variable {
                variable,
                value: text,
                expected: error.to_string(),
            })?;
            join(&mut self.table, layer);
        }
        Ok(())
    }

    /// What was accepted without effect.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The configuration of all layers.
    ///
    /// # Errors
    /// Layers that do not fit together.
    pub fn finish(&self) -> Result<PeerConfig, ConfigError> {
        self.table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Invalid {
                message: error.to_string().trim_end().to_owned(),
                hint: String::new(),
            })
    }

    /// Moves keys of the published image's tables to where they belong and gives keys their names
    /// here; whether there was anything to do.
    fn flatten(&mut self, table: &mut Table) -> Result<bool, ConfigError> {
        let mut found = false;
        for name in FLATTENED {
            let Some(Value::Table(inner)) = table.remove(name) else {
                continue;
            };
            found = true;
            self.notes
                .push(format!("the keys of `[{name}]` belong to the top level"));
            for (key, value) in inner {
                table.entry(key).or_insert(value);
            }
        }
        for (old, new) in RENAMED {
            if let Some(value) = table.remove(old) {
                found = true;
                table.entry(new).or_insert(value);
            }
        }
        if found {
            from_toml::<PeerConfig>(&table.to_string())?;
        }
        Ok(found)
    }
}

/// Puts `upper` on `lower`.
fn join(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(lower)), Value::Table(upper)) => join(lower, upper),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

fn insert(table: &mut Table, path: &[&str], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert((*key).to_owned(), value);
        }
        [key, rest @ ..] => {
            let mut inner = Table::new();
            insert(&mut inner, rest, value);
            table.insert((*key).to_owned(), Value::Table(inner));
        }
    }
}

fn read(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Boolean => text.parse().ok().map(Value::Boolean),
        Kind::Integer => text.parse().ok().map(Value::Integer),
        Kind::Number => text.parse().ok().map(Value::Float),
        Kind::Text(_) => Some(Value::String(text.to_owned())),
        Kind::List(of) => {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            let values: Option<Vec<Value>> = parts.map(|part| read(of, part)).collect();
            values.map(Value::Array)
        }
        Kind::Map(_) | Kind::Table(_) | Kind::Ignored => None,
    }
}

fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Boolean => "true or false".to_owned(),
        Kind::Integer => "a whole number".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::Text(what) => (*what).to_owned(),
        Kind::List(of) => format!("a list separated by commas, each {}", expected(of)),
        Kind::Map(_) | Kind::Table(_) | Kind::Ignored => {
            "one of its keys, with `__` between table and key".to_owned()
        }
    }
}

fn key_names(kind: &Kind) -> Vec<&'static str> {
    match kind {
        Kind::Table(keys) => keys.iter().map(|key| key.name).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str, value: &str) -> [(String, String); 1] {
        [(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn later_layers_win_and_tables_are_joined() {
        let mut layers = ConfigLayers::default();
        layers
            .text("tcp_port = 1\nbootstrap_nodes = ['/ip4/1.1.1.1/tcp/1']\n[kademlia]\nquery_timeout = '1s'")
            .unwrap();
        layers
            .text("websocket_port = 5\n[kademlia]\npeer_fail_threshold = 9")
            .unwrap();
        layers
            .environment([
                ("FLUENCE_TCP_PORT".to_owned(), "3".to_owned()),
                (
                    "FLUENCE_BOOTSTRAP_NODES".to_owned(),
                    "/ip4/2.2.2.2/tcp/2, /ip4/3.3.3.3/tcp/3".to_owned(),
                ),
                ("FLUENCE_KADEMLIA__BAN_COOLDOWN".to_owned(), "7s".to_owned()),
                ("FLUENCE_METRICS_ENABLED".to_owned(), "false".to_owned()),
                ("PATH".to_owned(), "/bin".to_owned()),
            ])
            .unwrap();
        let config = layers.finish().unwrap();
        assert_eq!((config.tcp_port, config.websocket_port), (3, 5));
        assert_eq!(
            config.bootstrap_nodes,
            ["/ip4/2.2.2.2/tcp/2", "/ip4/3.3.3.3/tcp/3"]
        );
        assert_eq!(config.kademlia.query_timeout.as_millis(), 1_000);
        assert_eq!(config.kademlia.peer_fail_threshold, 9);
        assert_eq!(config.kademlia.ban_cooldown.as_millis(), 7_000);
        assert!(!config.metrics_enabled);
        assert!(layers.notes().is_empty());
    }

    #[test]
    fn wrong_variables_are_explained() {
        let mut layers = ConfigLayers::default();
        for (name, value) in [
            ("FLUENCE_TCP_PORT", "many"),
            ("FLUENCE_TCP_PORT", "70000"),
            ("FLUENCE_LOCAL", "1"),
            ("FLUENCE_SOCKET_TIMEOUT", "20"),
            ("FLUENCE_KADEMLIA", "x"),
        ] {
            let error = layers.environment(variable(name, value)).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
        layers
            .environment(variable("FLUENCE_TCP_PROT", "1"))
            .unwrap();
        assert!(
            layers.notes()[0].contains("did you mean FLUENCE_TCP_PORT?"),
            "{:?}",
            layers.notes()
        );
    }

    #[test]
    fn files_of_the_published_peer_are_understood() {
        let mut layers = ConfigLayers::default();
        layers
            .text(
                r#"
                cpus_range = "0-3"
                no_banner = true
                aquavm_pool_size = 3
                base_dir = "/data"
                [listen_config]
                tcp_port = 7
                [root_key_pair]
                format = "ed25519"
                secret_key = "AQEB"
                [avm_config]
                aquavm_heap_size_limit = "1 GiB"
                air_size_limit = "1 MiB"
                [services.wasm_backend]
                debug_info = true
                [network]
                custom = "0000000000000000000000000000000000000000000000000000000000000001"
                "#,
            )
            .unwrap();
        let config = layers.finish().unwrap();
        assert_eq!(config.tcp_port, 7);
        assert_eq!(config.cpus_range.as_deref(), Some("0-3"));
        assert_eq!(config.root_key_pair.value.as_deref(), Some("AQEB"));
        assert!(!config.root_key_pair.generate_on_absence);
        assert_eq!(config.data_dir.as_deref(), Some(Path::new("/data")));
        let engine = config.engine();
        assert_eq!(engine.max_parallel_runs, 3);
        assert_eq!(engine.vm.air_size_limit.0, 1 << 20);
        let notes = layers.notes().join("\n");
        for part in ["[listen_config]", "`no_banner`"] {
            assert!(notes.contains(part), "{notes}");
        }
        let error = layers.text("[listen_config]\ntcp_prot = 1").unwrap_err();
        assert!(error.to_string().contains("did you mean `tcp_port`?"));
    }
}

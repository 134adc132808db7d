//! The TOML form of a configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de};

use super::{
    ConfigError, LOG_ALL, ModuleConfig, ModuleSource, MountedBinary, ServiceConfig, ServiceLimits,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    modules_dir: Option<PathBuf>,
    service_working_dir: Option<PathBuf>,
    #[serde(default)]
    total_memory_limit: Limit,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    module: Vec<Module>,
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "published configurations have it; nothing ever used it"
    )]
    default: Option<de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    name: String,
    file_name: Option<String>,
    load_from: Option<PathBuf>,
    #[serde(default = "yes")]
    logger_enabled: bool,
    #[serde(default = "log_all")]
    logging_mask: i32,
    #[serde(default)]
    simd: bool,
    #[serde(default)]
    wasi: Wasi,
    #[serde(default)]
    mounted_binaries: BTreeMap<String, Binary>,
    // Obsolete, but in published configurations.
    #[serde(default)]
    #[expect(dead_code, reason = "read so that it is no unknown key")]
    mem_pages_count: Option<de::IgnoredAny>,
    #[serde(default)]
    #[expect(dead_code, reason = "read so that it is no unknown key")]
    max_heap_size: Option<de::IgnoredAny>,
    #[serde(default, alias = "preopend_files")]
    #[expect(dead_code, reason = "read so that it is no unknown key")]
    preopened_files: Option<de::IgnoredAny>,
}

/// Bounds beside that of memory.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    call_time: Option<Time>,
    value_size: Option<Limit>,
    stack_size: Option<Limit>,
    open_files: Option<usize>,
    #[serde(default)]
    disk: Limit,
}

/// A mounted binary: its path, or all of it.
#[derive(Deserialize)]
#[serde(from = "BinaryForm")]
struct Binary(BinaryTable);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected the path of a program, or a table with `path` and perhaps `envs`, `pass_envs`, `max_time`, `max_output`"
)]
enum BinaryForm {
    Path(PathBuf),
    Table(BinaryTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BinaryTable {
    path: PathBuf,
    #[serde(default)]
    envs: BTreeMap<String, String>,
    pass_envs: Option<BTreeSet<String>>,
    max_time: Option<Time>,
    max_output: Option<Limit>,
}

impl From<BinaryForm> for Binary {
    fn from(form: BinaryForm) -> Self {
        match form {
            BinaryForm::Table(table) => Self(table),
            BinaryForm::Path(path) => Self(BinaryTable {
                path,
                envs: BTreeMap::new(),
                pass_envs: None,
                max_time: None,
                max_output: None,
            }),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wasi {
    #[serde(default)]
    envs: BTreeMap<String, String>,
    #[serde(default)]
    mapped_dirs: BTreeMap<String, PathBuf>,
    #[serde(default = "yes")]
    expose_host_paths: bool,
    // Obsolete, but in published configurations; one of them misspelt.
    #[serde(default, alias = "preopend_files")]
    #[expect(dead_code, reason = "read so that it is no unknown key")]
    preopened_files: Option<de::IgnoredAny>,
}

fn yes() -> bool {
    true
}

fn log_all() -> i32 {
    LOG_ALL
}

/// A size in bytes, or none.
#[derive(Default, Debug, PartialEq)]
struct Limit(Option<u64>);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Limit;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("`Infinity`, a number of bytes, or a size like `64 MiB`")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Limit, E> {
                u64::try_from(value)
                    .map(|size| Limit(Some(size)))
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Limit, E> {
                Ok(Limit(Some(value)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Limit, E> {
                if matches!(value, "Infinity" | "infinity") {
                    return Ok(Limit(None));
                }
                size(value)
                    .map(|size| Limit(Some(size)))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A time: seconds, or a number with a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Time;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a number of seconds, or a time like `500 ms`, `30 s`, `2 min`")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Time, E> {
                u64::try_from(value)
                    .map(|seconds| Time(Duration::from_secs(seconds)))
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Time, E> {
                Duration::try_from_secs_f64(value)
                    .map(Time)
                    .map_err(|_| E::invalid_value(de::Unexpected::Float(value), &self))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Time, E> {
                time(value)
                    .map(Time)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A number with a unit of time: `500 ms`, `1.5s`, `2 min`.
fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(end);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// A number with an optional unit: `10 MiB`, `1.5GB`, `512`.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_lowercase();
    let (prefix, binary) = match unit.strip_suffix("ib") {
        Some(prefix) => (prefix, true),
        None => (unit.strip_suffix('b').unwrap_or(&unit), false),
    };
    let base: u64 = if binary { 1024 } else { 1000 };
    let power = match (prefix, binary) {
        ("", false) => 0,
        ("k", _) => 1,
        ("m", _) => 2,
        ("g", _) => 3,
        ("t", _) => 4,
        ("p", _) => 5,
        _ => return None,
    };
    let factor = base.pow(power);
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(factor);
    }
    let number: f64 = number.parse().ok()?;
    let bytes = number * factor as f64;
    (bytes >= 0.0 && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// The keys of the tables, for suggestions.
const KEYS: [&str; 27] = [
    "modules_dir",
    "service_working_dir",
    "total_memory_limit",
    "module",
    "default",
    "name",
    "file_name",
    "load_from",
    "logger_enabled",
    "logging_mask",
    "simd",
    "wasi",
    "mounted_binaries",
    "envs",
    "mapped_dirs",
    "expose_host_paths",
    "limits",
    "call_time",
    "value_size",
    "stack_size",
    "open_files",
    "disk",
    "path",
    "pass_envs",
    "max_time",
    "max_output",
    "preopened_files",
];

impl ServiceConfig {
    /// Reads a TOML file; relative paths in it begin at its directory.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, wrong values, paths that do not exist.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Self::from_toml(&text, &path.display().to_string(), folder)
    }

    /// The same from text; `file` names it in messages, `folder` is where relative paths begin.
    ///
    /// # Errors
    /// See [`ServiceConfig::load`].
    pub fn from_toml(text: &str, file: &str, folder: &Path) -> Result<Self, ConfigError> {
        let document: Document = ::toml::from_str(text).map_err(|error| ConfigError::Parse {
            file: file.to_owned(),
            reason: with_suggestion(&error.to_string()),
        })?;
        let modules_dir = document
            .modules_dir
            .map(|path| canonical(&folder.join(path)))
            .transpose()?;
        let modules = document
            .module
            .into_iter()
            .map(|module| module.resolve(modules_dir.as_deref(), folder))
            .collect::<Result<_, _>>()?;
        let usual = ServiceLimits::default();
        let limits = document.limits;
        Ok(Self {
            total_memory_limit: document.total_memory_limit.0,
            limits: ServiceLimits {
                call_time: limits.call_time.map(|time| time.0),
                value_size: bytes(limits.value_size, usual.value_size),
                stack_size: bytes(limits.stack_size, usual.stack_size),
                open_files: limits.open_files.unwrap_or(usual.open_files),
                disk: limits.disk.0,
            },
            working_dir: document
                .service_working_dir
                .unwrap_or_else(|| PathBuf::from(".")),
            ..Self::new(modules)
        })
    }
}

impl Module {
    fn resolve(
        self,
        modules_dir: Option<&Path>,
        folder: &Path,
    ) -> Result<ModuleConfig, ConfigError> {
        let file_name = self
            .file_name
            .unwrap_or_else(|| format!("{}.wasm", self.name));
        let path = match (&self.load_from, modules_dir) {
            (Some(path), _) => {
                let path = canonical(&folder.join(path))?;
                if path.is_file() {
                    path
                } else {
                    path.join(file_name)
                }
            }
            (None, Some(modules_dir)) => modules_dir.join(file_name),
            (None, None) => {
                return Err(ConfigError::Invalid(format!(
                    "\"modules_dir\" field is not defined, but it is required to load module \
                     \"{}\"",
                    self.name
                )));
            }
        };
        let mut mounted_binaries = BTreeMap::new();
        for (name, Binary(table)) in self.mounted_binaries {
            let path = if table.path.is_absolute() {
                table.path
            } else {
                canonical(&folder.join(table.path))?
            };
            let usual = MountedBinary::new(path);
            let binary = MountedBinary {
                envs: table.envs,
                pass_envs: table.pass_envs.unwrap_or_else(|| usual.pass_envs.clone()),
                max_time: table.max_time.map_or(usual.max_time, |time| time.0),
                max_output: bytes(table.max_output, usual.max_output),
                ..usual
            };
            mounted_binaries.insert(name, binary);
        }
        Ok(ModuleConfig {
            logger_enabled: self.logger_enabled,
            logging_mask: self.logging_mask,
            envs: self.wasi.envs,
            mapped_dirs: self.wasi.mapped_dirs,
            expose_host_paths: self.wasi.expose_host_paths,
            mounted_binaries,
            simd: self.simd,
            ..ModuleConfig::new(self.name, ModuleSource::File(path))
        })
    }
}

/// A limit of memory of the host: `Infinity` is as much as there is.
fn bytes(limit: Option<Limit>, usual: usize) -> usize {
    match limit {
        None => usual,
        Some(Limit(None)) => usize::MAX,
        Some(Limit(Some(bytes))) => usize::try_from(bytes).unwrap_or(usize::MAX),
    }
}

fn canonical(path: &Path) -> Result<PathBuf, ConfigError> {
    path.canonicalize().map_err(|source| ConfigError::Path {
        path: path.to_owned(),
        source,
    })
}

/// Adds what an unknown key may have been meant to be.
fn with_suggestion(message: &str) -> String {
    let unknown = message
        .split_once("unknown field `")
        .and_then(|(_, rest)| rest.split_once('`'));
    let near = unknown.and_then(|(key, _)| {
        let ranked = KEYS
            .iter()
            .map(|candidate| (distance(key, candidate), candidate));
        ranked
            .min()
            .filter(|(distance, _)| *distance <= 2 + key.len() / 4)
    });
    match near {
        Some((_, key)) => format!("{}\ndid you mean `{key}`?", message.trim_end()),
        None => message.trim_end().to_owned(),
    }
}

/// How many letters must be changed to turn one word into the other.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut next = vec![index + 1];
        let mut diagonal = index;
        for (other, above) in right.chars().zip(row.iter().skip(1)) {
            let beside = next.last().copied().unwrap_or(0);
            let change = diagonal + usize::from(letter != other);
            next.push(change.min(beside + 1).min(above + 1));
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10 MiB", 10_485_760),
            ("10 MB", 10_000_000),
            ("10m", 10_000_000),
            ("1.5 GiB", 1_610_612_736),
            ("512", 512),
            ("512 B", 512),
            ("1kib", 1024),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1 XB", "1 iB", "1e9"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn a_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"
            modules_dir = "."
            total_memory_limit = "64 MiB"
            [[module]]
            name = "sqlite3"
            mem_pages_count = 100
            [module.wasi]
            preopend_files = ["tmp"]
            mapped_dirs = { "/storage" = "." }
            envs = { KEY = "value" }
            [[module]]
            name = "spell"
            file_name = "spell-1.wasm"
            logging_mask = 3
        "#;
        let config = ServiceConfig::from_toml(text, "c.toml", folder.path()).unwrap();
        assert_eq!(config.total_memory_limit, Some(64 << 20));
        let [sqlite, spell] = &config.modules[..] else {
            panic!("{config:?}")
        };
        assert_eq!(sqlite.envs["KEY"], "value");
        assert_eq!(sqlite.mapped_dirs["/storage"], Path::new("."));
        assert!(
            matches!(&spell.source, ModuleSource::File(path) if path.ends_with("spell-1.wasm"))
        );
        assert_eq!(spell.logging_mask, 3);
    }

    #[test]
    fn bounds_and_binaries() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tool"), "").unwrap();
        let text = r#"
            modules_dir = "."
            [limits]
            call_time = "500 ms"
            value_size = "1 MiB"
            stack_size = "512 KiB"
            open_files = 8
            disk = "10 MB"
            [[module]]
            name = "a"
            [module.mounted_binaries]
            curl = "/usr/bin/curl"
            tool = { path = "tool", envs = { KEY = "v" }, pass_envs = [], max_time = 2, max_output = "1 KiB" }
        "#;
        let config = ServiceConfig::from_toml(text, "c.toml", folder.path()).unwrap();
        let expected = ServiceLimits {
            call_time: Some(Duration::from_millis(500)),
            value_size: 1 << 20,
            stack_size: 512 << 10,
            open_files: 8,
            disk: Some(10_000_000),
        };
        assert_eq!(config.limits, expected);
        let binaries = &config.modules[0].mounted_binaries;
        assert_eq!(binaries["curl"], MountedBinary::new("/usr/bin/curl"));
        let tool = &binaries["tool"];
        assert!(tool.path.is_absolute() && tool.path.ends_with("tool"));
        assert_eq!(tool.envs["KEY"], "v");
        assert!(tool.pass_envs.is_empty());
        assert_eq!(tool.max_time, Duration::from_secs(2));
        assert_eq!(tool.max_output, 1024);
        for wrong in [
            "[limits]\ncall_time = \"soon\"\n",
            "[limits]\ncall_time = -1\n",
            "[limits]\ndisc = 1\n",
            "[[module]]\nname = \"a\"\n[module.mounted_binaries]\nb = 1\n",
        ] {
            let error = ServiceConfig::from_toml(wrong, "c.toml", folder.path()).unwrap_err();
            assert!(error.to_string().contains("line"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| {
            ServiceConfig::from_toml(text, "c.toml", Path::new("."))
                .unwrap_err()
                .to_string()
        };
        let unknown = error("modules_dri = \".\"\n");
        assert!(
            unknown.contains("c.toml") && unknown.contains("line 1"),
            "{unknown}"
        );
        assert!(unknown.contains("did you mean `modules_dir`?"), "{unknown}");
        let unknown = error("[[module]]\nname = \"a\"\nloger_enabled = true\n");
        assert!(
            unknown.contains("did you mean `logger_enabled`?"),
            "{unknown}"
        );
        let value = error("total_memory_limit = -1\n");
        assert!(value.contains("64 MiB") && value.contains("-1"), "{value}");
        let value = error("[[module]]\nname = \"a\"\n[module.wasi]\nenvs = { A = 1 }\n");
        assert!(value.contains("string"), "{value}");
        let missing = error("[[module]]\nname = \"a\"\n");
        assert!(
            missing.contains("\"modules_dir\" field is not defined"),
            "{missing}"
        );
    }
}

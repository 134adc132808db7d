//! The `marine` tool: builds modules, looks into them, and runs services of them.

#[path = "marine/names.rs"]
mod names;
#[path = "marine/repl.rs"]
mod repl;
#[path = "marine/service.rs"]
mod service;

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand, ValueEnum};
use marine_runtime::{
    CallParameters, Interface, ModuleConfig, ServiceConfig,
    build::{BuildOptions, build},
    embed,
    module::{
        INTERFACE_SECTION, InterfaceSection, ModuleInfo, Outline, SDK_VERSION_SECTION,
        with_custom_section,
    },
};

use crate::service::Surroundings;

type Failure = Box<dyn std::error::Error>;

/// Builds Marine modules, looks into them, and runs services of them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the modules of a package or workspace: `cargo build --target wasm32-wasip1 --release`,
    /// then their interfaces.
    Build {
        /// Prints one line of JSON for each module.
        #[arg(long)]
        json: bool,
        /// Arguments for cargo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Checks a module as a runtime does when it loads it.
    Check {
        /// The module.
        module: PathBuf,
    },
    /// Prints versions and manifest of a module.
    Info {
        /// The module.
        module: PathBuf,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Works with the interface of a module.
    It {
        #[command(subcommand)]
        command: It,
    },
    /// Prints the interface of a module as JSON, as peers publish it.
    Interface {
        /// The module.
        module: PathBuf,
    },
    /// Replaces something in a module.
    Set {
        #[command(subcommand)]
        command: Set,
    },
    /// Prints the interface of a module as Aqua source.
    Aqua {
        /// The module.
        module: PathBuf,
        /// Name of the service; the file's name by default.
        #[arg(short, long)]
        service: Option<String>,
        /// Default id of the service.
        #[arg(short, long)]
        id: Option<String>,
    },
    /// Calls a function of a module or of a service.
    Run {
        /// A module, or the configuration of a service (`.toml`).
        target: PathBuf,
        /// The function.
        function: String,
        /// Its arguments, each as JSON.
        #[arg(allow_negative_numbers = true)]
        arguments: Vec<String>,
        #[command(flatten)]
        surroundings: Surroundings,
        /// Call parameters as JSON; missing fields are empty.
        #[arg(long)]
        parameters: Option<String>,
        /// How many seconds the call may take.
        #[arg(long, default_value_t = 60.0)]
        timeout: f64,
        /// Prints one line of JSON: result, seconds, bytes of memory of each module.
        #[arg(long)]
        json: bool,
    },
    /// Talks to a service: calls its functions line by line.
    Repl {
        /// The configuration of a service (`.toml`), or a module.
        target: Option<PathBuf>,
        #[command(flatten)]
        surroundings: Surroundings,
        /// Prints no greeting.
        #[arg(short, long)]
        quiet: bool,
    },
}

#[derive(Subcommand)]
enum It {
    /// Prints the interface section.
    Show {
        /// The module.
        module: PathBuf,
        /// As JSON, as peers publish it.
        #[arg(long, conflicts_with = "signatures")]
        json: bool,
        /// Only records and signatures, for people.
        #[arg(long)]
        signatures: bool,
    },
    /// Puts an interface section into a module.
    Embed {
        /// The module.
        module: PathBuf,
        /// The section as `it show` prints it; without it, what the SDK describes in the module.
        #[arg(short = 'w', long)]
        text: Option<PathBuf>,
        /// Where the module goes; its own place by default.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Set {
    /// Replaces the version of the SDK.
    Version {
        /// The module.
        #[arg(short, long)]
        input: PathBuf,
        /// The version.
        #[arg(short, long)]
        version: semver::Version,
        /// Where the module goes; its own place by default.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}

/// The engines that this tool was built with.
#[derive(Clone, Copy, Default, ValueEnum)]
enum EngineName {
    /// Wasmer.
    #[default]
    #[cfg(feature = "wasmer")]
    Wasmer,
    /// Wasmtime.
    #[cfg_attr(not(feature = "wasmer"), default)]
    #[cfg(feature = "wasmtime")]
    Wasmtime,
    /// No engine.
    #[cfg_attr(not(any(feature = "wasmer", feature = "wasmtime")), default)]
    #[cfg(not(any(feature = "wasmer", feature = "wasmtime")))]
    None,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,marine=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .init();
    match run(Arguments::parse().command) {
        Ok(output) => match say(&output) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a text, if there is any. Nobody needs to read it to its end.
fn say(text: &str) -> std::io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn run(command: Command) -> Result<String, Failure> {
    match command {
        Command::Build { json, arguments } => build_modules(json, arguments),
        Command::Check { module } => {
            let info = decode(&module)?;
            let interface = Interface::of(&info.interface);
            Ok(format!(
                "{}: {} functions, {} records, interface version {}",
                module.display(),
                interface.function_signatures.len(),
                interface.record_types.len(),
                info.interface.version
            ))
        }
        Command::Info { module, json } => info(&module, json),
        Command::It {
            command:
                It::Show {
                    module,
                    json,
                    signatures,
                },
        } => {
            let info = decode(&module)?;
            if json {
                Ok(serde_json::to_string_pretty(&Interface::of(
                    &info.interface,
                ))?)
            } else if signatures {
                Ok(text(&info.interface))
            } else {
                Ok(info.interface.to_text().trim_end().to_owned())
            }
        }
        Command::It {
            command:
                It::Embed {
                    module,
                    text,
                    output,
                },
        } => {
            let wasm = read(&module)?;
            let embedded = match text {
                None => embed::embed(&stem(&module), &wasm)?,
                Some(path) => {
                    let text = fs::read_to_string(&path)
                        .map_err(|error| format!("{}: {error}", path.display()))?;
                    let section = InterfaceSection::from_text(&text)
                        .map_err(|error| format!("{}: {error}", path.display()))?;
                    section.validate()?;
                    with_custom_section(INTERFACE_SECTION, &wasm, &section.encode()?)?
                }
            };
            write(output.as_ref().unwrap_or(&module), &embedded)?;
            Ok("interface types were successfully embedded".to_owned())
        }
        Command::Set {
            command:
                Set::Version {
                    input,
                    version,
                    output,
                },
        } => {
            let version = version.to_string();
            let wasm = read(&input)?;
            let changed = with_custom_section(SDK_VERSION_SECTION, &wasm, version.as_bytes())?;
            write(output.as_ref().unwrap_or(&input), &changed)?;
            Ok("the version was successfully embedded".to_owned())
        }
        Command::Interface { module } => {
            let interface = Interface::of(&decode(&module)?.interface);
            Ok(serde_json::to_string_pretty(&interface)?)
        }
        Command::Aqua {
            module,
            service,
            id,
        } => {
            let interface = Interface::of(&decode(&module)?.interface);
            let service = service.unwrap_or_else(|| stem(&module));
            Ok(interface
                .to_aqua(&service, id.as_deref())
                .trim_end()
                .to_owned())
        }
        Command::Run {
            target,
            function,
            arguments,
            surroundings,
            parameters,
            timeout,
            json,
        } => {
            let parameters: CallParameters = match parameters {
                Some(text) => serde_json::from_str(&text)
                    .map_err(|error| format!("--parameters {text}: {error}"))?,
                None => CallParameters::default(),
            };
            for argument in &arguments {
                serde_json::from_str::<serde::de::IgnoredAny>(argument).map_err(|error| {
                    format!("argument {argument} is not JSON: {error} (a string needs quotes)")
                })?;
            }
            let timeout = Duration::try_from_secs_f64(timeout)
                .map_err(|error| format!("--timeout {timeout}: {error}"))?;
            let deadline = Instant::now().checked_add(timeout);
            let mut service = surroundings.start(&target, deadline)?;
            let arguments = format!("[{}]", arguments.join(","));
            let started = Instant::now();
            let result = service.call(&function, &arguments, &parameters, deadline)?;
            if !json {
                return Ok(result);
            }
            let memory: serde_json::Map<_, _> = service
                .memory_stats()
                .modules
                .into_iter()
                .map(|(name, bytes)| (name, bytes.into()))
                .collect();
            let seconds = started.elapsed().as_secs_f64();
            let result: serde_json::Value = serde_json::from_str(&result)?;
            let line = serde_json::json!({"result": result, "seconds": seconds, "memory": memory});
            Ok(line.to_string())
        }
        Command::Repl {
            target,
            surroundings,
            quiet,
        } => {
            repl::run(target, surroundings, quiet)?;
            Ok(String::new())
        }
    }
}

fn build_modules(json: bool, arguments: Vec<String>) -> Result<String, Failure> {
    let mut options = BuildOptions::new(".");
    options.arguments = arguments;
    let mut lines = Vec::new();
    for module in build(&options)? {
        lines.push(if json {
            serde_json::json!({"name": module.name, "path": module.path}).to_string()
        } else {
            module.path.display().to_string()
        });
    }
    if lines.is_empty() {
        return Err(
            "nothing that was built is a module: no file has the SDK's version in it (does the package use \
             `marine_sdk`, with its feature `marine-abi`?)"
                .into(),
        );
    }
    Ok(lines.join("\n"))
}

/// The configuration of the service in a `.toml` file, or of a module alone.
fn configuration(target: &Path, simd: bool) -> Result<ServiceConfig, Failure> {
    if target
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        return Ok(ServiceConfig::load(target)?);
    }
    let mut module = ModuleConfig::from_file(stem(target), target);
    module.simd = simd;
    Ok(ServiceConfig::new(vec![module]))
}

fn info(path: &Path, json: bool) -> Result<String, Failure> {
    let bytes = read(path)?;
    let name = stem(path);
    let outline = Outline::read(&name, &bytes)?;
    let interface = InterfaceSection::decode(outline.interface_section()?)?;
    let sdk = outline.sdk_version().ok();
    let manifest = outline.manifest()?;
    if json {
        let manifest = manifest.map(|manifest| {
            serde_json::json!({
                "authors": manifest.authors,
                "version": manifest.version.to_string(),
                "description": manifest.description,
                "repository": manifest.repository,
                "build_time": manifest.build_time,
            })
        });
        let value = serde_json::json!({
            "it_version": interface.version.to_string(),
            "sdk_version": sdk.map(|version| version.to_string()),
            "manifest": manifest,
        });
        return Ok(value.to_string());
    }
    let mut lines = vec![format!("it version:  {}", interface.version)];
    lines.push(match sdk {
        Some(version) => format!("sdk version: {version}"),
        None => "module doesn't contain sdk version".to_owned(),
    });
    match manifest {
        Some(manifest) => lines.extend([
            format!("authors:     {}", manifest.authors),
            format!("version:     {}", manifest.version),
            format!("description: {}", manifest.description),
            format!("repository:  {}", manifest.repository),
            format!("build time:  {}", manifest.build_time),
        ]),
        None => lines.push("module doesn't contain module manifest".to_owned()),
    }
    Ok(lines.join("\n"))
}

/// The interface as people read it: records and signatures.
fn text(section: &InterfaceSection) -> String {
    let interface = Interface::of(section);
    let mut lines = vec![format!("interface version {}", section.version)];
    for record in &interface.record_types {
        lines.push(format!("\nrecord {} (id {})", record.name, record.id));
        lines.extend(
            record
                .fields
                .iter()
                .map(|field| format!("  {}: {}", field.name, field.ty)),
        );
    }
    lines.push(String::new());
    for function in &interface.function_signatures {
        let arguments: Vec<_> = function
            .arguments
            .iter()
            .map(|(name, ty)| format!("{name}: {ty}"))
            .collect();
        let output = function.output_types.first().map(|ty| format!(" -> {ty}"));
        let output = output.unwrap_or_default();
        lines.push(format!(
            "{}({}){output}",
            function.name,
            arguments.join(", ")
        ));
    }
    lines.join("\n")
}

fn decode(path: &Path) -> Result<ModuleInfo, Failure> {
    Ok(ModuleInfo::decode(&stem(path), &read(path)?)?)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Writes a file at once or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let temporary = path.with_extension("wasm.tmp");
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| format!("{}: {error}", path.display()).into())
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

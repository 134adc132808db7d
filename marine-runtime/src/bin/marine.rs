//! The `marine` tool: looks into modules and runs services.

use std::{
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand, ValueEnum};
use marine_runtime::{
    CallParameters, Engine, Interface, ModuleConfig, Service, ServiceConfig,
    module::{InterfaceSection, ModuleInfo, Outline},
};

type Failure = Box<dyn std::error::Error>;

/// Looks into Marine modules and runs services of them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
        arguments: Vec<String>,
        /// Which engine runs it.
        #[arg(long, value_enum, default_value_t)]
        engine: EngineName,
        /// Call parameters as JSON; missing fields are empty.
        #[arg(long)]
        parameters: Option<String>,
        /// How many seconds the call may take.
        #[arg(long, default_value_t = 60.0)]
        timeout: f64,
        /// Lets a module use SIMD.
        #[arg(long)]
        simd: bool,
    },
}

#[derive(Subcommand)]
enum It {
    /// Prints the interface.
    Show {
        /// The module.
        module: PathBuf,
        /// Prints the JSON that peers publish.
        #[arg(long)]
        json: bool,
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
        Ok(output) => {
            println!("{output}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<String, Failure> {
    match command {
        Command::Info { module, json } => info(&module, json),
        Command::It {
            command: It::Show { module, json },
        } => {
            let info = decode(&module)?;
            let interface = Interface::of(&info.interface);
            if json {
                Ok(serde_json::to_string_pretty(&interface)?)
            } else {
                Ok(text(&info.interface))
            }
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
            engine,
            parameters,
            timeout,
            simd,
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
            let config = if target
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                ServiceConfig::load(&target)?
            } else {
                let mut module = ModuleConfig::from_file(stem(&target), &target);
                module.simd = simd;
                ServiceConfig::new(vec![module])
            };
            let timeout = Duration::try_from_secs_f64(timeout)
                .map_err(|error| format!("--timeout {timeout}: {error}"))?;
            let deadline = Instant::now().checked_add(timeout);
            let mut service = Service::with_deadline(config, &engine.create()?, deadline)?;
            let arguments = format!("[{}]", arguments.join(","));
            Ok(service.call(&function, &arguments, &parameters, deadline)?)
        }
    }
}

impl EngineName {
    fn create(self) -> Result<Engine, Failure> {
        match self {
            #[cfg(feature = "wasmer")]
            Self::Wasmer => Ok(Engine::wasmer()),
            #[cfg(feature = "wasmtime")]
            Self::Wasmtime => Ok(Engine::wasmtime()?),
            #[cfg(not(any(feature = "wasmer", feature = "wasmtime")))]
            Self::None => Err("this tool was built without an engine".into()),
        }
    }
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

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

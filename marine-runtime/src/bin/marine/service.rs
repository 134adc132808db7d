//! Starts services for the tool.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use marine_runtime::{Engine, Service, ServiceConfig};

use crate::{EngineName, Failure};

/// What a service runs on.
#[derive(clap::Args)]
pub(crate) struct Surroundings {
    /// Which engine runs it.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    /// Keeps compiled modules in this folder, for the next start.
    #[arg(long, env = "MARINE_CACHE")]
    cache: Option<PathBuf>,
    /// Where mapped directories begin: `service_working_dir` of the configuration by default, or the
    /// current directory.
    #[arg(long)]
    working_dir: Option<PathBuf>,
    /// Lets a module given by itself use SIMD.
    #[arg(long)]
    pub(crate) simd: bool,
}

impl Surroundings {
    /// Starts the service of a configuration or module.
    pub(crate) fn start(
        &self,
        target: &Path,
        deadline: Option<Instant>,
    ) -> Result<Service, Failure> {
        self.start_config(crate::configuration(target, self.simd)?, deadline)
    }

    /// Starts a service.
    pub(crate) fn start_config(
        &self,
        mut config: ServiceConfig,
        deadline: Option<Instant>,
    ) -> Result<Service, Failure> {
        if let Some(folder) = &self.working_dir {
            config.working_dir.clone_from(folder);
        }
        let names: Vec<_> = config
            .modules
            .iter()
            .map(|module| module.name.clone())
            .collect();
        let shown = progress(format!("loading {}", names.join(", ")));
        let service = Service::with_deadline(config, &self.engine()?, deadline);
        shown.finish_and_clear();
        Ok(service?)
    }

    fn engine(&self) -> Result<Engine, Failure> {
        let engine = self.engine.create()?;
        Ok(match &self.cache {
            Some(folder) => engine.with_cache_folder(folder),
            None => engine,
        })
    }
}

/// Shows on a terminal that something goes on.
pub(crate) fn progress(message: String) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
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

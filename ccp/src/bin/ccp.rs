//! Proves capacity: `ccp CONFIG`.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ccp::{
    Puzzle,
    daemon::{Addresses, Config, Daemon},
    service::View,
};
use clap::Parser;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Lines of the log under the live view.
const LOG_LINES: usize = 8;

#[derive(Parser)]
#[command(
    name = "ccp",
    version,
    about = "Proves that compute units are really there"
)]
struct Arguments {
    /// The configuration.
    config: PathBuf,
    /// Print what it is at as JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Seconds between two of them.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load(&arguments.config)?;
    let live = !arguments.json && io::stdout().is_terminal();
    let log = Log::default();
    let filter = EnvFilter::try_from_env("CCP_LOG")
        .unwrap_or_else(|_| EnvFilter::new(config.logs.log_level.as_str()));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    if live {
        subscriber.with_ansi(false).with_writer(log.clone()).init();
    } else {
        let colours = io::stderr().is_terminal();
        subscriber.with_ansi(colours).with_writer(io::stderr).init();
    }
    #[cfg(all(feature = "native", target_os = "linux", target_env = "gnu"))]
    if config.optimizations.large_pages != Some(false) {
        huge_pages::ask();
    }
    if config.logs.print_config {
        eprintln!("{}", toml::to_string(&config)?);
    }
    let daemon = Daemon::open(config.clone(), puzzle(&config))?;
    let viewer = daemon.viewer();
    let stopping = Arc::new(AtomicBool::new(false));
    let (json, every) = (arguments.json, Duration::from_secs(arguments.every));
    let view = Arc::clone(&stopping);
    let printing = (live || json).then(|| {
        std::thread::spawn(move || {
            let pause = if json { every } else { Duration::from_secs(1) };
            while !view.load(Ordering::Relaxed) {
                std::thread::park_timeout(pause);
                // Nobody reads any more: proving goes on.
                let _ = match json {
                    true => print_json(&viewer()),
                    false => print_table(&viewer(), &log),
                };
            }
        })
    });
    let announce = |addresses: Addresses| {
        if json {
            let _ = writeln!(io::stdout(), "{}", listening(addresses));
        }
    };
    let served = daemon.serve(announce, terminated());
    stopping.store(true, Ordering::Relaxed);
    if let Some(thread) = printing {
        thread.thread().unpark();
        let _ = thread.join();
    }
    Ok(served?)
}

fn listening(addresses: Addresses) -> String {
    serde_json::json!({ "listening": addresses }).to_string()
}

/// The fastest puzzle that was built in.
#[cfg(feature = "native")]
fn puzzle(config: &Config) -> Arc<dyn Puzzle> {
    let wanted = &config.optimizations;
    Arc::new(ccp::NativePuzzle::new(ccp::NativeOptions {
        light: wanted.full_memory == Some(false),
        large_pages: wanted.large_pages,
        hard_aes: wanted.hard_aes,
        jit: wanted.jit,
        secure: wanted.secure == Some(true),
        argon2: wanted.argon2.map(|argon2| match argon2 {
            ccp::daemon::Argon2::Default => ccp::Argon2::Default,
            ccp::daemon::Argon2::Ssse3 => ccp::Argon2::Ssse3,
            ccp::daemon::Argon2::Avx2 => ccp::Argon2::Avx2,
        }),
    }))
}

/// The portable puzzle, which is for tests: it is a hundred times too slow to earn anything.
#[cfg(not(feature = "native"))]
fn puzzle(config: &Config) -> Arc<dyn Puzzle> {
    if config.optimizations.full_memory == Some(true) {
        tracing::error!("optimizations.full-memory needs a build with the feature `native`");
    }
    tracing::warn!("built without the feature `native`: hashes are slow, in light mode only");
    Arc::new(ccp::PortablePuzzle::new())
}

/// Transparent huge pages for datasets and caches, which the system gives to any process that asks,
/// other than those that an administrator has set aside.
///
/// RandomX reads its memory at random, so that with small pages most reads also miss the processor's
/// cache of addresses. Its library takes the memory from `malloc`, and glibc asks for huge pages only
/// where the environment said so before the process started.
#[cfg(all(feature = "native", target_os = "linux", target_env = "gnu"))]
mod huge_pages {
    use std::{env, os::unix::process::CommandExt as _, process::Command};

    const TUNABLES: &str = "GLIBC_TUNABLES";
    const HUGE_PAGES: &str = "glibc.malloc.hugetlb";

    /// Starts this program again, in the same process, unless it was started so.
    pub(super) fn ask() {
        let Some(tunables) = with_huge_pages(env::var(TUNABLES).ok()) else {
            return;
        };
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_else(|| "ccp".into());
        let error = match env::current_exe() {
            Ok(program) => Command::new(program)
                .arg0(name)
                .args(arguments)
                .env(TUNABLES, tunables)
                .exec(),
            Err(error) => error,
        };
        tracing::warn!(%error, "hashes are slower than they could be: no transparent huge pages");
    }

    /// What the environment shall say; nothing if it says something about them.
    fn with_huge_pages(tunables: Option<String>) -> Option<String> {
        let mut tunables = tunables.unwrap_or_default();
        if tunables.contains(HUGE_PAGES) {
            return None;
        }
        if !tunables.is_empty() {
            tunables.push(':');
        }
        tunables.push_str(HUGE_PAGES);
        tunables.push_str("=1");
        Some(tunables)
    }
}

/// Waits until somebody wants it to end.
async fn terminated() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => {
                let _ = interrupt.await;
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = interrupt.await;
    }
}

fn print_json(view: &View) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, view)?;
    writeln!(out)?;
    out.flush()
}

/// Replaces the table on the screen, with the end of the log below.
fn print_table(view: &View, log: &Log) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "\x1b[H\x1b[J{}\n{}", view.table(), log.text())?;
    out.flush()
}

/// The end of the log, while the screen shows something else.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_back(String::from_utf8_lossy(bytes).into_owned());
        while lines.len() > LOG_LINES {
            lines.pop_front();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

//! The `peer` binary as a process of its own: to measure it, and to kill it.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::tidy::workspace_root;

/// Ticks in which Linux counts processor time.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running `peer`; it is killed with this value.
#[derive(Debug)]
pub struct Host {
    process: Child,
    /// Addresses of its listeners, TCP first.
    pub listen: Vec<String>,
    /// Address of its HTTP interface.
    pub http: String,
    /// How long it took until it was ready.
    pub ready_after: Duration,
}

/// How the binary is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// As for tests.
    Dev,
    /// As for use.
    Release,
}

/// Builds the binary; the result is its path.
///
/// # Errors
/// Cargo does not run, or the binary does not build.
pub fn build(profile: Profile) -> Result<PathBuf, String> {
    let root = workspace_root();
    let release = profile == Profile::Release;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        // Of the whole workspace: the features of the tests, so that little is built again.
        .args(["build", "--quiet", "--locked", "--workspace", "--bin", "peer"])
        // With the allocator that hosts are advised to take.
        .args(["--release", "--features", "jemalloc"].iter().filter(|_| release))
        .current_dir(&root)
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    if !status.success() {
        return Err("the peer does not build".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    let folder = if release { "release" } else { "debug" };
    Ok(target.join(folder).join("peer"))
}

impl Host {
    /// Starts the binary on ports of loopback and waits until it is ready.
    ///
    /// # Errors
    /// It does not start, or ends before it is ready.
    pub fn start(binary: &Path, arguments: &[&str]) -> Result<Self, String> {
        let began = Instant::now();
        let process = Command::new(binary)
            .args(["--listen-ip", "127.0.0.1", "--allow-local-addresses"])
            .args(["--http-port", "0", "--log", "error"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        // Owned from here on, so that it ends with whatever goes wrong.
        let mut host = Self {
            process,
            listen: Vec::new(),
            http: String::new(),
            ready_after: Duration::ZERO,
        };
        let stdout = host.process.stdout.take().ok_or("the peer has no stdout")?;
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| format!("peer: {error}"))?;
            match line.split_once(' ') {
                Some(("listen", address)) => host.listen.push(address.to_owned()),
                Some(("http", address)) => address.clone_into(&mut host.http),
                None if line == "ready" => {
                    host.ready_after = began.elapsed();
                    return Ok(host);
                }
                _ => {}
            }
        }
        Err("the peer ended before it was ready".to_owned())
    }

    /// Its first address.
    ///
    /// # Errors
    /// It did not say any.
    pub fn address(&self) -> Result<&str, String> {
        let address = self.listen.first().ok_or("the peer does not listen")?;
        Ok(address)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<Metrics, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.http);
        let mut stream = TcpStream::connect(&self.http).map_err(failed)?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
            .map_err(failed)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(failed)?;
        Ok(Metrics { text })
    }

    /// Ends it as a power cut would, as far as a process can be.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self) -> Result<(), String> {
        self.process.kill().map_err(|error| error.to_string())?;
        self.process.wait().map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Bytes of memory it has in use.
    ///
    /// # Errors
    /// The system does not say.
    pub fn resident(&self) -> Result<u64, String> {
        resident(self.id())
    }

    /// Processor time it has used.
    ///
    /// # Errors
    /// The system does not say.
    pub fn cpu(&self) -> Result<Duration, String> {
        cpu(self.id())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// What a peer has counted.
#[derive(Debug)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// The sum of all series that begin like this.
    #[must_use]
    pub fn sum(&self, start: &str) -> i64 {
        let lines = self.text.lines().filter(|line| line.starts_with(start));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<i64>().ok());
        values.sum()
    }
}

/// Bytes of memory that a process has in use.
///
/// # Errors
/// The system does not say.
pub fn resident(process: u32) -> Result<u64, String> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| format!("{path} does not say how much memory is in use"))
}

/// Processor time that a process has used.
///
/// # Errors
/// The system does not say.
pub fn cpu(process: u32) -> Result<Duration, String> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let ticks = stat.rsplit_once(')').map(|(_, fields)| {
        let fields = fields.split_whitespace().skip(11).take(2);
        fields.filter_map(|field| field.parse::<f64>().ok()).sum()
    });
    let ticks: f64 = ticks.ok_or_else(|| format!("{path} is not understood"))?;
    Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}

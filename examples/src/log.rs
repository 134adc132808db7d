//! Logs go to stderr, so that stdout stays what the example promises.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format::Writer};
use tracing_subscriber::registry::LookupSpan;

/// What libp2p reports below this is of interest to its developers only.
const QUIET: &str = "libp2p_swarm=warn,libp2p_kad=error,libp2p_identify=warn";

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Default,
    /// One line of `key=value` a message, for machines.
    Logfmt,
}

/// Shows messages from `level` on; the variable `RUST_LOG` overrides it.
pub fn to_stderr(level: &str) {
    start(level, LogFormat::Default);
}

/// Shows messages from `level` on in this form; the variable `RUST_LOG` overrides the level.
pub fn start(level: &str, format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},{level}")));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second call changes nothing.
    let _ = match format {
        LogFormat::Default => logs.try_init(),
        LogFormat::Logfmt => logs.event_format(Logfmt).try_init(),
    };
}

/// Writes `ts=1700000000.123 level=info target=peer_core::peer msg="…" key=value`.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let meta = event.metadata();
        let mut line = format!(
            "ts={}.{:03} level={} target={}",
            now.as_secs(),
            now.subsec_millis(),
            meta.level().as_str().to_lowercase(),
            meta.target()
        );
        event.record(&mut Pairs(&mut line));
        writeln!(writer, "{line}")
    }
}

/// Appends fields as pairs; the message is called `msg`.
struct Pairs<'a>(&'a mut String);

impl Pairs<'_> {
    fn pair(&mut self, field: &Field, value: &str) {
        let name = match field.name() {
            "message" => "msg",
            name => name,
        };
        // Nothing that is logged can begin a line of its own or another pair.
        let plain = !value.is_empty()
            && value
                .chars()
                .all(|c| !c.is_control() && !matches!(c, ' ' | '"' | '=' | '\\'));
        let _ = match plain {
            true => write!(self.0, " {name}={value}"),
            false => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Visit for Pairs<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.pair(field, &format!("{value:?}"));
    }
}

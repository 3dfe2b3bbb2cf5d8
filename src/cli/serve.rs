//! `tetrarch serve`: gathers the settings, sets up the log lines, runs the node.
//!
//! Promises: nothing is started before all settings are checked. Relies on: clap for flags and
//! environment, [`crate::config`] for the checks, the function that `main` hands over for the rest.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::config::{
    Config, Given, LabSettings, LogFormat, SETTINGS, SettingsFile, Source, resolve,
};
use crate::runtime::{Tasks, causes, limits, planted};

/// Settings as texts: [`crate::config`] checks them together with those of the file.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// A TOML file with settings, named as the flags with `_` for `-`; flags and environment win.
    #[arg(long, env = "TETRARCH_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the node keeps everything; required.
    #[arg(long, env = "TETRARCH_DATA_DIR", value_name = "DIR", id = "data-dir")]
    data_dir: Option<String>,
    /// Where it listens [default: 127.0.0.1:7101]; port 0 lets the system choose.
    #[arg(long, env = "TETRARCH_LISTEN", value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where others reach it [default: as in founders, else listen].
    #[arg(long, env = "TETRARCH_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Local address from which it connects to other nodes [default: the system's choice].
    #[arg(long, env = "TETRARCH_PEER_SOURCE", value_name = "IP", id = "peer-source")]
    peer_source: Option<String>,
    /// The node's id, at least 1, never used before; required.
    #[arg(long, env = "TETRARCH_NODE", value_name = "N")]
    node: Option<String>,
    /// Founds a cluster of these members; all of them are given the same list.
    #[arg(long, env = "TETRARCH_FOUNDERS", value_name = "ID=HOST:PORT,...")]
    founders: Option<String>,
    /// Enters the cluster of this member instead.
    #[arg(long, env = "TETRARCH_JOIN", value_name = "URL,...")]
    join: Option<String>,
    /// Number of groups, when founding [default: 8 a node, at least 16].
    #[arg(long, env = "TETRARCH_GROUPS", value_name = "N")]
    groups: Option<String>,
    /// Replicas of each group, when founding [default: 3, or fewer nodes].
    #[arg(long, env = "TETRARCH_REPLICAS", value_name = "N")]
    replicas: Option<String>,
    /// Heartbeat in milliseconds [default: 300; 1000 above 300 groups].
    #[arg(long, env = "TETRARCH_HEARTBEAT_MS", value_name = "MS", id = "heartbeat-ms")]
    heartbeat_ms: Option<String>,
    /// Groups that nobody uses become quiet: on, off, or after how many milliseconds [default: on].
    #[arg(long, env = "TETRARCH_QUIESCE", value_name = "ON|OFF|MS")]
    quiesce: Option<String>,
    /// Size of a log segment [default: 16].
    #[arg(long, env = "TETRARCH_SEGMENT_MIB", value_name = "MIB", id = "segment-mib")]
    segment_mib: Option<String>,
    /// Log bytes of the node above which its largest group is checkpointed [default: 64].
    #[arg(long, env = "TETRARCH_CHECKPOINT_AFTER_MIB", value_name = "MIB")]
    #[arg(id = "checkpoint-after-mib")]
    checkpoint_after_mib: Option<String>,
    /// Entries kept behind a checkpoint [default: 4096].
    #[arg(long, env = "TETRARCH_LOG_KEEP_ENTRIES", value_name = "N", id = "log-keep-entries")]
    log_keep_entries: Option<String>,
    /// Log kept of one eventual namespace, in KiB [default: 65536]; who was away longer gets rows.
    #[arg(long, env = "TETRARCH_EVENTUAL_LOG_KIB", value_name = "KIB", id = "eventual-log-kib")]
    eventual_log_kib: Option<String>,
    /// How log lines look: text or json [default: text].
    #[arg(long, env = "TETRARCH_LOG_FORMAT", value_name = "FORMAT", id = "log-format")]
    log_format: Option<String>,
    /// Which log lines are written: a level or directives [default: info,openraft=error].
    #[arg(long, env = "TETRARCH_LOG_LEVEL", value_name = "LEVEL", id = "log-level")]
    log_level: Option<String>,
    /// Stops when standard input ends: a child that must not outlive `dev`.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
    /// Makes the node part of a measurement: its lines to others can be made long and cut, its clock
    /// set wrong, by whoever can reach it.
    #[arg(long, hide = true)]
    lab_seed: Option<u64>,
    /// How long everything that is sent to another node takes at first.
    #[arg(long, hide = true, requires = "lab_seed", default_value_t = 0)]
    lab_delay_ms: u64,
}

pub(super) async fn run<F, Served, E>(
    args: &ServeArgs,
    matches: &ArgMatches,
    serve: F,
) -> Result<(), Failure>
where
    F: FnOnce(Config) -> Served,
    Served: Future<Output = Result<(), E>>,
    E: std::error::Error,
{
    let file = match &args.config {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure { code: 2, ..Failure::file("read", path, &error) })?;
            Some(SettingsFile { path: path.clone(), text })
        }
    };
    let mut config = resolve(&given(matches), file.as_ref())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let delay = Duration::from_millis(args.lab_delay_ms);
    config.lab = args.lab_seed.map(|seed| LabSettings { delay, seed });
    let warning = planted::warning().map_err(Failure::usage)?;
    start_log_lines(&config);
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    if config.lab.is_some() {
        tracing::warn!("this node is part of a laboratory: never for data that matters");
    }
    if args.stop_with_stdin {
        stop_with_stdin();
    }
    serve(config).await.map_err(|error| Failure::failed(causes(&error)))
}

fn given(matches: &ArgMatches) -> Vec<Given> {
    let one = |setting: &&str| {
        let source = match matches.value_source(setting)? {
            ValueSource::EnvVariable => Source::Environment,
            _ => Source::Flag,
        };
        let text = matches.get_one::<String>(setting)?.clone();
        Some(Given { setting: (*setting).to_owned(), text, source })
    };
    SETTINGS.iter().filter_map(one).collect()
}

fn start_log_lines(config: &Config) {
    let filter = EnvFilter::new(&config.log_level);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber can only be a test's, which then has the lines.
    drop(match config.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    });
}

/// Asks this process to stop, as an operator would, once standard input ends; and insists if it has
/// not done so in time, since nobody is left to do it.
fn stop_with_stdin() {
    let watch = move || {
        let mut input = std::io::stdin().lock();
        let mut bytes = [0; 64];
        while matches!(input.read(&mut bytes), Ok(n) if n > 0) {}
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::TERM).ok();
        std::thread::park_timeout(Duration::from_secs(limits::DEV_STOP_SECONDS));
        rustix::process::kill_process(me, rustix::process::Signal::KILL).ok();
    };
    drop(Tasks::default().thread("stdin-watch", watch));
}

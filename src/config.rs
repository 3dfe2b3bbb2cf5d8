//! The settings of `tetrarch serve`: read once, checked as a whole, before anything starts.
//!
//! Why it exists: a node that finds out about a wrong setting while it runs has already taken part.
//! Every setting has a text form and comes from a flag, the environment (`TETRARCH_*`) or a TOML
//! file, in that order of precedence; [`resolve`] checks them all and reports **all** problems at
//! once, each with the setting, its value, where it came from, what is wrong and what to change.
//!
//! Promises: a [`Config`] is valid; nothing else in the crate reads settings. Relies on: the
//! command line for the flags and the environment (it hands over [`Given`] texts), `toml`.

mod checks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::model::NodeId;
use crate::runtime::limits::QUIET_BEAT;

pub use checks::resolve;

/// Names of all settings, as flags spell them; the TOML file writes `_` for `-`.
pub const SETTINGS: &[&str] = &[
    "data-dir",
    "listen",
    "advertise",
    "peer-source",
    "node",
    "founders",
    "join",
    "groups",
    "replicas",
    "heartbeat-ms",
    "quiesce",
    "segment-mib",
    "checkpoint-after-mib",
    "log-keep-entries",
    "eventual-log-kib",
    "log-format",
    "log-level",
];

/// Up to this many groups the short heartbeat is used; above it heartbeats alone would keep an idle
/// node busy.
const SHORT_HEARTBEAT_GROUPS_MAX: u64 = 300;

/// Checked settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the node keeps everything.
    pub data_dir: PathBuf,
    /// Where it listens; port 0 lets the operating system choose.
    pub listen: SocketAddr,
    /// Where others reach it, `host:port`; `None` means the address it is bound to.
    pub advertise: Option<String>,
    /// The local address from which it connects to other nodes; `None` leaves it to the system.
    pub peer_source: Option<IpAddr>,
    /// Its id, at least 1.
    pub node: NodeId,
    /// How it comes to its cluster.
    pub start: Start,
    /// The heartbeat, when it was set; otherwise [`Config::heartbeat`] chooses.
    pub heartbeat: Option<Duration>,
    /// After how long without traffic a group becomes quiet; `None`: never.
    pub quiesce: Option<Duration>,
    /// The Raft log.
    pub log: LogSettings,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written: a level, or directives such as `info,tetrarch::peer=debug`.
    pub log_level: String,
    /// Set when the node is part of a measurement that makes distance and faults: never by an operator.
    pub lab: Option<LabSettings>,
}

/// How a node comes to its cluster. A data directory that already belongs to one goes on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It founds the cluster together with others; all of them are given the same.
    Found(Founding),
    /// It asks one of these members, base URLs, to be let in.
    Join(Vec<String>),
    /// It recovers what its data directory holds; an empty one is refused.
    Recover,
}

/// What the founding members agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// All founding members with their `host:port`, this node among them, by id.
    pub members: Vec<(NodeId, String)>,
    /// Number of groups that share the slots.
    pub groups: u64,
    /// Replicas of each group.
    pub replicas: u64,
    /// Which of the two were given, and not taken by default.
    pub given: (bool, bool),
}

/// Bounds of the Raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Size of a segment file.
    pub segment_bytes: u64,
    /// Live log bytes of the node above which the group that holds the most is checkpointed.
    pub checkpoint_after_bytes: u64,
    /// Entries kept behind a checkpoint for followers that are a little late.
    pub keep_entries: u64,
    /// Bytes kept of the log of one eventual namespace, for nodes that were away.
    pub eventual_bytes: u64,
}

/// What a measurement begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabSettings {
    /// How long what is sent to another node takes.
    pub delay: Duration,
    /// Decides what is left to chance.
    pub seed: u64,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Where others reach the node, once it is bound to `bound`.
    pub fn advertised(&self, bound: SocketAddr) -> String {
        self.advertise.clone().unwrap_or_else(|| bound.to_string())
    }

    /// The heartbeat of a cluster with this many groups.
    pub fn heartbeat(&self, groups: u64) -> Duration {
        self.heartbeat.unwrap_or(Duration::from_millis(if groups <= SHORT_HEARTBEAT_GROUPS_MAX {
            300
        } else {
            1000
        }))
    }

    /// Between two messages that stand in for the heartbeats of quiet groups. Who sets a heartbeat
    /// knows the network, so these follow it; otherwise they do not depend on how many groups there are.
    pub fn quiet_beat(&self) -> Duration {
        self.heartbeat.unwrap_or(QUIET_BEAT)
    }
}

/// A setting's text and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// One of [`SETTINGS`].
    pub setting: String,
    /// Its text.
    pub text: String,
    /// Where it came from.
    pub source: Source,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag on the command line.
    Flag,
    /// An environment variable.
    Environment,
    /// The TOML file.
    File(PathBuf),
    /// Nobody gave it.
    Absent,
}

/// A settings file as read.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    /// Its path, for messages.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting.
    pub setting: String,
    /// Its text, when it was given.
    pub value: Option<String>,
    /// Where it came from.
    pub source: Source,
    /// What is wrong with it.
    pub wrong: String,
    /// What to change.
    pub change: String,
}

/// All that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} wrong; nothing was started\n{}", count(problems.len()), lines(problems))]
pub struct ConfigError {
    /// Every problem, in the order of [`SETTINGS`].
    pub problems: Vec<Problem>,
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 setting is".to_owned() } else { format!("{problems} settings are") }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, value, source, wrong, change } = self;
        match value {
            Some(value) => write!(f, "{setting} = \"{value}\"")?,
            None => write!(f, "{setting}")?,
        }
        match source {
            Source::Flag => write!(f, " (flag --{setting})")?,
            Source::Environment => write!(f, " (environment {})", variable(setting))?,
            Source::File(path) => write!(f, " (file {})", path.display())?,
            Source::Absent => {}
        }
        write!(f, ": {wrong}; {change}")
    }
}

/// The environment variable of a setting.
pub fn variable(setting: &str) -> String {
    format!("TETRARCH_{}", setting.replace('-', "_").to_uppercase())
}

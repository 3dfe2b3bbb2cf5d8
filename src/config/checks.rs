//! The check of all settings, from texts to a [`Config`].
//!
//! Why it exists: each check adds its problem to one list and goes on with a stand-in, so that an
//! operator corrects a file once, not line after line.
//!
//! Promises: no problem, no stand-in: a `Config` is returned only when the list is empty. Looks at
//! the disk only to see whether the data directory is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    Config, ConfigError, Founding, Given, LogFormat, LogSettings, Problem, SETTINGS, SettingsFile,
    Source, Start,
};
use crate::model::{NodeId, Slot};
use crate::runtime::limits::{
    CHECKPOINT_AFTER_MIB, EVENTUAL_LOG_BYTES, LOG_KEEP_ENTRIES, QUIET_AFTER, SEGMENT_MIB,
    SEGMENT_MIB_MIN,
};

const MIB: u64 = 1024 * 1024;

/// Checks everything that was given on the command line, in the environment and in the file.
///
/// # Errors
///
/// All problems at once.
pub fn resolve(given: &[Given], file: Option<&SettingsFile>) -> Result<Config, ConfigError> {
    let mut checks = Checks::default();
    if let Some(file) = file {
        checks.read_file(file);
    }
    for one in given {
        checks.given.insert(one.setting.clone(), one.clone());
    }
    let config = checks.config();
    if checks.problems.is_empty() {
        return Ok(config);
    }
    let place = |p: &Problem| SETTINGS.iter().position(|s| *s == p.setting);
    checks.problems.sort_by_key(|p| place(p).unwrap_or(usize::MAX));
    Err(ConfigError { problems: checks.problems })
}

#[derive(Default)]
struct Checks {
    given: BTreeMap<String, Given>,
    problems: Vec<Problem>,
}

impl Checks {
    fn read_file(&mut self, file: &SettingsFile) {
        let source = Source::File(file.path.clone());
        let table = match file.text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                self.problems.push(Problem {
                    setting: "config".to_owned(),
                    value: None,
                    source,
                    wrong: format!("it is not TOML: {}", error.message()),
                    change: "write one `setting = value` a line".to_owned(),
                });
                return;
            }
        };
        for (key, value) in table {
            let setting = key.replace('_', "-");
            let known = SETTINGS.contains(&setting.as_str());
            let text = plain(&value);
            if let (true, Some(text)) = (known, &text) {
                let given = Given { setting, text: text.clone(), source: source.clone() };
                self.given.insert(given.setting.clone(), given);
                continue;
            }
            let names: Vec<_> = SETTINGS.iter().map(|s| s.replace('-', "_")).collect();
            let (wrong, change) = if known {
                ("it has the wrong type", "write a string, a number or a list of strings".into())
            } else {
                ("there is no such setting", format!("use one of {}", names.join(", ")))
            };
            self.problems.push(Problem {
                setting: key,
                value: text,
                source: source.clone(),
                wrong: wrong.to_owned(),
                change,
            });
        }
    }

    fn problem(&mut self, setting: &str, wrong: impl Display, change: impl Display) {
        let given = self.given.get(setting);
        self.problems.push(Problem {
            setting: setting.to_owned(),
            value: given.map(|g| g.text.clone()),
            source: given.map_or(Source::Absent, |g| g.source.clone()),
            wrong: wrong.to_string(),
            change: change.to_string(),
        });
    }

    fn text(&self, setting: &str) -> Option<String> {
        self.given.get(setting).map(|g| g.text.trim().to_owned())
    }

    fn number(&mut self, setting: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(setting)?;
        let change = format!("give a number from {} to {}", range.start(), range.end());
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => return Some(number),
            Ok(_) => self.problem(setting, "it is out of bounds", change),
            Err(_) => self.problem(setting, "it is not a whole number", change),
        }
        None
    }

    fn config(&mut self) -> Config {
        let data_dir = self.data_dir();
        let listen = self.listen();
        let node = self.node();
        let start = self.start(node);
        let advertise = self.advertise(listen, node, &start);
        let peer_source = self.peer_source();
        let heartbeat = self.number("heartbeat-ms", 50..=60_000).map(Duration::from_millis);
        let quiesce = self.quiesce();
        let log = LogSettings {
            segment_bytes: self
                .number("segment-mib", SEGMENT_MIB_MIN..=1024)
                .unwrap_or(SEGMENT_MIB)
                * MIB,
            checkpoint_after_bytes: self
                .number("checkpoint-after-mib", 1..=65_536)
                .unwrap_or(CHECKPOINT_AFTER_MIB)
                * MIB,
            keep_entries: self
                .number("log-keep-entries", 16..=10_000_000)
                .unwrap_or(LOG_KEEP_ENTRIES),
            eventual_bytes: self
                .number("eventual-log-kib", 1..=1024 * 1024)
                .map_or(EVENTUAL_LOG_BYTES, |kib| kib * 1024),
        };
        let log_format = self.log_format();
        let log_level = self.log_level();
        if matches!(start, Start::Recover) && self.problems.is_empty() && is_empty(&data_dir) {
            self.problem(
                "founders",
                format!("the data directory {} holds no cluster yet", data_dir.display()),
                "give --founders 1=HOST:PORT,2=... to found one or --join URL to enter one",
            );
        }
        Config {
            data_dir,
            listen,
            advertise,
            peer_source,
            node,
            start,
            heartbeat,
            quiesce,
            log,
            log_format,
            log_level,
            lab: None,
        }
    }

    fn quiesce(&mut self) -> Option<Duration> {
        match self.text("quiesce").as_deref() {
            None | Some("on") => Some(QUIET_AFTER),
            Some("off") => None,
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.number("quiesce", 50..=3_600_000).map(Duration::from_millis)
            }
            Some(_) => {
                self.problem("quiesce", "it is neither on nor off", "give on, off or milliseconds");
                None
            }
        }
    }

    fn data_dir(&mut self) -> PathBuf {
        let Some(text) = self.text("data-dir").filter(|t| !t.is_empty()) else {
            self.problem("data-dir", "it is required", "give --data-dir DIR");
            return PathBuf::new();
        };
        let path = PathBuf::from(text);
        if path.exists() && !path.is_dir() {
            self.problem("data-dir", "it is not a directory", "give a directory of its own");
        }
        path
    }

    fn listen(&mut self) -> SocketAddr {
        let standard = SocketAddr::from(([127, 0, 0, 1], 7101));
        let Some(text) = self.text("listen") else { return standard };
        text.parse().unwrap_or_else(|_| {
            self.problem("listen", "it is not ip:port", "give for example 127.0.0.1:7101");
            standard
        })
    }

    fn node(&mut self) -> NodeId {
        if self.text("node").is_none() {
            self.problem("node", "it is required", "give --node N, a number that no node ever had");
        }
        NodeId(self.number("node", 1..=u64::from(u32::MAX)).unwrap_or(0))
    }

    fn start(&mut self, node: NodeId) -> Start {
        match (self.text("founders"), self.text("join")) {
            (Some(_), Some(_)) => {
                self.problem(
                    "join",
                    "founders is given too, and a node either founds or joins",
                    "leave one of them out",
                );
                Start::Recover
            }
            (Some(text), None) => Start::Found(self.founding(node, &text)),
            (None, join) => {
                for setting in ["groups", "replicas"] {
                    if self.given.contains_key(setting) {
                        self.problem(
                            setting,
                            "it is fixed when the cluster is founded",
                            "leave it out, or found a cluster with --founders",
                        );
                    }
                }
                join.map_or(Start::Recover, |text| Start::Join(self.join(&text)))
            }
        }
    }

    fn founding(&mut self, node: NodeId, text: &str) -> Founding {
        let mut members: BTreeMap<NodeId, String> = BTreeMap::new();
        let mut addresses = BTreeSet::new();
        let form = "write ID=HOST:PORT,ID=HOST:PORT,...";
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let Some((id, address)) = part.split_once('=') else {
                self.problem("founders", format!("\"{part}\" is not ID=HOST:PORT"), form);
                continue;
            };
            let Some(id) = id.trim().parse().ok().filter(|id| *id >= 1) else {
                self.problem("founders", format!("\"{id}\" is not an id of at least 1"), form);
                continue;
            };
            if let Err(wrong) = host_port(address.trim()) {
                self.problem("founders", format!("\"{address}\" of node {id} {wrong}"), form);
            }
            if !addresses.insert(address.trim().to_owned()) {
                let wrong = format!("{address} is there twice");
                self.problem("founders", wrong, "give each node its own address");
            }
            if members.insert(NodeId(id), address.trim().to_owned()).is_some() {
                let wrong = format!("node {id} is there twice");
                self.problem("founders", wrong, "give each node once");
            }
        }
        if members.is_empty() {
            self.problem("founders", "it names nobody", form);
        } else if node != NodeId(0) && !members.contains_key(&node) {
            self.problem(
                "founders",
                format!("this node, {node}, is not among them"),
                format!("add {node}=HOST:PORT, or use --join to enter a running cluster"),
            );
        }
        let nodes = u64::try_from(members.len()).unwrap_or(u64::MAX).max(1);
        let groups_max = u64::from(Slot::COUNT);
        let groups = self.number("groups", 1..=groups_max);
        let replicas = self.number("replicas", 1..=nodes);
        Founding {
            members: members.into_iter().collect(),
            groups: groups.unwrap_or_else(|| nodes.saturating_mul(8).clamp(16, groups_max)),
            replicas: replicas.unwrap_or(nodes.min(3)),
            given: (groups.is_some(), replicas.is_some()),
        }
    }

    fn join(&mut self, text: &str) -> Vec<String> {
        let change = "give http://HOST:PORT of a member";
        let mut urls = Vec::new();
        for url in text.split(',').map(|u| u.trim().trim_end_matches('/')) {
            match url.strip_prefix("http://").map(host_port) {
                Some(Ok(())) => urls.push(url.to_owned()),
                Some(Err(wrong)) => self.problem("join", format!("\"{url}\" {wrong}"), change),
                None => self.problem("join", format!("\"{url}\" has no http://"), change),
            }
        }
        urls
    }

    fn advertise(&mut self, listen: SocketAddr, node: NodeId, start: &Start) -> Option<String> {
        let founder = match start {
            Start::Found(f) => f.members.iter().find(|(id, _)| *id == node).map(|(_, a)| a.clone()),
            Start::Join(_) | Start::Recover => None,
        };
        let Some(text) = self.text("advertise") else {
            if founder.is_none() && listen.ip().is_unspecified() {
                self.problem(
                    "advertise",
                    format!("it is required, since listen is {listen}, which nobody can dial"),
                    "give --advertise HOST:PORT as the other nodes reach this one",
                );
            }
            return founder.or_else(|| (listen.port() != 0).then(|| listen.to_string()));
        };
        if let Err(wrong) = host_port(&text) {
            let wrong = format!("it {wrong}");
            self.problem("advertise", wrong, "give HOST:PORT as others reach this node");
        } else if text.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_unspecified()) {
            self.problem(
                "advertise",
                "nobody can dial an unspecified address",
                "give HOST:PORT as others reach this node",
            );
        }
        if let Some(founder) = founder.filter(|f| *f != text) {
            self.problem(
                "advertise",
                format!("founders says {founder} for node {node}"),
                "make the two the same",
            );
        }
        Some(text)
    }

    fn peer_source(&mut self) -> Option<IpAddr> {
        let change = "give an address of this machine, such as 10.0.0.1, or leave it out";
        match self.text("peer-source")?.parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() && !address.is_multicast() => Some(address),
            Ok(_) => {
                self.problem("peer-source", "no connection can come from there", change);
                None
            }
            Err(_) => {
                self.problem("peer-source", "it is not an IP address", change);
                None
            }
        }
    }

    fn log_format(&mut self) -> LogFormat {
        match self.text("log-format").as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => {
                self.problem("log-format", "there is no such format", "give text or json");
                LogFormat::Text
            }
        }
    }

    fn log_level(&mut self) -> String {
        let Some(text) = self.text("log-level") else {
            // openraft tells of every failed call to a node that is down.
            return "info,openraft=error".to_owned();
        };
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let plain_word = !text.contains(['=', ',', ':']);
        if (plain_word && !levels.contains(&text.as_str()))
            || tracing_subscriber::EnvFilter::try_new(&text).is_err()
        {
            self.problem(
                "log-level",
                "it is neither a level nor a list of directives",
                "give off, error, warn, info, debug or trace, or for example \
                 info,tetrarch::peer=debug",
            );
        }
        text
    }
}

/// A TOML value as the text that a flag would carry; lists are joined by commas.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            items.iter().map(plain).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn is_empty(dir: &std::path::Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

/// Whether a text is `host:port`; the error continues a sentence about it.
fn host_port(text: &str) -> Result<(), &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
    if host.is_empty() || host.contains(['/', ' ', '@']) {
        return Err("has no proper host");
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err("needs [ ] around its IPv6 address");
    }
    match port.parse::<u16>() {
        Ok(0) => Err("has port 0, which nobody can dial"),
        Ok(_) => Ok(()),
        Err(_) => Err("has no proper port"),
    }
}

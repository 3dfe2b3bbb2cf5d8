//! What `test` and `test-all` take alike, and how its values are read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::checker::Budget;
use crate::cluster::Backend;
use crate::run::{Target, TestOptions};

/// How links between nodes are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum BackendName {
    /// A TCP proxy for each directed link, on loopback; needs no privileges
    Proxy,
    /// Each node in its own network namespace behind a user-space switch; needs root
    Namespaces,
}

/// Clients at a time: a number, or so many for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Concurrency {
    number: u64,
    per_node: bool,
}

impl Concurrency {
    fn of(self, nodes: u32) -> u64 {
        self.number * if self.per_node { u64::from(nodes) } else { 1 }
    }
}

/// The flags of a run, but for what is done and what is broken.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArgs {
    /// The server's binary
    #[arg(long, env = "TETRARCH_BINARY", default_value = "target/release/tetrarch")]
    binary: PathBuf,
    /// Nodes of the cluster
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=7))]
    nodes: u32,
    /// URLs of the nodes of a running cluster to test instead, without faults
    #[arg(long, value_name = "URL,..", value_delimiter = ',')]
    attach: Vec<String>,
    /// How links between nodes are broken
    #[arg(long, value_enum, default_value = "proxy")]
    backend: BackendName,
    /// What everything between two nodes takes on its way, one way, whatever is broken
    #[arg(long, default_value = "0s", value_parser = duration)]
    link_delay: Duration,
    /// How long clients and nemesis are at it
    #[arg(long, default_value = "60s", value_parser = duration)]
    time_limit: Duration,
    /// Clients at a time: a number, or `10n` for ten for each node
    #[arg(long, default_value = "10n", value_parser = concurrency)]
    concurrency: Concurrency,
    /// Operations per second of all clients together; 0 for as many as they can
    #[arg(long, default_value_t = 500.0, value_parser = rate)]
    rate: f64,
    /// Where all randomness comes from; chosen at random when left out
    #[arg(long)]
    seed: Option<u64>,
    /// Where runs are kept
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// What a request gives the server
    #[arg(long, default_value = "5s", value_parser = duration)]
    request_timeout: Duration,
    /// How long a period of the nemesis is
    #[arg(long, default_value = "5s", value_parser = duration)]
    interval: Duration,
    /// Within how long every group must work again when everything is healed
    #[arg(long, default_value = "60s", value_parser = duration)]
    recovery: Duration,
    /// How long a checker may take
    #[arg(long, default_value = "120s", value_parser = duration)]
    check_time: Duration,
    /// A flag for `tetrarch serve`, such as --serve-flag=--groups=8
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    serve_flag: Vec<String>,
    /// An environment variable of the servers
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    serve_env: Vec<(String, String)>,
    /// Keeps the data directories also of runs that found nothing
    #[arg(long)]
    keep_data: bool,
    /// Prints one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl RunArgs {
    /// The seed, chosen now when none was given.
    pub(super) fn seed(&self) -> u64 {
        // Short enough to be typed.
        self.seed.unwrap_or_else(|| fastrand::Rng::new().u64(..1_000_000_000))
    }

    /// The options of a run of this workload under this nemesis.
    pub(super) fn options(&self, workload: &str, nemesis: &str, seed: u64) -> TestOptions {
        let nodes = u32::try_from(self.attach.len()).unwrap_or(u32::MAX);
        let nodes = if nodes == 0 { self.nodes } else { nodes };
        let target = if self.attach.is_empty() {
            Target::Start {
                // Processes are started from other directories.
                binary: self.binary.canonicalize().unwrap_or_else(|_| self.binary.clone()),
                nodes,
                backend: match self.backend {
                    BackendName::Proxy => Backend::Proxy,
                    BackendName::Namespaces => Backend::Namespaces,
                },
                link_delay: self.link_delay,
                flags: self.serve_flag.clone(),
                environment: self.serve_env.clone(),
            }
        } else {
            Target::Attach(self.attach.clone())
        };
        TestOptions {
            workload: workload.to_owned(),
            nemesis: nemesis.to_owned(),
            target,
            time_limit: self.time_limit,
            concurrency: self.concurrency.of(nodes).max(1),
            rate: self.rate,
            seed,
            store: self.store.clone(),
            request_timeout: self.request_timeout,
            interval: self.interval,
            recovery: self.recovery,
            budget: Budget { time: self.check_time },
            keep_data: self.keep_data,
        }
    }

    /// Whether the cluster is somebody else's.
    pub(super) fn is_attached(&self) -> bool {
        !self.attach.is_empty()
    }

    /// Where runs are kept.
    pub(super) fn store(&self) -> &std::path::Path {
        &self.store
    }

    /// What is wrong with them, before anything is started.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.is_attached() && !self.binary.is_file() {
            return Err(format!(
                "there is no server binary at {}: give --binary, or build one with cargo build \
                 --release",
                self.binary.display()
            ));
        }
        Ok(())
    }
}

/// `500ms`, `1.5s`, `2m`, `1h`, or seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("{unit:?} is no unit of time: ms, s, m, h")),
    };
    let number: f64 =
        number.parse().map_err(|error| format!("{text:?} is no duration such as 90s: {error}"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

fn concurrency(text: &str) -> Result<Concurrency, String> {
    let (number, per_node) = match text.strip_suffix('n') {
        Some(number) => (number, true),
        None => (text, false),
    };
    let number = number
        .parse()
        .map_err(|error| format!("{text:?} is no number such as 20 or 4n: {error}"))?;
    if number == 0 || number > 100_000 {
        return Err("from 1 to 100000 clients".to_owned());
    }
    Ok(Concurrency { number, per_node })
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err(format!("{text:?} is no rate from 0 to 1000000")),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("7 parsecs").is_err());
        assert!(duration("-7s").is_err());
        assert!(duration("").is_err());
    }

    #[test]
    fn clients_can_be_counted_by_nodes() {
        assert_eq!(concurrency("4n").map(|found| found.of(5)), Ok(20));
        assert_eq!(concurrency("12").map(|found| found.of(5)), Ok(12));
        assert!(concurrency("0").is_err());
        assert!(concurrency("n").is_err());
    }
}

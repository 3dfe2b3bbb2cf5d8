//! What a run is asked for, and why it could not be done.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::api::ApiError;
use crate::checker::Budget;
use crate::cluster::{Backend, ClusterError};
use crate::generator::Crashed;

/// The cluster under test.
#[derive(Clone, Debug)]
pub enum Target {
    /// One that the run starts, breaks and stops.
    Start {
        /// The server's binary.
        binary: PathBuf,
        /// How many nodes.
        nodes: u32,
        /// How links are broken.
        backend: Backend,
        /// What everything between two nodes takes on its way, always.
        link_delay: Duration,
        /// More flags of `serve`.
        flags: Vec<String>,
        /// Environment of the servers.
        environment: Vec<(String, String)>,
    },
    /// One that runs already, by its nodes' URLs; it cannot be broken.
    Attach(Vec<String>),
}

/// A test.
#[derive(Clone, Debug)]
pub struct TestOptions {
    /// What the clients do.
    pub workload: String,
    /// What is broken, as on the command line.
    pub nemesis: String,
    /// On what.
    pub target: Target,
    /// How long clients and nemesis are at it.
    pub time_limit: Duration,
    /// Clients at a time.
    pub concurrency: u64,
    /// Operations per second; 0 for as many as the clients can.
    pub rate: f64,
    /// All randomness comes from it.
    pub seed: u64,
    /// Where runs are kept.
    pub store: PathBuf,
    /// What a request gives the server.
    pub request_timeout: Duration,
    /// How long a period of the nemesis is.
    pub interval: Duration,
    /// Within how long every group must work again when everything is healed.
    pub recovery: Duration,
    /// What a checker may use up.
    pub budget: Budget,
    /// Keeps the data directories also of a run that found nothing.
    pub keep_data: bool,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The command line asks for what there is not.
    #[error("{0}")]
    Usage(String),
    /// This machine cannot do it.
    #[error("not possible here: {0}")]
    Unavailable(String),
    /// The cluster did not even start, or did not take what the workload needs.
    #[error("the cluster cannot be tested: {0}")]
    Cluster(String),
    /// A bug of the harness.
    #[error(transparent)]
    Crashed(#[from] Crashed),
    /// The store's disk.
    #[error("the store: {0}")]
    Store(#[from] std::io::Error),
}

impl From<ClusterError> for RunError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Unavailable(why) => Self::Unavailable(why),
            other => Self::Cluster(other.to_string()),
        }
    }
}

impl From<ApiError> for RunError {
    fn from(error: ApiError) -> Self {
        Self::Cluster(error.to_string())
    }
}

impl TestOptions {
    /// The command line that does this run again.
    pub fn replay(&self) -> String {
        let mut words = vec![
            "tetrarch-jepsen test".to_owned(),
            format!("-w {} -n {}", self.workload, self.nemesis),
        ];
        match &self.target {
            Target::Attach(urls) => words.push(format!("--attach {}", urls.join(","))),
            Target::Start { binary, nodes, backend, link_delay, flags, environment } => {
                let backend = match backend {
                    Backend::Proxy => "proxy",
                    Backend::Namespaces => "namespaces",
                };
                words.push(format!("--binary {}", binary.display()));
                words.push(format!("--nodes {nodes} --backend {backend}"));
                if !link_delay.is_zero() {
                    words.push(format!("--link-delay {}s", link_delay.as_secs_f64()));
                }
                words.extend(flags.iter().map(|flag| format!("--serve-flag={flag}")));
                let pairs = environment.iter();
                words.extend(pairs.map(|(name, value)| format!("--serve-env {name}={value}")));
            }
        }
        words.push(format!(
            "--time-limit {}s --concurrency {} --rate {} --seed {} --interval {}s",
            self.time_limit.as_secs_f64(),
            self.concurrency,
            self.rate,
            self.seed,
            self.interval.as_secs_f64()
        ));
        words.push(format!(
            "--request-timeout {}s --recovery {}s",
            self.request_timeout.as_secs_f64(),
            self.recovery.as_secs_f64()
        ));
        words.join(" ")
    }

    /// What the server's binary says of itself.
    pub(super) async fn version(&self) -> String {
        let Target::Start { binary, .. } = &self.target else { return String::new() };
        said(tokio::process::Command::new(binary).arg("--version")).await
    }
}

/// The git revision of the harness, where it was built from a checkout that is still there.
pub(super) fn revision() -> String {
    let output = std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
        .stderr(Stdio::null())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

async fn said(command: &mut tokio::process::Command) -> String {
    let output = command.stderr(Stdio::null()).output().await;
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_how_to_do_it_again() {
        let options = TestOptions {
            workload: "register".into(),
            nemesis: "partition,kill".into(),
            target: Target::Start {
                binary: "target/release/tetrarch".into(),
                nodes: 5,
                backend: Backend::Proxy,
                link_delay: Duration::from_millis(40),
                flags: vec!["--groups=8".into()],
                environment: vec![("A".into(), "b".into())],
            },
            time_limit: Duration::from_millis(1_500),
            concurrency: 20,
            rate: 500.0,
            seed: 7,
            store: "store".into(),
            request_timeout: Duration::from_secs(5),
            interval: Duration::from_secs(5),
            recovery: Duration::from_secs(60),
            budget: Budget::default(),
            keep_data: false,
        };
        assert_eq!(
            options.replay(),
            "tetrarch-jepsen test -w register -n partition,kill --binary target/release/tetrarch \
             --nodes 5 --backend proxy --link-delay 0.04s --serve-flag=--groups=8 --serve-env A=b \
             --time-limit 1.5s --concurrency 20 --rate 500 --seed 7 --interval 5s --request-timeout 5s --recovery 60s"
        );
    }
}

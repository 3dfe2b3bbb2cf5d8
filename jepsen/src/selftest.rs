//! The harness, tested: bugs are planted in the server, and each must be found.
//!
//! Why it exists: a harness that finds nothing is either in front of a store without bugs or blind, and
//! only one of these is likely. So the server can be built with bugs (feature `planted-bugs`), one is
//! switched on at a time, and the same runner as `test` must say `invalid`. Negative controls: the same
//! tests without a bug must say `valid`, and a documented weak read must fail the test for strong ones.
//!
//! Promises: a row counts as found only by an anomaly of a checker, never by `unknown` or an error; a
//! row that does not find its bug at once is tried again with other chances until its time is over.

pub mod rows;
pub mod table;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::checker::Budget;
use crate::cluster::Backend;
use crate::progress::Progress;
use crate::run::{self, Finished, Target, TestOptions};
use crate::verdict::{Validity, Verdict};
pub use rows::Row;

/// Says in the server's version that bugs can be switched on.
const MARK: &str = "PLANTED BUGS";
/// Names the switched bugs to the server.
const SETTING: &str = "TETRARCH_PLANTED_BUG";
/// What a request gives the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Within how long every group must work again; with a bug it may be never.
const RECOVERY: Duration = Duration::from_secs(30);
/// Clients at a time.
const CONCURRENCY: u64 = 20;

/// How the rows are run.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// A server that was built with the feature `planted-bugs`.
    pub binary: PathBuf,
    /// Only these bugs; all when empty.
    pub only: Vec<String>,
    /// How long a row may search, its starts and verdicts included.
    pub time_limit: Duration,
    /// Nodes of each cluster.
    pub nodes: u32,
    /// How links are broken.
    pub backend: Backend,
    /// Whether the tests are run without bugs, too.
    pub controls: bool,
    /// All randomness comes from it.
    pub seed: u64,
    /// Where runs are kept.
    pub store: PathBuf,
}

/// Why nothing was tested.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The binary cannot be asked.
    #[error("{}: {source}", binary.display())]
    Binary {
        /// The binary.
        binary: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It has no bugs.
    #[error(
        "{} has no planted bugs ({version}): build one with `cargo build --features planted-bugs`, \
         and never let it hold data",
        binary.display()
    )]
    NoBugs {
        /// The binary.
        binary: PathBuf,
        /// What it says of itself.
        version: String,
    },
    /// There is no such row.
    #[error("there is no bug {0}; there are {1}")]
    Unknown(String, String),
}

/// What came of a row.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The bug; empty for a control.
    pub bug: String,
    /// What it does wrong.
    pub what: String,
    /// What the clients did.
    pub workload: String,
    /// What was broken.
    pub nemesis: String,
    /// What had to be said.
    pub expected: Validity,
    /// What was said of the last try; none when no try came to a verdict.
    pub said: Option<Validity>,
    /// How often it was tried.
    pub tries: u32,
    /// Seconds of testing, from the first operation of the first try to the anomaly.
    pub found_after: Option<f64>,
    /// Seconds in all, with clusters' starts and verdicts.
    pub took: f64,
    /// Which checker found it.
    pub checker: String,
    /// The kind of the anomaly, or the reason why there is none.
    pub reason: String,
    /// Directory of the last run.
    pub dir: Option<PathBuf>,
}

impl Line {
    /// Whether it is as it must be.
    pub fn is_passed(&self) -> bool {
        self.said == Some(self.expected)
    }
}

/// Refuses a binary that has no bugs to find.
///
/// # Errors
///
/// See [`SelfTestError`].
pub async fn check_binary(binary: &Path) -> Result<(), SelfTestError> {
    let asked = tokio::process::Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|source| SelfTestError::Binary { binary: binary.to_owned(), source })?;
    let version = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if version.contains(MARK) {
        return Ok(());
    }
    Err(SelfTestError::NoBugs { binary: binary.to_owned(), version })
}

/// The rows that are to be run.
///
/// # Errors
///
/// When a name is none.
pub fn chosen(only: &[String]) -> Result<Vec<Row>, SelfTestError> {
    let known = || rows::ROWS.iter().map(|row| row.bug).collect::<Vec<_>>().join(", ");
    for name in only {
        if !rows::ROWS.iter().any(|row| row.bug == name) {
            return Err(SelfTestError::Unknown(name.clone(), known()));
        }
    }
    let wanted = |row: &&Row| only.is_empty() || only.iter().any(|name| name == row.bug);
    Ok(rows::ROWS.iter().filter(wanted).copied().collect())
}

impl SelfTest {
    /// Runs all rows, telling each line as it comes.
    ///
    /// # Errors
    ///
    /// Before anything is run: when the binary or a name is not as it must be.
    pub async fn run(
        &self,
        progress: &Progress,
        mut tell: impl FnMut(&Line),
    ) -> Result<Vec<Line>, SelfTestError> {
        check_binary(&self.binary).await?;
        let rows = chosen(&self.only)?;
        let mut trials: Vec<(Row, Validity)> =
            rows.iter().map(|row| (*row, Validity::Invalid)).collect();
        if self.controls {
            trials.extend(rows::controls(&rows).into_iter().map(|row| (row, Validity::Valid)));
            trials.push((rows::WEAK_READS, Validity::Invalid));
        }
        let mut lines = Vec::new();
        for (row, expected) in trials {
            let line = self.search(&row, expected, progress).await;
            tell(&line);
            lines.push(line);
        }
        Ok(lines)
    }

    /// Tries a row until it says what it must, or its time is over.
    async fn search(&self, row: &Row, expected: Validity, progress: &Progress) -> Line {
        let began = Instant::now();
        let mut line = Line {
            bug: row.bug.into(),
            what: row.what.into(),
            workload: row.workload.into(),
            nemesis: row.nemesis.into(),
            expected,
            said: None,
            tries: 0,
            found_after: None,
            took: 0.0,
            checker: String::new(),
            reason: String::new(),
            dir: None,
        };
        let mut tested = 0.0;
        loop {
            let seed = self.seed.wrapping_add(u64::from(line.tries));
            line.tries += 1;
            match run::run(&self.options(row, seed), progress).await {
                Ok(finished) => {
                    line.take(&finished);
                    let at = anomaly_time(&finished);
                    #[allow(clippy::cast_precision_loss, reason = "seconds of a test are few")]
                    let whole = row.seconds as f64;
                    if line.said == Some(Validity::Invalid) {
                        line.found_after = Some(tested + at.unwrap_or(whole));
                    }
                    tested += whole;
                }
                Err(error) => {
                    line.said = None;
                    line.reason = error.to_string();
                }
            }
            line.took = began.elapsed().as_secs_f64();
            // A control that found something must not be asked until it finds nothing.
            let is_final = line.is_passed() || line.said == Some(Validity::Invalid);
            if is_final || began.elapsed() >= self.time_limit {
                return line;
            }
        }
    }

    fn options(&self, row: &Row, seed: u64) -> TestOptions {
        let environment = match row.bug {
            "" => Vec::new(),
            bug => vec![(SETTING.to_owned(), bug.to_owned())],
        };
        TestOptions {
            workload: row.workload.to_owned(),
            nemesis: row.nemesis.to_owned(),
            target: Target::Start {
                binary: self.binary.clone(),
                nodes: self.nodes,
                backend: self.backend,
                link_delay: Duration::ZERO,
                flags: row.flags.iter().map(|flag| (*flag).to_owned()).collect(),
                environment,
            },
            time_limit: Duration::from_secs(row.seconds),
            concurrency: CONCURRENCY,
            rate: f64::from(row.rate),
            seed,
            store: self.store.clone(),
            request_timeout: REQUEST_TIMEOUT,
            interval: Duration::from_secs(row.interval),
            recovery: RECOVERY,
            budget: Budget::default(),
            keep_data: false,
        }
    }
}

impl Line {
    fn take(&mut self, finished: &Finished) {
        self.said = Some(finished.summary.validity);
        self.dir = Some(finished.dir.clone());
        let worst = finished.summary.validity;
        let worst = || finished.verdicts.iter().filter(move |verdict| verdict.validity == worst);
        let kind = |verdict: &Verdict| verdict.anomalies.first().map(|found| found.kind.clone());
        let reason = |verdict: &Verdict| kind(verdict).unwrap_or_else(|| verdict.reason.clone());
        let names: Vec<&str> = worst().map(|verdict| verdict.checker.as_str()).collect();
        self.checker = names.join(", ");
        // Those of the workload come first.
        self.reason = worst().next().map(reason).unwrap_or_default();
    }
}

/// Seconds from the beginning of a run to the last event of its first anomaly.
fn anomaly_time(finished: &Finished) -> Option<f64> {
    let invalid = finished.verdicts.iter().filter(|v| v.validity == Validity::Invalid);
    let last = invalid
        .flat_map(|verdict| &verdict.anomalies)
        .filter_map(|anomaly| anomaly.events.iter().max().copied())
        .min()?;
    let text = std::fs::read_to_string(finished.dir.join("history.jsonl")).ok()?;
    let line = text.lines().nth(usize::try_from(last).ok()?)?;
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let nanos = event.get("time")?.as_f64()?;
    Some(nanos / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused_with_those_that_are() {
        assert_eq!(chosen(&[]).unwrap().len(), rows::ROWS.len());
        assert_eq!(chosen(&["stale-read".into()]).unwrap().len(), 1);
        let error = chosen(&["nonsense".into()]).unwrap_err().to_string();
        assert!(error.contains("nonsense") && error.contains("apply-twice"), "{error}");
    }

    #[tokio::test]
    async fn a_binary_without_bugs_is_refused() {
        let error = check_binary(Path::new("/bin/echo")).await.unwrap_err();
        assert!(error.to_string().contains("--features planted-bugs"), "{error}");
        let missing = check_binary(Path::new("/nowhere/tetrarch")).await.unwrap_err();
        assert!(matches!(missing, SelfTestError::Binary { .. }));
    }
}

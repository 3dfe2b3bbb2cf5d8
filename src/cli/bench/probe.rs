//! What a round costs the nodes: fsyncs from `/metrics`, CPU and memory from `/proc`.
//!
//! Promises: a figure that cannot be had is left out, never guessed. fsyncs are the sum over all
//! endpoints given; CPU and memory are those of the processes named by `--pids`.

use serde_json::{Value, json};

use crate::client::Client;

/// What the log room's counter of fsyncs is called, whatever its prefix and suffix.
const FSYNCS: &str = "fsync";
/// Linux counts CPU time in hundredths of a second for user space, on every architecture.
const TICK_US: u64 = 10_000;

#[derive(Debug, Default)]
pub(super) struct Probe {
    fsyncs: Option<u64>,
    cpu_us: Option<u64>,
    rss_kib: Vec<u64>,
}

impl Probe {
    pub(super) async fn take(client: &Client, pids: &[u32]) -> Self {
        let mut fsyncs = Some(0);
        for endpoint in client.endpoints() {
            let text = client.metrics(endpoint).await.unwrap_or_default();
            fsyncs = fsyncs.zip(count(&text)).map(|(sum, one)| sum + one);
        }
        let cpu = pids.iter().map(|pid| cpu_us(*pid)).sum::<Option<u64>>();
        let rss_kib = pids.iter().filter_map(|pid| rss_kib(*pid)).collect();
        Self { fsyncs, cpu_us: cpu.filter(|_| !pids.is_empty()), rss_kib }
    }

    /// Adds to a report what happened since `before`.
    pub(super) fn compare(&self, before: &Self, requests: u64, report: &mut Value) {
        let Some(report) = report.as_object_mut() else { return };
        let per_op = |after: Option<u64>, before: Option<u64>| {
            let (after, before) = after.zip(before)?;
            Some(ratio(after.saturating_sub(before), requests))
        };
        report.insert("fsyncs_per_op".into(), json!(per_op(self.fsyncs, before.fsyncs)));
        report.insert("cpu_us_per_op".into(), json!(per_op(self.cpu_us, before.cpu_us)));
        let most = self.rss_kib.iter().max().map(|kib| ratio(*kib, 1024));
        report.insert("rss_mib_max".into(), json!(most));
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

/// The node's fsyncs: a counter `…fsync…_total`, or the count of a histogram of their latency.
fn count(metrics: &str) -> Option<u64> {
    let figure = |suffix: &str| {
        let mut sum = None;
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.split('{').next().unwrap_or(name);
            if name.contains(FSYNCS) && name.ends_with(suffix) {
                sum = Some(sum.unwrap_or(0) + value.parse::<u64>().ok()?);
            }
        }
        sum
    };
    figure("_total").or_else(|| figure("_count"))
}

fn cpu_us(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces; user and system time are the 12th and 13th after it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_US)
}

fn rss_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fsyncs_are_found_as_a_counter_or_a_histogram() {
        let text = "# TYPE x counter\ntetrarch_log_fsyncs_total 7\nother 1\n";
        assert_eq!(count(text), Some(7));
        let text = "tetrarch_log_fsync_seconds_count 5\ntetrarch_log_fsync_seconds_sum 0.1\n";
        assert_eq!(count(text), Some(5));
        assert_eq!(count("nothing 1\n"), None);
    }

    #[test]
    fn a_process_has_memory_and_time() {
        let me = std::process::id();
        assert!(rss_kib(me).unwrap() > 0);
        assert!(cpu_us(me).is_some());
        assert!(cpu_us(u32::MAX).is_none());
    }
}

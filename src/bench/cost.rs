//! What a run costs: fsyncs and bytes from `/metrics`, CPU and memory from `/proc`; and the machine.
//!
//! Promises: a figure that cannot be had is left out, never guessed. fsyncs and bytes are the sums over
//! all endpoints given; CPU and memory are those of the processes named.

use std::path::Path;

use super::figures::{Build, Machine};
use crate::client::Client;
use crate::runtime::planted;

/// What the log room's counter of fsyncs is called, whatever its prefix and suffix.
const FSYNCS: &str = "fsync";
/// The counter of bytes that a node has sent to others.
const SENT: &str = "peer_bytes_sent";
/// Linux counts CPU time in hundredths of a second for user space, on every architecture.
const TICK_US: u64 = 10_000;

/// What had been spent at one moment.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// fsyncs of all nodes.
    pub fsyncs: Option<u64>,
    /// Bytes between nodes.
    pub sent: Option<u64>,
    /// CPU time of the nodes, in microseconds.
    pub cpu_us: Option<u64>,
    /// CPU time of this process, in microseconds.
    pub own_cpu_us: Option<u64>,
    /// Resident memory of each node, in KiB.
    pub rss_kib: Vec<u64>,
}

impl Spent {
    /// Looks. Each client asks the endpoints it was given.
    pub async fn look(clients: &[Client], pids: &[u32]) -> Self {
        let known = (!clients.is_empty()).then_some(0);
        let (mut fsyncs, mut sent) = (known, known);
        for client in clients {
            for endpoint in client.endpoints() {
                let text = client.metrics(endpoint).await.unwrap_or_default();
                let add = |sum: Option<u64>, one: Option<u64>| sum.zip(one).map(|(a, b)| a + b);
                let synced = count(&text, FSYNCS, "_total");
                fsyncs = add(fsyncs, synced.or_else(|| count(&text, FSYNCS, "_count")));
                sent = add(sent, count(&text, SENT, "_total"));
            }
        }
        let cpu = pids.iter().map(|pid| cpu_us(&pid.to_string())).sum::<Option<u64>>();
        Self {
            fsyncs,
            sent,
            cpu_us: cpu.filter(|_| !pids.is_empty()),
            own_cpu_us: cpu_us("self"),
            rss_kib: pids.iter().filter_map(|pid| rss_kib(*pid)).collect(),
        }
    }

    /// What was spent since, for one of so many operations: fsyncs, bytes, CPU, own CPU.
    pub fn per_op(&self, before: &Self, ops: u64) -> [Option<f64>; 4] {
        let of = |after: Option<u64>, before: Option<u64>| {
            let (after, before) = after.zip(before)?;
            // A node that was started anew counts from zero.
            Some(ratio(after.checked_sub(before)?, ops))
        };
        [
            of(self.fsyncs, before.fsyncs),
            of(self.sent, before.sent),
            of(self.cpu_us, before.cpu_us),
            of(self.own_cpu_us, before.own_cpu_us),
        ]
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

/// The sum of all figures whose name contains and ends so.
fn count(metrics: &str, part: &str, suffix: &str) -> Option<u64> {
    let mut sum = None;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ')?;
        let name = name.split('{').next().unwrap_or(name);
        if name.contains(part) && name.ends_with(suffix) {
            sum = Some(sum.unwrap_or(0) + value.parse::<u64>().ok()?);
        }
    }
    sum
}

/// CPU time of a process, or of `self`.
pub fn cpu_us(process: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
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

/// This machine; `data` is where the nodes keep their data.
pub fn machine(data: &Path) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after_colon = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let kib = after_colon(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Machine {
        cores: u64::try_from(cores).unwrap_or(u64::MAX),
        memory: kib.unwrap_or(0) * 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu: after_colon(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
        disk: disk(&read("/proc/mounts"), data),
    }
}

/// The device and file system that hold a path.
fn disk(mounts: &str, path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut best: Option<(usize, String)> = None;
    for line in mounts.lines() {
        let mut parts = line.split(' ');
        let (Some(device), Some(at), Some(kind)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        // Of nested mounts the deepest, of several at one place the last.
        let deeper = best.as_ref().is_none_or(|(length, _)| at.len() >= *length);
        if path.starts_with(at) && deeper {
            best = Some((at.len(), format!("{kind} on {device}")));
        }
    }
    best.map(|(_, text)| text).unwrap_or_default()
}

/// This program.
pub fn build() -> Build {
    Build {
        version: planted::version().to_owned(),
        commit: option_env!("TETRARCH_COMMIT").map(str::to_owned),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_name_and_end() {
        let text = "# TYPE x counter\ntetrarch_log_fsyncs_total 7\nother 1\n";
        assert_eq!(count(text, FSYNCS, "_total"), Some(7));
        let text = "tetrarch_log_fsync_seconds_count 5\ntetrarch_log_fsync_seconds_sum 0.1\n";
        assert_eq!((count(text, FSYNCS, "_total"), count(text, FSYNCS, "_count")), (None, Some(5)));
        let text = "a_peer_bytes_sent_total{to=\"1\"} 3\na_peer_bytes_sent_total{to=\"2\"} 4\n";
        assert_eq!(count(text, SENT, "_total"), Some(7));
    }

    #[test]
    fn what_was_spent_is_told_by_operation_and_nothing_is_guessed() {
        let before = Spent { fsyncs: Some(10), cpu_us: Some(90), ..Spent::default() };
        let after = Spent { fsyncs: Some(30), sent: Some(5), cpu_us: Some(80), ..Spent::default() };
        assert_eq!(after.per_op(&before, 10), [Some(2.0), None, None, None]);
    }

    #[test]
    fn a_process_has_memory_and_time_and_a_machine_its_parts() {
        assert!(rss_kib(std::process::id()).unwrap() > 0);
        assert!(cpu_us("self").is_some() && cpu_us("4294967295").is_none());
        let machine = machine(Path::new("."));
        assert!(machine.cores > 0 && machine.memory > 0 && !machine.disk.is_empty());
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /data tmpfs rw 0 0\n/dev/b /data ext4 rw 0 0\n";
        assert_eq!(disk(mounts, Path::new("/data/x")), "ext4 on /dev/b");
        assert_eq!(disk(mounts, Path::new("/database")), "ext4 on /dev/a");
    }
}

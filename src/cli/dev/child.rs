//! One node of the local cluster, as a child process.
//!
//! Promises: a dropped child is killed; its output is kept in its log file.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{ChildStdin, Command};

use super::super::Failure;
use super::shape::Shape;
use crate::runtime::limits;

/// Log lines shown when a child ends.
const LINES_SHOWN: usize = 5;

#[derive(Debug)]
pub(super) struct Child {
    pub(super) node: u64,
    pub(super) pid: u32,
    pub(super) log: PathBuf,
    pub(super) dir: PathBuf,
    process: tokio::process::Child,
    /// Held open as long as dev lives; kept apart, since waiting for a process closes its own.
    _input: Option<ChildStdin>,
    /// Where this run's lines begin in the log.
    log_start: u64,
    command: String,
    over: bool,
}

impl Child {
    pub(super) fn start(node: u64, shape: &Shape, root: &Path) -> Result<Self, Failure> {
        let log = root.join(format!("node-{node}.log"));
        let dir = root.join(format!("node-{node}"));
        let exe = std::env::current_exe()
            .map_err(|e| Failure::failed(format!("this executable is not found: {e}")))?;
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.map_err(|error| Failure::file("written", &log, &error))?;
        let log_start = file.metadata().map_or(0, |m| m.len());
        let errors = file.try_clone().map_err(|error| Failure::file("written", &log, &error))?;
        let args = shape.serve_args(node, &dir);
        let mut command = Command::new(&exe);
        // What dev decides must not be overruled from the outside; log settings may be.
        for setting in ["JOIN", "ADVERTISE", "CONFIG", "REPLICAS"] {
            command.env_remove(format!("TETRARCH_{setting}"));
        }
        if shape.groups.is_none() {
            command.env_remove("TETRARCH_GROUPS");
        }
        let mut process = command
            .args(&args)
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(errors)
            // A terminal's Ctrl-C goes to dev alone, which then stops the children in its way.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Failure::failed(format!("node {node} cannot be started: {e}")))?;
        let pid = process.id().unwrap_or(0);
        let input = process.stdin.take();
        let command = format!("{} {}", exe.display(), args.join(" "));
        Ok(Self { node, pid, log, dir, process, _input: input, log_start, command, over: false })
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// How the child ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let status = self.process.try_wait().map_err(|e| Failure::failed(e.to_string()))?;
        self.over |= status.is_some();
        Ok(status)
    }

    /// Waits for its end.
    pub(super) async fn wait(&mut self) -> Result<ExitStatus, Failure> {
        let status = self.process.wait().await;
        self.over = true;
        status.map_err(|e| Failure::failed(e.to_string()))
    }

    /// Asks it to stop, and kills it when it does not in time.
    pub(super) async fn stop(&mut self) {
        if self.over {
            return;
        }
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended just now.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        let patience = Duration::from_secs(limits::DEV_STOP_SECONDS);
        if tokio::time::timeout(patience, self.process.wait()).await.is_err() {
            super::print::note(format!(
                "node {} did not stop within {} s and is killed",
                self.node,
                patience.as_secs()
            ));
            drop(self.process.kill().await);
        }
        self.over = true;
    }

    /// Which node ended, how, why as far as its log says, and how to start it again.
    pub(super) fn obituary(&self, how: &ExitStatus) -> String {
        let how = match (how.signal(), how.code()) {
            (Some(signal), _) => format!("was ended by signal {signal}"),
            (None, Some(code)) => format!("exited with code {code}"),
            (None, None) => "ended".to_owned(),
        };
        let tail = self.tail();
        let tail =
            if tail.is_empty() { String::new() } else { format!("; its last lines:\n{tail}") };
        format!(
            "node {} (pid {}) {how}{tail}\nits log is {}; to start it again:\n  {}",
            self.node,
            self.pid,
            self.log.display(),
            self.command
        )
    }

    fn tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(usize::MAX);
        let text = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned();
        let lines: Vec<_> = text.lines().collect();
        let shown = lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN));
        shown.map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
    }
}

//! One node of a local cluster, as a child process.
//!
//! Promises: a dropped child is killed; its output is kept in its log file.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{ChildStdin, Command};

use super::FleetError;
use crate::runtime::limits;

/// Log lines shown when a child ends.
const LINES_SHOWN: usize = 5;

/// How a child begins.
#[derive(Clone, Debug)]
pub struct Birth {
    /// The node.
    pub node: u64,
    /// The arguments of its `serve`, the word itself first.
    pub args: Vec<String>,
    /// Settings of the environment that must not reach it, without `TETRARCH_`.
    pub unset: Vec<&'static str>,
    /// Where its output goes, after what is there.
    pub log: PathBuf,
    /// Where it keeps its data.
    pub dir: PathBuf,
}

/// A node's process.
#[derive(Debug)]
pub struct Child {
    /// The node.
    pub node: u64,
    /// Its process.
    pub pid: u32,
    /// Where its output goes.
    pub log: PathBuf,
    /// Where it keeps its data.
    pub dir: PathBuf,
    process: tokio::process::Child,
    /// Held open as long as the starter lives; kept apart, since waiting for a process closes its own.
    _input: Option<ChildStdin>,
    /// Where this run's lines begin in the log.
    log_start: u64,
    command: String,
    over: bool,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When its log cannot be written, or no process be made.
    pub fn start(birth: &Birth) -> Result<Self, FleetError> {
        let Birth { node, args, unset, log, dir } = birth;
        let exe = std::env::current_exe().map_err(FleetError::Executable)?;
        let unwritten = |source| FleetError::File { path: log.clone(), source };
        let file = OpenOptions::new().create(true).append(true).open(log).map_err(unwritten)?;
        let log_start = file.metadata().map_or(0, |m| m.len());
        let errors = file.try_clone().map_err(unwritten)?;
        let mut command = Command::new(&exe);
        for setting in unset {
            command.env_remove(format!("TETRARCH_{setting}"));
        }
        let mut process = command
            .args(args)
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(errors)
            // A terminal's Ctrl-C goes to the starter alone, which then stops the children in its way.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| FleetError::Process { node: *node, source })?;
        let pid = process.id().unwrap_or(0);
        let input = process.stdin.take();
        let command = format!("{} {}", exe.display(), args.join(" "));
        let (log, dir) = (log.clone(), dir.clone());
        Ok(Self {
            node: *node,
            pid,
            log,
            dir,
            process,
            _input: input,
            log_start,
            command,
            over: false,
        })
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// How the child ended, if it has.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, FleetError> {
        let status = self
            .process
            .try_wait()
            .map_err(|e| FleetError::Process { node: self.node, source: e })?;
        self.over |= status.is_some();
        Ok(status)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub async fn wait(&mut self) -> Result<ExitStatus, FleetError> {
        let status = self.process.wait().await;
        self.over = true;
        status.map_err(|e| FleetError::Process { node: self.node, source: e })
    }

    /// Asks it to stop, and kills it when it does not in time: then `false`.
    pub async fn stop(&mut self) -> bool {
        if self.over {
            return true;
        }
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended just now.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        let patience = Duration::from_secs(limits::DEV_STOP_SECONDS);
        if tokio::time::timeout(patience, self.process.wait()).await.is_err() {
            self.kill().await;
            return false;
        }
        self.over = true;
        true
    }

    /// Kills it: what it had not synced is left to the kernel, what it had not written is gone.
    pub async fn kill(&mut self) {
        // It may have ended just now.
        drop(self.process.kill().await);
        self.over = true;
    }

    /// Which node ended, how, why as far as its log says, and how to start it again.
    pub fn obituary(&self, how: &ExitStatus) -> String {
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

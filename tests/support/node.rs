//! One `tetrarch serve` process: its command line, its data directory, its log.
//!
//! Promises: the process is dead when the value is dropped. A process is only ever signalled through
//! the handle that started it.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::wait_until;

/// Lines of a log that are shown when a test fails.
const TAIL: usize = 40;

/// Another build of the server, which nodes run once they are started again: an upgrade.
const NEXT: &str = "TETRARCH_NEXT_BINARY";

/// The binary under test.
pub(crate) fn binary() -> Command {
    command(env!("CARGO_BIN_EXE_tetrarch").as_ref())
}

fn command(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    // Settings of the person who runs the tests must not reach the servers.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TETRARCH_") {
            command.env_remove(name);
        }
    }
    command
}

/// One node, running or not.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) port: u16,
    pub(crate) data_dir: PathBuf,
    pub(crate) log_file: PathBuf,
    flags: Vec<String>,
    child: Option<Child>,
    /// Whether it was started before.
    is_known: bool,
}

impl Node {
    /// A node that is not running yet. `flags` is everything beside id, directory and address.
    pub(crate) fn new(
        id: u64,
        port: u16,
        data_dir: &Path,
        log_dir: &Path,
        flags: &[String],
    ) -> Self {
        Self {
            id,
            port,
            data_dir: data_dir.to_owned(),
            log_file: log_dir.join(format!("node-{id}.log")),
            flags: flags.to_vec(),
            child: None,
            is_known: false,
        }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Starts the process, always with the same command line (and, from the second time on, with the
    /// build that `TETRARCH_NEXT_BINARY` names). Its output is added to its log.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "node {} runs already", self.id);
        let log = OpenOptions::new().create(true).append(true).open(&self.log_file).unwrap();
        let next = std::env::var_os(NEXT).filter(|_| self.is_known);
        let mut command = next.map_or_else(binary, |program| command(&program));
        self.is_known = true;
        let child = command
            .args(["serve", "--node", &self.id.to_string(), "--listen", &self.address()])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the binary under test can be started");
        self.child = Some(child);
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the node runs");
        let pid = Pid::from_child(child);
        kill_process(pid, signal).expect("a child can be signalled until it is waited for");
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed until it is waited for");
            child.wait().expect("a killed child can be waited for");
        }
    }

    /// The exit status, once the process has ended by itself. Told once.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// Waits until the process ends by itself.
    pub(crate) async fn wait_exit(&mut self) -> ExitStatus {
        let id = self.id;
        wait_until(&format!("node {id} ends"), async || {
            self.exited().ok_or_else(|| "it still runs".to_owned())
        })
        .await
    }

    /// Whether the process was started and has not been seen to end.
    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// All that the node has ever said.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log_file).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How often a text stands in the log.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// The end of the log.
    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

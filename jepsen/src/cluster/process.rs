//! One process of a node: started, signalled, seen to be dead.
//!
//! Promises: a process is only ever signalled through the handle that started it, and is dead when
//! the handle is dropped. It dies with the harness, however that ends, where `setpriv` exists: the
//! kernel sends the signal when the thread that started the process ends, so that all are started by
//! one thread that never does.

use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

/// How often a process is looked at while its end is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longest wait for a killed process to be gone; one that sleeps in a broken file system takes long.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait for a stopped process to be seen stopped.
const STOPPED_WITHIN: Duration = Duration::from_secs(2);

struct Order {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();

fn starter() -> io::Result<&'static mpsc::Sender<Order>> {
    if let Some(orders) = STARTER.get() {
        return Ok(orders);
    }
    let (orders, taken) = mpsc::channel::<Order>();
    std::thread::Builder::new().name("starter".into()).spawn(move || {
        for mut order in taken {
            // Whoever asked may have given up; then the child is killed by its handle.
            if let Err(Ok(mut child)) = order.reply.send(order.command.spawn()) {
                drop(child.kill());
                drop(child.wait());
            }
        }
    })?;
    Ok(STARTER.get_or_init(|| orders))
}

/// Words in front of a command line that make the process die with the harness.
pub(super) fn dies_with_us() -> &'static [&'static str] {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let tried = Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    });
    if *found { &["setpriv", "--pdeathsig", "KILL"] } else { &[] }
}

/// A running process, or one that has ended and was not asked about yet.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    paused: bool,
}

impl Process {
    /// Starts a command.
    pub(super) async fn start(command: Command) -> io::Result<Self> {
        let (reply, started) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes is gone");
        starter()?.send(Order { command, reply }).map_err(|_sent| gone())?;
        let child = started.await.map_err(|_closed| gone())??;
        Ok(Self { child, paused: false })
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It can be signalled until it was waited for; that it has ended by itself is seen later.
        drop(kill_process(Pid::from_child(&self.child), signal));
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// SIGSTOP, and waits until the kernel says that it is stopped.
    pub(super) async fn pause(&mut self) -> bool {
        self.signal(Signal::STOP);
        let pid = self.child.id();
        let stopped = async {
            while state(pid).is_some_and(|state| state != 'T') {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        drop(tokio::time::timeout(STOPPED_WITHIN, stopped).await);
        self.paused = state(pid) == Some('T');
        self.paused
    }

    /// SIGCONT.
    pub(super) fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// Its exit status, once it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, and waits until it is gone; whether it is.
    pub(super) async fn kill(&mut self) -> bool {
        drop(self.child.kill());
        self.gone(GONE_WITHIN).await.is_some()
    }

    /// Waits until it has ended.
    pub(super) async fn gone(&mut self, within: Duration) -> Option<ExitStatus> {
        let ended = async {
            loop {
                if let Some(status) = self.ended() {
                    return status;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(within, ended).await.ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The state letter of a process in `/proc`; elsewhere than on Linux unknown.
fn state(pid: u32) -> Option<char> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain any of them.
    line.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("600");
        command
    }

    #[tokio::test]
    async fn a_paused_process_stands_still_and_a_killed_one_is_gone() {
        let mut process = Process::start(sleeper()).await.unwrap();
        assert!(process.pause().await);
        process.resume();
        assert!(!process.is_paused() && process.ended().is_none());
        assert!(process.pause().await, "a second time");
        assert!(process.kill().await, "a stopped one can be killed too");
        assert!(process.ended().is_some());
    }

    #[tokio::test]
    async fn a_dropped_process_is_dead() {
        let process = Process::start(sleeper()).await.unwrap();
        let pid = process.child.id();
        drop(process);
        assert_eq!(state(pid), None);
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_told() {
        assert!(Process::start(Command::new("no-such-binary-at-all")).await.is_err());
    }
}

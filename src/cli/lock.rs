//! `tetrarch lock NAME -- COMMAND…`: runs a command while a lock is held.
//!
//! Promises: the command never starts without the lock; when the lock is lost, the command is asked
//! to stop at once (SIGTERM), and killed after the grace. The exit code is the command's own; 128 and
//! the signal's number when a signal ended it; 70 when the lock was lost, 75 when it was not to be
//! had, otherwise as of every other command.

use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::process::{Child, Command};

use super::key::SpaceArgs;
use super::{Failure, print};
use crate::client::{Client, LockGuard, LockOptions};
use crate::runtime::Env;

/// The lock was lost while the command ran (`EX_SOFTWARE`: nothing else fits better).
const LOST: u8 = 70;
/// Somebody else has the lock (`EX_TEMPFAIL`).
const BUSY: u8 = 75;

#[derive(Debug, Args)]
pub(super) struct LockArgs {
    #[command(flatten)]
    space: SpaceArgs,
    /// How long it stays locked when this process vanishes.
    #[arg(long, default_value = "10s", value_parser = super::duration)]
    ttl: Duration,
    /// How long to stand in line; not at all when left out.
    #[arg(long, value_parser = super::duration)]
    wait: Option<Duration>,
    /// Who asks, for people.
    #[arg(long)]
    owner: Option<String>,
    /// How long the command has to stop when the lock is lost.
    #[arg(long, default_value = "5s", value_parser = super::duration)]
    grace: Duration,
    /// Only shows who has it.
    #[arg(long, conflicts_with_all = ["command", "wait", "owner"])]
    get: bool,
    /// The lock.
    name: String,
    /// What to run; it finds TETRARCH_LOCK_NAME, TETRARCH_LOCK_TOKEN and TETRARCH_LOCK_LEASE in its
    /// environment.
    #[arg(last = true, required_unless_present = "get")]
    command: Vec<String>,
}

pub(super) async fn run(args: LockArgs, env: &Env) -> Result<(), Failure> {
    let client = args.space.reach.client(env)?;
    if args.get {
        return show(&client, &args).await;
    }
    let program = args.command.first().map_or("", String::as_str);
    if !is_there(program) {
        return Err(Failure::usage(format!("there is no command \"{program}\" to run")));
    }
    let options = LockOptions {
        ttl: args.ttl,
        wait: args.wait.unwrap_or_default(),
        owner: args.owner.clone(),
    };
    let guard = client.lock(&args.space.ns, &args.name, &options).await;
    let guard = guard.map_err(|error| match error.is_lock_held() {
        true => Failure { code: BUSY, text: format!("{error}; --wait 30s stands in line for it") },
        false => Failure::write(&error),
    })?;
    let child = start(&args, &guard);
    let ended = match child {
        Ok(child) => run_held(child, &guard, args.grace).await,
        Err(failure) => Err(failure),
    };
    let was_held = guard.is_held();
    if let Err(error) = guard.release().await
        && was_held
    {
        print::note(format!("the lock could not be given back ({error}); it ends by itself"));
    }
    ended
}

/// Whether there is such a program: nobody is to wait for a lock, or for us, without need.
fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return std::path::Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn start(args: &LockArgs, guard: &LockGuard) -> Result<Child, Failure> {
    let (program, rest) = args.command.split_first().unwrap_or((&args.name, &[]));
    Command::new(program)
        .args(rest)
        .env("TETRARCH_LOCK_NAME", &args.name)
        .env("TETRARCH_LOCK_TOKEN", guard.token().to_string())
        .env("TETRARCH_LOCK_LEASE", guard.lease())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::failed(format!("\"{program}\" cannot be started: {error}")))
}

/// Waits for the command, the loss of the lock, or a signal to ourselves, which is handed on.
async fn run_held(mut child: Child, guard: &LockGuard, grace: Duration) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Failure::failed(error.to_string()));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let lost = tokio::select! {
        status = child.wait() => return ended(status),
        lost = guard.lost() => Some(lost),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    if let Some(lost) = &lost {
        print::error(&format!("{lost}; stopping the command"));
    }
    let status = stop(&mut child, grace).await;
    match lost {
        Some(lost) => Err(Failure { code: LOST, text: lost.to_string() }),
        None => ended(status),
    }
}

/// Asks the command to stop, and insists after the grace.
async fn stop(child: &mut Child, grace: Duration) -> std::io::Result<ExitStatus> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
    }
    if let Ok(status) = tokio::time::timeout(grace, child.wait()).await {
        return status;
    }
    child.kill().await?;
    child.wait().await
}

fn ended(status: std::io::Result<ExitStatus>) -> Result<(), Failure> {
    use std::os::unix::process::ExitStatusExt;
    let status = status.map_err(|error| Failure::failed(error.to_string()))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(()),
        // The command has said itself what was wrong.
        code => Err(Failure { code: code.unwrap_or(Failure::FAILED), text: String::new() }),
    }
}

async fn show(client: &Client, args: &LockArgs) -> Result<(), Failure> {
    let view = client.lock_state(&args.space.ns, &args.name).await;
    let view = view.map_err(|error| Failure::read(&error))?;
    if args.space.json {
        print::json(&json!(view));
        return Ok(());
    }
    print::line(match &view.holder {
        Some(holder) => format!(
            "held by \"{}\" with token {} (lease {}), {} waiting",
            holder.owner, holder.token, holder.lease, view.waiting
        ),
        None => "free".to_owned(),
    });
    Ok(())
}

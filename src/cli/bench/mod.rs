//! `tetrarch bench`: measures clusters, and compares what modes cost and lose.
//!
//! Promises: results go to standard output, as a table or as JSON; progress goes to standard error. The
//! exit code is 1 when reading back found anything wrong: figures of a store that breaks its promises,
//! or of a load that miscounts, must not pass for good ones.

pub(super) mod compare;
pub(super) mod growth;
pub(super) mod kv;
pub(super) mod load;
pub(super) mod peer;
mod progress;
pub(super) mod record;
pub(super) mod replay;
pub(super) mod report;
mod table;

use clap::Subcommand;

use super::Failure;
use crate::bench::figures::Run;
use crate::runtime::Env;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Single-key PUT and GET in a closed loop.
    Kv(kv::KvArgs),
    /// One workload on a namespace of its own in a running cluster; verified.
    Load(load::LoadArgs),
    /// What each mode costs and loses, on nodes of its own on this machine.
    Compare(compare::CompareArgs),
    /// Our own nodes against those of another store, in turn.
    #[command(subcommand)]
    Peer(peer::PeerCommand),
    /// Our own store by groups, size of values, connections and keys, on nodes of its own.
    Growth(growth::GrowthArgs),
    /// What is asked of a live namespace, as a file without values.
    Record(record::RecordArgs),
    /// A recorded trace through each mode, on nodes of its own on this machine.
    Replay(replay::ReplayArgs),
    /// The page of a comparison that was made before.
    Report(report::ReportArgs),
}

/// Runs it.
pub(super) async fn run(command: BenchCommand, env: &Env) -> Result<(), Failure> {
    match command {
        BenchCommand::Kv(args) => kv::run(args, env).await,
        BenchCommand::Load(args) => load::run(args, env).await,
        BenchCommand::Compare(args) => compare::run(args, env).await,
        BenchCommand::Peer(command) => peer::run(command, env).await,
        BenchCommand::Growth(args) => growth::run(args, env).await,
        BenchCommand::Record(args) => record::run(args, env).await,
        BenchCommand::Replay(args) => replay::run(args, env).await,
        BenchCommand::Report(args) => report::run(&args),
    }
}

/// Fails when a run has no figures, or ones that are worth nothing.
fn judge(runs: &[Run]) -> Result<(), Failure> {
    let bad: Vec<String> = runs
        .iter()
        .filter_map(|run| match &run.trouble {
            Some(trouble) => Some(format!("{}: {trouble}", run.name)),
            None if run.verified.wrong > 0 => Some(format!(
                "{}: {} of {} statements are wrong: {}",
                run.name,
                run.verified.wrong,
                run.verified.checked,
                run.verified.examples.join("; ")
            )),
            None => None,
        })
        .collect();
    if bad.is_empty() { Ok(()) } else { Err(Failure::failed(bad.join("\n"))) }
}

/// The command line that repeats this.
fn command_line() -> String {
    std::env::args().skip(1).fold("tetrarch".to_owned(), |line, word| format!("{line} {word}"))
}

/// Ends when the user, or who runs this for them, wants it to end: what it has started must not outlive it.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut told) => drop(told.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

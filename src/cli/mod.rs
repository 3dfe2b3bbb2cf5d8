//! The command line: arguments, the chosen command, its exit code.
//!
//! Why it exists: operators and scripts meet the cluster here. People get tables and sentences that
//! say what to do next; `--json` gives scripts one JSON document (or one a line); progress and
//! remarks go to standard error. Exit codes are contract: 0 done, 1 failed and surely not applied,
//! 2 wrong usage or settings, 3 the outcome is unknown, 4 not found.
//!
//! Relies on: [`crate::client`] for the cluster; it knows the server only as a function that
//! serves a [`Config`], which `main` hands over.

mod bench;
mod cluster;
mod dev;
mod export;
mod grid;
mod import;
mod journal;
mod kv;
mod print;
mod records;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::client::{Client, ClientError, Options};
use crate::config::Config;
use crate::runtime::Env;
use crate::wire::Outcome;

/// A replicated key-value store over HTTP in which every node leads part of the writes.
///
/// Exit codes: 0 done; 1 failed, surely not applied; 2 wrong usage or settings; 3 the outcome of a
/// write is unknown; 4 not found.
#[derive(Debug, Parser)]
#[command(name = "tetrarch", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one node.
    Serve(Box<serve::ServeArgs>),
    /// Runs a local cluster of child processes, for development and tests.
    Dev(dev::DevArgs),
    /// Reads and writes keys, one or many.
    #[command(subcommand)]
    Kv(KvCommand),
    /// Shows and changes the cluster.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Measures a running cluster.
    #[command(subcommand)]
    Bench(BenchCommand),
}

#[derive(Debug, Subcommand)]
enum KvCommand {
    /// Reads a key and writes its value to standard output.
    Get(kv::GetArgs),
    /// Writes a key.
    Put(kv::PutArgs),
    /// Removes a key.
    Delete(kv::DeleteArgs),
    /// Writes many keys from a file or standard input.
    Import(import::ImportArgs),
    /// Reads many keys, named by a file or standard input.
    Export(export::ExportArgs),
    /// Reads every acknowledged key of an import back and compares hashes, at each endpoint.
    Verify(export::VerifyArgs),
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Single-key PUT and GET in a closed loop.
    Kv(bench::BenchArgs),
}

/// How the cluster is reached.
#[derive(Clone, Debug, Args)]
struct Reach {
    /// Base URLs of nodes, separated by commas or given several times.
    #[arg(long = "endpoint", env = "TETRARCH_ENDPOINTS", value_delimiter = ',')]
    #[arg(default_value = "http://127.0.0.1:7101")]
    endpoints: Vec<String>,
    /// How long a request may take with all its tries: `500ms`, `5s` or seconds.
    #[arg(long, default_value = "5s", value_parser = duration)]
    timeout: Duration,
}

impl Reach {
    fn client(&self, env: &Env) -> Result<Client, Failure> {
        self.build(env, self.endpoints.clone(), false)
    }

    /// A client that asks this one node only.
    fn client_at(&self, env: &Env, endpoint: &str) -> Result<Client, Failure> {
        self.build(env, vec![endpoint.to_owned()], true)
    }

    fn build(&self, env: &Env, endpoints: Vec<String>, pinned: bool) -> Result<Client, Failure> {
        let options = Options { endpoints, timeout: self.timeout, pinned };
        Client::new(options, env).map_err(|error| Failure::usage(error.to_string()))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 1000),
        (None, None) => (text, 1000),
    };
    match number.parse::<u64>() {
        Ok(number) if number > 0 => Ok(Duration::from_millis(number.saturating_mul(unit))),
        _ => Err("give for example 500ms or 5s".to_owned()),
    }
}

/// Why a command did not succeed, and the exit code that says so.
#[derive(Debug)]
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    const FAILED: u8 = 1;
    const USAGE: u8 = 2;
    const UNKNOWN: u8 = 3;
    const NOT_FOUND: u8 = 4;

    fn failed(text: impl Into<String>) -> Self {
        Self { code: Self::FAILED, text: text.into() }
    }

    fn usage(text: impl Into<String>) -> Self {
        Self { code: Self::USAGE, text: text.into() }
    }

    fn not_found(text: impl Into<String>) -> Self {
        Self { code: Self::NOT_FOUND, text: text.into() }
    }

    fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::failed(format!("{} cannot be {what}: {error}", path.display()))
    }

    /// A failed write: says whether it may have taken effect.
    fn write(error: &ClientError) -> Self {
        match error.outcome() {
            Outcome::Unknown => Self {
                code: Self::UNKNOWN,
                text: format!(
                    "{error}\nwhether it took effect is unknown: read the key before writing again"
                ),
            },
            Outcome::Applied => Self::failed(format!("it took effect, but {error}")),
            Outcome::NotApplied => Self::failed(format!("{error}\nnothing was changed")),
        }
    }

    fn read(error: &ClientError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Runs the command that the arguments name. `serve` runs a node until it is stopped.
pub fn run<F, Served, E>(serve: F) -> ExitCode
where
    F: FnOnce(Config) -> Served,
    Served: Future<Output = Result<(), E>>,
    E: std::error::Error,
{
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::failed(format!("no threads: {error}"))),
    };
    let result = runtime.block_on(async {
        let env = Env::system();
        match cli.command {
            Command::Serve(args) => {
                let matches = matches.subcommand_matches("serve");
                serve::run(&args, matches.expect("the chosen command has arguments"), serve).await
            }
            Command::Dev(args) => dev::run(args, &env).await,
            Command::Kv(KvCommand::Get(args)) => kv::get(args, &env).await,
            Command::Kv(KvCommand::Put(args)) => kv::put(args, &env).await,
            Command::Kv(KvCommand::Delete(args)) => kv::delete(args, &env).await,
            Command::Kv(KvCommand::Import(args)) => import::run(args, &env).await,
            Command::Kv(KvCommand::Export(args)) => export::export(args, &env).await,
            Command::Kv(KvCommand::Verify(args)) => export::verify(args, &env).await,
            Command::Cluster(command) => cluster::run(command, &env).await,
            Command::Bench(BenchCommand::Kv(args)) => bench::run(args, &env).await,
        }
    });
    // Blocking reads of standard input must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    print::error(&failure.text);
    ExitCode::from(failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("5s").unwrap(), duration("5").unwrap());
        for bad in ["", "s", "0", "-1s", "five"] {
            duration(bad).unwrap_err();
        }
    }
}

//! The command line: arguments, the chosen command, its exit code.
//!
//! Why it exists: operators and scripts meet the cluster here. People get tables and sentences that
//! say what to do next; `--json` gives scripts one JSON document (or one a line); progress and
//! remarks go to standard error. Exit codes are contract: 0 done, 1 failed and surely not applied,
//! 2 wrong usage or settings, 3 the outcome is unknown, 4 not found,
//! 5 the write took effect, but not all that was asked of it.
//!
//! Relies on: [`crate::client`] for the cluster; it knows the server only as a function that
//! serves a [`Config`], which `main` hands over.

mod bench;
mod bridge;
mod cluster;
mod copies;
mod dev;
mod eventual;
mod export;
mod grid;
mod import;
mod journal;
mod key;
mod kv;
mod lease;
mod lock;
mod ops;
mod print;
mod records;
mod scan;
mod serve;
mod spaces;
mod switching;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::client::{Client, ClientError, Options};
use crate::config::Config;
use crate::runtime::{Env, planted};
use crate::wire::Outcome;

/// A replicated key-value store over HTTP in which every node leads part of the writes.
///
/// Exit codes: 0 done; 1 failed, surely not applied; 2 wrong usage or settings; 3 the outcome of a
/// write is unknown; 4 not found; 5 it took effect, but on fewer nodes than `--ack` asks. `lock` ends with its command's code; 70 when the lock was lost, 75
/// when somebody else has it.
#[derive(Debug, Parser)]
#[command(name = "tetrarch", version = planted::version())]
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
    /// Makes, shows, changes and removes namespaces.
    #[command(subcommand)]
    Ns(spaces::NsCommand),
    /// Makes, keeps and ends leases.
    #[command(subcommand)]
    Lease(lease::LeaseCommand),
    /// Runs a command while a lock is held.
    Lock(lock::LockArgs),
    /// Shows the bounds that the server keeps.
    Limits(spaces::Asked),
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Shows and changes the cluster.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Measures clusters; compares what modes cost and lose.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

#[derive(Debug, Subcommand)]
enum KvCommand {
    /// Reads a key and writes its value to standard output.
    Get(kv::GetArgs),
    /// Writes a key.
    Put(kv::PutArgs),
    /// Removes a key.
    Delete(kv::DeleteArgs),
    /// Changes a value without reading it first.
    Patch(kv::PatchArgs),
    /// Adds to a counter.
    Add(eventual::AddArgs),
    /// Adds elements to a set of an eventual namespace.
    SetAdd(eventual::ElementArgs),
    /// Takes elements out of a set of an eventual namespace.
    SetRemove(eventual::ElementArgs),
    /// Lists keys in their order.
    Scan(scan::ScanArgs),
    /// Counts keys.
    Count(scan::CountArgs),
    /// Follows changes.
    Watch(scan::WatchArgs),
    /// Changes several keys at once, or none.
    Txn(ops::TxnArgs),
    /// Does many operations, one a line.
    Batch(ops::BatchArgs),
    /// Writes many keys from a file or standard input.
    Import(import::ImportArgs),
    /// Reads all keys, or those that a file names.
    Export(export::ExportArgs),
    /// Reads every acknowledged key of an import back and compares hashes, at each endpoint.
    Verify(export::VerifyArgs),
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
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("", 1_000)];
    let parsed = units.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, *ms)));
    match parsed.map(|(number, unit)| (number.parse::<u64>(), unit)) {
        Some((Ok(number), unit)) if number > 0 => {
            Ok(Duration::from_millis(number.saturating_mul(unit)))
        }
        _ => Err("give for example 500ms, 5s or 2m".to_owned()),
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
    const APPLIED: u8 = 5;

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
            Outcome::Applied => {
                Self { code: Self::APPLIED, text: format!("it took effect, but {error}") }
            }
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
        Err(error) => {
            let failure = Failure::failed(format!("no threads: {error}"));
            return report(&failure, wants_json(&matches));
        }
    };
    let result = runtime.block_on(async {
        let env = Env::system();
        match cli.command {
            Command::Serve(args) => {
                let matches = matches.subcommand_matches("serve");
                serve::run(&args, matches.expect("the chosen command has arguments"), serve).await
            }
            command => Box::pin(run_client(command, &env)).await,
        }
    });
    // Blocking reads of standard input must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, wants_json(&matches)),
    }
}

/// Whether the chosen command was told to speak JSON.
fn wants_json(matches: &clap::ArgMatches) -> bool {
    let said = matches.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or(false);
    said || matches.subcommand().is_some_and(|(_, below)| wants_json(below))
}

/// Runs a command that is not a node.
async fn run_client(command: Command, env: &Env) -> Result<(), Failure> {
    match command {
        Command::Serve(_) => Err(Failure::usage("a node is served elsewhere")),
        Command::Dev(args) => dev::run(args, env).await,
        Command::Kv(command) => run_kv(command, env).await,
        Command::Ns(command) => spaces::run(command, env).await,
        Command::Lease(command) => lease::run(command, env).await,
        Command::Lock(args) => lock::run(args, env).await,
        Command::Limits(asked) => spaces::limits(asked, env).await,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tetrarch", &mut text);
            print::bytes(&text);
            Ok(())
        }
        Command::Cluster(command) => cluster::run(command, env).await,
        Command::Bench(command) => bench::run(command, env).await,
    }
}

async fn run_kv(command: KvCommand, env: &Env) -> Result<(), Failure> {
    match command {
        KvCommand::Get(args) => kv::get(args, env).await,
        KvCommand::Put(args) => kv::put(args, env).await,
        KvCommand::Delete(args) => kv::delete(args, env).await,
        KvCommand::Patch(args) => kv::patch(args, env).await,
        KvCommand::Add(args) => eventual::add(args, env).await,
        KvCommand::SetAdd(args) => eventual::set_add(args, env).await,
        KvCommand::SetRemove(args) => eventual::set_remove(args, env).await,
        KvCommand::Scan(args) => scan::scan(args, env).await,
        KvCommand::Count(args) => scan::count(args, env).await,
        KvCommand::Watch(args) => scan::watch(args, env).await,
        KvCommand::Txn(args) => ops::txn(args, env).await,
        KvCommand::Batch(args) => ops::batch(args, env).await,
        KvCommand::Import(args) => import::run(args, env).await,
        KvCommand::Export(args) => export::export(args, env).await,
        KvCommand::Verify(args) => export::verify(args, env).await,
    }
}

fn report(failure: &Failure, as_json: bool) -> ExitCode {
    match (failure.text.is_empty(), as_json) {
        (true, _) => {}
        (false, false) => print::error(&failure.text),
        (false, true) => {
            print::note(serde_json::json!({"error": failure.text, "exit": failure.code}));
        }
    }
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
        assert_eq!(duration("2m").unwrap(), duration("120s").unwrap());
        for bad in ["", "s", "0", "-1s", "five"] {
            duration(bad).unwrap_err();
        }
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn every_command_is_taken_as_documented() {
        for line in [
            "tetrarch kv get --read 250ms --json k",
            "tetrarch kv get --key64 Li4",
            "tetrarch kv put --if-absent --ttl 30s k v",
            "tetrarch kv put --if-match \"1-2\" --lease 00aa --content-type text/plain k v",
            "tetrarch kv patch --add -5 k",
            "tetrarch kv patch k --merge {}",
            "tetrarch kv scan --prefix a/ --reverse --limit 5 --keys-only --delimiter / --json",
            "tetrarch kv watch --prefix a --since start --initial --prev --kinds put,delete",
            "tetrarch kv add --ns visits home -5",
            "tetrarch kv set-add --ns members club ada bob",
            "tetrarch kv set-remove --ns members club ada",
            "tetrarch kv put --ns notes --context AQ --ack 2 k v",
            "tetrarch ns create --mode eventual --type lww --topology ring notes",
            "tetrarch ns set --topology {\"hub\":1} notes",
            "tetrarch ns conflicts --ns notes --prefix a",
            "tetrarch ns conflicts --ns notes --totals",
            "tetrarch ns convergence --ns notes --json",
            "tetrarch ns convergence --ns notes --pass 1",
            "tetrarch ns receipt --ns notes k 1-00000001-7.9",
            "tetrarch ns restore --ns notes k 1-00000001-7.9",
            "tetrarch ns export notes --since AQ notes.copy",
            "tetrarch ns export notes --since-of http://127.0.0.1:7201 -",
            "tetrarch ns import notes notes.copy --json",
            "tetrarch ns bridge notes --to http://a:1,http://b:2 --to-ns more --interval 5s --once",
            "tetrarch kv txn file",
            "tetrarch kv batch - --quiet --idempotency-key b",
            "tetrarch kv txn --idempotency-key t file",
            "tetrarch kv export --prefix a",
            "tetrarch ns create --ordered --quota 100 --history 0s orders",
            "tetrarch ns set --no-quota orders",
            "tetrarch lease keep-alive 00aa",
            "tetrarch lock job --ns x --wait 5s -- make -j 2",
            "tetrarch lock --get job",
            "tetrarch limits --json",
            "tetrarch completions zsh",
            "tetrarch bench kv --batch 100",
            "tetrarch bench load --mode lww-ack2 --workload ycsb-f --rate 500 --keys 10",
            "tetrarch bench load --connections 64 --reads 0.9 --json",
            "tetrarch bench compare --quick --modes lww,linearizable --rtt-ms 0,80 --out x",
            "tetrarch bench compare --plan --faults partition --times 3",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "tetrarch kv patch k",
            "tetrarch kv patch --add 1 --max 2 k",
            "tetrarch kv put --if-absent --if-match x k v",
            "tetrarch kv put --ttl 1s --lease 00aa k v",
            "tetrarch lock job",
            "tetrarch lock --get job -- true",
            "tetrarch kv watch --kinds puts",
            "tetrarch kv scan --limit 0",
            "tetrarch kv set-add --ns members club",
            "tetrarch ns create --topology star notes",
            "tetrarch ns export notes --since AQ --since-of http://a:1 notes.copy",
            "tetrarch ns bridge notes",
            "tetrarch bench load --mode eventual",
            "tetrarch bench load --connections 5 --rate 5",
        ] {
            parse(line).unwrap_err();
        }
    }
}

//! The command line.
//!
//! Promises: the exit code says it all: 0 valid, 1 an anomaly, 2 unknown, which is no pass, 3 the
//! harness could not do its work. `--json` prints one object on one line and nothing else.

mod args;
mod print;
mod test;
mod test_all;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::verdict::Validity;

/// What the process ends with when the harness failed.
const FAILED: u8 = 3;

#[derive(Debug, Parser)]
#[command(name = "tetrarch-jepsen", version, about, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 valid, 1 an anomaly, 2 unknown (which is no pass), \
                        3 the harness could not do its work.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one test: a workload on a cluster that is broken meanwhile
    Test(test::TestArgs),
    /// Runs every workload under every nemesis, and shows the table of verdicts
    TestAll(test_all::TestAllArgs),
}

/// Parses the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            let is_help = !error.use_stderr();
            return ExitCode::from(if is_help { 0 } else { FAILED });
        }
    };
    let done = match cli.command {
        Command::Test(args) => on_a_runtime(test::test(args)),
        Command::TestAll(args) => on_a_runtime(test_all::test_all(args)),
    };
    match done {
        Ok(validity) => ExitCode::from(code(validity)),
        Err(why) => {
            print::complain(&why);
            ExitCode::from(FAILED)
        }
    }
}

/// The exit code of a verdict.
fn code(validity: Validity) -> u8 {
    match validity {
        Validity::Valid => 0,
        Validity::Invalid => 1,
        Validity::Unknown => 2,
    }
}

/// Runs it to its end, or until it is interrupted: then everything that was started is ended by being
/// dropped.
fn on_a_runtime<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime cannot start: {error}"))?;
    runtime.block_on(async {
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_valid_ends_with_zero() {
        assert_eq!(code(Validity::Valid), 0);
        assert_eq!(code(Validity::Invalid), 1);
        assert_eq!(code(Validity::Unknown), 2);
    }
}

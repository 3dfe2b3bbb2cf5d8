//! `tetrarch-jepsen self-test`: finds the bugs that a server was built with.
//!
//! Promises: exit code 0 only when every bug was found and every control passed; 1 when one was missed
//! or a control found something; 3 when nothing could be tested. The last file it writes is the table
//! for the documentation. Relies on [`crate::selftest`].

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cluster::Backend;
use crate::progress::Progress;
use crate::selftest::{Line, SelfTest, table};

/// Finds planted bugs.
#[derive(Clone, Debug, Args)]
pub struct SelfTestArgs {
    /// A server built with `--features planted-bugs`.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Only these bugs, separated by commas.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// How long each bug may take to find, in seconds, with starts and verdicts.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    time_limit: u64,
    /// Nodes of each cluster.
    #[arg(long, value_name = "N", default_value_t = 3)]
    nodes: u32,
    /// Leaves out the same tests without bugs.
    #[arg(long)]
    no_controls: bool,
    /// All randomness comes from it.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Where runs are kept.
    #[arg(long, value_name = "DIR", default_value = "store")]
    store: PathBuf,
    /// Where the table is written as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Prints the lines as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it; the exit code.
pub async fn run(args: SelfTestArgs, progress: &Progress) -> u8 {
    let test = SelfTest {
        binary: args.binary,
        only: args.only,
        time_limit: Duration::from_secs(args.time_limit),
        nodes: args.nodes,
        backend: Backend::Proxy,
        controls: !args.no_controls,
        seed: args.seed,
        store: args.store,
    };
    let tell = |line: &Line| {
        let mark = if line.is_passed() { "ok    " } else { "MISSED" };
        let (bug, workload, nemesis) = (&line.bug, &line.workload, &line.nemesis);
        anstream::eprintln!("{mark} {bug:<28} {workload} under {nemesis}: {}", line.reason);
    };
    let lines = match test.run(progress, tell).await {
        Ok(lines) => lines,
        Err(error) => {
            anstream::eprintln!("{error}");
            return 3;
        }
    };
    if let Some(path) = &args.markdown
        && let Err(error) = std::fs::write(path, table::markdown(&lines))
    {
        anstream::eprintln!("{}: {error}", path.display());
        return 3;
    }
    if args.json {
        match serde_json::to_string_pretty(&lines) {
            Ok(text) => anstream::println!("{text}"),
            Err(error) => anstream::eprintln!("{error}"),
        }
    } else {
        anstream::println!("{}", table::text(&lines));
    }
    u8::from(!lines.iter().all(Line::is_passed))
}

//! `tetrarch bench peer`: our own nodes against those of another store, on this machine.
//!
//! Promises: the table, with ratios and what must be reached, goes to standard output, also when it was
//! stopped or a store died, then of the pairs that are complete; these are kept in the output directory. The
//! exit code is 1 when pairs are missing or anything was read back that is not as it was acknowledged, not
//! when a goal is missed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::super::{Failure, duration, print};
use super::progress::Drawn;
use super::{command_line, stopped};
use crate::bench::figures::FILE;
use crate::bench::peer::conditions::{Conditions, Part};
use crate::bench::peer::contender::Interface;
use crate::bench::peer::rows::{PeerReport, Row, Spread};
use crate::bench::peer::{Settings, begin, compare};
use crate::runtime::{Env, limits};

/// Which peer.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PeerCommand {
    /// etcd, of which the program must be installed.
    Etcd(EtcdArgs),
}

/// A comparison with etcd.
#[derive(Debug, Args)]
pub(in crate::cli) struct EtcdArgs {
    /// The program.
    #[arg(long, default_value = "etcd", value_name = "PATH")]
    etcd: PathBuf,
    /// Asks through the JSON gateway instead of gRPC.
    #[arg(long)]
    gateway: bool,
    /// How often both are measured, in turn [default: 5; 1 with --quick].
    #[arg(long)]
    pairs: Option<usize>,
    /// Short phases, few keys, one pair: to see that it works.
    #[arg(long)]
    quick: bool,
    /// How long each phase lasts [default: 15s; 3s with --quick].
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// PUTs a second of the open load.
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// Keys that each side holds in the end [default: 1000000; 20000 with --quick].
    #[arg(long)]
    keys: Option<u64>,
    /// Bytes of a value.
    #[arg(long, default_value_t = 128)]
    value_size: usize,
    /// Groups of our own nodes.
    #[arg(long, default_value_t = 24)]
    groups: u64,
    /// Groups of the second look at idle nodes; 0 leaves it out [default: 1000; 0 with --quick].
    #[arg(long)]
    many_groups: Option<u64>,
    /// Our client asks the node of its site alone, instead of going to the leaders.
    #[arg(long)]
    pinned: bool,
    /// Measures only these: idle, single, put, open, get, batch, fill, kill [default: all].
    #[arg(long, value_delimiter = ',', value_parser = part)]
    phases: Vec<Part>,
    /// Where the report goes; pairs that are there are kept, and not measured again.
    #[arg(long, default_value = "./bench-peer", value_name = "DIR")]
    out: PathBuf,
    /// Where the nodes keep their data: on the disk that shall be measured [default: `nodes` in --out].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(command: PeerCommand, env: &Env) -> Result<(), Failure> {
    match command {
        PeerCommand::Etcd(args) => etcd(args, env).await,
    }
}

async fn etcd(args: EtcdArgs, env: &Env) -> Result<(), Failure> {
    let (settings, as_json) = settings(args)?;
    let mut report = begin(&settings, env).map_err(|error| Failure::failed(error.to_string()))?;
    let drawn = Drawn::new();
    let ended = tokio::select! {
        ended = compare(&mut report, &settings, env, &drawn) => ended,
        // Dropped children are killed.
        () = stopped() => Err("stopped".to_owned()),
    };
    drawn.end();
    let there = report.pairs.len();
    if there > 0 && as_json {
        print::json(&json!(report));
    } else if there > 0 {
        show(&report);
        print::note(format!("All figures: {}", settings.out.join(FILE).display()));
    }
    ended.map_err(|why| {
        let (out, wanted) = (settings.out.display(), settings.pairs);
        let on = "the same command goes on behind them";
        Failure::failed(format!("{why}; {there} of {wanted} pairs are complete in {out}, {on}"))
    })?;
    if report.wrong > 0 {
        let text = format!("{} of what was read back is not as acknowledged", report.wrong);
        return Err(Failure::failed(text));
    }
    Ok(())
}

/// The part of this name.
fn part(name: &str) -> Result<Part, String> {
    let part = Part::ALL.into_iter().find(|part| part.name() == name);
    let names = || Part::ALL.map(Part::name).join(", ");
    part.ok_or_else(|| format!("choose among {}", names()))
}

/// What was asked for, and whether it shall be JSON.
fn settings(args: EtcdArgs) -> Result<(Settings, bool), Failure> {
    let usual = |given: Option<u64>, full: u64, quick: u64| {
        given.unwrap_or(if args.quick { quick } else { full })
    };
    let keys = usual(args.keys, 1_000_000, 20_000);
    let pairs = args.pairs.unwrap_or(if args.quick { 1 } else { 5 });
    let many_groups = usual(args.many_groups, 1_000, 0);
    let (least, most) = (1_000, limits::BENCH_KEYS_MAX);
    if !(least..=most).contains(&keys) {
        return Err(Failure::usage(format!("--keys must be from {least} to {most}")));
    }
    if pairs == 0 || !(args.rate > 0.0 && args.rate.is_finite()) || args.groups == 0 {
        return Err(Failure::usage("--pairs, --rate and --groups must be above 0"));
    }
    let (least, most) = (32, limits::BENCH_VALUE_BYTES_MAX);
    if !(least..=most).contains(&args.value_size) {
        return Err(Failure::usage(format!("--value-size must be from {least} to {most}")));
    }
    let seconds = if args.quick { 3 } else { 15 };
    let chosen = |part: &Part| args.phases.is_empty() || args.phases.contains(part);
    let conditions = Conditions {
        interface: if args.gateway { Interface::Json } else { Interface::Grpc },
        lasts: args.duration.unwrap_or(Duration::from_secs(seconds)),
        rate: args.rate,
        keys,
        value_bytes: args.value_size,
        groups: args.groups,
        many_groups,
        pinned: args.pinned,
        parts: Part::ALL.into_iter().filter(chosen).collect(),
    };
    let settings = Settings {
        program: args.etcd,
        pairs,
        conditions,
        root: args.data.unwrap_or_else(|| args.out.join("nodes")),
        out: args.out,
        command: command_line(),
    };
    Ok((settings, args.json))
}

fn show(report: &PeerReport) {
    let mut table = Table::new();
    let peer = report.peer.clone();
    table
        .load_preset(presets::NOTHING)
        .set_header(["", "tetrarch", &peer, "ratio", "at least", "aim", "reached"]);
    // What was not asked for has no line.
    let known = |row: &&Row| row.ours.median.is_some() || row.peer.median.is_some();
    for row in report.rows.iter().filter(known) {
        table.add_row(cells(row));
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    print::line(table);
    let missed: Vec<&str> = report
        .rows
        .iter()
        .filter(|row| row.reached.as_deref() == Some("no"))
        .map(|row| row.what.as_str())
        .collect();
    if !missed.is_empty() {
        print::note(format!("Not reached: {}.", missed.join("; ")));
    }
    report.remarks.iter().for_each(print::note);
    print::note(format!(
        "Medians of {} pairs, and in brackets from the least to the greatest; {} build on {} cores.",
        report.pairs.len(),
        report.build.profile,
        report.machine.cores
    ));
    print::note(format!("Read back: {} keys, {} wrong.", report.checked, report.wrong));
}

fn cells(row: &Row) -> [String; 7] {
    let ratio = row.ratio.as_ref().map_or_else(|| "-".to_owned(), |ratio| spread(ratio, "x"));
    let reached = row.reached.clone().unwrap_or_else(|| "-".to_owned());
    [
        row.what.clone(),
        spread(&row.ours, &row.unit),
        spread(&row.peer, &row.unit),
        ratio,
        row.least.clone(),
        row.aim.clone(),
        reached,
    ]
}

/// The median with its range, when there is one.
fn spread(spread: &Spread, unit: &str) -> String {
    let Some(median) = spread.median else { return "-".to_owned() };
    let range = match (spread.least, spread.most) {
        (Some(least), Some(most)) if spread.values.len() > 1 => {
            format!(" ({}..{})", figure(least), figure(most))
        }
        _ => String::new(),
    };
    format!("{} {unit}{range}", figure(median))
}

fn figure(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_stands_with_its_range_and_what_is_missing_is_a_dash() {
        let row = Row {
            what: "PUT/s".into(),
            unit: "/s".into(),
            ours: Spread {
                median: Some(20_000.0),
                least: Some(1.5),
                most: Some(30_000.0),
                values: vec![Some(1.5), Some(20_000.0), Some(30_000.0)],
            },
            ..Row::default()
        };
        let cells = cells(&row);
        assert_eq!(cells[1], "20000 /s (1.50..30000)");
        assert_eq!((cells[2].as_str(), cells[3].as_str(), cells[6].as_str()), ("-", "-", "-"));
    }
}

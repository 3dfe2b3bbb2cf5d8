//! `tetrarch bench growth`: our own store by groups, size of values, connections and keys.
//!
//! Promises: the table goes to standard output; the exit code is 1 when anything was read that is not as
//! it was acknowledged.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::super::{Failure, duration, print};
use super::progress::Drawn;
use super::{command_line, stopped};
use crate::bench::growth::{Axis, Figures, GrowthReport, Row, Settings, measure};
use crate::runtime::{Env, limits};

#[derive(Debug, Args)]
pub(in crate::cli) struct GrowthArgs {
    /// What grows: groups, values, connections, keys [default: all].
    #[arg(long, value_delimiter = ',', value_parser = axis)]
    by: Vec<Axis>,
    /// Few sizes and short loads: to see that it works.
    #[arg(long)]
    quick: bool,
    /// How long each load lasts [default: 10s; 2s with --quick].
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// No row has more keys: 10,000,000 take several GiB of memory and disk.
    #[arg(long, default_value_t = 1_000_000)]
    keys_max: u64,
    /// Where the nodes keep their data: on the disk that shall be measured.
    #[arg(long, default_value = "./bench-growth", value_name = "DIR")]
    data: PathBuf,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

/// What grows, by its name.
fn axis(name: &str) -> Result<Axis, String> {
    let axis = Axis::ALL.into_iter().find(|axis| axis.name() == name);
    axis.ok_or_else(|| format!("choose among {}", Axis::ALL.map(Axis::name).join(", ")))
}

pub(in crate::cli) async fn run(args: GrowthArgs, env: &Env) -> Result<(), Failure> {
    let (least, most) = (1_000, limits::BENCH_KEYS_MAX);
    if !(least..=most).contains(&args.keys_max) {
        return Err(Failure::usage(format!("--keys-max must be from {least} to {most}")));
    }
    let seconds = Duration::from_secs(if args.quick { 2 } else { 10 });
    let settings = Settings {
        axes: if args.by.is_empty() { Axis::ALL.to_vec() } else { args.by },
        quick: args.quick,
        seconds: args.duration.unwrap_or(seconds),
        keys_max: args.keys_max,
        root: args.data,
        command: command_line(),
    };
    let drawn = Drawn::new();
    let measured = tokio::select! {
        measured = measure(&settings, env, &drawn) => measured,
        // Dropped children are killed.
        () = stopped() => Err("stopped".to_owned()),
    };
    drawn.end();
    let report = measured.map_err(Failure::failed)?;
    if args.json {
        print::json(&json!(report));
    } else {
        show(&report);
    }
    let wrong: u64 = report.rows.iter().map(|row| row.wrong).sum();
    if wrong > 0 {
        return Err(Failure::failed(format!("{wrong} reads are not as acknowledged")));
    }
    Ok(())
}

const HEADERS: [&str; 17] = [
    "by", "groups", "bytes", "conns", "keys", "fill/s", "PUT/s", "p50", "p99", "CPU us", "GET/s",
    "p50", "p99", "CPU us", "own us", "MiB", "wrong",
];

fn show(report: &GrowthReport) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(HEADERS);
    for row in &report.rows {
        table.add_row(cells(row));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    print::line(table);
    report.remarks.iter().for_each(print::note);
    print::note(format!(
        "Latencies in ms; CPU of the three nodes per operation; own: the generator's, PUT and GET; {} \
         build on {} cores.",
        report.build.profile, report.machine.cores
    ));
}

fn cells(row: &Row) -> Vec<String> {
    let or_dash = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let load = |done: &Figures| {
        [
            format!("{:.0}", done.per_second),
            format!("{:.2}", done.p50),
            format!("{:.2}", done.p99),
            or_dash(done.cpu_us, 0),
        ]
    };
    let mut cells = vec![
        row.axis.clone(),
        row.size.groups.to_string(),
        row.size.value_bytes.to_string(),
        row.size.connections.to_string(),
        row.size.keys.to_string(),
        format!("{:.0}", row.fill_per_second),
    ];
    cells.extend(load(&row.put));
    cells.extend(load(&row.get));
    cells.push(format!("{} {}", or_dash(row.put.own_us, 0), or_dash(row.get.own_us, 0)));
    cells.push(or_dash(row.rss_mib, 0));
    cells.push(row.wrong.to_string());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::growth::Size;

    #[test]
    fn a_row_has_a_cell_for_each_column_and_what_is_missing_is_a_dash() {
        let row = Row {
            axis: "groups".into(),
            size: Size { groups: 16, value_bytes: 128, connections: 4, keys: 10 },
            fill_per_second: 5.0,
            put: Figures { per_second: 1_234.4, ..Figures::default() },
            get: Figures::default(),
            rss_mib: None,
            checked: 1,
            wrong: 0,
        };
        let cells = cells(&row);
        assert_eq!(cells.len(), HEADERS.len());
        assert_eq!((cells[6].as_str(), cells[15].as_str()), ("1234", "-"));
    }
}

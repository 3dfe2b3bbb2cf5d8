//! `tetrarch bench report`: the page of a comparison, drawn again from its figures.
//!
//! Promises: nothing is measured, and the figures stay as they are.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{Failure, print};
use crate::bench::figures::{FILE, Report};
use crate::bench::kept::read_report;
use crate::bench::report::{PAGE, write_page};

/// Which report.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// The output directory of a comparison, or its file of figures.
    #[arg(default_value = "./bench-report", value_name = "DIR|FILE")]
    from: PathBuf,
    /// Where the page goes [default: report.html beside the figures].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(in crate::cli) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
    let (report, dir) = read(&args.from)?;
    let out = args.out.clone().unwrap_or_else(|| dir.join(PAGE));
    write_page(&out, &report).map_err(|error| failed(&error))?;
    print::line(out.display());
    Ok(())
}

/// The figures, and the directory that they are in.
fn read(from: &Path) -> Result<(Report, PathBuf), Failure> {
    if from.is_dir() {
        let there = read_report(from).map_err(|error| Failure::failed(error.to_string()))?;
        let missing = || Failure::failed(format!("there is no {FILE} in {}", from.display()));
        return Ok((there.ok_or_else(missing)?, from.to_owned()));
    }
    let unread = |reason: String| Failure::failed(format!("{}: {reason}", from.display()));
    let text = std::fs::read_to_string(from).map_err(|error| unread(error.to_string()))?;
    let report = serde_json::from_str(&text).map_err(|error| unread(error.to_string()))?;
    Ok((report, from.parent().unwrap_or(Path::new(".")).to_owned()))
}

//! What growth does to our own store: by groups, by the size of values, by connections, by data.
//!
//! ```text
//!   a row:  three fresh nodes --> fill --> PUTs --> GETs --> read back --> gone
//! ```
//!
//! Why it exists: figures at one size say nothing about the next one. Each row changes one thing and
//! leaves the others as they usually are, so that a knee has one cause.
//!
//! Promises: each row has nodes of its own; what is read is compared with what was acknowledged, and a
//! sample is read back at the end. Relies on: [`super::peer::contender`] for the nodes, [`super::lanes`]
//! for the load.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::cost::{self, Spent};
use super::figures::{Build, Machine};
use super::lanes::book::Book;
use super::lanes::drive::{Load, Phase, check, phase};
use super::peer::contender::{Contender, Ours};
use super::progress::{Progress, Step};
use crate::runtime::Env;

/// The version of the form.
pub const VERSION: u32 = 1;

/// Bytes that the keys of a row have together at most, when it is the values that grow.
const DATA_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of one request that fills, and its writes.
const FILL_BYTES: u64 = 512 * 1024;
const FILL_WRITES: u64 = 1_000;

/// Callers that fill.
const FILLERS: u64 = 12;

/// Until nodes that have just been filled have nothing left to do.
const SETTLES: Duration = Duration::from_secs(2);

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Groups of the namespace.
    Groups,
    /// Bytes of a value.
    Values,
    /// Connections, all nodes together.
    Connections,
    /// Keys.
    Keys,
}

impl Axis {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Groups, Self::Values, Self::Connections, Self::Keys];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Values => "values",
            Self::Connections => "connections",
            Self::Keys => "keys",
        }
    }

    /// The sizes that are looked at.
    const fn sizes(self, quick: bool) -> &'static [u64] {
        match (self, quick) {
            (Self::Groups, false) => &[16, 64, 256, 1_000],
            (Self::Groups, true) => &[16, 256],
            (Self::Values, false) => &[16, 128, 1_024, 16_384, 131_072, 1_048_576],
            (Self::Values, true) => &[16, 1_024, 65_536],
            (Self::Connections, false) => &[1, 4, 16, 64, 256, 1_000, 4_000],
            (Self::Connections, true) => &[1, 64, 1_000],
            (Self::Keys, false) => &[10_000, 100_000, 1_000_000, 10_000_000],
            (Self::Keys, true) => &[10_000, 100_000],
        }
    }
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What grows, each in turn.
    pub axes: Vec<Axis>,
    /// Fewer sizes.
    pub quick: bool,
    /// How long a load lasts.
    pub seconds: Duration,
    /// No row has more keys.
    pub keys_max: u64,
    /// Where the nodes keep their data.
    pub root: PathBuf,
    /// The command line, for the report.
    pub command: String,
}

/// The sizes of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Groups.
    pub groups: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Connections.
    pub connections: u64,
    /// Keys.
    pub keys: u64,
}

/// What a load came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Operations a second.
    pub per_second: f64,
    /// In milliseconds.
    pub p50: f64,
    /// In milliseconds.
    pub p99: f64,
    /// CPU of the three nodes for one operation.
    pub cpu_us: Option<f64>,
    /// CPU of the generator for one operation.
    pub own_us: Option<f64>,
    /// Operations that failed, and why the first one did.
    pub failed: u64,
    /// Why.
    pub why: Option<String>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What grows.
    pub axis: String,
    /// How large everything is.
    pub size: Size,
    /// Keys a second while it was filled, by batches.
    pub fill_per_second: f64,
    /// PUTs alone.
    pub put: Figures,
    /// Linearizable GETs alone.
    pub get: Figures,
    /// Memory of the largest node after both, in MiB.
    pub rss_mib: Option<f64>,
    /// Keys read back.
    pub checked: u64,
    /// Reads that did not show what was acknowledged.
    pub wrong: u64,
}

/// All rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrowthReport {
    /// The version of this form.
    pub version: u32,
    /// Where it ran.
    pub machine: Machine,
    /// What ran.
    pub build: Build,
    /// The command line that repeats it.
    pub command: String,
    /// When it began, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// What a reader must know.
    pub remarks: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// The sizes that are usual, with one of them changed.
fn size(axis: Axis, to: u64, settings: &Settings) -> Size {
    let usual = if settings.quick { 20_000 } else { 100_000 };
    let mut size = Size { groups: 24, value_bytes: 128, connections: 256, keys: usual };
    match axis {
        Axis::Groups => size.groups = to,
        Axis::Values => {
            size.value_bytes = usize::try_from(to).unwrap_or(usize::MAX);
            size.keys = size.keys.min(DATA_BYTES / to.max(1));
        }
        Axis::Connections => size.connections = to,
        Axis::Keys => size.keys = to,
    }
    size.keys = size.keys.min(settings.keys_max);
    // Fewer keys than four a caller would be a test of callers in each other's way.
    size.connections = size.connections.min(size.keys / 4).max(1);
    size
}

fn sizes(settings: &Settings) -> Vec<(Axis, Size)> {
    let mut all: Vec<(Axis, Size)> = Vec::new();
    for axis in &settings.axes {
        for to in axis.sizes(settings.quick) {
            let row = (*axis, size(*axis, *to, settings));
            // What a bound has made the same is measured once.
            if !all.contains(&row) {
                all.push(row);
            }
        }
    }
    all
}

/// Measures all rows.
///
/// # Errors
///
/// When nodes do not run.
pub async fn measure(
    settings: &Settings,
    env: &Env,
    progress: &dyn Progress,
) -> Result<GrowthReport, String> {
    std::fs::create_dir_all(&settings.root)
        .map_err(|error| format!("{}: {error}", settings.root.display()))?;
    let mut report = GrowthReport {
        version: VERSION,
        machine: cost::machine(&settings.root),
        build: cost::build(),
        command: settings.command.clone(),
        started_ms: env.clock.wall_ms(),
        remarks: vec![
            "Three nodes and the load generator on one machine; every acknowledged write is synced.".to_owned(),
            format!(
                "Each row: fresh nodes, {} s of PUTs and as many of GETs; callers ask leaders directly.",
                settings.seconds.as_secs_f64()
            ),
        ],
        rows: Vec::new(),
    };
    let sizes = sizes(settings);
    let all = sizes.len();
    for (number, (axis, size)) in (1..).zip(sizes) {
        progress.say(Step::Doing(format!("{number}/{all} {}: {size:?}", axis.name())));
        let root = settings.root.join(format!("growth-{number}"));
        let row = row(settings, env, (axis, size), root).await?;
        let of = |what: &str, done: &Figures| {
            (done.failed > 0).then(|| {
                let why = done.why.as_deref().unwrap_or("no reason given");
                format!("{} {size:?}: {} {what}s failed: {why}", axis.name(), done.failed)
            })
        };
        for remark in [of("PUT", &row.put), of("GET", &row.get)].into_iter().flatten() {
            progress.say(Step::Remark(remark.clone()));
            report.remarks.push(remark);
        }
        report.rows.push(row);
    }
    if let Some(failure) = env.tasks.failure() {
        return Err(format!("the load generator failed: {failure}"));
    }
    Ok(report)
}

async fn row(
    settings: &Settings,
    env: &Env,
    (axis, size): (Axis, Size),
    root: PathBuf,
) -> Result<Row, String> {
    let side = Ours::start(root, size.groups, false, env).await?;
    let book = Book::new("growth/", size.keys, size.value_bytes);
    let pids = side.pids().await;
    let run = async |load: Load| -> Result<Phase, String> {
        Ok(phase(env, side.lanes().await?, &book, &pids, load).await)
    };
    let bytes = u64::try_from(size.value_bytes).unwrap_or(u64::MAX);
    let filled = run(Load::Fill(FILLERS, (FILL_BYTES / bytes).clamp(1, FILL_WRITES))).await?;
    let missing = book.missing().len();
    if missing > 0 {
        let why = filled.why.unwrap_or_else(|| "no reason given".to_owned());
        return Err(format!("{missing} keys could not be filled in: {why}"));
    }
    sleep(SETTLES).await;
    let (lasts, warm) = (settings.seconds, settings.seconds.min(Duration::from_secs(2)));
    let mut wrong = filled.wrong;
    let mut figures = Vec::new();
    for puts in [100, 0] {
        wrong += run(Load::Closed(size.connections, puts, warm)).await?.wrong;
        let done = run(Load::Closed(size.connections, puts, lasts)).await?;
        wrong += done.wrong;
        figures.push(of_phase(&done));
    }
    let rss = Spent::look(&[], &pids).await.rss_kib.into_iter().max();
    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    let rss_mib = rss.map(|kib| kib as f64 / 1_024.0);
    let (checked, wrong_back) = check(&*side.target(), &book).await;
    Box::new(side).stop().await;
    let mut figures = figures.into_iter();
    Ok(Row {
        axis: axis.name().to_owned(),
        size,
        fill_per_second: filled.per_second(),
        put: figures.next().unwrap_or_default(),
        get: figures.next().unwrap_or_default(),
        rss_mib,
        checked,
        wrong: wrong + wrong_back,
    })
}

fn of_phase(done: &Phase) -> Figures {
    Figures {
        per_second: done.per_second(),
        p50: done.quantile_ms(0.5),
        p99: done.quantile_ms(0.99),
        cpu_us: done.cpu_us_per_op(),
        own_us: done.own_us_per_op(),
        failed: done.failed(),
        why: done.why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(axes: &[Axis], keys_max: u64) -> Settings {
        let (root, seconds) = (PathBuf::new(), Duration::from_secs(1));
        let command = String::new();
        Settings { axes: axes.to_vec(), quick: false, seconds, keys_max, root, command }
    }

    #[test]
    fn each_row_changes_one_thing_and_stays_within_its_bounds() {
        let all = sizes(&settings(&Axis::ALL, 10_000_000));
        assert_eq!(all.len(), 4 + 6 + 7 + 4);
        for (axis, size) in &all {
            assert_eq!(size.groups == 24, *axis != Axis::Groups);
            assert!(size.keys >= size.connections * 4 || size.connections == 1, "{size:?}");
            let bytes = size.keys * u64::try_from(size.value_bytes).unwrap();
            assert!(*axis != Axis::Values || bytes <= DATA_BYTES);
        }
        // A bound on the keys makes the last ones the same.
        let keys = sizes(&settings(&[Axis::Keys], 500_000));
        assert_eq!(
            keys.iter().map(|(_, size)| size.keys).collect::<Vec<_>>(),
            [10_000, 100_000, 500_000]
        );
    }
}

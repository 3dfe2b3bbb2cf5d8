//! Many runs at a glance: workloads down, nemeses across.
//!
//! Why it exists: `test-all` ends in one table, which people read on a terminal, in a browser and in
//! the documentation.
//!
//! Promises: the same runs give the same table; a cell holds the worst of its runs, and counts them;
//! a pair that was never run is empty, not valid.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::RunSummary;
use super::page::{document, word};
use super::sections::href;
use super::words;
use crate::verdict::Validity;

/// What the runs of one workload under one nemesis came to.
struct Cell<'a> {
    worst: &'a RunSummary,
    runs: usize,
    operations: u64,
    faults: u64,
    seconds: f64,
}

struct Grid<'a> {
    workloads: Vec<&'a str>,
    nemeses: Vec<&'a str>,
    cells: BTreeMap<(&'a str, &'a str), Cell<'a>>,
}

impl<'a> Grid<'a> {
    fn of(runs: &'a [RunSummary]) -> Self {
        let mut grid = Self { workloads: Vec::new(), nemeses: Vec::new(), cells: BTreeMap::new() };
        let (mut workloads, mut nemeses) = (BTreeSet::new(), BTreeSet::new());
        for run in runs {
            // In the order in which they were run, which is the order that was asked for.
            if workloads.insert(run.workload.as_str()) {
                grid.workloads.push(&run.workload);
            }
            if nemeses.insert(run.nemesis.as_str()) {
                grid.nemeses.push(&run.nemesis);
            }
            let cell = grid.cells.entry((&run.workload, &run.nemesis)).or_insert(Cell {
                worst: run,
                runs: 0,
                operations: 0,
                faults: 0,
                seconds: 0.0,
            });
            if run.validity > cell.worst.validity {
                cell.worst = run;
            }
            cell.runs += 1;
            cell.operations += run.operation_count();
            cell.faults += run.installed_count();
            cell.seconds += run.seconds;
        }
        grid
    }

    fn cell(&self, workload: &'a str, nemesis: &'a str) -> Option<&Cell<'a>> {
        self.cells.get(&(workload, nemesis))
    }
}

impl Cell<'_> {
    fn figures(&self) -> String {
        let runs = if self.runs > 1 { format!("{} runs, ", self.runs) } else { String::new() };
        format!(
            "{runs}{} ops, {}, {:.0} s",
            words::count(self.operations),
            words::counted(self.faults, "fault", "faults"),
            self.seconds
        )
    }
}

/// How many runs ended how, in one sentence.
pub fn sentence(runs: &[RunSummary]) -> String {
    let of = |validity| runs.iter().filter(|run| run.validity == validity).count();
    let operations: u64 = runs.iter().map(RunSummary::operation_count).sum();
    let seconds: f64 = runs.iter().map(|run| run.seconds).sum();
    format!(
        "{} runs: {} valid, {} unknown, {} invalid; {} operations and {} faults in {:.0} s",
        runs.len(),
        of(Validity::Valid),
        of(Validity::Unknown),
        of(Validity::Invalid),
        words::count(operations),
        words::count(runs.iter().map(RunSummary::installed_count).sum()),
        seconds
    )
}

/// The worst of all; `unknown` of nothing.
pub fn validity(runs: &[RunSummary]) -> Validity {
    runs.iter().map(|run| run.validity).max().unwrap_or(Validity::Unknown)
}

/// The table as a page that links to each run's own, by `dir` relative to the page.
pub fn html(runs: &[RunSummary]) -> String {
    let grid = Grid::of(runs);
    let worst = validity(runs);
    let body = html! {
        header.banner class=(word(worst)) {
            h1 { (super::sections::mark(worst)) (super::sections::capital(word(worst))) }
            p.reason { (sentence(runs)) }
        }
        h2 { "Workloads and faults" }
        div.wide { table {
            tr { th {} @for nemesis in &grid.nemeses { th { (nemesis) } } }
            @for workload in &grid.workloads {
                tr {
                    td { b { (workload) } }
                    @for nemesis in &grid.nemeses { (cell_html(grid.cell(workload, nemesis))) }
                }
            }
        } }
        (reasons_html(runs))
    };
    document(&format!("{} · all tests", word(worst)), &body)
}

fn cell_html(cell: Option<&Cell<'_>>) -> Markup {
    let Some(cell) = cell else { return html! { td.cell.empty { "–" } } };
    let inner = html! { b { (word(cell.worst.validity)) } span { (cell.figures()) } };
    html! {
        td.cell class=(word(cell.worst.validity)) title=(cell.worst.reason) {
            @if cell.worst.dir.is_empty() { div { (inner) } }
            @else { a href={ "./" (href(&cell.worst.dir)) "/index.html" } { (inner) } }
        }
    }
}

fn reasons_html(runs: &[RunSummary]) -> Markup {
    let doubtful: Vec<&RunSummary> =
        runs.iter().filter(|run| run.validity != Validity::Valid).collect();
    html! {
        @if !doubtful.is_empty() {
            h2 { "What is not valid, and why" }
            @for run in doubtful {
                div.card {
                    div.checker {
                        span.chip class=(word(run.validity)) { (word(run.validity)) }
                        b {
                            @if run.dir.is_empty() { (run.workload) " under " (run.nemesis) }
                            @else { a href={ "./" (href(&run.dir)) "/index.html" } { (run.workload) " under " (run.nemesis) } }
                        }
                        span.soft { "seed " (run.seed) }
                    }
                    p { (run.reason) }
                    @if !run.replay.is_empty() { pre { (run.replay) } }
                }
            }
        }
    }
}

/// The table in Markdown, for the documentation.
pub fn markdown(runs: &[RunSummary]) -> String {
    let grid = Grid::of(runs);
    let mut text = format!("{}.\n\n| workload |", sentence(runs));
    for nemesis in &grid.nemeses {
        text.push_str(&format!(" {} |", plain(nemesis)));
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(grid.nemeses.len()));
    text.push('\n');
    for workload in &grid.workloads {
        text.push_str(&format!("| {} |", plain(workload)));
        for nemesis in &grid.nemeses {
            let cell = grid.cell(workload, nemesis).map_or("–".to_owned(), |cell| {
                let verdict = word(cell.worst.validity);
                let strong = if cell.worst.validity == Validity::Valid {
                    verdict.to_owned()
                } else {
                    format!("**{verdict}**")
                };
                format!("{strong}: {}", cell.figures())
            });
            text.push_str(&format!(" {cell} |"));
        }
        text.push('\n');
    }
    let doubtful = runs.iter().filter(|run| run.validity != Validity::Valid);
    for (place, run) in doubtful.enumerate() {
        text.push_str(if place == 0 { "\n" } else { "" });
        text.push_str(&format!(
            "* {} under {}, seed {}: **{}**: {}\n",
            plain(&run.workload),
            plain(&run.nemesis),
            run.seed,
            word(run.validity),
            plain(&run.reason)
        ));
    }
    text
}

/// Text that a table cell can hold.
fn plain(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|").replace('<', "&lt;")
}

/// The table for a terminal; colours only when asked for.
pub fn terminal(runs: &[RunSummary], colours: bool) -> comfy_table::Table {
    use comfy_table::{Attribute, Cell as Field, Color, ContentArrangement, Table};
    let grid = Grid::of(runs);
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let heads = std::iter::once("workload").chain(grid.nemeses.iter().copied());
    table.set_header(heads.map(|head| Field::new(head).add_attribute(Attribute::Bold)));
    for workload in &grid.workloads {
        let mut row = vec![Field::new(workload)];
        for nemesis in &grid.nemeses {
            let cell = grid.cell(workload, nemesis);
            let text = cell.map_or("–".to_owned(), |cell| {
                format!("{}\n{}", word(cell.worst.validity), cell.figures().replace(", ", "\n"))
            });
            let color = cell.map(|cell| match cell.worst.validity {
                Validity::Valid => Color::Green,
                Validity::Unknown => Color::Yellow,
                Validity::Invalid => Color::Red,
            });
            let field = Field::new(text);
            row.push(match color.filter(|_| colours) {
                Some(color) => field.fg(color),
                None => field,
            });
        }
        table.add_row(row);
    }
    table
}

#[cfg(test)]
mod tests;

//! How a measurement is drawn while it goes on.
//!
//! Promises: on a terminal one line that moves; elsewhere one line for each run.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::super::print;
use crate::bench::figures::Run;
use crate::bench::progress::{Progress, Step};

/// Draws.
#[derive(Debug)]
pub(super) struct Drawn {
    bar: ProgressBar,
    runs: parking_lot::Mutex<(u64, u64, String)>,
}

impl Drawn {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, runs: parking_lot::Mutex::default() }
    }

    fn remark(&self, text: &str) {
        self.bar.suspend(|| print::note(text));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Drawn {
    fn say(&self, step: Step<'_>) {
        match step {
            Step::Planned { runs, seconds } => {
                self.runs.lock().1 = runs;
                let minutes = seconds / 60.0;
                self.remark(&format!("{runs} runs, about {minutes:.1} minutes"));
            }
            Step::Began { number, name } => {
                let mut runs = self.runs.lock();
                (runs.0, runs.2) = (number, name.to_owned());
                self.bar.set_message(format!("{number}/{} {name}", runs.1));
            }
            Step::Doing(what) => self.bar.set_message(what),
            Step::Second { second, of, ok, failed } => {
                let (number, all, name) = &*self.runs.lock();
                let at = if *all > 0 { format!("{number}/{all} ") } else { String::new() };
                let line = format!("{at}{name} {second:.0}/{of:.0} s, {ok} ok, {failed} failed");
                self.bar.set_message(line);
            }
            Step::Remark(text) => self.remark(&text),
            Step::Ended(run) => self.remark(&line(run)),
        }
    }
}

/// A run in a line.
fn line(run: &Run) -> String {
    let (wanted, ok, not_applied, unknown) = run.totals();
    let writes = run.writes().map(|op| op.latency).unwrap_or_default();
    let verdict = match (&run.trouble, run.verified.wrong) {
        (Some(trouble), _) => format!("TROUBLE: {trouble}"),
        (None, 0) => format!("verified {}", run.verified.checked),
        (None, wrong) => format!("WRONG {wrong}: {}", run.verified.examples.join("; ")),
    };
    format!(
        "{}: {wanted} wanted, {ok} ok, {not_applied} not applied, {unknown} unknown, change p50 {:.2} \
         p99 {:.2} ms, {verdict}",
        run.name, writes.p50, writes.p99
    )
}

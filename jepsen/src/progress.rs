//! The line that shows how a run goes.
//!
//! Promises: only on a terminal; otherwise nothing is written. Relies on: indicatif.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::generator::Tally;
use crate::history::Recorder;

/// How often the line is made anew.
const EVERY: Duration = Duration::from_millis(250);

/// Shows how a run goes.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    tally: Mutex<Arc<Tally>>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

impl Progress {
    /// A line on standard error, when that is a terminal and `wanted`.
    pub fn new(wanted: bool) -> Self {
        let shown = wanted && std::io::stderr().is_terminal();
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{spinner} {elapsed} {prefix}: {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { bar, tally: Mutex::default(), watcher: Mutex::default() }
    }

    /// Before the phase: for tables of many runs.
    pub(crate) fn says(&self, phase: &str) {
        self.bar.set_prefix(phase.to_owned());
        self.bar.tick();
    }

    /// Fresh counts for a run's clients.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        *self.tally.lock() = Arc::clone(&tally);
        tally
    }

    /// Shows counts until `unwatch`. The nemesis's events are what is no operation's.
    pub(crate) fn watch(&self, recorder: Arc<Recorder>) {
        self.unwatch();
        let (bar, tally) = (self.bar.clone(), Arc::clone(&self.tally.lock()));
        let watching = tokio::spawn(async move {
            let mut before = 0;
            loop {
                tokio::time::sleep(EVERY).await;
                let count =
                    |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
                let (ok, fail, info) = (count(&tally.ok), count(&tally.fail), count(&tally.info));
                let ended = ok + fail + info;
                let events = u64::try_from(recorder.len()).unwrap_or(u64::MAX);
                let noted = events.saturating_sub(count(&tally.begun) + ended);
                bar.set_message(format!(
                    "{ended} operations, {}/s, {ok} ok, {fail} fail, {info} info, {noted} nemesis events",
                    (ended - before) * 4,
                ));
                before = ended;
                bar.tick();
            }
        });
        *self.watcher.lock() = Some(watching);
    }

    /// No more counts.
    pub(crate) fn unwatch(&self) {
        if let Some(watching) = self.watcher.lock().take() {
            watching.abort();
        }
        self.bar.set_message("");
    }

    /// Removes the line.
    pub fn done(&self) {
        self.unwatch();
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}

//! One run in a process of its own.
//!
//! Why it exists: tokio numbers its runtimes and hash tables take their keys per process, so only the
//! first run of a process can repeat another; and a run that hangs or aborts must not end the others.
//!
//! Promises: the parent learns the verdict whatever becomes of the child.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::plan::Plan;
use super::run::{Outcome, run};

const SEED: &str = "TETRARCH_SIM_SEED";
const FAULTS: &str = "TETRARCH_SIM_FAULTS";
const TRACE: &str = "TETRARCH_SIM_TRACE";
const MARK: &str = "SIM-OUTCOME ";

/// Longest time of one run on the wall's clock.
const RUN_MAX: Duration = Duration::from_secs(300);

/// Which run is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The seed.
    pub seed: u64,
    /// Only these faults of the plan; `None`: all.
    pub faults: Option<Vec<usize>>,
    /// Where to write what happened.
    pub trace: Option<String>,
    /// The bug that is switched on, in a build that has them.
    pub bug: Option<&'static str>,
}

impl Order {
    /// The whole run of a seed.
    pub fn of(seed: u64) -> Self {
        Self { seed, faults: None, trace: None, bug: None }
    }

    /// The plan that is asked for.
    pub fn plan(&self) -> Plan {
        let plan = Plan::of(self.seed);
        match &self.faults {
            Some(numbers) => plan.only(numbers),
            None => plan,
        }
    }
}

/// What the child was asked, if this process is one.
pub fn asked() -> Option<Order> {
    let seed = std::env::var(SEED).ok()?.parse().ok()?;
    let faults = std::env::var(FAULTS).ok().map(|text| numbers(&text));
    Some(Order { seed, faults, trace: std::env::var(TRACE).ok(), bug: None })
}

/// Numbers between commas.
pub fn numbers(text: &str) -> Vec<usize> {
    text.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

/// The child's part: runs and says what it came to.
pub fn serve(order: &Order) -> Outcome {
    if let Ok(level) = std::env::var("TETRARCH_SIM_LOG") {
        let filter = tracing_subscriber::EnvFilter::new(level);
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).without_time().init();
    }
    let outcome = run(order.plan(), order.trace.as_deref());
    println!(
        "\n{MARK}{:016x} {} {} {} {} {}",
        outcome.hash,
        outcome.lines,
        outcome.requests.0,
        outcome.requests.1,
        outcome.lasted.as_millis(),
        outcome.broken.clone().unwrap_or_default().replace('\n', " ")
    );
    outcome
}

/// The parent's part: starts a child and waits for its verdict. `command` is this program with what
/// makes it a child.
pub fn order(order: &Order, mut command: Command, entropy: Option<&Path>) -> Outcome {
    command.env(SEED, order.seed.to_string());
    if let Some(faults) = &order.faults {
        let text: Vec<String> = faults.iter().map(usize::to_string).collect();
        command.env(FAULTS, text.join(","));
    }
    if let Some(trace) = &order.trace {
        command.env(TRACE, trace);
    }
    if let Some(bug) = order.bug {
        command.env("TETRARCH_PLANTED_BUG", bug);
    }
    if let Some(library) = entropy {
        command.env("LD_PRELOAD", library).env("TETRARCH_SIM_ENTROPY", order.seed.to_string());
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("this program can be started again");
    let streams = (child.stdout.take(), child.stderr.take());
    let out = std::thread::spawn(move || text(streams.0));
    let err = std::thread::spawn(move || text(streams.1));
    let started = Instant::now();
    let mut is_late = false;
    while child.try_wait().expect("a child can be waited for").is_none() {
        if started.elapsed() > RUN_MAX {
            is_late = true;
            drop(child.kill());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let out = out.join().expect("a reader does not fail");
    let err = err.join().expect("a reader does not fail");
    out.lines().find_map(|line| outcome(line.strip_prefix(MARK)?)).unwrap_or_else(|| {
        let what = if is_late { "the run hangs" } else { "the run's process ended" };
        let last: Vec<&str> = err.lines().rev().take(12).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Outcome {
            broken: Some(format!("{what}: {}", last.join(" | "))),
            hash: 0,
            lines: 0,
            requests: (0, 0),
            lasted: Duration::ZERO,
        }
    })
}

fn text(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        drop(stream.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn outcome(line: &str) -> Option<Outcome> {
    let mut words = line.splitn(6, ' ');
    let hash = u64::from_str_radix(words.next()?, 16).ok()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (lines, done, asked, lasted) = (number()?, number()?, number()?, number()?);
    let broken = words.next().filter(|text| !text.is_empty()).map(str::to_owned);
    let lasted = Duration::from_millis(lasted);
    Some(Outcome { broken, hash, lines, requests: (done, asked), lasted })
}

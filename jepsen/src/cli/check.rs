//! `check FILE`: judges any history, ours or another's.
//!
//! Promises: the verdict and its reason come first; the exit code is 0 for valid, 1 for an anomaly, 2
//! for unknown, 3 when there was nothing to judge. Relies on: the caller for which checkers belong to
//! which workload, so that what is judged here is judged as after a test.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::checker::{Budget, Checker};
use crate::history::{History, Process};
use crate::verdict::{Validity, Verdict};

/// The command line of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// The history: EDN or JSON lines, of this harness or of Jepsen
    pub file: PathBuf,
    /// The workload that it is of; guessed from its operations if not given
    #[arg(short, long)]
    pub workload: Option<String>,
    /// Another word for --workload, for histories that no workload of ours made
    #[arg(long, conflicts_with = "workload")]
    pub model: Option<String>,
    /// Seconds after which a checker answers unknown
    #[arg(long, default_value_t = 120)]
    pub budget: u64,
    /// Print the verdicts as JSON
    #[arg(long)]
    pub json: bool,
}

/// Where the checkers of a workload are looked up.
pub type CheckersFor = dyn Fn(&str) -> Option<Vec<Box<dyn Checker>>>;

/// What each operation says about the workload: the first whose name occurs, unless all of a
/// workload's must.
const GUESSES: &[(&str, &str)] = &[
    ("txn", "append"),
    ("transfer", "bank"),
    ("write", "register"),
    ("cas", "register"),
    ("delete", "register"),
    ("once", "idempotency"),
];

/// The workload of this history, by the names of its operations and the shapes of its reads.
pub fn guessed(history: &History) -> Option<&'static str> {
    let clients = || history.events.iter().filter(|event| event.process != Process::Nemesis);
    let names: BTreeSet<&str> = clients().map(|event| event.f.as_str()).collect();
    if let Some((_, workload)) = GUESSES.iter().find(|(name, _)| names.contains(name)) {
        return Some(workload);
    }
    if names.contains("add") {
        // A set is read as a list, a counter as a number; of many counters each has its key.
        let counter = clients().any(|event| match event.f.as_str() {
            "add" => event.value.as_keyed().is_some(),
            "read" => event.value.as_int().is_some(),
            _ => false,
        });
        return Some(if counter { "counter" } else { "set" });
    }
    (names.len() == 1 && names.contains("read")).then_some("register")
}

/// The workload that the results of a run of ours name, which stand beside its history.
fn beside(file: &Path) -> Option<String> {
    let results = std::fs::read(file.with_file_name("results.json")).ok()?;
    let results: serde_json::Value = serde_json::from_slice(&results).ok()?;
    results.get("summary")?.get("workload")?.as_str().map(str::to_owned)
}

/// Judges the file; returns the exit code.
///
/// # Errors
///
/// When the verdict cannot be printed.
pub fn check(args: &CheckArgs, checkers_for: &CheckersFor, out: &mut dyn Write) -> io::Result<u8> {
    let history = match History::read(&args.file) {
        Ok(history) => history,
        Err(error) => {
            writeln!(out, "{} is no history: {error}", args.file.display())?;
            return Ok(3);
        }
    };
    let beside = beside(&args.file);
    let named = args.workload.as_deref().or(args.model.as_deref()).or(beside.as_deref());
    let Some(workload) = named.or_else(|| guessed(&history)) else {
        writeln!(out, "cannot tell what workload this is of: name it with -w")?;
        return Ok(3);
    };
    let Some(checkers) = checkers_for(workload) else {
        writeln!(out, "there is no workload {workload:?}")?;
        return Ok(3);
    };
    let budget = Budget { time: Duration::from_secs(args.budget) };
    let verdicts: Vec<Verdict> =
        checkers.iter().map(|checker| checker.check(&history, budget)).collect();
    // No checker is no proof.
    let validity =
        verdicts.iter().map(|verdict| verdict.validity).max().unwrap_or(Validity::Unknown);
    if args.json {
        let result = serde_json::json!({
            "workload": workload,
            "validity": validity,
            "verdicts": verdicts,
        });
        writeln!(out, "{result:#}")?;
    } else {
        print(out, workload, validity, &verdicts)?;
    }
    Ok(match validity {
        Validity::Valid => 0,
        Validity::Invalid => 1,
        Validity::Unknown => 2,
    })
}

fn print(
    out: &mut dyn Write,
    workload: &str,
    validity: Validity,
    verdicts: &[Verdict],
) -> io::Result<()> {
    let word = |validity| match validity {
        Validity::Valid => "VALID",
        Validity::Invalid => "INVALID",
        Validity::Unknown => "UNKNOWN",
    };
    let decisive = verdicts.iter().find(|verdict| verdict.validity == validity);
    let reason = decisive.map_or("no checker judges it", |verdict| verdict.reason.as_str());
    writeln!(out, "{}: {reason} (as {workload})", word(validity))?;
    for verdict in verdicts {
        let Verdict { checker, validity, reason, anomalies, figures } = verdict;
        writeln!(out, "\n{checker}: {}: {reason}", word(*validity))?;
        for anomaly in anomalies {
            writeln!(out, "- {}: {}", anomaly.kind, anomaly.words.replace('\n', "\n  "))?;
        }
        if let Some(figures) = figures.as_object().filter(|figures| !figures.is_empty()) {
            let figures: Vec<String> =
                figures.iter().map(|(name, figure)| format!("{name} {figure}")).collect();
            writeln!(out, "  {}", figures.join(", "))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::checkers_for;

    fn run(text: &str, workload: Option<&str>, json: bool) -> (u8, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.edn");
        std::fs::write(&file, text).unwrap();
        let workload = workload.map(str::to_owned);
        let args = CheckArgs { file, workload, model: None, budget: 10, json };
        let mut out = Vec::new();
        let code = check(&args, &checkers_for, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    const STALE: &str = "{:process 0 :type :invoke :f :write :value 1}
        {:process 0 :type :ok :f :write :value 1}
        {:process 1 :type :invoke :f :read :value nil}
        {:process 1 :type :ok :f :read :value nil}";

    #[test]
    fn the_verdict_and_its_reason_come_first_and_the_exit_code_says_it() {
        let (code, told) = run(STALE, None, false);
        assert_eq!(code, 1);
        assert!(
            told.starts_with("INVALID: 1 of 1 keys are not linearizable (as register)"),
            "{told}"
        );
        assert!(told.contains("lost-write"), "{told}");
        let (code, told) =
            run(&STALE.replace(":ok :f :read :value nil", ":ok :f :read :value 1"), None, false);
        assert_eq!((code, told.starts_with("VALID: ")), (0, true), "{told}");
        let (code, told) = run(STALE, Some("append"), false);
        assert_eq!((code, told.starts_with("UNKNOWN: ")), (2, true), "{told}");
    }

    #[test]
    fn json_holds_the_whole_verdict() {
        let (code, told) = run(STALE, None, true);
        let result: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((code, &result["validity"]), (1, &serde_json::json!("invalid")));
        assert_eq!(
            result["verdicts"][0]["anomalies"][0]["events"],
            serde_json::json!([0, 1, 2, 3])
        );
    }

    #[test]
    fn what_cannot_be_judged_is_no_pass() {
        assert_eq!(run("7", None, false).0, 3);
        assert_eq!(run("", None, false).0, 3);
        assert_eq!(run(STALE, Some("dance"), false).0, 3);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.edn");
        std::fs::write(&file, STALE).unwrap();
        let workload = Some("register".to_owned());
        let args = CheckArgs { file, workload, model: None, budget: 10, json: false };
        assert_eq!(check(&args, &|_| Some(Vec::new()), &mut Vec::new()).unwrap(), 2);
    }

    #[test]
    fn workloads_are_told_by_their_operations() {
        let guess = |text: &str| guessed(&History::read_edn(text.as_bytes()).unwrap());
        assert_eq!(guess(STALE), Some("register"));
        assert_eq!(guess("{:process 0 :type :invoke :f :txn :value []}"), Some("append"));
        assert_eq!(guess("{:process 0 :type :invoke :f :transfer :value {}}"), Some("bank"));
        let add =
            "{:process 0 :type :invoke :f :add :value 1} {:process 1 :type :ok :f :read :value ";
        assert_eq!(guess(&format!("{add} 1}}")), Some("counter"));
        assert_eq!(guess(&format!("{add} #{{1}}}}")), Some("set"));
        assert_eq!(guess("{:process :nemesis :type :info :f :write}"), None);
    }
}

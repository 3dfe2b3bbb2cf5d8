//! Whether a run could have found anything.
//!
//! Why it exists: a test that broke nothing, or in which nothing succeeded while it was broken, passes
//! every checker. Its verdict stands beside theirs, and is `valid` or `unknown`, never `invalid`.
//!
//! Promises: `valid` means that faults of each kind that was named were installed; that enough
//! operations of each kind succeeded, and some of them while a fault was in force; that leaders changed
//! where nodes were killed or paused; that every final read succeeded.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::generator::Last;
use crate::history::{History, Kind};
use crate::report::{Outcome, Window, windows};
use crate::verdict::{Validity, Verdict};

const NAME: &str = "coverage";
/// What happens at once is felt for so long, in nanoseconds.
const AFTERMATH: u64 = 5_000_000_000;
/// Faults after which leaders must have changed.
const DEPOSING: &[&str] = &["kill", "pause", "power"];
/// One operation in so many, or fewer, is rare.
const RARE: u64 = 20;
/// What the nemesis notes and does not break.
const NOTES: &[&str] = &["heal", "link-delay"];

/// What the history does not say.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The plan as on the command line.
    pub nemesis: String,
    /// The names of its faults.
    pub faults: Vec<String>,
    /// How often a group was seen to have another leader than before.
    pub leader_changes: u64,
    /// Nodes.
    pub nodes: usize,
    /// The final tasks.
    pub last: Last,
    /// How many of which operation must have been ok.
    pub needed: Vec<(&'static str, u64)>,
    /// What could not be had on this machine.
    pub missing: Vec<String>,
}

/// Judges a run by what happened in it.
pub fn coverage(history: &History, evidence: &Evidence) -> Verdict {
    let windows: Vec<Window> = windows(history)
        .into_iter()
        .filter(|window| !NOTES.contains(&window.name.as_str()))
        .collect();
    let installed: BTreeMap<&str, u64> = counted(&windows, Outcome::Installed);
    let spans = spans(&windows);
    let mut ok: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut begun: BTreeMap<&str, u64> = BTreeMap::new();
    for operation in history.operations() {
        if !operation.invoke.extra.contains_key("final") {
            *begun.entry(&operation.invoke.f).or_default() += 1;
        }
        let Some(event) = operation.complete.filter(|event| event.kind == Kind::Ok) else {
            continue;
        };
        let counts = ok.entry(&operation.invoke.f).or_default();
        counts.0 += 1;
        counts.1 += u64::from(is_within(&spans, event.time));
    }
    let mut gaps = Vec::new();
    faults_bit(evidence, &windows, &installed, &mut gaps);
    let all_begun: u64 = begun.values().sum();
    for (f, least) in &evidence.needed {
        // What is rare may miss every fault by chance, and a final read must.
        let is_rare = begun.get(f).copied().unwrap_or_default() * RARE <= all_begun;
        let (all, within) = ok.get(f).copied().unwrap_or_default();
        if all < *least {
            gaps.push(format!("only {all} of at least {least} operations :{f} were ok"));
        } else if !installed.is_empty() && within == 0 && !is_rare {
            gaps.push(format!("no operation :{f} was ok while a fault was in force"));
        }
    }
    let deposing = DEPOSING.iter().any(|name| installed.contains_key(name));
    if deposing && evidence.leader_changes == 0 && evidence.nodes > 1 {
        gaps.push("no group was seen to change its leader".to_owned());
    }
    if evidence.last.ok < evidence.last.wanted {
        let Last { ok, wanted } = evidence.last;
        gaps.push(format!("{ok} of {wanted} final reads were ok"));
    }
    let by_f: BTreeMap<&str, _> = ok
        .iter()
        .map(|(f, (all, within))| (*f, json!({"ok": all, "while_broken": within})))
        .collect();
    let figures = json!({
        "faults_installed": installed, "faults_skipped": counted(&windows, Outcome::Skipped),
        "faults_failed": counted(&windows, Outcome::Failed), "operations": by_f,
        "leader_changes": evidence.leader_changes, "missing": evidence.missing,
        "final_reads": evidence.last.ok,
    });
    let verdict = if gaps.is_empty() {
        Verdict::valid(NAME, praise(&installed, evidence))
    } else {
        Verdict::unknown(NAME, gaps.join("; "))
    };
    debug_assert!(verdict.validity != Validity::Invalid, "coverage refutes nothing");
    verdict.with_figures(figures)
}

fn praise(installed: &BTreeMap<&str, u64>, evidence: &Evidence) -> String {
    let faults: u64 = installed.values().sum();
    match faults {
        0 => "nothing was to be broken, and enough operations of each kind were ok".to_owned(),
        _ => format!(
            "{faults} faults bit, leaders changed {} times, operations of each kind were ok meanwhile",
            evidence.leader_changes
        ),
    }
}

fn counted(windows: &[Window], outcome: Outcome) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for window in windows.iter().filter(|window| window.outcome == outcome) {
        *counts.entry(window.name.as_str()).or_default() += 1;
    }
    counts
}

/// Each named fault must have bitten; of `all` it is enough that some did.
fn faults_bit(
    evidence: &Evidence,
    windows: &[Window],
    installed: &BTreeMap<&str, u64>,
    gaps: &mut Vec<String>,
) {
    if evidence.nemesis.split(',').any(|part| part.trim() == "all") {
        if installed.is_empty() {
            gaps.push("no fault was ever in force".to_owned());
        }
        return;
    }
    let names: BTreeSet<&str> =
        evidence.faults.iter().map(|name| name.split(':').next().unwrap_or(name)).collect();
    for name in names.into_iter().filter(|name| !installed.contains_key(name)) {
        let why = windows.iter().rev().find(|window| window.name == name);
        let why = why.map(|window| window.why.clone().unwrap_or_default());
        gaps.push(match why {
            Some(why) => format!("the fault {name} was never in force: {why}"),
            None => format!("the fault {name} was never tried"),
        });
    }
}

/// When something was broken, as spans that do not overlap.
fn spans(windows: &[Window]) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = windows
        .iter()
        .filter(|window| window.bites())
        .map(|window| {
            let end = if window.lasts() { window.end } else { window.begin + AFTERMATH };
            (window.begin, end)
        })
        .collect();
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (begin, end) in spans {
        match merged.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((begin, end)),
        }
    }
    merged
}

fn is_within(spans: &[(u64, u64)], time: u64) -> bool {
    let after = spans.partition_point(|(begin, _)| *begin <= time);
    after.checked_sub(1).and_then(|place| spans.get(place)).is_some_and(|(_, end)| time <= *end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Process, Value};
    use crate::workload::tests_history::Script;

    fn nemesis(script: &mut Script, f: &str, effect: &str) {
        let event = script.event(0, Kind::Info, f, Value::Nil);
        event.process = Process::Nemesis;
        event.extra.insert("effect".into(), Value::Keyword(effect.into()));
    }

    fn run(effect: &str, within: bool, changes: u64, last: u64) -> Verdict {
        let mut script = Script::default();
        nemesis(&mut script, "start-kill", effect);
        if within {
            script.operation("read", 1, Kind::Ok, 1);
        }
        nemesis(&mut script, "stop-kill", effect);
        script.operation("read", 1, Kind::Ok, 1);
        let evidence = Evidence {
            nemesis: "kill:all".into(),
            faults: vec!["kill:all".into()],
            leader_changes: changes,
            nodes: 3,
            last: Last { wanted: 1, ok: last },
            needed: vec![("read", 1)],
            missing: Vec::new(),
        };
        coverage(&script.history(), &evidence)
    }

    #[test]
    fn a_run_counts_when_faults_bit_and_something_was_done_meanwhile() {
        let good = run("installed", true, 2, 1);
        assert_eq!(good.validity, Validity::Valid, "{}", good.reason);
        assert_eq!(good.figures["operations"]["read"]["while_broken"], 1);
    }

    #[test]
    fn each_gap_makes_it_unknown() {
        for (verdict, word) in [
            (run("skipped", true, 2, 1), "never in force"),
            (run("installed", false, 2, 1), "while a fault"),
            (run("installed", true, 0, 1), "leader"),
            (run("installed", true, 2, 0), "final reads"),
        ] {
            assert_eq!(verdict.validity, Validity::Unknown);
            assert!(verdict.reason.contains(word), "{}", verdict.reason);
        }
    }
}

//! Whether all nodes are the same in the end.
//!
//! Promises: judges `converge [node type state]` with the members' digests in `members`,
//! `rows [node type [[key text] …] [key …]]`, and `state` and `items`, which are `[node type contents]`:
//! each node must say `converged`, of all members with one digest; each key, and all contents, must be
//! the same at all nodes; and a node must list the keys that it shows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::checker::{Budget, Checker};
use crate::history::{Event, History, Kind, Value};
use crate::verdict::Verdict;
use crate::workload::finding::{Findings, at, extra, extra_number, number, text};

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Agreement;

/// What one node shows of a namespace.
struct Rows<'a> {
    node: u64,
    event: &'a Event,
    keys: BTreeMap<&'a str, &'a str>,
}

impl Checker for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let mut findings = Findings::default();
        let (mut said, mut slowest, mut compared) = (0, 0, 0);
        let mut spaces: BTreeMap<&str, Vec<Rows<'_>>> = BTreeMap::new();
        let mut contents: BTreeMap<(&str, &str), Vec<&Event>> = BTreeMap::new();
        for event in history.events.iter().filter(|event| event.kind == Kind::Ok) {
            match event.f.as_str() {
                "converge" => {
                    said += 1;
                    slowest = slowest.max(extra_number(event, "took-ms").unwrap_or(0));
                    converged(event, &mut findings);
                }
                "rows" => {
                    let rows = rows(event, &mut findings);
                    let data_type = text(&event.value, 1).unwrap_or_default();
                    spaces.entry(data_type).or_default().push(rows);
                }
                "state" | "items" => {
                    let place = (event.f.as_str(), text(&event.value, 1).unwrap_or_default());
                    contents.entry(place).or_default().push(event);
                }
                _ => {}
            }
        }
        for (place, nodes) in &contents {
            compared += same_contents(*place, nodes, &mut findings);
        }
        for (space, nodes) in &spaces {
            compared += compare(space, nodes, &mut findings);
        }
        let figures = json!({
            "convergences": said, "slowest_ms": slowest, "compared": compared,
        });
        let fine = format!(
            "{said} times a node says that all converged, after {slowest} ms at most, and all show the \
             same ({compared} comparisons)"
        );
        // Who has nothing else to compare compares what is shown by another judge.
        let judged =
            if spaces.is_empty() && contents.is_empty() { said } else { said.min(compared) };
        findings.verdict(self.name(), judged, fine, figures)
    }
}

/// Judges what a node says of all.
fn converged(event: &Event, findings: &mut Findings) {
    let node = number(&event.value, 0).unwrap_or_default();
    let space = text(&event.value, 1).unwrap_or_default();
    let state = text(&event.value, 2).unwrap_or_default();
    if state != "converged" {
        let said = extra(event, "said").as_text().unwrap_or_default();
        let kind = if state == "diverged" { "diverged" } else { "not-converged" };
        let words = format!(
            "node {node} still says {state:?} of {space} long after everything was healed: {said}"
        );
        findings.add(kind, words, [event.index]);
        return;
    }
    let members = extra(event, "members").as_list().unwrap_or_default();
    let digests: BTreeSet<&str> = members.iter().filter_map(|member| text(member, 1)).collect();
    if digests.len() != 1 || digests.contains("none") {
        let words = format!(
            "node {node} says that {space} converged, with these digests: {}",
            extra(event, "members")
        );
        findings.add("unequal-digests", words, [event.index]);
    }
}

/// The rows of a node, which must be those that it lists.
fn rows<'a>(event: &'a Event, findings: &mut Findings) -> Rows<'a> {
    let pairs = at(&event.value, 2).as_list().unwrap_or_default();
    let keys: BTreeMap<&str, &str> =
        pairs.iter().filter_map(|pair| Some((text(pair, 0)?, text(pair, 1)?))).collect();
    let node = number(&event.value, 0).unwrap_or_default();
    let listed = at(&event.value, 3).as_list().unwrap_or_default();
    let listed: BTreeSet<&str> = listed.iter().filter_map(Value::as_text).collect();
    let shown: BTreeSet<&str> =
        keys.iter().filter(|(_, text)| !text.starts_with("404")).map(|(key, _)| *key).collect();
    if listed != shown {
        let hidden: Vec<&&str> = shown.difference(&listed).collect();
        let odd: Vec<&&str> = listed.difference(&shown).collect();
        let words = format!(
            "node {node} shows {hidden:?} and does not list it; it lists {odd:?} and does not show it"
        );
        findings.add("listed-otherwise", words, [event.index]);
    }
    Rows { node, event, keys }
}

/// Compares whole contents with the first node's; how often.
fn same_contents((f, data_type): (&str, &str), nodes: &[&Event], findings: &mut Findings) -> u64 {
    let Some((first, others)) = nodes.split_first() else { return 0 };
    for other in others.iter().filter(|other| at(&other.value, 2) != at(&first.value, 2)) {
        let words = format!(
            "the {f} of {data_type} at node {} is not that at node {}",
            at(&first.value, 0),
            at(&other.value, 0)
        );
        findings.add("replicas-differ", words, [first.index, other.index]);
    }
    u64::try_from(others.len()).unwrap_or(u64::MAX)
}

/// Compares all nodes with the first; how many keys were compared.
fn compare(space: &str, nodes: &[Rows<'_>], findings: &mut Findings) -> u64 {
    let Some((first, others)) = nodes.split_first() else { return 0 };
    let mut compared = 0;
    for other in others {
        let keys: BTreeSet<&&str> = first.keys.keys().chain(other.keys.keys()).collect();
        for key in keys {
            compared += 1;
            let [here, there] = [first, other].map(|rows| rows.keys.get(*key).unwrap_or(&"-"));
            if here != there {
                let words = format!(
                    "{space}/{key} is {here:?} at node {} and {there:?} at node {}",
                    first.node, other.node
                );
                findings.add("replicas-differ", words, [first.event.index, other.event.index]);
            }
        }
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;
    use crate::workload::tests_history::Script;

    fn verdict(state: &str, digests: [&str; 2], rows: [(&str, &str); 2]) -> Verdict {
        let mut script = Script::default();
        let said = Value::list([1.into(), "lww".into(), state.into()]);
        let members = digests.map(|digest| Value::list([1.into(), digest.into()]));
        script.operation("converge", 1, Kind::Ok, said).with("members", Value::list(members));
        for (node, (text, listed)) in (1..).zip(rows) {
            let pairs = Value::list([Value::keyed("k1", text)]);
            let names = Value::list([listed.into()].into_iter().filter(|_| !listed.is_empty()));
            let value = Value::list([Value::Int(node), "lww".into(), pairs, names]);
            script.operation("rows", 1, Kind::Ok, value);
        }
        Agreement.check(&script.history(), Budget::default())
    }

    fn kind(verdict: &Verdict) -> &str {
        verdict.anomalies.first().map_or("none", |first| first.kind.as_str())
    }

    #[test]
    fn each_way_not_to_agree_has_its_name() {
        let same = [("200 x", "k1"), ("200 x", "k1")];
        let good = verdict("converged", ["a", "a"], same);
        assert_eq!(good.validity, Validity::Valid, "{}", good.reason);
        assert_eq!(kind(&verdict("lagging", ["a", "a"], same)), "not-converged");
        assert_eq!(kind(&verdict("diverged", ["a", "b"], same)), "diverged");
        assert_eq!(kind(&verdict("converged", ["a", "b"], same)), "unequal-digests");
        assert_eq!(kind(&verdict("converged", ["a", "none"], same)), "unequal-digests");
        let other = [("200 x", "k1"), ("200 y", "k1")];
        assert_eq!(kind(&verdict("converged", ["a", "a"], other)), "replicas-differ");
        let hidden = [("200 x", "k1"), ("200 x", "")];
        assert_eq!(kind(&verdict("converged", ["a", "a"], hidden)), "listed-otherwise");
    }

    #[test]
    fn contents_must_be_the_same_too() {
        let mut script = Script::default();
        let said = Value::list([1.into(), "set".into(), "converged".into()]);
        let members = Value::list([Value::list([1.into(), "a".into()])]);
        script.operation("converge", 1, Kind::Ok, said).with("members", members);
        for (node, found) in [(1, Validity::Unknown), (2, Validity::Valid), (3, Validity::Invalid)]
        {
            let contents = if node == 3 { vec![1_i64] } else { vec![1, 2] };
            let value = Value::list([Value::Int(node), "set".into(), contents.into()]);
            script.operation("items", 1, Kind::Ok, value);
            let verdict = Agreement.check(&script.history(), Budget::default());
            assert_eq!(verdict.validity, found);
        }
    }

    #[test]
    fn a_run_without_an_end_is_not_a_pass() {
        let verdict = Agreement.check(&History::default(), Budget::default());
        assert_eq!(verdict.validity, Validity::Unknown);
    }
}

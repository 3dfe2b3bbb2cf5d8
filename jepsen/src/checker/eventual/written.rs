//! Whether what is shown was written by somebody.
//!
//! Promises: of reads `[type key [number …]]` each number must be one that a `write` to that key had
//! begun with before the read ended, and that was not refused for certain. Counters are left to others.

use std::collections::BTreeMap;

use serde_json::json;

use crate::checker::{Budget, Checker};
use crate::history::{Event, History, Kind, Value};
use crate::verdict::Verdict;
use crate::workload::finding::{Findings, at, ended, text};

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Written;

impl Checker for Written {
    fn name(&self) -> &'static str {
        "written"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let operations = history.operations();
        let mut tried: BTreeMap<(&Value, &Value, i64), (&Event, Kind)> = BTreeMap::new();
        for operation in operations.iter().filter(|operation| operation.invoke.f == "write") {
            let value = &operation.invoke.value;
            if let Some(number) = at(value, 2).as_int() {
                let place = (at(value, 0), at(value, 1), number);
                tried.insert(place, (operation.invoke, operation.kind()));
            }
        }
        let mut findings = Findings::default();
        let mut judged = 0;
        for operation in operations.iter().filter(|operation| operation.invoke.f == "read") {
            let Some(read) = operation.complete.filter(|event| event.kind == Kind::Ok) else {
                continue;
            };
            if text(&read.value, 0) == Some("counter") {
                continue;
            }
            judged += 1;
            let place = (at(&read.value, 0), at(&read.value, 1));
            for number in at(&read.value, 2).as_list().unwrap_or_default() {
                let Some(number) = number.as_int() else { continue };
                let node = read.node.unwrap_or_default();
                let shown = format!("{} {} shows {number} at node {node}", place.0, place.1);
                match tried.get(&(place.0, place.1, number)) {
                    None => findings.add(
                        "unwritten-value",
                        format!("{shown}, which nobody wrote there"),
                        [read.index],
                    ),
                    Some((write, _)) if write.time > ended(operation) => findings.add(
                        "value-from-the-future",
                        format!("{shown} before it was written"),
                        [write.index, read.index],
                    ),
                    Some((write, Kind::Fail)) => findings.add(
                        "refused-value",
                        format!("{shown}, which was refused for certain"),
                        [write.index, read.index],
                    ),
                    Some(_) => {}
                }
            }
        }
        let fine = format!("{judged} reads show what was written there");
        findings.verdict(self.name(), judged, fine, json!({ "writes": tried.len() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;
    use crate::workload::tests_history::Script;

    fn value(key: i64, rest: impl Into<Value>) -> Value {
        Value::list(["lww".into(), key.into(), rest.into()])
    }

    fn verdict(shown: i64) -> Verdict {
        let mut script = Script::default();
        script.operation("write", value(1, 7), Kind::Ok, value(1, 7));
        script.operation("write", value(1, 8), Kind::Fail, value(1, 8));
        script.operation("write", value(2, 9), Kind::Ok, value(2, 9));
        script.operation("read", value(1, Value::Nil), Kind::Ok, value(1, vec![shown]));
        script.operation("write", value(1, 10), Kind::Ok, value(1, 10));
        Written.check(&script.history(), Budget::default())
    }

    #[test]
    fn only_what_was_written_there_before_may_be_shown() {
        assert_eq!(verdict(7).validity, Validity::Valid);
        for (shown, kind) in [
            (8, "refused-value"),
            (9, "unwritten-value"),
            (10, "value-from-the-future"),
            (11, "unwritten-value"),
        ] {
            assert_eq!(verdict(shown).anomalies[0].kind, kind);
        }
    }
}

//! Which acknowledgements a lost disk has taken back.
//!
//! Why it exists: a write to an eventual namespace is acknowledged when one node has it on its disk. If
//! that disk is taken away, or a file of it is damaged, before another node has heard of the write,
//! the write may be gone, and nobody was promised otherwise. Promises: only operations that such a node
//! had acknowledged before are doubted; they count as `info`.

use std::collections::BTreeMap;

use crate::history::{History, Kind, Operation, Value};
use crate::report::windows;
use crate::workload::finding::ended;

/// Faults that take a disk, or a part of it.
const TAKING: &[&str] = &["replace", "files"];

/// Until when each node's word is doubted.
#[derive(Debug, Default)]
pub(super) struct Doubts(BTreeMap<i64, u64>);

impl Doubts {
    /// Those of a history.
    pub(super) fn of(history: &History) -> Self {
        let mut until: BTreeMap<i64, u64> = BTreeMap::new();
        let taken = windows(history).into_iter().filter(|window| {
            // What failed half way may have taken it all the same.
            let began = window.bites() || window.outcome == crate::report::Outcome::Failed;
            began && TAKING.contains(&window.name.as_str())
        });
        for window in taken {
            for node in nodes(&window.value) {
                let end = until.entry(node).or_default();
                *end = (*end).max(window.end);
            }
        }
        Self(until)
    }

    /// How an operation ended, as far as it can be relied on.
    pub(super) fn kind(&self, operation: &Operation<'_>) -> Kind {
        let node = operation.complete.and_then(|event| event.node).map(i64::from);
        let until = node.and_then(|node| self.0.get(&node)).copied().unwrap_or(0);
        match operation.kind() {
            Kind::Ok if ended(operation) <= until => Kind::Info,
            kind => kind,
        }
    }

    /// Whether nothing is doubted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The nodes that a fault names.
pub(super) fn nodes(value: &Value) -> Vec<i64> {
    match value {
        Value::List(items) => items.iter().filter_map(Value::as_int).collect(),
        Value::Map(pairs) => {
            let node = pairs.iter().filter(|(name, _)| name.as_text() == Some("node"));
            node.filter_map(|(_, value)| value.as_int()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Process;
    use crate::workload::tests_history::Script;

    #[test]
    fn only_what_a_lost_disk_had_acknowledged_is_doubted() {
        let mut script = Script::default();
        script.operation("add", 1, Kind::Ok, 1).node = Some(1);
        script.operation("add", 2, Kind::Ok, 2).node = Some(2);
        let replaced = script.event(0, Kind::Info, "replace", vec![2_i64].into());
        replaced.process = Process::Nemesis;
        replaced.extra.insert("effect".into(), Value::Keyword("installed".into()));
        script.operation("add", 3, Kind::Ok, 3).node = Some(2);
        let history = script.history();
        let doubts = Doubts::of(&history);
        let kinds: Vec<Kind> =
            history.operations().iter().map(|operation| doubts.kind(operation)).collect();
        assert_eq!(kinds, [Kind::Ok, Kind::Info, Kind::Ok]);
    }
}

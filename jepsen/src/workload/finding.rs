//! What a checker of the scenes has found so far, and how it reads values.
//!
//! Why it exists: each of these checkers judges several promises of one history at once, and its
//! verdict shows a few anomalies of each kind and the number of all. Promises: an anomaly is never
//! forgotten: what is not shown is counted.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::history::{Event, Operation, Value};
use crate::verdict::{Anomaly, Verdict};

/// How many anomalies of one kind are shown.
const SHOWN: u64 = 4;

static NIL: Value = Value::Nil;

/// Anomalies by kind.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    shown: Vec<Anomaly>,
    counts: BTreeMap<String, u64>,
}

impl Findings {
    /// Adds one.
    pub(crate) fn add(
        &mut self,
        kind: &str,
        words: impl Into<String>,
        events: impl IntoIterator<Item = u64>,
    ) {
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        if *count <= SHOWN {
            let mut events: Vec<u64> = events.into_iter().collect();
            events.sort_unstable();
            events.dedup();
            self.shown.push(Anomaly { kind: kind.to_owned(), words: words.into(), events });
        }
    }

    /// How many of a kind there are.
    pub(crate) fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The verdict: invalid with anomalies, else `fine`. Without anything judged it is unknown.
    pub(crate) fn verdict(
        mut self,
        checker: &str,
        judged: u64,
        fine: impl Into<String>,
        mut figures: Json,
    ) -> Verdict {
        if let Some(figures) = figures.as_object_mut() {
            figures.insert("judged".into(), judged.into());
            figures.insert("anomalies".into(), json!(self.counts));
        }
        self.shown.sort_by_key(|anomaly| anomaly.events.len());
        let verdict = if !self.shown.is_empty() {
            let kinds: Vec<String> =
                self.counts.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
            Verdict::invalid(checker, kinds.join(", "), self.shown)
        } else if judged == 0 {
            Verdict::unknown(checker, "there was nothing to judge")
        } else {
            Verdict::valid(checker, fine)
        };
        verdict.with_figures(figures)
    }
}

/// An item of a list, or nil.
pub(crate) fn at(value: &Value, place: usize) -> &Value {
    value.as_list().and_then(|items| items.get(place)).unwrap_or(&NIL)
}

/// A number that cannot be negative, from an item of a list.
pub(crate) fn number(value: &Value, place: usize) -> Option<u64> {
    u64::try_from(at(value, place).as_int()?).ok()
}

/// A text from an item of a list.
pub(crate) fn text(value: &Value, place: usize) -> Option<&str> {
    at(value, place).as_text()
}

/// A number of the history, which holds signed ones.
pub(crate) fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A named extra of an event.
pub(crate) fn extra<'a>(event: &'a Event, name: &str) -> &'a Value {
    event.extra.get(name).unwrap_or(&NIL)
}

/// A named extra that is a number.
pub(crate) fn extra_number(event: &Event, name: &str) -> Option<u64> {
    u64::try_from(extra(event, name).as_int()?).ok()
}

/// When an operation ended; one that did not end may do so at any time.
pub(crate) fn ended(operation: &Operation<'_>) -> u64 {
    operation.complete.map_or(u64::MAX, |event| event.time)
}

/// The events of an operation, to show.
pub(crate) fn shows<'a>(
    operations: impl IntoIterator<Item = &'a Operation<'a>>,
) -> impl Iterator<Item = u64> {
    operations.into_iter().flat_map(|operation| {
        std::iter::once(operation.invoke.index).chain(operation.complete.map(|event| event.index))
    })
}

/// Group and index of an ETag, which is `"<group>-<index>"`.
pub(crate) fn place_of(etag: &str) -> Option<(u64, u64)> {
    let (group, index) = etag.trim_matches('"').split_once('-')?;
    Some((group.parse().ok()?, index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;

    #[test]
    fn anomalies_that_are_not_shown_are_counted() {
        let mut findings = Findings::default();
        for event in 0..9 {
            findings.add("gap", "something is missing", [event, event]);
        }
        let verdict = findings.verdict("x", 9, "fine", json!({}));
        assert_eq!(verdict.validity, Validity::Invalid);
        assert_eq!(verdict.anomalies.len(), 4);
        assert_eq!(verdict.figures["anomalies"]["gap"], 9);
    }

    #[test]
    fn nothing_judged_is_not_a_pass() {
        let verdict = Findings::default().verdict("x", 0, "fine", json!({}));
        assert_eq!(verdict.validity, Validity::Unknown);
    }

    #[test]
    fn an_etag_says_where_a_write_stands() {
        assert_eq!(place_of("\"21-3\""), Some((21, 3)));
        assert_eq!(place_of("x"), None);
    }
}

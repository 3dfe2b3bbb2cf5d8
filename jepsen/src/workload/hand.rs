//! Histories made by hand, for the tests of checkers. Times are in milliseconds.

use std::collections::BTreeMap;

use crate::history::{Event, History, Kind, Process, Value, Witness};

/// How an operation of a history made by hand ended.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    kind: Kind,
    value: Value,
    witness: Option<Witness>,
    error: Option<String>,
    extra: BTreeMap<String, Value>,
}

impl Done {
    fn of(kind: Kind, value: Value, error: Option<&str>) -> Self {
        Self { kind, value, witness: None, error: error.map(str::to_owned), extra: BTreeMap::new() }
    }

    /// It took effect.
    pub(crate) fn ok(value: Value) -> Self {
        Self::of(Kind::Ok, value, None)
    }

    /// It did not.
    pub(crate) fn fail(error: &str) -> Self {
        Self::of(Kind::Fail, Value::Nil, Some(error))
    }

    /// Nobody knows.
    pub(crate) fn info() -> Self {
        Self::of(Kind::Info, Value::Nil, Some("timeout"))
    }

    /// With a place in a group's order.
    pub(crate) fn at(mut self, group: u64, index: u64) -> Self {
        self.witness = Some(Witness { group, index });
        self
    }

    /// With an extra.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }
}

/// Collects operations in any order.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    events: Vec<Event>,
}

impl Hand {
    /// An operation from a time to a time.
    pub(crate) fn op(
        &mut self,
        (from, to): (u64, u64),
        process: u64,
        f: &str,
        value: Value,
        done: Done,
    ) -> &mut Self {
        let event = |time: u64, kind, value| Event {
            index: 0,
            time: time * 1_000_000,
            kind,
            process: Process::Client(process),
            f: f.to_owned(),
            value,
            node: None,
            witness: None,
            error: None,
            extra: BTreeMap::new(),
        };
        self.events.push(event(from, Kind::Invoke, value));
        let mut complete = event(to, done.kind, done.value);
        complete.node = Some(1);
        complete.witness = done.witness;
        complete.error = done.error;
        complete.extra = done.extra;
        self.events.push(complete);
        self
    }

    /// The history in the order of time.
    pub(crate) fn history(&self) -> History {
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.time);
        for (index, event) in (0..).zip(&mut events) {
            event.index = index;
        }
        History { events }
    }
}

/// A list of values.
pub(crate) fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::list(items)
}

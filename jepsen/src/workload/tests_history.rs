//! Histories made by hand, for the tests of checkers.
//!
//! Promises: events get indices and times in the order of the calls. Relies on: nothing.

use std::collections::BTreeMap;

use crate::history::{Event, History, Kind, Process, Value, Witness};

/// A history in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    history: History,
}

impl Script {
    /// Adds an event.
    pub(crate) fn event(&mut self, process: u64, kind: Kind, f: &str, value: Value) -> &mut Event {
        let index = u64::try_from(self.history.events.len()).unwrap();
        self.history.events.push(Event {
            index,
            time: index * 1_000_000,
            kind,
            process: Process::Client(process),
            f: f.into(),
            value,
            node: (kind != Kind::Invoke).then_some(1),
            witness: None,
            error: None,
            extra: BTreeMap::new(),
        });
        self.history.events.last_mut().unwrap()
    }

    /// Adds an invocation and its completion, which is returned.
    pub(crate) fn operation(
        &mut self,
        f: &str,
        asked: impl Into<Value>,
        kind: Kind,
        answered: impl Into<Value>,
    ) -> &mut Event {
        let process = u64::try_from(self.history.events.len()).unwrap();
        self.event(process, Kind::Invoke, f, asked.into());
        self.event(process, kind, f, answered.into())
    }

    /// The last operation's events.
    pub(crate) fn last_two(&mut self) -> &mut [Event] {
        let from = self.history.events.len().saturating_sub(2);
        self.history.events.get_mut(from..).unwrap_or_default()
    }

    /// The history.
    pub(crate) fn history(&self) -> History {
        self.history.clone()
    }
}

impl Event {
    /// With its place in its group's order.
    pub(crate) fn at(&mut self, index: u64) -> &mut Self {
        self.witness = Some(Witness { group: 1, index });
        self
    }

    /// With something extra.
    pub(crate) fn with(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.extra.insert(name.into(), value.into());
        self
    }
}

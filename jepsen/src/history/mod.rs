//! What was done and what was answered, in Jepsen's terms.
//!
//! Why it exists: checkers, reports and other people's tools read one thing, the history: a list of
//! events, each an invocation or a completion, in the order of one monotonic clock.
//!
//! Promises: a process has at most one operation open; a completion follows its invocation with the
//! same process and `f`; `fail` means that it certainly did not happen, `info` that nobody knows (it
//! may take effect at any later time; its process does nothing more).

mod edn;
mod jsonl;
mod recorder;
mod scanner;
mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

pub use edn::put_event;
pub use recorder::Recorder;
pub use value::Value;

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An operation begins.
    Invoke,
    /// It took effect.
    Ok,
    /// It certainly did not take effect.
    Fail,
    /// Unknown, or a note of the nemesis.
    Info,
}

impl Kind {
    /// Its word in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }

    /// The kind of this word, with or without a colon.
    pub fn named(word: &str) -> Option<Self> {
        let word = word.strip_prefix(':').unwrap_or(word);
        [Self::Invoke, Self::Ok, Self::Fail, Self::Info]
            .into_iter()
            .find(|kind| kind.name() == word)
    }
}

/// Why a file is not a history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It says something else.
    #[error("line {line}: {why}")]
    Malformed {
        /// Where, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    /// A client; a crashed one (`info`) is never used again.
    Client(u64),
    /// The one who breaks things.
    Nemesis,
}

/// Where an answer stands in the total order of its group: what the server says in `KV-Group` and
/// `KV-Index`. For a write the index of its own entry; for a read the index it reflects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Witness {
    /// The group.
    pub group: u64,
    /// The index in its log.
    pub index: u64,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the history, from 0 without gaps.
    pub index: u64,
    /// Nanoseconds since the run began.
    pub time: u64,
    /// What it says.
    pub kind: Kind,
    /// Who.
    pub process: Process,
    /// What was asked: `read`, `write`, `cas`, `txn`, `add`, `kill`, …
    pub f: String,
    /// Its argument or result, of the shape that Jepsen's checkers expect for this `f`. Workloads
    /// of many keys use `[key value]`, as jepsen.independent does.
    pub value: Value,
    /// On completions: which node was asked (1-based).
    pub node: Option<u32>,
    /// On `ok` completions that a group answered.
    pub witness: Option<Witness>,
    /// On `fail` and `info`: the server's `code`, or what went wrong on the way.
    pub error: Option<String>,
    /// Anything else a checker of this workload needs, by name (`etag`, `token`, `age-ms`, …).
    pub extra: BTreeMap<String, Value>,
}

/// A whole history, in the order of its indices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// All events.
    pub events: Vec<Event>,
}

/// An invocation with its completion, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The invocation.
    pub invoke: &'a Event,
    /// Its completion; `None` when the history ends before: to be treated as `info`.
    pub complete: Option<&'a Event>,
}

impl Operation<'_> {
    /// How it ended; an open one counts as `info`.
    pub fn kind(&self) -> Kind {
        self.complete.map_or(Kind::Info, |event| event.kind)
    }
}

impl History {
    /// Reads a file of either format: what begins with `{"` or `[{"` is JSON.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is not a history.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let mut file = BufReader::new(File::open(path)?);
        let json = {
            let mut signs = file
                .fill_buf()?
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'[');
            signs.next() == Some(b'{') && signs.next() == Some(b'"')
        };
        if json { Self::read_jsonl(file) } else { Self::read_edn(file) }
    }

    /// The clients' operations in the order of their invocations.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let mut open: BTreeMap<Process, usize> = BTreeMap::new();
        let mut operations: Vec<Operation<'_>> = Vec::new();
        for event in &self.events {
            if event.process == Process::Nemesis {
                continue;
            }
            if event.kind == Kind::Invoke {
                open.insert(event.process, operations.len());
                operations.push(Operation { invoke: event, complete: None });
            } else if let Some(place) = open.remove(&event.process)
                && let Some(operation) = operations.get_mut(place)
            {
                operation.complete = Some(event);
            }
        }
        operations
    }

    /// What the nemesis did, in order.
    pub fn nemesis(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.process == Process::Nemesis)
    }
}

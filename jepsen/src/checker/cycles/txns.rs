//! A history's transactions of list-append, and the same in adya's terms.
//!
//! Promises: what was not answered has the micro-operations that were asked, reads without results; an
//! invocation without completion counts as `info`. Relies on: `txn` values of the shape
//! `[[:append k v] [:r k list-or-nil]]`.

use std::collections::{BTreeSet, HashMap};

use adya::history::{Interner, Mop, Op, OpType, ReadValue, Scalar};

use crate::history::{Event, History, Kind, Process, Value};

/// Part of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Micro {
    /// `[:append key element]`.
    Append {
        /// The list.
        key: Value,
        /// What goes to its end.
        element: Value,
    },
    /// `[:r key list]`.
    Read {
        /// The list.
        key: Value,
        /// What it held; `None` where that is not known.
        list: Option<Vec<Value>>,
    },
}

/// A transaction.
#[derive(Clone, Debug)]
pub(super) struct Txn {
    /// Index of its invocation.
    pub(super) invoke: u64,
    /// Index of its completion.
    pub(super) complete: Option<u64>,
    /// Place of its invocation in the history.
    pub(super) call: usize,
    /// Place of its completion, or the end.
    pub(super) ret: usize,
    /// How it ended.
    pub(super) kind: Kind,
    /// Who asked.
    pub(super) process: u64,
    /// When it was asked and answered, where known.
    pub(super) times: (u64, u64),
    /// What it did, or would have done.
    pub(super) micros: Vec<Micro>,
}

impl Txn {
    /// Indices of its events.
    pub(super) fn events(&self) -> impl Iterator<Item = u64> + use<> {
        std::iter::once(self.invoke).chain(self.complete)
    }

    /// How it is called in words.
    pub(super) fn named(&self) -> String {
        let end = self.complete.map_or_else(String::new, |index| format!("-{index}"));
        format!("the transaction of process {} (events {}{end})", self.process, self.invoke)
    }
}

/// All transactions of a history in the order of their invocations.
#[derive(Debug, Default)]
pub(super) struct Txns {
    /// The transactions.
    pub(super) all: Vec<Txn>,
}

impl Txns {
    /// Reads them, or says why this is not a history of list-append.
    pub(super) fn of(history: &History) -> Result<Self, String> {
        let mut all: Vec<Txn> = Vec::new();
        let mut open: HashMap<u64, usize> = HashMap::new();
        let mut appended: BTreeSet<(Value, Value)> = BTreeSet::new();
        for (place, event) in history.events.iter().enumerate() {
            let Process::Client(process) = event.process else { continue };
            if event.f != "txn" {
                return Err(format!("{:?} is no transaction (event {})", event.f, event.index));
            }
            if event.kind == Kind::Invoke {
                let micros = micros(event)?;
                for micro in &micros {
                    if let Micro::Append { key, element } = micro
                        && !appended.insert((key.clone(), element.clone()))
                    {
                        return Err(format!("{element} is appended to key {key} more than once"));
                    }
                }
                open.insert(process, all.len());
                let (invoke, times) = (event.index, (event.time, event.time));
                let (ret, kind) = (usize::MAX, Kind::Info);
                let complete = None;
                all.push(Txn { invoke, complete, call: place, ret, kind, process, times, micros });
            } else if let Some(txn) = open.remove(&process).and_then(|at| all.get_mut(at)) {
                txn.complete = Some(event.index);
                txn.ret = place;
                txn.kind = event.kind;
                txn.times.1 = event.time;
                if event.kind == Kind::Ok {
                    let answered = micros(event)?;
                    if !same_shape(&txn.micros, &answered) {
                        return Err(format!("event {} answers something else", event.index));
                    }
                    txn.micros = answered;
                }
            } else if event.kind == Kind::Ok {
                return Err(format!("event {} completes what was never invoked", event.index));
            }
        }
        Ok(Self { all })
    }

    /// The same for adya. Its transactions bear the indices of their completions; one that has none
    /// gets one behind the history.
    pub(super) fn for_adya(&self) -> Result<(adya::History, HashMap<u64, usize>), String> {
        let mut interner = Interner::default();
        let mut by_index = HashMap::new();
        let mut ops: Vec<((bool, usize), Op)> = Vec::with_capacity(self.all.len() * 2);
        let mut beyond = self.all.iter().flat_map(Txn::events).max().unwrap_or(0);
        for (place, txn) in self.all.iter().enumerate() {
            let mut value = Vec::with_capacity(txn.micros.len());
            for micro in &txn.micros {
                value.push(mop(&mut interner, micro)?);
            }
            // A process of its own for each, so that one that goes on after `info` breaks no pair.
            let process = i64::try_from(place).ok();
            let time = |nanoseconds: u64| i64::try_from(nanoseconds).ok();
            let index = txn.complete.unwrap_or_else(|| {
                beyond += 1;
                beyond
            });
            by_index.insert(index, place);
            let asked = Op {
                index: txn.invoke,
                kind: OpType::Invoke,
                process,
                value: value.clone(),
                time: time(txn.times.0),
            };
            let kind = match txn.kind {
                Kind::Ok => OpType::Ok,
                Kind::Fail => OpType::Fail,
                Kind::Info | Kind::Invoke => OpType::Info,
            };
            let done = Op { index, kind, process, value, time: time(txn.times.1) };
            ops.push(((false, txn.call), asked));
            ops.push(((txn.complete.is_none(), txn.ret.min(usize::MAX - 1)), done));
        }
        ops.sort_by_key(|(place, _)| *place);
        let ops = ops.into_iter().map(|(_, op)| op).collect();
        Ok((adya::History::from_ops(ops, interner), by_index))
    }
}

fn mop(interner: &mut Interner, micro: &Micro) -> Result<Mop, String> {
    let mut id = |value: &Value| {
        let scalar = match value {
            Value::Int(number) => Scalar::Int(*number),
            Value::Text(text) | Value::Keyword(text) => Scalar::Str(text.clone()),
            other => return Err(format!("{other} is neither a number nor a text")),
        };
        Ok(interner.intern(scalar))
    };
    Ok(match micro {
        Micro::Append { key, element } => Mop::Append { key: id(key)?, value: id(element)? },
        Micro::Read { key, list: None } => Mop::Read { key: id(key)?, value: ReadValue::Nil },
        Micro::Read { key, list: Some(list) } => {
            let value = ReadValue::List(list.iter().map(&mut id).collect::<Result<_, _>>()?);
            Mop::Read { key: id(key)?, value }
        }
    })
}

fn micros(event: &Event) -> Result<Vec<Micro>, String> {
    let wrong = || format!("event {}: {} is no list-append", event.index, event.value);
    let items = event.value.as_list().ok_or_else(wrong)?;
    let one = |item: &Value| {
        let Some([f, key, value]) = item.as_list() else { return Err(wrong()) };
        match f.as_text() {
            Some("append") => Ok(Micro::Append { key: key.clone(), element: value.clone() }),
            Some("r") => {
                let list = match value {
                    // On an answer nothing is the empty list.
                    Value::Nil => (event.kind == Kind::Ok).then(Vec::new),
                    list => Some(list.as_list().ok_or_else(wrong)?.to_vec()),
                };
                Ok(Micro::Read { key: key.clone(), list })
            }
            _ => Err(wrong()),
        }
    };
    items.iter().map(one).collect()
}

/// Whether an answer is one to this question.
fn same_shape(asked: &[Micro], answered: &[Micro]) -> bool {
    asked.len() == answered.len()
        && asked.iter().zip(answered).all(|pair| match pair {
            (Micro::Read { key: one, .. }, Micro::Read { key: two, .. }) => one == two,
            (one, two) => one == two,
        })
}

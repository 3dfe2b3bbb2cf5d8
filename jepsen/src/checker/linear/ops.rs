//! A register's operations as the three searches see them.
//!
//! Why it exists: the searches want small numbers and as few operations as possible. Promises:
//! [`simplified`] changes no verdict: what it leaves is linearizable exactly when what it got is.
//! Relies on: calls stand at different places of the history.

use std::collections::HashMap;

use crate::history::{Event, History, Kind, Process, Value, Witness};

/// A value of one key, by its number.
pub(super) type Val = u32;
/// Absent: what every key begins with.
pub(super) const NIL: Val = 0;
/// Any value that nobody can tell any more.
pub(super) const JUNK: Val = u32::MAX;
/// The return of an operation that may take effect at any later time, or never.
pub(super) const OPEN: usize = usize::MAX;

/// What an operation does to the register, if it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Found this value.
    Read(Val),
    /// Put this value there.
    Write(Val),
    /// Found the first and put the second there.
    Cas(Val, Val),
}

impl Action {
    /// The state after it, if it is possible in this state.
    pub(super) fn apply(self, state: Val) -> Option<Val> {
        match self {
            Self::Read(value) => (value == state).then_some(state),
            Self::Write(value) => Some(value),
            Self::Cas(old, new) => (old == state).then_some(new),
        }
    }

    /// The value that it saw.
    pub(super) fn observes(self) -> Option<Val> {
        match self {
            Self::Read(value) | Self::Cas(value, _) => Some(value),
            Self::Write(_) => None,
        }
    }

    /// The value that it leaves, where that may be another than before.
    pub(super) fn produces(self) -> Option<Val> {
        match self {
            Self::Read(_) => None,
            Self::Write(value) | Self::Cas(_, value) => Some(value),
        }
    }

    /// Whether it can leave another state than it found.
    pub(super) fn changes(self) -> bool {
        match self {
            Self::Read(_) => false,
            Self::Write(_) => true,
            Self::Cas(old, new) => old != new,
        }
    }
}

/// An operation on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op {
    /// Place of its invocation in the history.
    pub(super) call: usize,
    /// Place by which it must have taken effect, or [`OPEN`].
    pub(super) ret: usize,
    /// What it does.
    pub(super) action: Action,
    /// Where the server says that it stands.
    pub(super) witness: Option<Witness>,
    /// Place of its completion in the history, whatever it says.
    pub(super) end: Option<usize>,
}

/// All operations on one key, in the order of their invocations.
#[derive(Debug, Default)]
pub(super) struct Register {
    /// The key; nil where the history is of one register.
    pub(super) key: Value,
    /// Those that took effect, or may have.
    pub(super) ops: Vec<Op>,
    /// Those that certainly did not, to explain what must not have been seen.
    pub(super) failed: Vec<Op>,
    /// The values by their numbers.
    pub(super) values: Vec<Value>,
}

impl Register {
    /// A value as people read it.
    pub(super) fn show(&self, value: Val) -> String {
        let found = usize::try_from(value).ok().and_then(|place| self.values.get(place));
        found.map_or_else(|| "something".to_owned(), Value::to_string)
    }
}

/// The registers of a history, in the order in which their keys appear, or why it is none of ours.
pub(super) fn registers(history: &History) -> Result<Vec<Register>, String> {
    let keyed = is_keyed(history);
    let mut taken = Taken::default();
    let mut open: HashMap<Process, usize> = HashMap::new();
    for (place, event) in history.events.iter().enumerate() {
        if event.process == Process::Nemesis {
            continue;
        }
        if event.kind == Kind::Invoke {
            if let Some(before) = open.insert(event.process, place) {
                taken.take(history, keyed, (before, None))?;
            }
        } else if let Some(invoke) = open.remove(&event.process) {
            taken.take(history, keyed, (invoke, Some(place)))?;
        } else if event.kind == Kind::Ok {
            return Err(format!("event {} completes what was never invoked", event.index));
        }
    }
    for invoke in open.into_values() {
        taken.take(history, keyed, (invoke, None))?;
    }
    let mut registers = taken.registers;
    for register in &mut registers {
        register.ops.sort_by_key(|op| op.call);
        register.failed.sort_by_key(|op| op.call);
    }
    registers.sort_by_key(|register| {
        let first = |ops: &[Op]| ops.first().map_or(OPEN, |op| op.call);
        first(&register.ops).min(first(&register.failed))
    });
    Ok(registers)
}

/// Whether the values are `[key value]`. A `cas` alone cannot tell: its argument is a pair anyway.
fn is_keyed(history: &History) -> bool {
    let mut invoked = history
        .events
        .iter()
        .filter(|event| event.kind == Kind::Invoke && event.process != Process::Nemesis)
        .peekable();
    invoked.peek().is_some()
        && invoked.all(|event| match event.value.as_keyed() {
            Some((_, value)) => event.f != "cas" || value.as_keyed().is_some(),
            None => false,
        })
}

#[derive(Default)]
struct Taken {
    registers: Vec<Register>,
    by_key: HashMap<Value, usize>,
    numbers: Vec<HashMap<Value, Val>>,
}

impl Taken {
    fn take(
        &mut self,
        history: &History,
        keyed: bool,
        (call, end): (usize, Option<usize>),
    ) -> Result<(), String> {
        let at = |place: usize| history.events.get(place);
        let Some(invoke) = at(call) else { return Ok(()) };
        let complete = end.and_then(at);
        let kind = complete.map_or(Kind::Info, |event| event.kind);
        let (key, asked) = split(invoke, keyed)?;
        let answered = complete.map(|event| split(event, keyed)).transpose();
        let place = self.register(key);
        let action = match invoke.f.as_str() {
            // What was not answered was not seen.
            "read" if kind != Kind::Ok => return Ok(()),
            "read" => {
                let (answered_key, value) = answered?.unwrap_or((key, &Value::Nil));
                if answered_key != key {
                    return Err(format!("event {} answers for another key", invoke.index));
                }
                Action::Read(self.number(place, value))
            }
            "write" => Action::Write(self.number(place, asked)),
            "delete" => Action::Write(NIL),
            "cas" => {
                let Some((old, new)) = asked.as_keyed() else {
                    return Err(format!("event {}: a cas wants [old new]", invoke.index));
                };
                Action::Cas(self.number(place, old), self.number(place, new))
            }
            other => return Err(format!("{other:?} is nothing that a register does")),
        };
        let ret = if kind == Kind::Ok { end.unwrap_or(OPEN) } else { OPEN };
        let witness = complete.and_then(|event| event.witness).filter(|_| kind == Kind::Ok);
        if let Some(register) = self.registers.get_mut(place) {
            let ops = if kind == Kind::Fail { &mut register.failed } else { &mut register.ops };
            ops.push(Op { call, ret, action, witness, end });
        }
        Ok(())
    }

    fn register(&mut self, key: &Value) -> usize {
        if let Some(place) = self.by_key.get(key) {
            return *place;
        }
        let place = self.registers.len();
        self.by_key.insert(key.clone(), place);
        let values = vec![Value::Nil];
        self.registers.push(Register { key: key.clone(), values, ..Register::default() });
        self.numbers.push(HashMap::from([(Value::Nil, NIL)]));
        place
    }

    fn number(&mut self, place: usize, value: &Value) -> Val {
        let (Some(numbers), Some(register)) =
            (self.numbers.get_mut(place), self.registers.get_mut(place))
        else {
            return JUNK;
        };
        if let Some(number) = numbers.get(value) {
            return *number;
        }
        let number = Val::try_from(register.values.len()).unwrap_or(JUNK);
        assert!(number < JUNK, "a register's history holds fewer than 2^32 values");
        numbers.insert(value.clone(), number);
        register.values.push(value.clone());
        number
    }
}

fn split(event: &Event, keyed: bool) -> Result<(&Value, &Value), String> {
    if !keyed {
        return Ok((&Value::Nil, &event.value));
    }
    match event.value.as_keyed() {
        Some(pair) => Ok(pair),
        // A completion that says nothing concerns the key that was asked about; its value is not used.
        None if event.kind != Kind::Ok => Ok((&Value::Nil, &Value::Nil)),
        None => Err(format!("event {} has no [key value]", event.index)),
    }
}

/// The operations that matter for the verdict. An open operation whose value nobody saw could as well
/// not have happened: it goes. One whose value only it can have written, and that was seen, did happen,
/// before whoever saw it first had returned: it gets that return. Values that nobody saw are one value.
pub(super) fn simplified(ops: &[Op]) -> Vec<Op> {
    let mut ops = ops.to_vec();
    loop {
        let seen = Seen::of(&ops);
        let before = ops.len();
        ops.retain(|op| op.ret != OPEN || op.action.produces().is_some_and(|v| seen.is_seen(v)));
        let mut tightened = false;
        for op in &mut ops {
            if op.ret == OPEN
                && let Some(first) = op.action.produces().and_then(|value| seen.proof(value))
            {
                op.ret = first;
                tightened = true;
            }
        }
        if !tightened && ops.len() == before {
            break;
        }
    }
    let seen = Seen::of(&ops);
    let known = |value| if seen.is_seen(value) { value } else { JUNK };
    for op in &mut ops {
        op.action = match op.action {
            Action::Write(value) => Action::Write(known(value)),
            Action::Cas(old, new) => Action::Cas(old, known(new)),
            read @ Action::Read(_) => read,
        };
    }
    ops
}

#[derive(Clone, Copy)]
struct Sight {
    /// How many wrote it.
    producers: u32,
    /// The first return of one who saw it.
    first: usize,
    /// Whether anyone saw it.
    seen: bool,
}

/// Who wrote and who saw each value.
struct Seen(HashMap<Val, Sight, super::words::Fast>);

impl Seen {
    fn of(ops: &[Op]) -> Self {
        let mut values: HashMap<Val, Sight, super::words::Fast> = HashMap::default();
        let none = Sight { producers: 0, first: OPEN, seen: false };
        for op in ops {
            if let Some(value) = op.action.produces() {
                values.entry(value).or_insert(none).producers += 1;
            }
            if let Some(value) = op.action.observes() {
                let sight = values.entry(value).or_insert(none);
                sight.seen = true;
                sight.first = sight.first.min(op.ret);
            }
        }
        Self(values)
    }

    fn is_seen(&self, value: Val) -> bool {
        self.0.get(&value).is_some_and(|sight| sight.seen)
    }

    /// By when the only one who wrote this value must have done so.
    fn proof(&self, value: Val) -> Option<usize> {
        let sight = self.0.get(&value)?;
        (value != NIL && sight.producers == 1 && sight.first != OPEN).then_some(sight.first)
    }
}

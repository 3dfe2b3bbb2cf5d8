//! What each operation comes to in each mode: the client code that a careful user would write.
//!
//! ```text
//!   operation     one order (linearizable)        lww                       own type
//!   write         PUT                             PUT                       mv: GET, PUT with context
//!   rmw           GET, PUT If-Match, again        GET, PUT with context     mv: the same
//!   add           GET, PUT If-Match, again        GET, PUT with context     counter: add
//!   put in, out   GET, PUT If-Match, again        GET, PUT with context     mv: union, PUT; set: edit
//!   set field     GET, PUT If-Match, again        GET, PUT with context     map: merge patch
//!   sell          GET, PUT If-Match, again        GET, PUT with context     counter: GET, add -1
//! ```
//!
//! Promises: every change is in the books before it is sent; an operation ends within
//! `BENCH_OP_MAX` and its tries are bounded. Relies on: [`Target`] for what may be repeated.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::ledger::Ledger;
use super::ledger::values::Judged;
use super::mode::Mode;
use super::target::{Acked, Change, Failed, Over, Seen, Target};
use super::visible::Watch;
use super::workload::{Op, PROFILE_FIELDS, Workload};
use crate::runtime::limits::{BENCH_OP_MAX, BENCH_TRIES_MAX};
use crate::runtime::{Env, Moment};

/// How an operation ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its kind.
    pub kind: &'static str,
    /// Whether a change was acknowledged: a sale may find the stock empty.
    pub changed: bool,
    /// With success or not.
    pub result: Result<(), Failed>,
    /// Tries beyond the first.
    pub retries: u64,
    /// What its read showed: how old it was, and how many values.
    pub read: Option<(Judged, u64)>,
}

/// A store, the books, and what is done to it.
#[derive(Debug)]
pub struct Shop {
    /// Time, chance, tasks.
    pub env: Env,
    /// The store.
    pub target: Arc<dyn Target>,
    /// The books.
    pub ledger: Ledger,
    /// What the store promises.
    pub mode: Mode,
    /// What is done.
    pub workload: Workload,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Who looks when writes are seen elsewhere.
    pub watch: Option<Arc<Watch>>,
}

/// An operation that has been chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// What is done.
    pub op: Op,
    /// Decides among the items of a cart.
    pub pick: u64,
    /// Bytes of a value that it writes.
    pub bytes: usize,
}

/// What a try writes, and where it is in the books.
struct Draft {
    value: Bytes,
    entry: Entry,
}

#[derive(Clone, Copy)]
enum Entry {
    /// Closed by who began it, once for all tries.
    Outside,
    Value {
        cell: u64,
        number: u64,
    },
    TakeOut {
        cart: u64,
        item: u64,
    },
}

/// How the tries of a conditional write ended.
struct Tried {
    answer: Result<Option<Acked>, Failed>,
    retries: u64,
    read: Option<(Judged, u64)>,
}

impl Shop {
    /// The name of a key.
    pub fn key(&self, key: u64) -> String {
        format!("{}/{key:08}", self.workload)
    }

    /// Does one operation at a site.
    pub async fn perform(&self, site: u64, task: Task) -> Done {
        let Task { op, pick, bytes } = task;
        let began = self.env.clock.now();
        let tried = match op {
            Op::Read(key) => self.read(site, key).await,
            Op::Write(key) if self.mode == Mode::Mv => self.rewrite(site, key, bytes).await,
            Op::Write(key) | Op::Insert(key) => self.write(site, key, bytes).await,
            Op::Rewrite(key) => self.rewrite(site, key, bytes).await,
            Op::Add(key) => self.add(site, key, 1).await,
            Op::PutIn(key) => self.put_in(site, key).await,
            Op::TakeOut(key) => self.take_out(site, key, pick).await,
            Op::SetField(key, field) => self.set_field(site, key, field).await,
            Op::Sell(key) => self.sell(site, key).await,
        };
        let (changed, result) = match tried.answer {
            Ok(None) => (false, Ok(())),
            Ok(Some(acked)) => {
                if let Some(watch) = &self.watch {
                    let span = (began, self.env.clock.now());
                    watch.offer(site, || self.key(op.key()), &acked, span);
                }
                (true, Ok(()))
            }
            Err(failed) => (false, Err(failed)),
        };
        Done { kind: op.kind(), changed, result, retries: tried.retries, read: tried.read }
    }

    async fn read(&self, site: u64, key: u64) -> Tried {
        let began = self.env.clock.now();
        match self.target.read(site, &self.key(key)).await {
            Ok(seen) => {
                let read = self.judge(key, &seen, began);
                Tried { answer: Ok(None), retries: 0, read }
            }
            Err(failed) => Tried { answer: Err(failed), retries: 0, read: None },
        }
    }

    /// How old a read is; only of values, which carry their numbers.
    fn judge(&self, key: u64, seen: &Seen, began: Moment) -> Option<(Judged, u64)> {
        let values = u64::try_from(seen.values.len()).unwrap_or(u64::MAX);
        if !self.workload.is_ycsb() {
            let is_mv = self.mode == Mode::Mv;
            return is_mv.then_some((Judged::Unsure, values));
        }
        let cell = self.ledger.values.cell(key).lock();
        let judge = |shown| cell.judge(shown, began);
        let best = seen.values.iter().map(|shown| match number_of(&shown.value) {
            Some(number) => judge(Some(number)),
            None => Judged::Wrong,
        });
        let worse = |one: Judged, other: Judged| match (one, other) {
            (Judged::Wrong, _) | (_, Judged::Wrong) => Judged::Wrong,
            (Judged::Behind(a, _), Judged::Behind(b, _)) if b < a => other,
            (Judged::Unsure, other) => other,
            (one, _) => one,
        };
        // Of several values the newest counts: the others stand beside it.
        Some((best.reduce(worse).unwrap_or_else(|| judge(None)), values))
    }

    /// A value of so many bytes that carries its number.
    pub fn value(number: u64, bytes: usize) -> Bytes {
        let mut value = format!("{number:016x}").into_bytes();
        value.resize(bytes.max(value.len()), b'.');
        Bytes::from(value)
    }

    /// Sets a key without looking; `first` when it is known that nothing is there.
    pub(super) async fn write_blind(
        &self,
        site: u64,
        key: u64,
        (first, bytes): (bool, usize),
    ) -> Result<Acked, Failed> {
        let values = &self.ledger.values;
        let began = self.env.clock.now();
        let number = values.begin(&self.ledger, key, (site, began), first.then(Box::default));
        let value = Self::value(number, bytes);
        let answer = self.target.write(site, &self.key(key), value, Over::Anything).await;
        values.end(key, number, self.env.clock.now(), answer.as_ref());
        answer
    }

    async fn write(&self, site: u64, key: u64, bytes: usize) -> Tried {
        let answer = self.write_blind(site, key, (false, bytes)).await.map(Some);
        Tried { answer, retries: 0, read: None }
    }

    async fn rewrite(&self, site: u64, key: u64, bytes: usize) -> Tried {
        self.over_what_is_there(site, key, &|seen| {
            let over = names_of(seen);
            let began = self.env.clock.now();
            let number = self.ledger.values.begin(&self.ledger, key, (site, began), Some(over));
            let entry = Entry::Value { cell: key, number };
            Some(Draft { value: Self::value(number, bytes), entry })
        })
        .await
    }

    async fn add(&self, site: u64, key: u64, amount: i64) -> Tried {
        self.ledger.sums.begin();
        let tried = if self.mode == Mode::Counter {
            native(self.target.change(site, &self.key(key), &Change::Add(amount)).await)
        } else {
            let sum = |seen: &Seen| {
                let value = (integer_of(seen) + amount).to_string();
                Some(Draft { value: value.into(), entry: Entry::Outside })
            };
            self.over_what_is_there(site, key, &sum).await
        };
        self.close_sum(key, amount, &tried);
        tried
    }

    async fn sell(&self, site: u64, key: u64) -> Tried {
        self.ledger.sums.begin();
        let tried = if self.mode == Mode::Counter {
            match self.target.read(site, &self.key(key)).await {
                Ok(seen) if integer_of(&seen) <= 0 => native_nothing(),
                Ok(_) => native(self.target.change(site, &self.key(key), &Change::Add(-1)).await),
                Err(failed) => Tried { answer: Err(failed), retries: 0, read: None },
            }
        } else {
            let less = |seen: &Seen| {
                let left = integer_of(seen);
                (left > 0)
                    .then(|| Draft { value: (left - 1).to_string().into(), entry: Entry::Outside })
            };
            self.over_what_is_there(site, key, &less).await
        };
        self.close_sum(key, -1, &tried);
        tried
    }

    fn close_sum(&self, key: u64, amount: i64, tried: &Tried) {
        let nothing = Failed::NotApplied("there was nothing to sell".to_owned());
        let answer = match &tried.answer {
            Ok(Some(acked)) => Ok(acked),
            Ok(None) => Err(&nothing),
            Err(failed) => Err(failed),
        };
        self.ledger.sums.end(key, amount, answer);
    }

    async fn put_in(&self, site: u64, cart: u64) -> Tried {
        let item = self.ledger.number();
        self.ledger.carts.begin(cart, item);
        let tried = if self.mode == Mode::Set {
            let edit = Change::Edit { add: vec![item.to_string()], remove: Vec::new() };
            native(self.target.change(site, &self.key(cart), &edit).await)
        } else {
            let with = |seen: &Seen| {
                let mut items = items_of(seen);
                items.push(item);
                Some(Draft { value: cart_of(items), entry: Entry::Outside })
            };
            self.over_what_is_there(site, cart, &with).await
        };
        let none = Failed::NotApplied("it was not sent".to_owned());
        let answer = match &tried.answer {
            Ok(Some(acked)) => Ok(acked),
            Ok(None) => Err(&none),
            Err(failed) => Err(failed),
        };
        self.ledger.carts.end(cart, item, false, answer);
        tried
    }

    async fn take_out(&self, site: u64, cart: u64, pick: u64) -> Tried {
        let carts = &self.ledger.carts;
        let choose = |items: &[u64]| {
            let count = u64::try_from(items.len()).unwrap_or(u64::MAX).max(1);
            items.get(usize::try_from(pick % count).unwrap_or(0)).copied()
        };
        if self.mode != Mode::Set {
            let without = |seen: &Seen| {
                let mut items = items_of(seen);
                let item = choose(&items)?;
                items.retain(|other| *other != item);
                carts.begin(cart, item);
                Some(Draft { value: cart_of(items), entry: Entry::TakeOut { cart, item } })
            };
            return self.over_what_is_there(site, cart, &without).await;
        }
        let seen = match self.target.read(site, &self.key(cart)).await {
            Ok(seen) => seen,
            Err(failed) => return Tried { answer: Err(failed), retries: 0, read: None },
        };
        let Some(item) = choose(&items_of(&seen)) else { return native_nothing() };
        carts.begin(cart, item);
        let edit = Change::Edit { add: Vec::new(), remove: vec![item.to_string()] };
        let answer = self.target.change(site, &self.key(cart), &edit).await;
        carts.end(cart, item, true, answer.as_ref());
        native(answer)
    }

    async fn set_field(&self, site: u64, key: u64, field: u64) -> Tried {
        let values = &self.ledger.values;
        let cell = key * PROFILE_FIELDS + field;
        let entered = || {
            let began = self.env.clock.now();
            values.begin(&self.ledger, cell, (site, began), None)
        };
        let name = field_name(field);
        if self.mode == Mode::Map {
            let number = entered();
            let change = Change::Field { name, value: json!(number) };
            let answer = self.target.change(site, &self.key(key), &change).await;
            values.end(cell, number, self.env.clock.now(), answer.as_ref());
            return native(answer);
        }
        let with = |seen: &Seen| {
            let number = entered();
            let mut fields = fields_of(seen);
            fields.insert(name.clone(), json!(number));
            let value = Value::Object(fields).to_string().into();
            Some(Draft { value, entry: Entry::Value { cell, number } })
        };
        self.over_what_is_there(site, key, &with).await
    }

    /// Reads, writes what `draft` makes of it, and where somebody else was faster begins anew.
    async fn over_what_is_there(
        &self,
        site: u64,
        key: u64,
        draft: &(dyn Fn(&Seen) -> Option<Draft> + Send + Sync),
    ) -> Tried {
        let name = self.key(key);
        let clock = &self.env.clock;
        let deadline = clock.now() + BENCH_OP_MAX;
        let (mut retries, mut read) = (0, None);
        let answer = loop {
            let began = clock.now();
            let seen = match self.target.read(site, &name).await {
                Ok(seen) => seen,
                Err(failed) => break Err(failed),
            };
            read = read.or_else(|| self.judge(key, &seen, began));
            let Some(Draft { value, entry }) = draft(&seen) else { break Ok(None) };
            let answer = self.target.write(site, &name, value, Over::Seen(&seen)).await;
            self.close(entry, answer.as_ref());
            match answer {
                Err(Failed::Unmet) if retries < BENCH_TRIES_MAX && clock.now() < deadline => {
                    retries += 1;
                    // Whoever comes again at once meets the same others again.
                    let longest = 4 << retries.min(4);
                    let pause = self.env.rng.below(longest);
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                }
                answer => break answer.map(Some),
            }
        };
        Tried { answer, retries, read }
    }

    fn close(&self, entry: Entry, answer: Result<&Acked, &Failed>) {
        match entry {
            Entry::Outside => {}
            Entry::Value { cell, number } => {
                self.ledger.values.end(cell, number, self.env.clock.now(), answer);
            }
            Entry::TakeOut { cart, item } => self.ledger.carts.end(cart, item, true, answer),
        }
    }
}

fn native(answer: Result<Acked, Failed>) -> Tried {
    Tried { answer: answer.map(Some), retries: 0, read: None }
}

fn native_nothing() -> Tried {
    Tried { answer: Ok(None), retries: 0, read: None }
}

/// The number of the write that a value is from.
pub fn number_of(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value.get(..16)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

fn names_of(seen: &Seen) -> Box<[Box<str>]> {
    seen.values.iter().filter_map(|shown| shown.name.as_deref().map(Box::from)).collect()
}

/// The number that a key holds; 0 when it is not there.
pub fn integer_of(seen: &Seen) -> i64 {
    let text = seen.values.first().and_then(|shown| std::str::from_utf8(&shown.value).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The items of a cart: of several carts side by side, all that is in one of them.
pub fn items_of(seen: &Seen) -> Vec<u64> {
    let mut items: Vec<u64> = seen
        .values
        .iter()
        .filter_map(|shown| serde_json::from_slice::<Vec<String>>(&shown.value).ok())
        .flatten()
        .filter_map(|item| item.parse().ok())
        .collect();
    items.sort_unstable();
    items.dedup();
    items
}

fn cart_of(items: Vec<u64>) -> Bytes {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    json!(texts).to_string().into()
}

/// The fields of a document.
pub fn fields_of(seen: &Seen) -> Map<String, Value> {
    let document = seen.values.first().map(|shown| shown.value.clone()).unwrap_or_default();
    serde_json::from_slice(&document).unwrap_or_default()
}

/// The name of a field of a profile.
pub fn field_name(field: u64) -> String {
    format!("field{field}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::target::Shown;

    fn seen(values: &[&str]) -> Seen {
        let shown =
            |value: &&str| Shown { value: Bytes::copy_from_slice(value.as_bytes()), name: None };
        Seen { values: values.iter().map(shown).collect(), token: None }
    }

    #[test]
    fn what_is_read_is_understood_and_nonsense_is_nothing() {
        assert_eq!(number_of(b"00000000000000ff...."), Some(255));
        assert_eq!(number_of(b"short"), None);
        assert_eq!((integer_of(&seen(&["-7"])), integer_of(&seen(&[]))), (-7, 0));
        let carts = seen(&[r#"["3","1"]"#, r#"["1","2"]"#]);
        assert_eq!(items_of(&carts), [1, 2, 3]);
        assert_eq!(cart_of(vec![1, 2]), Bytes::from_static(br#"["1","2"]"#));
        assert_eq!(fields_of(&seen(&[r#"{"field1":5}"#])).get(&field_name(1)), Some(&json!(5)));
        assert!(items_of(&seen(&["{}"])).is_empty() && fields_of(&seen(&["[]"])).is_empty());
    }
}

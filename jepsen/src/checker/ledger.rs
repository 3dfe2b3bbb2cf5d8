//! Judges the bank: totals at every read, and every balance against the ledger.
//!
//! Why it exists: a total that is right proves that no transfer was half done; it does not see a
//! transfer that was lost as a whole, or a read of an old state. The audit at the end tells the index of
//! each transfer in its group's log, so that the balances at any index are known exactly.
//!
//! Promises: `n log n`. Reads `:transfer [bank {:from :to :amount :id}]`, `:read [bank {account
//! balance}]` and `:audit [bank {:balances … :transfers [[id index] …]}]`; banks begin with
//! `ACCOUNTS` accounts of `START`.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Budget, Checker};
use crate::history::{Event, History, Kind, Operation, Value};
use crate::verdict::{Anomaly, Verdict};
use crate::workload::bank::{ACCOUNTS, START};

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Ledger;

/// One bank.
#[derive(Default)]
struct Bank<'a> {
    transfers: BTreeMap<i64, Operation<'a>>,
    reads: Vec<(Operation<'a>, &'a Event)>,
    audits: Vec<(Operation<'a>, &'a Event)>,
}

type Balances = BTreeMap<i64, i64>;

impl Checker for Ledger {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let banks = gather(history);
        let mut anomalies = Vec::new();
        for (name, bank) in &banks {
            let before = anomalies.len();
            for (operation, read) in &bank.reads {
                totals(name, operation, read, &mut anomalies);
            }
            for (operation, audit) in &bank.audits {
                audited(name, bank, operation, audit, &mut anomalies);
            }
            // What is wrong with the totals explains what follows from it.
            if let (true, Some((_, audit))) = (anomalies.len() == before, bank.audits.last()) {
                replay(name, bank, audit, &mut anomalies);
            }
        }
        let reads: usize = banks.values().map(|bank| bank.reads.len()).sum();
        let audited = banks.values().filter(|bank| !bank.audits.is_empty()).count();
        let transfers: usize = banks.values().map(|bank| bank.transfers.len()).sum();
        let figures = json!({
            "banks": banks.len(), "audited": audited, "reads": reads, "transfers": transfers,
            "anomalies": anomalies.len(),
        });
        let verdict = if let Some(first) = anomalies.first() {
            let reason = first.words.clone();
            anomalies.truncate(10);
            Verdict::invalid("bank", reason, anomalies)
        } else if audited < banks.len() || reads == 0 {
            let reason = format!("{audited} of {} banks were audited at the end", banks.len());
            Verdict::unknown("bank", reason)
        } else {
            let reason = format!("{reads} reads agree with the ledger of {transfers} transfers");
            Verdict::valid("bank", reason)
        };
        verdict.with_figures(figures)
    }
}

fn gather(history: &History) -> BTreeMap<&Value, Bank<'_>> {
    let mut banks: BTreeMap<&Value, Bank<'_>> = BTreeMap::new();
    for operation in history.operations() {
        let Some((name, argument)) = operation.invoke.value.as_keyed() else { continue };
        let bank = banks.entry(name).or_default();
        let ok = operation.complete.filter(|event| event.kind == Kind::Ok);
        match (operation.invoke.f.as_str(), field(argument, "id"), ok) {
            ("transfer", Some(id), _) => {
                bank.transfers.insert(id, operation);
            }
            ("read", _, Some(event)) => bank.reads.push((operation, event)),
            ("audit", _, Some(event)) => bank.audits.push((operation, event)),
            _ => {}
        }
    }
    banks
}

fn field(map: &Value, name: &str) -> Option<i64> {
    entry(map, name).and_then(Value::as_int)
}

fn entry<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Map(pairs) = map else { return None };
    pairs.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

fn balances(value: &Value) -> Option<Balances> {
    let Value::Map(pairs) = value else { return None };
    pairs.iter().map(|(account, balance)| Some((account.as_int()?, balance.as_int()?))).collect()
}

fn anomaly(kind: &str, words: String, operation: &Operation<'_>, more: &[u64]) -> Anomaly {
    let mut events: Vec<u64> = more.to_vec();
    events.push(operation.invoke.index);
    events.extend(operation.complete.map(|event| event.index));
    events.sort_unstable();
    Anomaly { kind: kind.into(), words, events }
}

fn totals(name: &Value, operation: &Operation<'_>, read: &Event, anomalies: &mut Vec<Anomaly>) {
    let found = read.value.as_keyed().and_then(|(_, value)| balances(value)).unwrap_or_default();
    let (sum, wanted) = (found.values().sum::<i64>(), START * ACCOUNTS);
    let said = format!("the read of bank {name} at event {}", read.index);
    if found.len() != usize::try_from(ACCOUNTS).unwrap_or_default() {
        let words = format!("{said} shows {} accounts of {ACCOUNTS}", found.len());
        anomalies.push(anomaly("missing-account", words, operation, &[]));
    } else if sum != wanted {
        let words = format!("{said} has {sum} in total, not {wanted}");
        anomalies.push(anomaly("wrong-total", words, operation, &[]));
    } else if let Some((account, balance)) = found.iter().find(|(_, balance)| **balance < 0) {
        let words = format!("{said} shows {balance} on account {account}");
        anomalies.push(anomaly("negative-balance", words, operation, &[]));
    }
}

/// The ids in the ledger with their indices, in the order of the log.
fn rows(audit: &Event) -> Option<Vec<(u64, i64)>> {
    let rows = entry(audit.value.as_keyed()?.1, "transfers")?.as_list()?;
    let mut found = rows
        .iter()
        .map(|row| {
            let (id, index) = row.as_keyed()?;
            Some((u64::try_from(index.as_int()?).ok()?, id.as_int()?))
        })
        .collect::<Option<Vec<_>>>()?;
    found.sort_unstable();
    Some(found)
}

fn apply(state: &mut Balances, transfer: &Operation<'_>) {
    let Some((_, argument)) = transfer.invoke.value.as_keyed() else { return };
    let number = |name| field(argument, name).unwrap_or_default();
    *state.entry(number("from")).or_default() -= number("amount");
    *state.entry(number("to")).or_default() += number("amount");
}

/// The ledger has what was acknowledged, nothing that was refused, and makes the balances.
fn audited(
    name: &Value,
    bank: &Bank<'_>,
    operation: &Operation<'_>,
    audit: &Event,
    anomalies: &mut Vec<Anomaly>,
) {
    let Some(rows) = rows(audit) else {
        let words = format!("the audit of bank {name} at event {} cannot be read", audit.index);
        anomalies.push(anomaly("unreadable-audit", words, operation, &[]));
        return;
    };
    let there: BTreeMap<i64, u64> = rows.iter().map(|(index, id)| (*id, *index)).collect();
    let mut state: Balances = (0..ACCOUNTS).map(|account| (account, START)).collect();
    let said = format!("the ledger of bank {name} at event {}", audit.index);
    for (id, transfer) in &bank.transfers {
        if there.contains_key(id) {
            apply(&mut state, transfer);
        }
        let ended = transfer.complete.map_or(u64::MAX, |event| event.index);
        let wrong = match (there.contains_key(id), transfer.kind()) {
            (false, Kind::Ok) if ended < operation.invoke.index => {
                Some(("lost-transfer", "lacks", "ok"))
            }
            (true, Kind::Fail) => Some(("refused-transfer", "has", "a certain failure")),
            _ => None,
        };
        if let Some((kind, verb, end)) = wrong {
            let words =
                format!("{said} {verb} transfer {id}, which ended as {end} (event {ended})");
            let events = [transfer.invoke.index, ended];
            anomalies.push(anomaly(kind, words, operation, &events));
        }
    }
    for id in there.keys().filter(|id| !bank.transfers.contains_key(id)) {
        let words = format!("{said} has transfer {id}, which nobody made");
        anomalies.push(anomaly("unexpected-transfer", words, operation, &[]));
    }
    let found = audit.value.as_keyed().and_then(|(_, value)| balances(entry(value, "balances")?));
    if found.as_ref() != Some(&state) {
        let words =
            format!("{said} makes {state:?}, and the balances in the same view are {found:?}");
        anomalies.push(anomaly("wrong-balances", words, operation, &[]));
    }
}

/// Every read shows the balances as of its index, and its index is not older than what was acknowledged
/// before it began.
fn replay(name: &Value, bank: &Bank<'_>, audit: &Event, anomalies: &mut Vec<Anomaly>) {
    let rows = rows(audit).unwrap_or_default();
    let mut reads: Vec<(u64, &Operation<'_>, &Event)> = bank
        .reads
        .iter()
        .filter_map(|(operation, read)| Some((read.witness?.index, operation, *read)))
        .collect();
    reads.sort_unstable_by_key(|(index, _, read)| (*index, read.index));
    let mut state: Balances = (0..ACCOUNTS).map(|account| (account, START)).collect();
    let mut rows = rows.into_iter().peekable();
    for (index, operation, read) in &reads {
        while let Some((_, id)) = rows.next_if(|(at, _)| at <= index) {
            if let Some(transfer) = bank.transfers.get(&id) {
                apply(&mut state, transfer);
            }
        }
        let found = read.value.as_keyed().and_then(|(_, value)| balances(value));
        if found.as_ref() != Some(&state) {
            let words = format!(
                "the read of bank {name} at event {} shows {found:?} as of entry {index}, and by the \
                 ledger it was {state:?}",
                read.index
            );
            anomalies.push(anomaly("wrong-read", words, operation, &[]));
        }
    }
    stale(name, bank, &reads, anomalies);
}

fn stale(
    name: &Value,
    bank: &Bank<'_>,
    reads: &[(u64, &Operation<'_>, &Event)],
    anomalies: &mut Vec<Anomaly>,
) {
    let mut done: Vec<(u64, u64)> = bank
        .transfers
        .values()
        .filter_map(|transfer| transfer.complete.filter(|event| event.kind == Kind::Ok))
        .filter_map(|event| Some((event.index, event.witness?.index)))
        .collect();
    done.sort_unstable();
    let mut by_start = reads.to_vec();
    by_start.sort_unstable_by_key(|(_, operation, _)| operation.invoke.index);
    let mut done = done.into_iter().peekable();
    let mut newest = (0, 0);
    for (index, operation, read) in by_start {
        while let Some((event, at)) = done.next_if(|(event, _)| *event < operation.invoke.index) {
            newest = newest.max((at, event));
        }
        if index < newest.0 {
            let words = format!(
                "the read of bank {name} at event {} reflects entry {index}, and the transfer of entry \
                 {} was acknowledged before it began (event {})",
                read.index, newest.0, newest.1
            );
            anomalies.push(anomaly("stale-read", words, operation, &[newest.1]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;
    use crate::workload::tests_history::Script;

    fn word(name: &str) -> Value {
        Value::Keyword(name.into())
    }

    fn state(first: i64, second: i64) -> Value {
        let all = (0..ACCOUNTS).map(|account| {
            let balance = if account == 0 {
                first
            } else if account == 1 {
                second
            } else {
                START
            };
            (account.into(), balance.into())
        });
        Value::Map(all.collect())
    }

    fn transfer(script: &mut Script, id: i64, kind: Kind, index: u64) {
        let fields = [("from", 0), ("to", 1), ("amount", 10), ("id", id)];
        let fields = fields.map(|(name, number)| (word(name), number.into()));
        let value = Value::keyed(1, Value::Map(fields.to_vec()));
        script.operation("transfer", value.clone(), kind, value).at(index);
    }

    fn read(script: &mut Script, index: u64, first: i64, second: i64) {
        let asked = Value::keyed(1, Value::Nil);
        script.operation("read", asked, Kind::Ok, Value::keyed(1, state(first, second))).at(index);
    }

    fn kinds(mut script: Script, rows: &[(i64, i64)], first: i64, second: i64) -> Vec<String> {
        let rows = rows.iter().map(|(id, index)| Value::list([(*id).into(), (*index).into()]));
        let audit = Value::Map(vec![
            (word("balances"), state(first, second)),
            (word("transfers"), Value::list(rows)),
        ]);
        script.operation("audit", Value::keyed(1, Value::Nil), Kind::Ok, Value::keyed(1, audit));
        let verdict = Ledger.check(&script.history(), Budget::default());
        assert_eq!(verdict.validity == Validity::Valid, verdict.anomalies.is_empty());
        verdict.anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    #[test]
    fn what_the_ledger_explains_is_valid_and_what_it_does_not_is_named() {
        let script = |index, first, second| {
            let mut script = Script::default();
            transfer(&mut script, 1, Kind::Ok, 5);
            transfer(&mut script, 2, Kind::Info, 0);
            read(&mut script, index, first, second);
            script
        };
        assert!(kinds(script(6, 90, 110), &[(1, 5)], 90, 110).is_empty());
        assert!(kinds(script(8, 80, 120), &[(1, 5), (2, 7)], 80, 120).is_empty());
        assert_eq!(kinds(script(6, 90, 100), &[(1, 5)], 90, 110), ["wrong-total"]);
        assert_eq!(kinds(script(6, 90, 110), &[], 100, 100), ["lost-transfer"]);
        assert_eq!(kinds(script(6, 80, 120), &[(1, 5), (2, 7)], 80, 120), ["wrong-read"]);
        assert_eq!(kinds(script(4, 100, 100), &[(1, 5)], 90, 110), ["stale-read"]);
        assert_eq!(kinds(script(6, 90, 110), &[(1, 5)], 80, 120), ["wrong-balances"]);
    }

    #[test]
    fn a_bank_that_nobody_audited_is_not_known() {
        let mut script = Script::default();
        read(&mut script, 1, 100, 100);
        assert_eq!(Ledger.check(&script.history(), Budget::default()).validity, Validity::Unknown);
    }
}

//! `bank`: money moves between accounts, and none is made or lost.
//!
//! Why it exists: a transfer that is half done, or a read that mixes two moments, shows in the total at
//! once. A total does not show a transfer that is lost as a whole, so that every transfer also leaves a
//! row of its own in the same transaction: the ledger. At the end one scan, which is one view, reads
//! balances and ledger, and all reads before are judged against it.
//!
//! Promises: four banks of eight accounts, as `[bank …]`; all keys of a bank share a tag, hence a group.
//! A transfer reads its source, then writes under the condition that the source is what it was.

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::make;
use crate::api::{Api, ApiError, Outcome, Reply};
use crate::checker::Checker;
use crate::checker::ledger::Ledger;
use crate::history::Value;
use crate::workload::{Asker, Completion, Ending, Task, Workload};

/// Banks.
const BANKS: i64 = 4;
/// Accounts of a bank.
pub(crate) const ACCOUNTS: i64 = 8;
/// What every account begins with.
pub(crate) const START: i64 = 100;
/// Most that is moved at a time.
const MOST: i64 = 30;

/// The workload.
#[derive(Debug, Default)]
pub struct Bank {
    transfers: Mutex<i64>,
}

/// What is to be moved.
#[derive(Clone, Copy)]
struct Transfer {
    bank: i64,
    from: i64,
    to: i64,
    amount: i64,
    id: i64,
}

fn account(bank: i64, account: i64) -> String {
    format!("{{b{bank}}}a{account}")
}

fn word(name: &str) -> Value {
    Value::Keyword(name.into())
}

#[async_trait]
impl Workload for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        let space = api.own("bank");
        make::namespace(api, &space, json!({})).await?;
        for bank in 0..BANKS {
            for number in 0..ACCOUNTS {
                let path = make::key(&space, &account(bank, number));
                make::value(api, &path, &START.to_string()).await?;
            }
        }
        Ok(())
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let bank = rng.i64(0..BANKS);
        if rng.bool() {
            return Some(Task { f: "read".into(), value: Value::keyed(bank, Value::Nil) });
        }
        let from = rng.i64(0..ACCOUNTS);
        let to = (from + rng.i64(1..ACCOUNTS)) % ACCOUNTS;
        let mut id = self.transfers.lock();
        *id += 1;
        let transfer = Value::Map(vec![
            (word("from"), from.into()),
            (word("to"), to.into()),
            (word("amount"), rng.i64(1..=MOST).into()),
            (word("id"), (*id).into()),
        ]);
        Some(Task { f: "transfer".into(), value: Value::keyed(bank, transfer) })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        let Some((bank, argument)) = task.value.as_keyed() else {
            return make::refused(node, "not-a-bank-task");
        };
        let bank = bank.as_int().unwrap_or_default();
        let mut completion = match (task.f.as_str(), moved(bank, argument)) {
            ("transfer", Some(transfer)) => {
                let done = send(api, node, transfer).await;
                Completion { value: argument.clone(), ..done }
            }
            ("audit", _) => audit(api, node, bank).await,
            _ => read(api, node, bank).await,
        };
        completion.value = Value::keyed(bank, completion.value);
        completion
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let task = |f: &str, bank: i64| Task { f: f.into(), value: Value::keyed(bank, Value::Nil) };
        let each = (0..BANKS).map(|bank| {
            let thread = u64::try_from(bank).unwrap_or_default() % threads.max(1);
            [(thread, task("read", bank)), (thread, task("audit", bank))]
        });
        each.flatten().collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Ledger)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("transfer", 30), ("read", 50)]
    }
}

fn moved(bank: i64, value: &Value) -> Option<Transfer> {
    let Value::Map(pairs) = value else { return None };
    let field = |name: &str| {
        let found = pairs.iter().find(|(key, _)| key.as_text() == Some(name));
        found.and_then(|(_, value)| value.as_int())
    };
    let (from, to, amount) = (field("from")?, field("to")?, field("amount")?);
    Some(Transfer { bank, from, to, amount, id: field("id")? })
}

async fn send(api: &Api, node: u32, transfer: Transfer) -> Completion {
    let space = api.own("bank");
    let source = account(transfer.bank, transfer.from);
    let look = make::txn(&space, &json!({"then": [{"get": source}]}));
    let reply = api.send(node, look).await;
    if reply.outcome != Outcome::Applied {
        // Nothing was written yet.
        return Completion { witness: None, ..make::harmless(reply.completion()) };
    }
    let Some((balance, etag)) = balances(&reply).and_then(|found| found.into_iter().next()) else {
        return make::refused(node, "unreadable-balance");
    };
    if balance < transfer.amount {
        return make::refused(node, "no-funds");
    }
    let row = format!("{{b{}}}t{}", transfer.bank, transfer.id);
    let text = format!("{},{},{},", transfer.from, transfer.to, transfer.amount);
    let body = json!({
        "if": [{"key": source, "etag": etag}],
        "then": [
            {"patch": source, "add": -transfer.amount},
            {"patch": account(transfer.bank, transfer.to), "add": transfer.amount},
            {"put": row, "value": text},
        ],
    });
    let reply = api.send(node, make::txn(&space, &body)).await;
    let mut completion = reply.completion();
    if completion.ending == Ending::Ok && reply.json().get("succeeded") != Some(&Json::Bool(true)) {
        completion.ending = Ending::Fail("changed-meanwhile".into());
        completion.witness = None;
    }
    completion
}

/// All balances in one transaction, which is one moment.
async fn read(api: &Api, node: u32, bank: i64) -> Completion {
    let gets: Vec<Json> =
        (0..ACCOUNTS).map(|number| json!({"get": account(bank, number)})).collect();
    let reply = api.send(node, make::txn(&api.own("bank"), &json!({ "then": gets }))).await;
    let completion = make::harmless(reply.completion());
    if completion.ending != Ending::Ok {
        return completion;
    }
    let Some(found) = balances(&reply) else { return make::refused(node, "unreadable-balance") };
    let pairs = (0..).zip(found).map(|(number, (balance, _))| (Value::Int(number), balance.into()));
    Completion { value: Value::Map(pairs.collect()), ..completion }
}

/// Balances and ledger in one view: `{:balances {0 100 …} :transfers [[id index] …]}`.
async fn audit(api: &Api, node: u32, bank: i64) -> Completion {
    let (rows, reply) = match make::rows(api, node, &api.own("bank"), &format!("{{b{bank}}}")).await
    {
        Ok(found) => found,
        Err(completion) => return *completion,
    };
    let mut balances = Vec::new();
    let mut transfers = Vec::new();
    for row in &rows {
        let text = |field: &str| row.get(field).and_then(Json::as_str).unwrap_or_default();
        let name = text("key").split_once('}').map_or("", |(_, name)| name);
        let index = text("etag").trim_matches('"').rsplit('-').next().map(str::parse::<i64>);
        match (name.split_at_checked(1), index) {
            (Some(("a", number)), _) => {
                let balance = text("value").parse::<i64>().map_or(Value::Nil, Value::Int);
                balances.push((Value::Int(number.parse().unwrap_or(-1)), balance));
            }
            (Some(("t", id)), Some(Ok(index))) => {
                transfers.push(Value::list([id.parse().unwrap_or(-1).into(), index.into()]));
            }
            _ => return make::refused(node, "unreadable-row"),
        }
    }
    let value = Value::Map(vec![
        (word("balances"), Value::Map(balances)),
        (word("transfers"), Value::List(transfers)),
    ]);
    Completion { value, ..reply.completion() }
}

/// Balance and ETag of each `get`.
fn balances(reply: &Reply) -> Option<Vec<(i64, String)>> {
    let answer = reply.json();
    let each = answer.get("results")?.as_array()?.iter().map(|result| {
        let row = result.get("row")?;
        let balance = row.get("value")?.as_str()?.parse().ok()?;
        Some((balance, row.get("etag")?.as_str()?.to_owned()))
    });
    each.collect()
}

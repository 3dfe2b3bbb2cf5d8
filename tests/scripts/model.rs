//! Runs `model/` scripts: one group, its log index, its rows.
//!
//! Every command goes through its bytes, as on its way through a log, and the trace shows the reply
//! and each changed row.
//!
//! * `own FIRST..LAST... epoch=N`: the group owns these slots
//! * `put KEY VALUE`, `delete KEY`, `append KEY TEXT`, `add KEY NUMBER`, `merge KEY JSON`, each with
//!   `slot=N [ns=N] [once=KEY] [at=N | missing=1] [ttl=MS | lease=ID] [ordered=1] [quota=N]`
//! * `grant ID ttl=MS`, `renew ID`, `revoke ID`: a lease
//! * `lock NAME slot=N lease=ID`, `unlock NAME slot=N lease=ID`: waits in the queue
//! * `tend [expire=ID renewed=N] [forget=N] [purge=NS]`: what a leader does
//! * `catalog TEXT`: a catalog command, which has no business here
//! * `replay`: applies all commands so far to an empty group, and compares
//! * `rows`: all rows

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Runner};
use tetrarch::model::rows::{split_figures_key, split_lease_key, split_lock_key};
use tetrarch::model::{
    Action, Attach, Book, Command, Effect, Figures, Give, Holder, KeyOp, LeaseId, LeaseOp,
    LeaseRow, LockOp, LockRow, NamespaceId, NumberOp, OWNED_KEY, Once, Ownership, Patch, Request,
    Require, Row, Slot, SlotRange, Space, Tag, Tend, View, ViewError, WriteOp, apply,
    split_data_key,
};

use super::{Fault, named, next};

#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The commands so far; the first has index 1.
    log: Vec<Bytes>,
    rows: Rows,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rows(BTreeMap<Bytes, Bytes>);

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let range = Bytes::copy_from_slice(from)..Bytes::copy_from_slice(to);
        let rows = self.0.range(range).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Rows {
    /// Makes changes.
    pub(crate) fn take(&mut self, effects: Vec<Effect>) {
        for Effect { key, value, .. } in effects {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    /// Applies an entry and says what it came to.
    fn apply(&mut self, index: u64, entry: &Bytes) -> Result<String, Fault> {
        let command = Command::decode(entry)?;
        let mut book = Book::default();
        let outcome = apply(&mut book, self, index, &command)?;
        let mut trace = format!("{index}: {:?}\n", outcome.reply);
        for Effect { key, value, .. } in outcome.effects.into_iter().chain(book.flush()) {
            let (sign, row) = match value {
                Some(value) => ("", {
                    self.0.insert(key.clone(), value.clone());
                    value
                }),
                None => match self.0.remove(&key) {
                    Some(row) => ("removed ", row),
                    None => continue,
                },
            };
            if let Some(shown) = shown(&key, &row)? {
                writeln!(trace, "   {sign}{shown}")?;
            }
        }
        Ok(trace)
    }
}

impl Group {
    fn propose(&mut self, command: &Command) -> Result<String, Fault> {
        let entry = command.encode();
        let index = u64::try_from(self.log.len())? + 1;
        let trace = self.rows.apply(index, &entry)?;
        self.log.push(entry);
        Ok(trace)
    }

    fn replay(&self) -> Result<String, Fault> {
        let mut rows = Rows::default();
        for (index, entry) in (1..).zip(&self.log) {
            rows.apply(index, entry)?;
        }
        let same = if rows == self.rows { "the same rows" } else { "OTHER ROWS" };
        Ok(format!("{} entries give {same}\n", self.log.len()))
    }
}

impl Runner for Group {
    fn run(&mut self, command: &goldenscript::Command) -> Result<String, Fault> {
        let mut args = command.consume_args();
        let asked = match command.name.as_str() {
            "own" => {
                let epoch = named(&mut args, "epoch")?;
                let ranges = args.rest_pos();
                let ranges =
                    ranges.iter().map(|arg| range(&arg.value)).collect::<Result<_, _>>()?;
                Command::Own { ranges, epoch }
            }
            "grant" | "renew" | "revoke" => {
                let id = next(&mut args, "a lease")?;
                let op = match command.name.as_str() {
                    "grant" => LeaseOp::Grant { id, ttl_ms: named(&mut args, "ttl")? },
                    "renew" => LeaseOp::Renew { id },
                    _ => LeaseOp::Revoke { id },
                };
                request(&mut args, Action::Lease(op))?
            }
            "lock" | "unlock" => {
                let (slot, lease) = (slot(&mut args)?, named::<LeaseId>(&mut args, "lease")?);
                let name = Bytes::from(next::<String>(&mut args, "a name")?);
                let op = if command.name == "lock" {
                    LockOp::Acquire { slot, name, lease, owner: String::new(), queue: true }
                } else {
                    LockOp::Release { slot, name, by: Holder::Lease(lease) }
                };
                let space = space(&mut args)?;
                request(&mut args, Action::Lock(space, op))?
            }
            "tend" => Command::Tend(tend(&mut args)?),
            "put" | "delete" | "append" | "add" | "merge" => write(&command.name, &mut args)?,
            "catalog" => Command::Catalog(Bytes::from(next::<String>(&mut args, "a text")?)),
            "replay" => return self.replay(),
            "rows" => {
                let mut trace = String::new();
                for (key, value) in &self.rows.0 {
                    if let Some(shown) = shown(key, value)? {
                        writeln!(trace, "{shown}")?;
                    }
                }
                return Ok(trace);
            }
            other => return Err(format!("there is no command {other}").into()),
        };
        args.reject_rest()?;
        self.propose(&asked)
    }
}

fn slot(args: &mut ArgumentConsumer<'_>) -> Result<Slot, Fault> {
    Ok(Slot::try_from(named::<u16>(args, "slot")?)?)
}

fn space(args: &mut ArgumentConsumer<'_>) -> Result<Space, Fault> {
    Ok(Space {
        id: NamespaceId(args.lookup_parse("ns")?.unwrap_or(1)),
        ordered: args.lookup_parse::<u8>("ordered")?.is_some(),
        recorded: true,
        quota: args.lookup_parse("quota")?,
        value_bytes_max: 1024,
    })
}

fn request(args: &mut ArgumentConsumer<'_>, action: Action) -> Result<Command, Fault> {
    let once = args.lookup_parse::<String>("once")?.map(|key| Once {
        space: NamespaceId(1),
        key: key.into(),
        fingerprint: [0; 16],
    });
    Ok(Command::Request(Request { epoch: u64::MAX, at_ms: 0, once, action }))
}

fn tend(args: &mut ArgumentConsumer<'_>) -> Result<Tend, Fault> {
    let expire = match args.lookup_parse("expire")? {
        Some(id) => vec![(id, named(args, "renewed")?)],
        None => Vec::new(),
    };
    let purge = args.lookup_parse("purge")?.map(|namespace| (NamespaceId(namespace), 100));
    let forget = args.lookup_parse("forget")?.unwrap_or(0);
    Ok(Tend { expire, gone: Vec::new(), forget, purge })
}

fn write(name: &str, args: &mut ArgumentConsumer<'_>) -> Result<Command, Fault> {
    let attach = match (args.lookup_parse("ttl")?, args.lookup_parse("lease")?) {
        (Some(ttl_ms), _) => Attach::Ttl(ttl_ms),
        (None, Some(lease)) => Attach::Lease(lease),
        (None, None) => Attach::None,
    };
    let require = match (args.lookup_parse("at")?, args.lookup_parse::<u8>("missing")?) {
        (Some(at), _) => Require::Any(vec![Tag(at)]),
        (None, Some(_)) => Require::Missing,
        (None, None) => Require::None,
    };
    let (slot, space) = (slot(args)?, space(args)?);
    let key = Bytes::from(next::<String>(args, "a key")?);
    let op = match name {
        "delete" => WriteOp::Delete,
        "put" => {
            let value = Bytes::from(next::<String>(args, "a value")?);
            WriteOp::Put { value, content_type: None, attach }
        }
        "add" => WriteOp::Patch { patch: Patch::Number(NumberOp::Add(next(args, "a number")?)) },
        _ => {
            let text = Bytes::from(next::<String>(args, "a text")?);
            let patch = if name == "merge" { Patch::Merge(text) } else { Patch::Append(text) };
            WriteOp::Patch { patch }
        }
    };
    let op = KeyOp { slot, key, require, op, give: Give::Nothing };
    request(args, Action::Key(space, op))
}

fn range(text: &str) -> Result<SlotRange, Fault> {
    let (first, last) = text.split_once("..").ok_or("a range is FIRST..LAST")?;
    let slot = |text: &str| Ok::<_, Fault>(Slot::try_from(text.parse::<u16>()?)?);
    Ok(SlotRange { first: slot(first)?, last: slot(last)? })
}

/// A row in words; `None` for one that only says again what others say.
fn shown(row_key: &[u8], value: &Bytes) -> Result<Option<String>, Fault> {
    if row_key == OWNED_KEY {
        let Ownership { ranges, epoch } = Ownership::decode(value)?;
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| format!("{}..{}", range.first.get(), range.last.get()))
            .collect();
        return Ok(Some(format!("owned at epoch {epoch}: {}", ranges.join(" "))));
    }
    if let Some((namespace, key)) = split_data_key(row_key) {
        let Row { created, at, revision, version, lease, value, .. } = Row::decode(value)?;
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(&value));
        let lease = lease.map_or(String::new(), |lease| format!(" lease {lease}"));
        return Ok(Some(format!(
            "{namespace}/{key} = {value:?} created {created} at {at} revision {revision} version \
             {version}{lease}"
        )));
    }
    if let Some(namespace) = split_figures_key(row_key) {
        let Figures { bytes, keys, counter } = Figures::decode(value)?;
        return Ok(Some(format!("{namespace}: {keys} keys, {bytes} bytes, counter {counter}")));
    }
    if let Some(id) = split_lease_key(row_key) {
        let LeaseRow { ttl_ms, renewed, borrowed, keys, .. } = LeaseRow::decode(value)?;
        let whose = if borrowed { "borrowed " } else { "" };
        return Ok(Some(format!("{whose}lease {id}: {ttl_ms} ms from {renewed}, {keys} keys")));
    }
    if let Some((namespace, name)) = split_lock_key(row_key) {
        let tokens: Vec<_> =
            LockRow::decode(value)?.queue.iter().map(|place| place.token).collect();
        let name = String::from_utf8_lossy(name);
        return Ok(Some(format!("{namespace}/{name} lock {tokens:?}")));
    }
    Ok(None)
}

//! Runs `model/` scripts: one group, its log index, its rows.
//!
//! Every command goes through its bytes, as on its way through a log, and the trace shows the reply
//! and each changed row.
//!
//! * `own FIRST..LAST... epoch=N`: the group owns these slots
//! * `put KEY VALUE slot=N [ns=N]`, `delete KEY slot=N [ns=N]`
//! * `catalog TEXT`: a catalog command, which has no business here
//! * `replay`: applies all commands so far to an empty group, and compares
//! * `rows`: all rows

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Runner};
use tetrarch::model::{
    Command, Effect, NamespaceId, OWNED_KEY, Ownership, Row, Slot, SlotRange, View, ViewError,
    Write, WriteOp, apply, split_data_key,
};

use super::{Fault, named, next};

#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The commands so far; the first has index 1.
    log: Vec<Bytes>,
    rows: Rows,
}

#[derive(Debug, Default, PartialEq)]
struct Rows(BTreeMap<Bytes, Bytes>);

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.get(key).cloned())
    }
}

impl Rows {
    /// Applies an entry and says what it came to.
    fn apply(&mut self, index: u64, entry: &Bytes) -> Result<String, Fault> {
        let command = Command::decode(entry)?;
        let outcome = apply(self, index, &command)?;
        let mut trace = format!("{index}: {:?}\n", outcome.reply);
        for Effect { key, value, .. } in outcome.effects {
            match value {
                Some(value) => {
                    writeln!(trace, "   {}", shown(&key, &value)?)?;
                    self.0.insert(key, value);
                }
                None => {
                    let row = self.0.remove(&key).ok_or("a row is removed that does not exist")?;
                    writeln!(trace, "   removed {}", shown(&key, &row)?)?;
                }
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
            "put" => write(&mut args, |args| {
                Ok(WriteOp::Put { value: Bytes::from(next::<String>(args, "a value")?) })
            })?,
            "delete" => write(&mut args, |_| Ok(WriteOp::Delete))?,
            "catalog" => Command::Catalog(Bytes::from(next::<String>(&mut args, "a text")?)),
            "replay" => return self.replay(),
            "rows" => {
                let mut trace = String::new();
                for (key, value) in &self.rows.0 {
                    writeln!(trace, "{}", shown(key, value)?)?;
                }
                return Ok(trace);
            }
            other => return Err(format!("there is no command {other}").into()),
        };
        args.reject_rest()?;
        self.propose(&asked)
    }
}

fn write(
    args: &mut ArgumentConsumer<'_>,
    op: impl FnOnce(&mut ArgumentConsumer<'_>) -> Result<WriteOp, Fault>,
) -> Result<Command, Fault> {
    let slot: u16 = named(args, "slot")?;
    let namespace = NamespaceId(args.lookup_parse("ns")?.unwrap_or(1));
    let key = Bytes::from(next::<String>(args, "a key")?);
    let op = op(args)?;
    Ok(Command::Write(Write { namespace, slot: Slot::try_from(slot)?, key, op }))
}

fn range(text: &str) -> Result<SlotRange, Fault> {
    let (first, last) = text.split_once("..").ok_or("a range is FIRST..LAST")?;
    let slot = |text: &str| Ok::<_, Fault>(Slot::try_from(text.parse::<u16>()?)?);
    Ok(SlotRange { first: slot(first)?, last: slot(last)? })
}

fn shown(key: &[u8], value: &Bytes) -> Result<String, Fault> {
    if key == OWNED_KEY {
        let Ownership { ranges, epoch } = Ownership::decode(value)?;
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| format!("{}..{}", range.first.get(), range.last.get()))
            .collect();
        return Ok(format!("owned at epoch {epoch}: {}", ranges.join(" ")));
    }
    let (namespace, key) = split_data_key(key).ok_or("a row of a kind that no script makes")?;
    let Row { created, revision, value } = Row::decode(value)?;
    let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(&value));
    Ok(format!("{namespace}/{key} = {value:?} created {created} revision {revision}"))
}

//! The history in files: behind the rows of a checkpoint, and what is newer in a file of a clean stop.
//!
//! ```text
//! floor   key: prefix | 0x80                            value: floor u64
//! change  key: prefix | 0x81 | index u64 | number u32   value: note u8 | flags u8 (1: before, 2: after) | key length u32 | before length u32 | key | before | after
//! ```
//!
//! Big endian throughout. The prefix is empty in a checkpoint. `state.history`, which a clean stop
//! writes before its marker, has the form of a checkpoint without rows; there the prefix is 0x80 and
//! the group, and only what the group's checkpoint does not hold follows.
//!
//! Promises: what is read is what was recorded, or there is none of it and the floor says so. After
//! an unclean stop the history is the checkpoint's, and applying the log again adds the rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::group::Layers;
use super::history::{Change, Chunk, History};
use crate::storage::checkpoint::{Applied, HISTORY, Table, Writer};
use crate::storage::{Disk, GroupId, StorageError};

const FILE: &str = "state.history";
const TEMPORARY: &str = "state.history.tmp";
const CHANGE: u8 = HISTORY + 1;
const BEFORE: u8 = 1;
const AFTER: u8 = 2;

/// A history that does not change.
#[derive(Debug)]
pub(super) struct FrozenHistory {
    pub(super) floor: u64,
    pub(super) chunks: Vec<Arc<Chunk>>,
}

impl FrozenHistory {
    pub(super) fn of(history: &mut History) -> Self {
        Self { floor: history.floor(), chunks: history.freeze() }
    }

    /// Writes the changes after `after` and up to `upto`.
    pub(super) fn write(
        &self,
        writer: &mut Writer,
        prefix: &[u8],
        (after, upto): (u64, u64),
    ) -> Result<(), StorageError> {
        let mut key = BytesMut::new();
        let mut value = BytesMut::new();
        key.put_slice(prefix);
        key.put_u8(HISTORY);
        writer.push_history(&key, &self.floor.to_be_bytes())?;
        let after = after.max(self.floor);
        let changes = self.chunks.iter().flat_map(|chunk| chunk.since(after));
        for change in changes.take_while(|change| change.index <= upto) {
            key.truncate(prefix.len());
            key.put_u8(CHANGE);
            key.put_u64(change.index);
            key.put_u32(change.seq);
            encode(change, &mut value);
            writer.push_history(&key, &value)?;
        }
        Ok(())
    }
}

fn encode(change: &Change, out: &mut BytesMut) {
    let length = |len: usize| u32::try_from(len).expect("keys and values are far below 4 GiB");
    let (before, after) = (change.before.as_deref(), change.after.as_deref());
    let flag = |part: Option<&[u8]>, flag| if part.is_some() { flag } else { 0 };
    out.clear();
    out.put_u8(change.note);
    out.put_u8(flag(before, BEFORE) | flag(after, AFTER));
    out.put_u32(length(change.key.len()));
    out.put_u32(length(before.map_or(0, <[u8]>::len)));
    out.put_slice(&change.key);
    out.put_slice(before.unwrap_or_default());
    out.put_slice(after.unwrap_or_default());
}

/// What one row of a history's file says.
enum Kept {
    Floor(u64),
    Change(Change),
}

/// Reads a row whose key is without its prefix; `None` if it is no such row.
fn decode(mut key: &[u8], mut value: Bytes) -> Option<Kept> {
    match key.try_get_u8().ok()? {
        HISTORY => Some(Kept::Floor(value.try_get_u64().ok()?)),
        CHANGE => {
            let (index, seq) = (key.try_get_u64().ok()?, key.try_get_u32().ok()?);
            let (note, flags) = (value.try_get_u8().ok()?, value.try_get_u8().ok()?);
            let mut length = || usize::try_from(value.try_get_u32().ok()?).ok();
            let (key_len, before_len) = (length()?, length()?);
            if value.len() < key_len.checked_add(before_len)? {
                return None;
            }
            let (key, before) = (value.split_to(key_len), value.split_to(before_len));
            let part = |bytes, flag| (flags & flag != 0).then_some(bytes);
            let (before, after) = (part(before, BEFORE), part(value, AFTER));
            Some(Kept::Change(Change { index, seq, key, before, after, note }))
        }
        _ => None,
    }
}

/// The history that a checkpoint holds, the oldest left out where it is more than `bytes_max`.
pub(super) fn of_checkpoint(table: &Table, bytes_max: usize) -> Result<History, StorageError> {
    let applied = table.applied().index;
    // A file that says nothing of a history has none.
    let mut history = History::starting_at(applied);
    for number in table.history_blocks() {
        for (key, value) in table.block(number)? {
            let wrong = || table.corrupt(number, "a row of the history is none");
            match decode(&key, value).ok_or_else(wrong)? {
                Kept::Floor(floor) => history = History::starting_at(floor.min(applied)),
                Kept::Change(change) => history.push(change),
            }
        }
        while history.bytes() > bytes_max && history.forget_oldest().is_some() {}
    }
    Ok(history)
}

/// Writes what the groups' checkpoints do not hold; durable when it returns. Each group comes with
/// the index of its checkpoint and its applied index.
pub(super) fn write_stop(
    disk: &dyn Disk,
    groups: &[(GroupId, FrozenHistory, (u64, u64))],
) -> Result<(), StorageError> {
    let none = Applied { index: 0, mark: Bytes::new() };
    let mut writer = Writer::create(disk, TEMPORARY.into(), 0, none)?;
    // In the order of their numbers: keys ascend.
    for (group, history, span) in groups {
        history.write(&mut writer, &prefix(*group), *span)?;
    }
    writer.finish()?;
    let io = |e| StorageError::io("write history at a stop", FILE, e);
    disk.rename(Path::new(TEMPORARY), Path::new(FILE)).map_err(io)?;
    disk.sync_dir(Path::new("")).map_err(io)
}

const PREFIX_BYTES: usize = 9;

fn prefix(group: GroupId) -> Vec<u8> {
    let mut prefix = vec![HISTORY];
    prefix.put_u64(group);
    prefix
}

/// Adds what the clean stop wrote to the groups' histories. Of a group that it says nothing of, or
/// cannot be read of, nothing is known before its applied index.
pub(super) fn add_stop(disk: &dyn Disk, groups: &mut BTreeMap<GroupId, Layers>, bytes_max: usize) {
    let mut missing: BTreeMap<GroupId, u64> =
        groups.iter().map(|(group, layers)| (*group, layers.index())).collect();
    let read = Table::open(disk, Path::new(FILE))
        .and_then(|table| read_stop(&table, groups, &mut missing, bytes_max));
    if let Err(error) = read {
        tracing::warn!(%error, "the history of the last run is lost: watches and views start anew");
        // It may have broken off within any group.
        missing = groups.iter().map(|(group, layers)| (*group, layers.index())).collect();
    }
    for (group, applied) in missing {
        if let Some(layers) = groups.get_mut(&group) {
            layers.history = History::starting_at(applied);
        }
    }
}

fn read_stop(
    table: &Table,
    groups: &mut BTreeMap<GroupId, Layers>,
    missing: &mut BTreeMap<GroupId, u64>,
    bytes_max: usize,
) -> Result<(), StorageError> {
    for number in table.history_blocks() {
        for (key, value) in table.block(number)? {
            let wrong = || table.corrupt(number, "a row of the history is none");
            let (prefix, key) = key.split_at_checked(PREFIX_BYTES).ok_or_else(wrong)?;
            let mut group = prefix;
            group.advance(1);
            let group = group.get_u64();
            let kept = decode(key, value).ok_or_else(wrong)?;
            let Some(layers) = groups.get_mut(&group) else { continue };
            match kept {
                Kept::Floor(floor) => {
                    missing.remove(&group);
                    drop(layers.history.trim(floor));
                }
                Kept::Change(change) => layers.history.push(change),
            }
            while layers.history.bytes() > bytes_max && layers.history.forget_oldest().is_some() {}
        }
    }
    Ok(())
}

/// Removes what the last stop wrote: it is read, or it is not to be believed.
pub(super) fn remove_stop(disk: &dyn Disk) -> Result<(), StorageError> {
    for name in [FILE, TEMPORARY] {
        let path = Path::new(name);
        let io = |e| StorageError::io("remove history of the last stop", path, e);
        if disk.exists(path).map_err(io)? {
            disk.remove(path).map_err(io)?;
        }
    }
    Ok(())
}

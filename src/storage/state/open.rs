//! Opening and closing: when the working index may be believed.
//!
//! A clean stop writes every change into the index, ends sled's threads, syncs sled's files, and
//! then writes the clean marker. An open removes the marker durably before anything else. So an
//! index is believed only if a marker is there, names the index's own generation, every group's
//! totals match its rows, and every group's checkpoint is the one that its rows were newer than.
//! Otherwise the directory is removed: it held only what is in the log behind the checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::group::{Group, Layers};
use super::kept::{self, FrozenHistory};
use super::options::{RebuildProgress, Rebuilt, StateOptions};
use super::replace::from_checkpoint;
use super::{Bell, Handle, Inner, State, StateMetrics};
use crate::runtime::limits::INDEX_SCAN_ROWS;
use crate::runtime::{Env, causes};
use crate::storage::checkpoint::{Applied, Shelf, Tally};
use crate::storage::engine::{
    Engine, EngineRow, Failure, GuardedEngine, MemoryEngine, SledEngine, Space, contain,
};
use crate::storage::{Disk, GroupId, OpenMode, StorageError};

const MARKER: &str = "state.clean";
const MARKER_TEMPORARY: &str = "state.clean.tmp";
const MARKER_MAGIC: &[u8; 8] = b"TTRCLEAN";
const INDEX_DIR: &str = "index";
/// The space of the index that holds no group's rows.
const META: Space = Space::MAX;
const GENERATION: &[u8] = b"generation";

/// What the index says about a group's rows in it; written by a clean stop.
#[derive(Debug, Serialize, Deserialize)]
struct Trailer {
    index: u64,
    mark: Bytes,
    /// Applied index of the checkpoint that the rows are newer than.
    base: Option<u64>,
    rows: u64,
    digest: u64,
    bytes: u64,
}

type Trailers = BTreeMap<GroupId, Trailer>;

impl State {
    /// Opens the state of a node. `real_root` is where sled keeps its files; without it the working
    /// index is in memory and no thread is started, as a simulation needs it. `progress` is called
    /// for each group that is checked after an unclean stop.
    #[allow(clippy::needless_pass_by_value, reason = "the signature that the rooms agreed on")]
    pub fn open(
        disk: Arc<dyn Disk>,
        real_root: Option<PathBuf>,
        options: StateOptions,
        env: &Env,
        metrics: StateMetrics,
        progress: &dyn Fn(RebuildProgress),
    ) -> Result<Self, StorageError> {
        let started = env.clock.now();
        let shelf = Shelf::open(disk.clone())?;
        let marker = take_marker(&*disk)?;
        let failure = Failure::default();
        let index = match &real_root {
            None => Index::fresh(Arc::new(MemoryEngine::default()), 0, None),
            Some(root) => {
                open_index(&root.join(INDEX_DIR), marker, &shelf, &options, env, &failure)?
            }
        };
        let verify = index.distrust.is_some() && options.verify_after_unclean_stop;
        let mut done = RebuildProgress { groups_total: shelf.groups().len(), ..Default::default() };
        let mut groups = BTreeMap::new();
        for group in shelf.groups() {
            let Some(checkpoint) = shelf.current(group) else { continue };
            let limits = (verify, options.history_bytes);
            groups.insert(group, from_checkpoint(&*disk, &checkpoint, limits)?);
            fit_histories(&mut groups, options.history_bytes);
            done.groups += 1;
            done.rows += checkpoint.rows();
            done.bytes += checkpoint.bytes();
            if verify {
                progress(done);
            }
        }
        let believed = !index.trailers.is_empty();
        for (group, trailer) in index.trailers {
            let layers: &mut Layers = groups.entry(group).or_default();
            layers.applied = Some(Applied { index: trailer.index, mark: trailer.mark });
            layers.delta =
                Tally { rows: trailer.rows, digest: trailer.digest, bytes: trailer.bytes };
        }
        if believed {
            kept::add_stop(&*disk, &mut groups, options.history_bytes);
            fit_histories(&mut groups, options.history_bytes);
        }
        kept::remove_stop(&*disk)?;
        let took = env.clock.now().since(started);
        let rebuilt = index.distrust.map(|reason| Rebuilt { reason, progress: done, took });
        if let Some(rebuilt) = &rebuilt {
            tracing::warn!(reason = rebuilt.reason, ?took, "the working index starts empty");
            metrics.rebuilds.inc();
        }
        let history_bytes = groups.values().map(|layers| layers.history.bytes()).sum();
        let group = |(id, layers)| (id, Arc::new(Group::new(id, layers)));
        let inner = Arc::new(Inner {
            disk,
            env: env.clone(),
            options,
            metrics,
            engine: index.engine,
            generation: index.generation,
            shelf,
            groups: RwLock::new(groups.into_iter().map(group).collect()),
            memtable_bytes: AtomicUsize::new(0),
            history_bytes: AtomicUsize::new(history_bytes),
            rebuilt,
            failure,
            stopping: false.into(),
            background: real_root.is_some(),
            bell: Bell::default(),
        });
        let flusher = real_root.is_some().then(|| {
            let inner = inner.clone();
            env.tasks.thread("state-flush", move || inner.flush_in_background())
        });
        Ok(Self(Arc::new(Handle { inner, flusher: Mutex::new(flusher) })))
    }

    /// The clean stop: everything into the working index, its files synced, then the marker. Every
    /// later call that changes something fails. Blocks.
    pub fn close(&self) -> Result<(), StorageError> {
        let inner = &*self.0.inner;
        inner.check()?;
        self.0.stop_flusher();
        inner.engine.clear(META)?;
        inner.engine.insert(META, GENERATION, &inner.generation.to_be_bytes())?;
        let groups: Vec<_> = inner.groups.read().values().cloned().collect();
        let mut histories = Vec::new();
        for group in groups {
            let _moving = group.moving.lock();
            group.layers.write().freeze();
            inner.flush_frozen(&group)?;
            let base = inner.shelf.current(group.id).map(|checkpoint| checkpoint.applied().index);
            let mut layers = group.layers.write();
            let Some(Applied { index, mark }) = layers.applied.clone() else { continue };
            let history = FrozenHistory::of(&mut layers.history);
            histories.push((group.id, history, (base.unwrap_or(0), index)));
            let Tally { rows, digest, bytes } = layers.delta;
            let trailer = Trailer { index, mark, base, rows, digest, bytes };
            let encoded = postcard::to_stdvec(&trailer).expect("a trailer is plain data");
            inner.engine.insert(META, &group.id.to_be_bytes(), &encoded)?;
        }
        inner.engine.close()?;
        if inner.background {
            kept::write_stop(&*inner.disk, &histories)?;
            write_marker(&*inner.disk, inner.generation)?;
        }
        Ok(())
    }
}

/// Forgets the oldest of the longest histories until they are within the bound.
fn fit_histories(groups: &mut BTreeMap<GroupId, Layers>, bytes_max: usize) {
    while groups.values().map(|layers| layers.history.bytes()).sum::<usize>() > bytes_max {
        let largest = groups.values_mut().max_by_key(|layers| layers.history.bytes());
        if largest.is_none_or(|layers| layers.history.forget_oldest().is_none()) {
            return;
        }
    }
}

/// An opened index and what may be believed of it.
struct Index {
    engine: Arc<dyn Engine>,
    generation: u64,
    trailers: Trailers,
    distrust: Option<String>,
}

impl Index {
    fn fresh(engine: Arc<dyn Engine>, generation: u64, distrust: Option<String>) -> Self {
        Self { engine, generation, trailers: Trailers::new(), distrust }
    }
}

#[allow(clippy::disallowed_methods, reason = "sled's directory is outside of Disk")]
fn open_index(
    dir: &Path,
    marker: Result<u64, String>,
    shelf: &Shelf,
    options: &StateOptions,
    env: &Env,
    failure: &Failure,
) -> Result<Index, StorageError> {
    let guard = |engine| -> Arc<dyn Engine> {
        Arc::new(GuardedEngine::new(engine, failure.clone(), env.tasks.clone()))
    };
    let believed = marker.and_then(|generation| {
        let engine = SledEngine::open(dir, options.index_cache_bytes).map_err(|e| causes(&e))?;
        // Reading is contained as well: damage shows itself as a panic at any point, also in the
        // end of an engine that is not believed.
        let believed = contain(move || {
            let trailers = believe(&engine, generation, shelf);
            trailers.map(|trailers| (engine, generation, trailers))
        });
        believed.map_err(|e| causes(&e))?
    });
    let reason = match believed {
        Ok((engine, generation, trailers)) => {
            return Ok(Index { engine: guard(engine), generation, trailers, distrust: None });
        }
        Err(reason) => reason,
    };
    let existed = dir.exists();
    if existed {
        std::fs::remove_dir_all(dir)
            .or_else(|_not_a_directory| std::fs::remove_file(dir))
            .map_err(|e| StorageError::io("remove working index", dir, e))?;
    }
    let engine = guard(SledEngine::open(dir, options.index_cache_bytes)?);
    // The first start of a node has nothing to distrust.
    let distrust = (existed || !shelf.groups().is_empty()).then_some(reason);
    Ok(Index::fresh(engine, env.rng.next(), distrust))
}

/// Checks the whole index against what its clean stop said; the words of the first difference.
fn believe(engine: &dyn Engine, generation: u64, shelf: &Shelf) -> Result<Trailers, String> {
    let said = |e: StorageError| causes(&e);
    let found = engine.get(META, GENERATION).map_err(said)?;
    if found.as_deref() != Some(&generation.to_be_bytes()[..]) {
        return Err("the working index is not the one that was stopped".to_owned());
    }
    let mut trailers = Trailers::new();
    // Group numbers are eight bytes, so the word `generation` never stands for one.
    for (key, value) in all_rows(engine, META).map_err(said)? {
        let Ok(key) = <[u8; 8]>::try_from(&key[..]) else { continue };
        let trailer = postcard::from_bytes(&value).map_err(|e| format!("a bad trailer: {e}"))?;
        trailers.insert(GroupId::from_be_bytes(key), trailer);
    }
    for group in shelf.groups() {
        if !trailers.contains_key(&group) {
            return Err(format!("the working index does not know group {group}"));
        }
    }
    for (group, trailer) in &trailers {
        let base = shelf.current(*group).map(|checkpoint| checkpoint.applied().index);
        if base != trailer.base {
            return Err(format!("group {group} has another checkpoint than its rows rely on"));
        }
        let found = tally(engine, *group).map_err(said)?;
        if (found.rows, found.digest) != (trailer.rows, trailer.digest) {
            return Err(format!("the rows of group {group} are not those that were written"));
        }
    }
    Ok(trailers)
}

fn tally(engine: &dyn Engine, space: Space) -> Result<Tally, StorageError> {
    let mut tally = Tally::default();
    each_chunk(engine, space, &mut |rows| {
        for (key, value) in rows {
            tally.add(key, value);
        }
    })?;
    Ok(tally)
}

fn all_rows(engine: &dyn Engine, space: Space) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
    let mut all = Vec::new();
    each_chunk(engine, space, &mut |rows| all.extend_from_slice(rows))?;
    Ok(all)
}

fn each_chunk(
    engine: &dyn Engine,
    space: Space,
    f: &mut dyn FnMut(&[EngineRow]),
) -> Result<(), StorageError> {
    let mut from = Vec::new();
    loop {
        let rows = engine.scan(space, &from, INDEX_SCAN_ROWS)?;
        f(&rows);
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from.clear();
        from.extend_from_slice(last);
        from.push(0);
    }
}

/// Reads the clean marker and removes it durably; the generation, or why there is none.
#[allow(clippy::indexing_slicing, reason = "the buffer has the marker's fixed length")]
pub(super) fn take_marker(disk: &dyn Disk) -> Result<Result<u64, String>, StorageError> {
    let path = Path::new(MARKER);
    let io = |action, e| StorageError::io(action, path, e);
    if !disk.exists(path).map_err(|e| io("look for clean marker", e))? {
        return Ok(Err("the node did not stop cleanly".to_owned()));
    }
    let mut bytes = BytesMut::zeroed(MARKER_MAGIC.len() + 8 + 4);
    let file = disk.open(path, OpenMode::Read).map_err(|e| io("open clean marker", e))?;
    let got = file.read_at(0, &mut bytes).map_err(|e| io("read clean marker", e))?;
    disk.remove(path).map_err(|e| io("remove clean marker", e))?;
    disk.sync_dir(Path::new("")).map_err(|e| io("sync directory of clean marker", e))?;
    let mut bytes = bytes.freeze();
    let crc = crc32c::crc32c(&bytes[..bytes.len() - 4]);
    let magic = bytes.copy_to_bytes(MARKER_MAGIC.len());
    let (generation, found) = (bytes.get_u64_le(), bytes.get_u32_le());
    let whole = got == MARKER_MAGIC.len() + 12 && magic == MARKER_MAGIC[..] && crc == found;
    Ok(if whole { Ok(generation) } else { Err("the clean marker is damaged".to_owned()) })
}

pub(super) fn write_marker(disk: &dyn Disk, generation: u64) -> Result<(), StorageError> {
    let (temporary, path) = (Path::new(MARKER_TEMPORARY), Path::new(MARKER));
    let mut bytes = BytesMut::new();
    bytes.put_slice(MARKER_MAGIC);
    bytes.put_u64_le(generation);
    bytes.put_u32_le(crc32c::crc32c(&bytes));
    let io = |e| StorageError::io("write clean marker", path, e);
    let file = disk.open(temporary, OpenMode::Create).map_err(io)?;
    file.write_at(0, &bytes).map_err(io)?;
    file.sync().map_err(io)?;
    disk.rename(temporary, path).map_err(io)?;
    disk.sync_dir(Path::new("")).map_err(io)
}

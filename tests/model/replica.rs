//! One replica: the fold of its log over rows in memory, with what a crash leaves of it.
//!
//! Why it exists: it does with the real functions what a shard does, and nothing by itself: operations
//! are made by `local`, applied by `apply`, synced by `merge_cell`, judged by `stable` and `finals`.
//! Records pass through their codec. It promises nothing about disks or messages.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tetrarch::model::eventual::digest::{bucket_of, cell_digest, loss_digest};
use tetrarch::model::eventual::{
    Act, Actor, Beat, Cell, Cells, DataType, Dot, Field, Head, Hlc, HybridClock, LocalError,
    LostRecord, Members, Merge, Op, Origin, Reached, Record, Vector, Write, apply, dot_of,
    encode_op, local, merge_cell, note_beat, rows, settle,
};

use crate::rules::Broken;

/// Where a version stands.
pub type Place = (Bytes, Field);

/// What follows from the log.
#[derive(Clone, Default)]
pub struct State {
    pub head: Head,
    pub cells: BTreeMap<Bytes, BTreeMap<Field, Cell>>,
    pub lost: BTreeMap<Bytes, BTreeMap<(Field, Dot), LostRecord>>,
    /// For each bucket that is not empty: what lives, and what is known to be lost.
    pub sums: BTreeMap<usize, (u128, u128)>,
    /// Operations that can be streamed, and what is before them.
    pub ops: Vec<Op>,
    pub base: Vector,
    /// Whether gaps come up, which a replica of the design would refuse.
    pub gaps: bool,
}

/// A state sync under way.
pub struct Sync {
    pub from: usize,
    pub vector: Vector,
    pub reached: Reached,
    pub keys: Vec<Bytes>,
    /// The source as it was, if it is read from a snapshot.
    pub pinned: Option<State>,
}

pub struct Replica {
    pub actor: Actor,
    pub members: Members,
    pub state: State,
    pub sync: Option<Sync>,
    /// Whether it takes writes.
    pub retired: bool,
    clock: HybridClock,
    checkpoint: State,
    records: Vec<Bytes>,
    flushed: usize,
    /// The list of members under which its beats bear witness.
    pub(crate) witness: Option<u64>,
    pub(crate) broken: Broken,
}

impl Cells for State {
    type Error = std::convert::Infallible;

    fn cell(&self, key: &[u8], field: &Field) -> Result<Option<Cell>, Self::Error> {
        Ok(self.cells.get(key).and_then(|fields| fields.get(field)).cloned())
    }

    fn cells_of(&self, key: &[u8]) -> Result<Vec<(Field, Cell)>, Self::Error> {
        Ok(self.fields(key))
    }
}

impl State {
    pub fn fields(&self, key: &[u8]) -> Vec<(Field, Cell)> {
        let fields = self.cells.get(key).into_iter().flatten();
        fields.map(|(field, cell)| (field.clone(), cell.clone())).collect()
    }

    fn is_swept(&self, key: &[u8], field: &Field, dot: Dot) -> bool {
        self.record(key, field, dot).is_some_and(|record| record.swept)
    }

    pub fn record(&self, key: &[u8], field: &Field, dot: Dot) -> Option<&LostRecord> {
        self.lost.get(key)?.get(&(field.clone(), dot))
    }

    /// The terms of one cell in its bucket's sums.
    fn terms(&self, key: &Bytes, field: &Field) -> (u128, u128) {
        let cell = self.cells.get(key).and_then(|fields| fields.get(field));
        let live = cell.map_or(0, |cell| cell_digest(key, field, cell));
        let recorded = self.lost.get(key).into_iter().flatten();
        let mut known: BTreeMap<Dot, Option<Dot>> = recorded
            .filter(|((at, _), _)| at == field)
            .map(|((_, dot), record)| (*dot, record.swept.then_some(record.by)))
            .collect();
        let marked = cell.into_iter().flat_map(|cell| &cell.swept);
        known.extend(marked.map(|(dot, mark)| (*dot, Some(mark.by))));
        let lost = known
            .iter()
            .fold(0_u128, |sum, (dot, by)| sum.wrapping_add(loss_digest(key, field, *dot, *by)));
        (live, lost)
    }

    /// Changes one cell and what is recorded of it, and the sums with it.
    fn change(&mut self, key: &Bytes, field: &Field, how: impl FnOnce(&mut Self)) {
        let before = self.terms(key, field);
        how(self);
        let after = self.terms(key, field);
        let sums = self.sums.entry(bucket_of(key)).or_default();
        sums.0 = sums.0.wrapping_sub(before.0).wrapping_add(after.0);
        sums.1 = sums.1.wrapping_sub(before.1).wrapping_add(after.1);
        if *sums == (0, 0) {
            self.sums.remove(&bucket_of(key));
        }
    }

    fn set(&mut self, key: &Bytes, field: &Field, cell: Option<Cell>) {
        let fields = self.cells.entry(key.clone()).or_default();
        match cell {
            Some(cell) => drop(fields.insert(field.clone(), cell)),
            None => drop(fields.remove(field)),
        }
        if fields.is_empty() {
            self.cells.remove(key);
        }
    }

    fn note_lost(&mut self, record: &LostRecord) {
        let lost = self.lost.entry(record.key.clone()).or_default();
        let known = lost.entry((record.field.clone(), record.dot)).or_insert(record.clone());
        if record.swept && !known.swept {
            *known = record.clone();
        }
    }

    /// One record of the log.
    pub fn fold(&mut self, record: Record) {
        match record {
            Record::Op(op) => self.operation(op),
            Record::Merge(merge) => {
                for record in &merge.lost {
                    let (key, field) = (record.key.clone(), record.field.clone());
                    self.change(&key, &field, |state| state.note_lost(record));
                }
                for (key, field, cell) in merge.cells {
                    self.change(&key, &field, |state| state.set(&key, &field, cell));
                }
            }
            Record::Reached(reached) => {
                self.head.vector.join(&reached.vector);
                for beat in reached.beats.into_values() {
                    note_beat(&mut self.head.beats, beat);
                }
                self.head.hlc = self.head.hlc.max(reached.hlc);
                // What came as state is in no log: those below it must take state too.
                self.ops.clear();
                self.base = self.head.vector.clone();
            }
            Record::Final(lost) => {
                for record in lost {
                    let (key, field) = (record.key.clone(), record.field.clone());
                    self.change(&key, &field, |state| {
                        state.note_lost(&record);
                        let cell = state.cells.get(&key).and_then(|fields| fields.get(&field));
                        let cell = settle(cell.cloned(), |dot| state.is_swept(&key, &field, dot));
                        state.set(&key, &field, cell);
                    });
                }
            }
            Record::Closed | Record::Gate(_) | Record::Piece { .. } => {}
        }
    }

    fn operation(&mut self, op: Op) {
        if self.gaps {
            self.head.vector.0.insert(op.dot.actor, op.dot.counter);
        } else {
            self.head.vector.advance(op.dot);
        }
        self.head.hlc = self.head.hlc.max(op.hlc);
        match &op.act {
            Act::Write { key, changes, .. } => {
                for change in changes {
                    let field = &change.field;
                    self.change(key, field, |state| {
                        let cell = state.cells.get(key).and_then(|fields| fields.get(field));
                        let cell = apply(cell.cloned(), op.dot, op.hlc, change);
                        let cell = settle(cell, |dot| state.is_swept(key, field, dot));
                        state.set(key, field, cell);
                    });
                }
            }
            Act::Beat { vector, members } => {
                let (dot, hlc, vector, members) = (op.dot, op.hlc, vector.clone(), *members);
                note_beat(&mut self.head.beats, Beat { dot, hlc, vector, members });
            }
        }
        self.ops.push(op);
    }
}

impl Replica {
    pub fn new(node: u64, members: Members, drift_ms: u64, broken: Broken) -> Self {
        let empty = State { gaps: broken.takes_gaps(), ..State::default() };
        Self {
            actor: Actor { node, home: 7, run: 1 },
            members,
            state: empty.clone(),
            sync: None,
            retired: false,
            clock: HybridClock::new(Hlc(0), drift_ms),
            checkpoint: empty,
            records: Vec::new(),
            flushed: 0,
            broken,
            witness: None,
        }
    }

    pub(crate) fn log(&mut self, record: Record) {
        let bytes = match &record {
            Record::Op(op) => {
                let bytes = encode_op(op);
                assert_eq!(dot_of(&bytes), Some(op.dot), "the dot stands where streams look");
                bytes
            }
            record => record.encode(),
        };
        self.records.push(bytes);
        self.state.fold(record);
    }

    pub fn flush(&mut self) {
        self.flushed = self.records.len();
    }

    /// Before anything is shown to others (rule R4).
    pub fn before_shipping(&mut self, chance: bool) {
        if !self.broken.ships_unflushed() || chance {
            self.flush();
        }
    }

    /// Loses what was not flushed; comes back as another actor.
    pub fn crash(&mut self) {
        self.records.truncate(self.flushed);
        let mut state = self.checkpoint.clone();
        for bytes in &self.records {
            state.fold(Record::decode(bytes).expect("what was written can be read"));
        }
        self.state = state;
        self.sync = None;
        self.witness = None;
        self.clock = HybridClock::new(self.state.head.hlc, 1 << 40);
        if self.broken != Broken::SameActor {
            self.actor.run += 1;
        }
    }

    /// Forgets the oldest operations of the log, behind a checkpoint.
    pub fn truncate(&mut self, count: usize) {
        for op in self.state.ops.drain(..count.min(self.state.ops.len())) {
            let known = self.state.base.0.entry(op.dot.actor).or_default();
            *known = (*known).max(op.dot.counter);
        }
        self.checkpoint = self.state.clone();
        self.records.clear();
        self.flushed = 0;
    }

    pub(crate) fn next_op(&mut self, act: Act, wall_ms: u64) -> Op {
        let hlc = self.clock.tick(wall_ms);
        let counter = self.state.head.vector.of(self.actor) + 1;
        let op = Op { dot: Dot { actor: self.actor, counter }, hlc, act };
        self.log(Record::Op(op.clone()));
        op
    }

    /// A client's write.
    pub fn write(
        &mut self,
        ty: DataType,
        write: &Write,
        wall_ms: u64,
    ) -> Result<Op, LocalError<std::convert::Infallible>> {
        let mut vector = self.state.head.vector.clone();
        if self.broken == Broken::RemovesAboveVector {
            for cell in self.state.cells.values().flat_map(BTreeMap::values) {
                for dot in cell.live.keys() {
                    let known = vector.0.entry(dot.actor).or_default();
                    *known = (*known).max(dot.counter);
                }
            }
        }
        let witnessed = self.witnessed();
        let origin = Origin { actor: self.actor, vector: &vector, witnessed: witnessed.as_ref() };
        let mut act = local(ty, &self.state, origin, write)?;
        if let (Broken::SweepsNothing, Act::Write { changes, .. }) = (self.broken, &mut act) {
            for change in changes {
                change.removes.retain(|removed| removed.seen);
            }
        }
        Ok(self.next_op(act, wall_ms))
    }

    /// An operation of another one; `false` if it does not follow yet.
    pub fn receive(&mut self, op: &Op, wall_ms: u64, in_log_order: bool) -> bool {
        let vector = &self.state.head.vector;
        if vector.covers(op.dot) {
            return true;
        }
        let comes_as_state = |sync: &Sync| sync.reached.vector.covers(op.dot);
        if self.broken != Broken::StreamsIntoSync && self.sync.as_ref().is_some_and(comes_as_state)
        {
            return false;
        }
        let has_gap = vector.of(op.dot.actor) + 1 != op.dot.counter;
        if has_gap && !(in_log_order && self.state.gaps) {
            return false;
        }
        let lenient = in_log_order && self.broken.takes_uncovered();
        if let (Act::Write { changes, .. }, false) = (&op.act, lenient) {
            let mut removes = changes.iter().flat_map(|change| &change.removes);
            if !removes.all(|removed| vector.covers(removed.dot)) {
                return false;
            }
        }
        self.clock.observe(op.hlc, wall_ms);
        self.log(Record::Op(op.clone()));
        true
    }

    /// Begins to take the state of another one; only buckets that differ.
    pub fn begin_sync(&mut self, from: usize, source: &State, pinned: bool) {
        let differs = |key: &Bytes| {
            let (mine, theirs) = (&self.state.sums, &source.sums);
            let bucket = bucket_of(key);
            let of = |sums: &BTreeMap<usize, (u128, u128)>| sums.get(&bucket).copied();
            let (mine, theirs) = (of(mine).unwrap_or_default(), of(theirs).unwrap_or_default());
            mine.0 != theirs.0 || (self.broken != Broken::NarrowsByLive && mine.1 != theirs.1)
        };
        let both = [&self.state, source];
        let keys = both.iter().flat_map(|state| state.cells.keys().chain(state.lost.keys()));
        let keys: BTreeSet<Bytes> = keys.filter(|key| differs(key)).cloned().collect();
        let Head { vector, beats, hlc, .. } = source.head.clone();
        self.sync = Some(Sync {
            from,
            vector: self.state.head.vector.clone(),
            reached: Reached { vector, beats, hlc },
            keys: keys.into_iter().rev().collect(),
            pinned: pinned.then(|| source.clone()),
        });
        if self.broken == Broken::VectorEarly {
            self.reach();
        }
    }

    fn reach(&mut self) {
        let reached = self.sync.as_ref().map(|sync| sync.reached.clone());
        self.log(Record::Reached(reached.expect("a sync is under way")));
    }

    /// Takes some more keys; ends the sync when there are none.
    pub fn go_on(&mut self, source: &State, keys: usize, wall_ms: u64) {
        for _ in 0..keys {
            let Some(sync) = &mut self.sync else { return };
            let Some(key) = sync.keys.pop() else {
                self.clock.observe(sync.reached.hlc, wall_ms);
                if self.broken != Broken::VectorEarly {
                    self.reach();
                }
                self.sync = None;
                return;
            };
            self.take(&key, source);
        }
    }

    fn take(&mut self, key: &Bytes, source: &State) {
        let Some(sync) = &self.sync else { return };
        let source = sync.pinned.as_ref().unwrap_or(source);
        let early = self.broken == Broken::VectorEarly;
        let to = if early { &sync.vector } else { &self.state.head.vector };
        let lost: Vec<LostRecord> =
            source.lost.get(key).into_iter().flat_map(|lost| lost.values().cloned()).collect();
        let both = [&self.state, source];
        let fields = both.iter().filter_map(|state| state.cells.get(key)).flat_map(BTreeMap::keys);
        let fields: BTreeSet<Field> = fields.cloned().collect();
        let mut cells = Vec::new();
        for field in fields {
            let of = |state: &State| state.cells.get(key)?.get(&field).cloned();
            let (mine, theirs) = (of(&self.state), of(source));
            let marks = mine.iter().chain(&theirs).flat_map(|cell| cell.swept.clone());
            let marks: BTreeMap<_, _> = marks.collect();
            let mut merged = merge_cell(mine, to, theirs, &sync.reached.vector);
            if self.broken == Broken::MarksUnion && (merged.is_some() || !marks.is_empty()) {
                let cell = merged.get_or_insert_default();
                cell.swept.extend(marks);
            }
            let merged = settle(merged, |dot| {
                self.state.is_swept(key, &field, dot) || source.is_swept(key, &field, dot)
            });
            cells.push((key.clone(), field, merged));
        }
        self.log(Record::Merge(Merge { cells, lost, ..Merge::default() }));
    }

    /// Hears of a newer list of members.
    pub fn learn(&mut self, members: &Members) {
        self.members = members.clone();
    }

    /// What another look at the rows makes of the sums.
    pub fn audit(&self) -> BTreeMap<usize, (u128, u128)> {
        let mut fresh = State {
            cells: self.state.cells.clone(),
            lost: self.state.lost.clone(),
            ..State::default()
        };
        let cells = fresh
            .cells
            .iter()
            .flat_map(|(key, fields)| fields.keys().map(|f| (key.clone(), f.clone())));
        let lost = fresh
            .lost
            .iter()
            .flat_map(|(key, lost)| lost.keys().map(|(f, _)| (key.clone(), f.clone())));
        let places: BTreeSet<Place> = cells.chain(lost).collect();
        for (key, field) in places {
            let terms = fresh.terms(&key, &field);
            let sums = fresh.sums.entry(bucket_of(&key)).or_default();
            *sums = (sums.0.wrapping_add(terms.0), sums.1.wrapping_add(terms.1));
        }
        // Rows pass through their codec and their keys too.
        for (key, fields) in &fresh.cells {
            for (field, cell) in fields {
                let row_key = rows::cell_key(key, field);
                assert_eq!(rows::split_cell_key(&row_key), Some((key.clone(), field.clone())));
                assert_eq!(Cell::decode(&cell.encode()).as_ref(), Ok(cell));
            }
        }
        fresh.sums
    }
}

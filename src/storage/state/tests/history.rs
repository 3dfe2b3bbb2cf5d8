//! Any sequence of operations against every version there ever was: pages, values and changes at every
//! index that the history still reaches are those of the model, and beyond it they are gone.
//!
//! A failing case is printed by proptest, shrunk, with the line that replays it.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::place::{Place, applied, flush_all, send};
use crate::runtime::Env;
use crate::runtime::metrics::Metrics;
use crate::storage::state::page::Pace;
use crate::storage::state::{Change, Gone, Page, State, StateMetrics, StateOptions};
use crate::storage::{Effect, Recorded};

const GROUP: u64 = 1;

#[derive(Clone, Debug)]
enum Step {
    /// Entries of one apply; each some keys, put (with a value) or removed.
    Apply(Vec<Vec<(u8, Option<u8>)>>),
    Flush,
    Checkpoint,
    /// Installs the checkpoint of one's own group again, as another node's.
    Reinstall,
    Reopen,
    /// An unclean stop, after which the log is applied again from the checkpoint.
    Kill,
    /// Raises the floor to so many hundredths of the applied index.
    Trim(u64),
    /// Forgets the oldest chunk, as for want of room.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let change = (0..24u8, proptest::option::weighted(0.6, any::<u8>()));
    let entry = proptest::collection::vec(change, 0..5);
    prop_oneof![
        12 => proptest::collection::vec(entry, 1..6).prop_map(Step::Apply),
        2 => Just(Step::Flush),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Reinstall),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => (0..110u64).prop_map(Step::Trim),
        1 => Just(Step::Forget),
    ]
}

type Rows = BTreeMap<Bytes, Bytes>;

fn key(number: u8) -> Bytes {
    Bytes::from(format!("{}{number:02}", if number < 12 { "a/" } else { "b/" }))
}

/// Every version, and every change, since the beginning.
#[derive(Debug, Default)]
struct Model {
    /// The rows after each entry; the first is before all entries.
    versions: Vec<Rows>,
    changes: Vec<Change>,
    durable: u64,
    /// The lowest index that must still be reached; a higher floor is a fault.
    floor: u64,
    durable_floor: u64,
}

impl Model {
    fn index(&self) -> u64 {
        self.versions.len() as u64 - 1
    }

    fn at(&self, index: u64) -> &Rows {
        &self.versions[usize::try_from(index).unwrap()]
    }

    /// The effects of the next entry.
    fn entry(&mut self, parts: &[(u8, Option<u8>)]) -> Vec<Effect> {
        let (mut rows, index) = (self.at(self.index()).clone(), self.index() + 1);
        let mut effects = Vec::new();
        for (number, value) in parts {
            let value = value.map(|value| Bytes::from(vec![value; usize::from(value % 9)]));
            let before = match &value {
                Some(value) => rows.insert(key(*number), value.clone()),
                None => rows.remove(&key(*number)),
            };
            let seq = u32::try_from(effects.len()).unwrap();
            let (key, after, note) = (key(*number), value.clone(), *number);
            let change = Change { index, seq, key: key.clone(), before, after, note };
            let recorded = Some(Recorded { before: change.before.clone(), note });
            self.changes.push(change);
            effects.push(Effect { key, value, recorded });
        }
        self.versions.push(rows);
        effects
    }

    /// The effects of an entry that was there before.
    fn again(&self, index: u64) -> Vec<Effect> {
        let changes = self.changes.iter().filter(|change| change.index == index);
        let effect = |change: &Change| Effect {
            key: change.key.clone(),
            value: change.after.clone(),
            recorded: Some(Recorded { before: change.before.clone(), note: change.note }),
        };
        changes.map(effect).collect()
    }
}

fn apply(state: &State, first: u64, entries: Vec<Vec<Effect>>) {
    let done = state.apply(GROUP, |applying| {
        let mut index = first;
        for effects in entries {
            applying.put_effects(index, effects);
            index += 1;
        }
        applying.set_applied(applied(index - 1));
        Ok(())
    });
    done.unwrap();
}

/// Small steps, so that a page takes many.
const PACE: Pace = Pace { keys: 3, bytes: 40, changes: 2, steps: 1000 };

/// A page as the model has it, and whether more follows.
fn expected(rows: &Rows, page: &Page) -> (Vec<(Bytes, Bytes)>, bool) {
    let wanted = rows
        .iter()
        .filter(|(key, _)| **key >= page.from && page.to.as_ref().is_none_or(|to| *key < to));
    let mut wanted: Vec<_> = wanted.map(|(key, value)| (key.clone(), value.clone())).collect();
    if page.reverse {
        wanted.reverse();
    }
    let more = wanted.len() > page.limit;
    wanted.truncate(page.limit);
    if page.keys_only {
        wanted.iter_mut().for_each(|(_, value)| *value = Bytes::new());
    }
    (wanted, more)
}

fn pages() -> Vec<Page> {
    let bounds = [("", None), ("a/03", Some("b/15")), ("a/05", Some("a/05")), ("b/", Some("b0"))];
    let mut pages = Vec::new();
    for (from, to) in bounds {
        for reverse in [false, true] {
            for (limit, keys_only) in [(100, false), (3, false), (4, true), (0, false)] {
                let (from, to) = (from.into(), to.map(Bytes::from));
                let (at, bytes_max) = (None, usize::MAX);
                pages.push(Page { from, to, reverse, at, limit, bytes_max, keys_only });
            }
        }
    }
    pages
}

fn compare(state: &State, model: &Model) {
    let now = model.index();
    let floor = state.history_floor(GROUP);
    assert!(floor <= model.floor, "floor {floor}, needed from {}", model.floor);
    for at in 0..=now {
        let all = state.changes(GROUP, at, b"", usize::MAX).unwrap();
        if at < floor {
            assert_eq!(all, Err(Gone { floor }));
            let page = Page { at: Some(at), ..pages()[0].clone() };
            assert_eq!(state.page(GROUP, page).unwrap(), Err(Gone { floor }));
            assert_eq!(state.get_at(GROUP, b"a/01", at).unwrap(), Err(Gone { floor }));
            continue;
        }
        for page in pages() {
            let page = Page { at: Some(at), ..page };
            let found = state.page_at_pace(GROUP, page.clone(), PACE).unwrap().unwrap();
            assert_eq!(
                (found.rows, found.more),
                expected(model.at(at), &page),
                "{page:?} at {now}"
            );
            assert_eq!(found.at, at);
        }
        for number in 0..24 {
            let found = state.get_at(GROUP, &key(number), at).unwrap().unwrap();
            assert_eq!(
                found.value.as_ref(),
                model.at(at).get(&key(number)),
                "key {number} at {at}"
            );
        }
        let after = |prefix: &'static [u8]| {
            let changes = model.changes.iter();
            changes.filter(move |c| c.index > at && c.key.starts_with(prefix)).cloned()
        };
        let all = all.unwrap();
        assert_eq!((all.upto, all.applied), (now, now));
        assert_eq!(all.changes, after(b"").collect::<Vec<_>>());
        follow(state, at, b"b/", &after(b"b/").collect::<Vec<_>>());
    }
    let page = pages().swap_remove(0);
    let found = state.page_at_pace(GROUP, page.clone(), PACE).unwrap().unwrap();
    assert_eq!((found.rows, found.at), (expected(model.at(now), &page).0, now));
    assert_eq!(*state.applied_watch(GROUP).borrow(), now);
}

/// Follows in small portions: whole entries, none left out, none twice.
fn follow(state: &State, mut after: u64, prefix: &[u8], expected: &[Change]) {
    let mut found = Vec::new();
    loop {
        let portion = state.changes(GROUP, after, prefix, 20).unwrap().unwrap();
        assert!(portion.changes.iter().all(|c| c.index > after && c.index <= portion.upto));
        found.extend(portion.changes);
        if portion.upto == portion.applied {
            break;
        }
        assert!(portion.upto > after, "no progress after {after}");
        after = portion.upto;
    }
    assert_eq!(found, expected);
}

fn run(place: &Place, clean_stop_keeps: bool, steps: Vec<Step>) {
    let mut state = place.open();
    let mut model = Model { versions: vec![Rows::new()], ..Model::default() };
    for step in steps {
        let before = model.index();
        match step {
            Step::Apply(entries) => {
                let entries = entries.iter().map(|parts| model.entry(parts)).collect();
                apply(&state, before + 1, entries);
            }
            Step::Flush => flush_all(&state),
            Step::Trim(percent) => {
                state.trim_history(GROUP, before * percent / 100);
                model.floor = model.floor.max(before * percent.min(100) / 100);
            }
            _ if before == 0 => {}
            Step::Forget => {
                let inner = &*state.0.inner;
                let group = inner.find(GROUP).unwrap();
                let mut layers = group.layers.write();
                if let Some(chunk) = layers.history.forget_oldest() {
                    model.floor = model.floor.max(chunk.last());
                }
                inner.count_history(&group, &layers);
            }
            Step::Checkpoint => {
                let checkpoint = state.checkpoint(GROUP).unwrap();
                assert_eq!(checkpoint.rows(), model.at(before).len() as u64);
                if model.durable < before {
                    (model.durable, model.durable_floor) = (before, model.floor);
                }
            }
            Step::Reinstall => {
                if let Some(checkpoint) = state.current_checkpoint(GROUP) {
                    send(&checkpoint, &state);
                    // A file holds what it held, also where the ring has been trimmed since.
                    model.floor = model.durable_floor;
                    replay(&state, &model);
                }
            }
            Step::Reopen | Step::Kill => {
                let clean = matches!(step, Step::Reopen);
                if clean {
                    state.close().unwrap();
                }
                drop(state);
                state = place.open();
                let believed = state.rebuilt().is_none();
                let why = state.rebuilt();
                assert!(believed || !(clean && clean_stop_keeps), "a clean stop: {why:?}");
                if !(clean && clean_stop_keeps) {
                    model.floor = model.durable_floor;
                    replay(&state, &model);
                }
            }
        }
        compare(&state, &model);
    }
    let counted = state.stats().history_bytes;
    let group = state.0.inner.find(GROUP);
    let held = group.map_or(0, |group| group.layers.read().history.bytes());
    assert_eq!(counted, held as u64);
}

/// Applies the log again from where the state stands.
fn replay(state: &State, model: &Model) {
    let from = state.applied(GROUP).map_or(0, |applied| applied.index);
    assert_eq!(from, model.durable);
    let entries: Vec<_> = (from + 1..=model.index()).map(|index| model.again(index)).collect();
    if !entries.is_empty() {
        apply(state, from + 1, entries);
    }
}

fn overwrite(state: &State, group: u64, index: u64) {
    let before = state.get(group, b"k").unwrap().value;
    let value = Some(Bytes::from(format!("{index:0>1000}")));
    let recorded = Some(Recorded { before, note: 0 });
    let done = state.apply(group, |applying| {
        applying.put_effects(index, vec![Effect { key: "k".into(), value, recorded }]);
        applying.set_applied(applied(index));
        Ok(())
    });
    done.unwrap();
}

#[test]
fn the_node_s_bound_is_kept_at_the_cost_of_the_longest_history() {
    let place = Place::in_memory();
    let options = StateOptions { history_bytes: 2 << 20, ..StateOptions::default() };
    let metrics = StateMetrics::new(&Metrics::default());
    let env = Env::system();
    let state = State::open(place.disk(), None, options, &env, metrics, &|_| {}).unwrap();
    overwrite(&state, 2, 1);
    for index in 1..5000 {
        overwrite(&state, 1, index);
        assert!(state.stats().history_bytes <= 2 << 20, "entry {index}");
    }
    assert_eq!(state.history_floor(2), 0, "the short one stays");
    let floor = state.history_floor(1);
    assert!(floor > 3000, "{floor}");
    let changes = state.changes(1, floor, b"", usize::MAX).unwrap().unwrap();
    assert_eq!(changes.changes.len() as u64, 4999 - floor);
    // What a restart reads is bound as well, before anything is applied.
    state.checkpoint(1).unwrap();
    drop(state);
    let options = StateOptions { history_bytes: 1 << 20, ..StateOptions::default() };
    let metrics = StateMetrics::new(&Metrics::default());
    let state = State::open(place.disk(), None, options, &env, metrics, &|_| {}).unwrap();
    assert!(state.stats().history_bytes <= 1 << 20);
    assert!(state.history_floor(1) > floor);
}

#[test]
fn a_lost_history_of_a_clean_stop_raises_the_floor() {
    let place = Place::on_sled();
    let state = place.open();
    (1..5).for_each(|index| overwrite(&state, 1, index));
    state.checkpoint(1).unwrap();
    (5..9).for_each(|index| overwrite(&state, 1, index));
    state.close().unwrap();
    drop(state);
    let whole = place.copy();
    assert_eq!(whole.open().history_floor(1), 0);
    let path = place.root().join("state.history");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let state = place.open();
    assert!(state.rebuilt().is_none());
    assert_eq!(state.history_floor(1), 8);
    assert_eq!(state.changes(1, 7, b"", 1).unwrap(), Err(Gone { floor: 8 }));
    assert!(!path.exists());
}

#[test]
fn waiting_for_an_applied_index_ends_with_the_group() {
    let place = Place::in_memory();
    let state = place.open();
    assert!(state.applied_watch(1).has_changed().is_err(), "not here");
    overwrite(&state, 1, 1);
    let mut watch = state.applied_watch(1);
    assert_eq!(*watch.borrow_and_update(), 1);
    overwrite(&state, 1, 2);
    assert!(watch.has_changed().unwrap());
    assert_eq!(*watch.borrow_and_update(), 2);
    state.drop_group(1).unwrap();
    assert!(watch.has_changed().is_err());
    assert_eq!(state.stats().history_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_version_that_is_kept_reads_as_it_was_with_an_index_in_memory(
        steps in proptest::collection::vec(step(), 1..16)
    ) {
        run(&Place::in_memory(), false, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_version_that_is_kept_reads_as_it_was_with_sled(
        steps in proptest::collection::vec(step(), 1..16)
    ) {
        run(&Place::on_sled(), true, steps);
    }
}

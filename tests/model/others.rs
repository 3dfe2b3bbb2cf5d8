//! Registers and maps of registers beside `dson`, a delta-state CRDT by others.
//!
//! Why it exists: our oracle and our code share our reading of the words. Whoever wrote `dson` had
//! another one; in random histories of writes, removals and merges of whole states both must show the
//! same values at every replica after every step. It has neither counters nor sets nor a rank.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dson::crdts::mvreg::MvRegValue;
use dson::{CausalDotStore, Identifier, OrMap};
use proptest::prelude::*;
use tetrarch::model::eventual::{
    Act, Actor, Ask, Cell, DataType, Dot, Field, Hlc, Origin, Vector, What, Write, apply, local,
    merge_cell, read,
};

use crate::replica::State;

const REPLICAS: usize = 3;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Write { at: usize, key: u8 },
    Remove { at: usize, key: u8 },
    Merge { from: usize, to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (at, key) = (0..REPLICAS, 0..3_u8);
    let step = prop_oneof![
        4 => (at.clone(), key.clone()).prop_map(|(at, key)| Step::Write { at, key }),
        1 => (at.clone(), key).prop_map(|(at, key)| Step::Remove { at, key }),
        4 => (at.clone(), at).prop_map(|(from, to)| Step::Merge { from, to }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// The same replica twice.
#[derive(Default)]
struct Both {
    ours: State,
    theirs: CausalDotStore<OrMap<String>>,
}

impl Both {
    fn change(&mut self, at: usize, key: u8, ask: Ask) {
        let name = Bytes::from(vec![b'm', key]);
        let context = read(DataType::Mv, &self.ours.fields(&name)).context;
        let write =
            Write { key: name, ask, context: Some(context), once: None, value_bytes_max: 99 };
        let actor = Actor { node: at as u64, home: 0, run: 0 };
        let vector = self.ours.head.vector.clone();
        let act = local(
            DataType::Mv,
            &self.ours,
            Origin { actor, vector: &vector, witnessed: None },
            &write,
        );
        let Ok(Act::Write { key, changes, .. }) = act else { panic!("it is a write") };
        let dot = Dot { actor, counter: vector.of(actor) + 1 };
        self.ours.head.vector.advance(dot);
        for change in changes {
            let cell = self.cell(&key);
            self.set(&key, apply(cell, dot, Hlc(dot.counter), &change));
        }
    }

    fn cell(&self, key: &Bytes) -> Option<Cell> {
        self.ours.cells.get(key)?.get(&Field::default()).cloned()
    }

    fn set(&mut self, key: &Bytes, cell: Option<Cell>) {
        let fields = cell.map(|cell| BTreeMap::from([(Field::default(), cell)]));
        self.ours.cells.insert(key.clone(), fields.unwrap_or_default());
    }

    fn merge(&mut self, keys: &BTreeSet<Bytes>, other: &(State, CausalDotStore<OrMap<String>>)) {
        let to: &Vector = &other.0.head.vector;
        for key in keys {
            let theirs = other.0.cells.get(key).and_then(|fields| fields.get(&Field::default()));
            let merged = merge_cell(self.cell(key), &self.ours.head.vector, theirs.cloned(), to);
            self.set(key, merged);
        }
        self.ours.head.vector.join(to);
        self.theirs.join_or_replace_with(other.1.store.clone(), &other.1.context);
    }

    fn ours(&self, key: u8) -> Vec<u64> {
        let shown = read(DataType::Mv, &self.ours.fields(&[b'm', key]));
        let siblings = match shown.what {
            What::Value(one) => vec![one],
            What::Siblings(all) => all,
            _ => Vec::new(),
        };
        let number = |text: &Bytes| std::str::from_utf8(text).unwrap().parse().unwrap();
        let mut values: Vec<u64> = siblings.iter().map(|sibling| number(&sibling.value)).collect();
        values.sort_unstable();
        values
    }

    fn theirs(&self, key: u8) -> Vec<u64> {
        let Some(found) = self.theirs.store.get(&key.to_string()) else { return Vec::new() };
        let mut values: Vec<u64> = dson::api::register::values(&found.reg)
            .map(|value| match value {
                MvRegValue::U64(number) => *number,
                other => panic!("{other:?} was never written"),
            })
            .collect();
        values.sort_unstable();
        values
    }
}

proptest! {
    #[test]
    fn dson_shows_the_same(steps in steps()) {
        let mut replicas: Vec<Both> = (0..REPLICAS).map(|_| Both::default()).collect();
        let keys: BTreeSet<Bytes> = (0..3).map(|key| Bytes::from(vec![b'm', key])).collect();
        for (number, step) in (0_u64..).zip(steps) {
            match step {
                Step::Write { at, key } => {
                    let both = &mut replicas[at];
                    let id = Identifier::new(u8::try_from(at).unwrap(), 0);
                    let value = Bytes::from(number.to_string());
                    both.change(at, key, Ask::Put { value, content_type: None });
                    let delta = both.theirs.store.apply_to_register(
                        |register, context, id| {
                            register.write(MvRegValue::U64(number), context, id)
                        },
                        key.to_string(),
                        &both.theirs.context,
                        id,
                    );
                    both.theirs.join_or_replace_with(delta.store, &delta.context);
                }
                Step::Remove { at, key } => {
                    let both = &mut replicas[at];
                    let id = Identifier::new(u8::try_from(at).unwrap(), 0);
                    both.change(at, key, Ask::Delete);
                    let name = key.to_string();
                    let delta = both.theirs.store.remove(&name, &both.theirs.context, id);
                    both.theirs.join_or_replace_with(delta.store, &delta.context);
                }
                Step::Merge { from, to } => {
                    let source = (replicas[from].ours.clone(), replicas[from].theirs.clone());
                    replicas[to].merge(&keys, &source);
                }
            }
            for both in &replicas {
                for key in 0..3 {
                    prop_assert_eq!(both.ours(key), both.theirs(key));
                }
            }
        }
    }
}

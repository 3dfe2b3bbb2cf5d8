//! What must be true once all replicas have met, and an oracle that knows all operations.
//!
//! The oracle is a set equation over the operations that survived: what lives is what was put and
//! never removed; what is lost is each ranked value that nobody removed having seen it and that is
//! not shown. It knows nothing of vectors, merging or marks.

use std::collections::{BTreeMap, BTreeSet};

use tetrarch::model::eventual::{
    Act, Content, Dot, Fate, FieldKind, Hlc, LostRecord, Op, Vector, What, fate, read,
};

use crate::asks::type_of;
use crate::history::World;
use crate::replica::{Place, State};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Replicas that know the same hold different things.
    pub diverged: bool,
    /// They hold something else than the oracle.
    pub wrong_rows: bool,
    /// They name other losses than the oracle, or took back a final one.
    pub wrong_fates: bool,
    /// The first thing that is wrong, in words.
    pub why: Option<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_right(&self) -> bool {
        self.why.is_none()
    }

    fn note(&mut self, why: impl FnOnce() -> String) {
        if self.why.is_none() {
            self.why = Some(why());
        }
    }
}

type Live = BTreeMap<Place, BTreeMap<Dot, (Hlc, Content)>>;

/// What the oracle expects.
struct Expected {
    live: Live,
    lost: BTreeSet<(Place, Dot)>,
}

pub fn judge(world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    let staying = world.staying();
    let mut known = Vector::default();
    for at in &staying {
        known.join(&world.replicas[*at].state.head.vector);
    }
    let expected = expect(world.ops.values().filter(|op| known.covers(op.dot)));
    let first = &world.replicas[staying[0]].state;
    for at in &staying {
        let replica = &world.replicas[*at];
        let node = replica.actor.node;
        let state = &replica.state;
        let audit = replica.audit();
        rows(state, &expected, world.clash, &mut verdict);
        if state.head.vector != known || state.sums != first.sums || live(state) != live(first) {
            verdict.diverged = true;
            verdict.note(|| format!("node {node} differs from the first one"));
        }
        if audit != state.sums {
            verdict.wrong_rows = true;
            verdict
                .note(|| format!("node {node}: digests that were kept are not those of its rows"));
        }
        losses(state, first, &expected, &mut verdict);
    }
    for (key, sum) in world.sums(|dot| known.covers(dot)) {
        if read(type_of(&key), &first.fields(&key)).what != What::Text(sum.to_string()) {
            verdict.wrong_rows = true;
            verdict.note(|| format!("counter {key:?} is not {sum}"));
        }
    }
    for final_loss in world.finals.iter().filter(|(_, dot)| known.covers(*dot)) {
        if !expected.lost.contains(final_loss) {
            verdict.wrong_fates = true;
            verdict.note(|| format!("{final_loss:?} was called lost for good"));
        }
    }
    verdict
}

fn expect<'a>(ops: impl Iterator<Item = &'a Op>) -> Expected {
    let mut put: Live = BTreeMap::new();
    let (mut removed, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        let Act::Write { key, changes, .. } = &op.act else { continue };
        for change in changes {
            let place = (key.clone(), change.field.clone());
            for gone in &change.removes {
                removed.insert((place.clone(), gone.dot));
                if gone.seen {
                    seen.insert((place.clone(), gone.dot));
                }
            }
            if let Some(new) = &change.put {
                put.entry(place).or_default().insert(op.dot, (op.hlc, new.content.clone()));
            }
        }
    }
    let mut lost = BTreeSet::new();
    for (place, versions) in &mut put {
        let written: Vec<Dot> = versions.keys().copied().collect();
        versions.retain(|dot, _| !removed.contains(&(place.clone(), *dot)));
        let shown =
            versions.iter().max_by_key(|(dot, (hlc, _))| (*hlc, **dot)).map(|(dot, _)| *dot);
        if type_of(&place.0).ranks() && place.1.kind == FieldKind::Register {
            let is_lost = |dot: &Dot| Some(*dot) != shown && !seen.contains(&(place.clone(), *dot));
            lost.extend(written.into_iter().filter(is_lost).map(|dot| (place.clone(), dot)));
        }
    }
    put.retain(|_, versions| !versions.is_empty());
    Expected { live: put, lost }
}

fn live(state: &State) -> Live {
    let mut live = Live::new();
    for (key, fields) in &state.cells {
        for (field, cell) in fields {
            let versions = cell.live.iter().map(|(dot, v)| (*dot, (v.hlc, v.content.clone())));
            live.insert((key.clone(), field.clone()), versions.collect());
        }
    }
    live.retain(|_, versions: &mut BTreeMap<_, _>| !versions.is_empty());
    live
}

fn rows(state: &State, expected: &Expected, clash: bool, verdict: &mut Verdict) {
    let live = live(state);
    if live != expected.live {
        verdict.wrong_rows = true;
        let differ = live
            .keys()
            .chain(expected.live.keys())
            .find(|place| live.get(place) != expected.live.get(place));
        let of = |from: &Live| differ.and_then(|place| from.get(place)).cloned();
        let (is, not) = (of(&live), of(&expected.live));
        verdict.note(|| {
            format!(
                "{differ:?} holds {is:?}, not {not:?} on {:?}",
                state.ops.first().map(|o| o.dot)
            )
        });
    }
    if clash {
        verdict.wrong_rows = true;
        verdict.note(|| "one dot was given to two operations".to_owned());
    }
}

fn losses(state: &State, first: &State, expected: &Expected, verdict: &mut Verdict) {
    let records = |state: &State| -> Vec<LostRecord> {
        state.lost.values().flat_map(|lost| lost.values().cloned()).collect()
    };
    let place = |lost: LostRecord| ((lost.key, lost.field), lost.dot);
    let named: BTreeSet<(Place, Dot)> = records(state).into_iter().map(place).collect();
    if named != expected.lost {
        verdict.wrong_fates = true;
        let differ: Vec<_> = named.symmetric_difference(&expected.lost).collect();
        verdict.note(|| format!("losses differ by {differ:?}"));
    }
    for ((key, field), dot) in &expected.lost {
        let place = (field.kind, type_of(key).ranks());
        let of = |state: &State| {
            let cell = state.cells.get(key).and_then(|fields| fields.get(field)).cloned();
            fate(*dot, place, cell.as_ref(), state.record(key, field, *dot), &state.head.vector)
        };
        let (mine, theirs) = (of(state), of(first));
        if !matches!(mine, (Fate::Lost { .. }, true)) || mine != theirs {
            verdict.wrong_fates = true;
            verdict.note(|| format!("{dot} is {mine:?} here and {theirs:?} there"));
        }
    }
    for (key, fields) in &state.cells {
        for (field, cell) in fields {
            if !cell.swept.is_empty() {
                verdict.wrong_fates = true;
                verdict.note(|| format!("{key:?} {field:?} keeps marks: {:?}", cell.swept));
            }
        }
    }
}

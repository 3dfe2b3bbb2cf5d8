//! What became of a write, and when that can no longer change.
//!
//! Why it exists: other systems lose concurrent writes without a word. Here every write has a dot, so
//! that it can be said of each whether it stands, was built upon, or was lost, and to which other one.
//!
//! A loss is *final* (rule R6) when the newest beat of every member covers both the loser and what
//! beat it: beats ride in each member's own log behind its earlier operations, so nothing that had
//! seen the loser can still be on its way. [`stable()`] says what all members' beats cover, and adds
//! what members that come and go need:
//!
//! * All beats must have been written under the list of members that is judged by. A node that came
//!   later got its state from a member who knew of it then, and whose later beats say so; a member
//!   that has heard of a removal takes nothing more from the removed one.
//! * Of actors who are not the present ones of members (earlier runs, removed nodes, other clusters)
//!   everything must be here that some member's beat covers: no beat of theirs stands behind it.
//!
//! Promises: with a stable member list every replica comes to the same final losses. Relies on members
//! to accept operations of an actor that is no member's only from members (an import from elsewhere
//! may overturn what was final), and to give way only after their log was heard: a removed node's
//! last operations must have reached a member whole, not only as part of an interrupted sync.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Content, Version};
use super::dot::{Actor, Dot, Hlc, Vector};
use super::op::FieldKind;
use super::record::LostRecord;

/// A data directory that originates operations, over all its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node's id.
    pub node: u64,
    /// Its data directory's number.
    pub home: u32,
}

impl From<Actor> for Member {
    fn from(actor: Actor) -> Self {
        Self { node: actor.node, home: actor.home }
    }
}

/// The newest beat that was applied of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The operation that it came with.
    pub dot: Dot,
    /// When it was written.
    pub hlc: Hlc,
    /// What its origin had applied then.
    pub vector: Vector,
    /// Which list of members its origin went by.
    pub members: u64,
}

/// Who must have confirmed a loss before it is final.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Counts the changes of the list, the same everywhere: no list ever has the number of another.
    pub version: u64,
    /// All that originate.
    pub all: BTreeSet<Member>,
}

/// Notes a beat; an older one than is known is passed over.
pub fn note_beat(beats: &mut BTreeMap<Member, Beat>, beat: Beat) {
    let known = beats.entry(beat.dot.actor.into()).or_insert_with(|| beat.clone());
    if known.dot < beat.dot {
        *known = beat;
    }
}

/// What is known of every member to be applied there, and to have no unknown writer beside it; `None`
/// while that cannot be said. `own` is the vector of the replica that asks.
pub fn stable(own: &Vector, beats: &BTreeMap<Member, Beat>, members: &Members) -> Option<Vector> {
    let heard: Vec<&Beat> =
        members.all.iter().map(|member| beats.get(member)).collect::<Option<_>>()?;
    let writing: BTreeSet<Actor> = heard.iter().map(|beat| beat.dot.actor).collect();
    let complete = heard.iter().all(|beat| {
        beat.members == members.version
            && own.covers(beat.dot)
            && beat
                .vector
                .0
                .iter()
                .all(|(actor, counter)| writing.contains(actor) || own.of(*actor) >= *counter)
    });
    let (first, others) = heard.split_first().filter(|_| complete)?;
    let mut least = first.vector.clone();
    least.0.retain(|actor, counter| {
        let theirs = others.iter().map(|beat| beat.vector.of(*actor)).min().unwrap_or(u64::MAX);
        *counter = (*counter).min(theirs);
        *counter > 0
    });
    Some(least)
}

/// Whether nobody calls a loss final of which a beat that `me` writes now, with this vector, does not
/// know: under this list of members because `me` is among them, under an older one because whoever was
/// judged by then has been heard since, with all that it had. Only then may a write count a version as
/// seen that is not shown any more.
pub fn bears_witness(
    me: Member,
    own: &Vector,
    beats: &BTreeMap<Member, Beat>,
    members: &Members,
) -> bool {
    let mut others = members.all.iter().filter(|member| **member != me);
    members.all.contains(&me)
        && others.all(|member| {
            beats.get(member).is_some_and(|beat| {
                beat.members == members.version
                    && own.covers(beat.dot)
                    && own.includes(&beat.vector)
            })
        })
}

/// A version that lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Loss {
    /// It.
    pub loser: Dot,
    /// The operation that swept it, or the version that is shown instead.
    pub by: Dot,
    /// Whether it was swept, or stands still, outranked. What outranks it may change; what swept it
    /// is the same everywhere once it is final.
    pub swept: bool,
}

/// The losses of a cell that can no longer change. `ranked` says whether only the winner is shown
/// ([`DataType::ranks`](super::DataType::ranks)). Those that are on record already are among them: a
/// swept one takes the place of the record that it was outranked.
pub fn finals(ranked: bool, cell: &Cell, stable: &Vector) -> Vec<Loss> {
    losses(ranked, cell)
        .filter(|loss| stable.covers(loss.loser) && stable.covers(loss.by))
        .collect()
}

/// The losses of a cell as they look now.
pub fn losses(ranked: bool, cell: &Cell) -> impl Iterator<Item = Loss> + '_ {
    // Sums add up and what is there is there: only values can lose.
    let is_value = |version: &Version| matches!(version.content, Content::Value { .. });
    let shown = cell.winner().filter(|(_, version)| ranked && is_value(version));
    let winner = shown.map(|(dot, _)| dot);
    let swept = cell.swept.iter().filter(|(dot, _)| !cell.live.contains_key(*dot));
    let outranked = cell.live.keys().filter_map(move |dot| {
        winner.filter(|by| by != dot).map(|by| Loss { loser: *dot, by, swept: false })
    });
    swept.map(|(dot, mark)| Loss { loser: *dot, by: mark.by, swept: true }).chain(outranked)
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is not known here (yet).
    Unknown,
    /// It stands: it is what is read, or part of it.
    Current,
    /// A later write, whose client had seen it, took its place.
    Superseded,
    /// It was added up, or joined, and its effect stands within later ones.
    Merged,
    /// Nobody who wrote later had seen it, and it is not what is read.
    Lost {
        /// What swept or outranks it.
        by: Dot,
    },
}

/// The fate of a write to a cell, and whether it is final. `place` is the cell's kind and whether its
/// type ranks; `recorded` is the record of it as lost, if there is one. An operation that put nothing
/// into the cell counts as superseded.
pub fn fate(
    dot: Dot,
    place: (FieldKind, bool),
    cell: Option<&Cell>,
    recorded: Option<&LostRecord>,
    vector: &Vector,
) -> (Fate, bool) {
    let (kind, ranked) = place;
    if let Some(cell) = cell {
        if let Some(loss) = losses(ranked, cell).find(|loss| loss.loser == dot) {
            return (Fate::Lost { by: loss.by }, recorded.is_some());
        }
        if cell.live.contains_key(&dot) {
            return (Fate::Current, false);
        }
    }
    if let Some(record) = recorded {
        return (Fate::Lost { by: record.by }, true);
    }
    if !vector.covers(dot) {
        return (Fate::Unknown, false);
    }
    match kind {
        FieldKind::Counter => (Fate::Merged, true),
        FieldKind::Exists | FieldKind::Register | FieldKind::Element => (Fate::Superseded, true),
    }
}

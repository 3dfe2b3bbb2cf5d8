//! How the model's replica tells what it has, and judges what is lost for good.
//!
//! Promises: it asks the same pure functions as the server: `stable`, `finals`, `bears_witness`.

use tetrarch::model::eventual::{
    Act, Dot, LostRecord, Op, Record, Vector, bears_witness, finals, stable,
};

use crate::replica::{Place, Replica};
use crate::rules::Broken;

impl Replica {
    pub(crate) fn witnessed(&self) -> Option<Vector> {
        if self.broken == Broken::SeesLate {
            return Some(Vector::default());
        }
        self.witness.filter(|version| *version == self.members.version)?;
        self.state.head.beats.get(&self.actor.into()).map(|beat| beat.vector.clone())
    }

    pub fn beat(&mut self, wall_ms: u64) -> Op {
        let vector = self.state.head.vector.clone();
        let (me, beats) = (self.actor.into(), &self.state.head.beats);
        if bears_witness(me, &vector, beats, &self.members) {
            self.witness = Some(self.members.version);
        }
        self.next_op(Act::Beat { vector, members: self.members.version }, wall_ms)
    }

    /// Writes down what is lost for good; gives what was new.
    pub fn settle_losses(&mut self) -> Vec<(Place, Dot)> {
        let head = &self.state.head;
        let floor = match self.broken {
            Broken::FinalEarly => Some(head.vector.clone()),
            Broken::AnyMembers => {
                let mut beats = head.beats.clone();
                beats.values_mut().for_each(|beat| beat.members = self.members.version);
                stable(&head.vector, &beats, &self.members)
            }
            _ => stable(&head.vector, &head.beats, &self.members),
        };
        let Some(floor) = floor else { return Vec::new() };
        let mut lost = Vec::new();
        for (key, fields) in &self.state.cells {
            for (field, cell) in fields {
                for loss in finals(crate::asks::type_of(key).ranks(), cell, &floor) {
                    let known = self.state.record(key, field, loss.loser);
                    if known.is_some_and(|known| known.swept || !loss.swept) {
                        continue;
                    }
                    let (dot, by) = (loss.loser, loss.by);
                    let mark = cell.swept.get(&dot).map(|mark| &mark.version);
                    let version = mark.or_else(|| cell.live.get(&dot)).expect("it is in the cell");
                    lost.push(LostRecord {
                        key: key.clone(),
                        field: field.clone(),
                        dot,
                        hlc: version.hlc,
                        by,
                        swept: loss.swept,
                        content: Some(version.content.clone()),
                    });
                }
            }
        }
        let new = lost.iter().map(|lost| ((lost.key.clone(), lost.field.clone()), lost.dot));
        let new = new.collect();
        if !lost.is_empty() {
            self.log(Record::Final(lost));
        }
        new
    }
}

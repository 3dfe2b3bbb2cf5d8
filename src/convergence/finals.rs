//! When a loss is final (rule R6), and that it is put on record.
//!
//! Why it exists: a loss that may still turn out to be none must not be counted, and one that is final
//! must be counted once, everywhere the same. Promises: no loss goes on record before the newest beat
//! of every member covers it and what beat it. Relies on the rows of cells with open losses, which the
//! draft keeps, and on `model::eventual::fate`.

use super::batch::Batch;
use super::draft::{decode_cell, is_ranked};
use super::rows::{after, all_open, opened_cell};
use super::words::ReadError;
use super::worker::Worker;
use crate::model::eventual::{Act, Content, LostRecord, Record, bears_witness, finals, stable};
use crate::runtime::limits::{BEAT_EVERY, FINALS_LOOK_ROWS, FINALS_MAX, SNAPSHOT_PAGE_BYTES};
use crate::runtime::planted::{self, Bug};

impl Worker {
    /// Says what this node has, if that is news and the last time is long enough ago.
    pub(super) fn beat(&mut self, batch: &mut Batch) -> Result<(), ReadError> {
        let now = self.inner.env.clock.now();
        let me = self.inner.place.member;
        let (members, is_member, is_witness) = {
            let (part, head) = (self.inner.part.read(), &batch.draft.head);
            let is_witness = bears_witness(me, &head.vector, &head.beats, &part.members);
            (part.members.version, part.members.all.contains(&me), is_witness)
        };
        let is_early = self.last_beat.is_some_and(|last| now.since(last) < BEAT_EVERY);
        let head = &batch.draft.head;
        let beat = head.beats.get(&self.inner.place.member);
        let is_news = self.inner.live.read().is_news || batch.draft.is_news;
        let is_due = is_news || beat.is_none_or(|beat| beat.members != members);
        if !is_member || is_early || !is_due || head.vector.0.is_empty() {
            return Ok(());
        }
        self.actor(batch);
        let vector = batch.draft.head.vector.clone();
        if is_witness {
            self.witness = Some(members);
        }
        let op = self.own_op(batch, Act::Beat { vector, members });
        batch.record(&Record::Op(op))?;
        batch.has_beat = true;
        batch.draft.is_news = false;
        self.last_beat = Some(now);
        Ok(())
    }

    /// Looks through some of the cells with open losses, and puts on record what is final.
    pub(super) fn settle(&mut self, batch: &mut Batch) -> Result<(), ReadError> {
        let members = self.inner.part.read().members.clone();
        let head = &batch.draft.head;
        let known = stable(&head.vector, &head.beats, &members);
        let early = planted::active(Bug::EventualFinalEarly).then(|| head.vector.clone());
        let Some(stable) = early.or(known) else {
            // The next beat that comes lets it look again.
            batch.is_settled = true;
            return Ok(());
        };
        let all = all_open();
        let from = self.look_from.take().unwrap_or(all.start);
        let open = batch.draft.scan(&(from..all.end), FINALS_LOOK_ROWS)?;
        let mut losses = Vec::new();
        let (mut looked, mut bytes) = (0, 0);
        for (row, _) in &open {
            looked += 1;
            let cell_row = opened_cell(row);
            let Some(value) = batch.draft.get(&cell_row)? else { continue };
            let (key, field, cell) = decode_cell(&cell_row, &value)?;
            bytes += value.len();
            for loss in finals(is_ranked(self.inner.place.data_type, &field), &cell, &stable) {
                let known = batch.draft.recorded(&key, &field, loss.loser)?;
                let is_news = known.is_none_or(|known| loss.swept && known.swept_by.is_none());
                let swept = cell.swept.get(&loss.loser).map(|mark| &mark.version);
                let version = swept.or_else(|| cell.live.get(&loss.loser));
                if let (Some(version), true) = (version, is_news) {
                    let is_kept = version.content != Content::Dropped;
                    losses.push(LostRecord {
                        key: key.clone(),
                        field: field.clone(),
                        dot: loss.loser,
                        hlc: version.hlc,
                        by: loss.by,
                        swept: loss.swept,
                        content: is_kept.then(|| version.content.clone()),
                    });
                }
            }
            if losses.len() >= FINALS_MAX || bytes >= SNAPSHOT_PAGE_BYTES {
                break;
            }
        }
        let is_end = looked == open.len() && open.len() < FINALS_LOOK_ROWS;
        self.look_from =
            open.get(looked.saturating_sub(1)).filter(|_| !is_end).map(|(r, _)| after(r));
        batch.is_settled = is_end;
        if losses.is_empty() { Ok(()) } else { batch.record(&Record::Final(losses)) }
    }
}

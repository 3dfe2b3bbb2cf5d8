//! Deleting a range: a scan of its keys, and a delete of each.
//!
//! Promises: every key of the scan's view is deleted, or an error says that not all were; keys that
//! are written after the view may stay or go. No atomicity, so repeating it is as good as doing it
//! once. Relies on the batch for the deletes.

use crate::model::{Give, KeyReply, WriteOp};
use crate::runtime::limits::{BATCH_PORTION, SCAN_PAGE_BYTES_MAX};
use crate::service::error::ServiceError;
use crate::service::feed::Show;
use crate::service::feed::place::Place;
use crate::service::session::Session;
use crate::service::{BatchOp, Condition, Context, KeyRequest, KeyStep, ReadMode, Service, Step};

use super::{Item, KeyRange, Scan, ScanRequest, item, scan_error};

/// What was deleted.
#[derive(Clone, Debug)]
pub struct RangeDeleted {
    /// Keys.
    pub keys: u64,
    /// What a read must reflect so that it does not find them.
    pub seen: Session,
}

impl Service {
    /// Deletes the keys of a range.
    ///
    /// # Errors
    ///
    /// When not all of them were; ask the error for its outcome, which is of one of them.
    pub async fn delete_range(
        &self,
        namespace: &str,
        range: KeyRange,
        context: Context,
    ) -> Result<RangeDeleted, ServiceError> {
        let mut place = self.flow.place(namespace, context.deadline).await?;
        let request = ScanRequest {
            range,
            show: Show::Keys,
            read: ReadMode::Linearizable,
            ..ScanRequest::default()
        };
        let begun = async |place: &Place| {
            Scan { flow: &self.flow, place, request: &request }.begun(BATCH_PORTION, &context).await
        };
        let mut merger = begun(&place).await?;
        let batch = self.batch(namespace);
        let (mut keys, mut seen) = (0, Session::default());
        loop {
            let deadline = context.deadline;
            let taken = merger.take(BATCH_PORTION, SCAN_PAGE_BYTES_MAX, deadline).await;
            let taken = taken.map_err(scan_error)?;
            if !self.flow.is_still(&place, merger.epoch(), deadline).await? {
                place = self.flow.place(namespace, deadline).await?;
                merger = begun(&place).await?;
                continue;
            }
            if taken.is_empty() {
                return Ok(RangeDeleted { keys, seen });
            }
            let mut ops = Vec::with_capacity(taken.len());
            for merged in taken {
                if let Item::Key { key, .. } = item(merged)? {
                    let require = Condition::None;
                    let request = KeyRequest { require, op: WriteOp::Delete, give: Give::Nothing };
                    let step = KeyStep { key, step: Step::Write(request) };
                    ops.push(BatchOp { number: ops.len() as u64, step });
                }
            }
            for done in batch.run(ops, context.clone()).await {
                let done = done?;
                seen.note(done.group, done.index);
                keys += u64::from(matches!(done.reply, KeyReply::Deleted { existed: true, .. }));
            }
        }
    }
}

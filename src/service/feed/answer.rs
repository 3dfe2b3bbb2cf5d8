//! Answering questions of scans and watches with this node's own replica.
//!
//! Promises: never answers from before what was asked for: a replica that has not got there waits a
//! moment and then says that it is behind. Never passes a question on. Files are read on threads
//! that may block.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::consensus::ReadError;
use crate::model::{GroupId, OWNED_KEY, Ownership, Row};
use crate::runtime::limits::{
    COUNT_ROWS_MAX, FEED_LAG_WAIT_MAX, MIRROR_ANSWER_BYTES, SCAN_PAGE_BYTES_MAX,
};
use crate::runtime::{Env, Moment};
use crate::service::wing::Wing;
use crate::storage::state::Gone;

use super::ask::{Answer, Ask, ChangesAnswer, ChangesAsk, Declined, PageAnswer, PageAsk, Show};
use super::fold::page;

/// Answers here.
pub(in crate::service) async fn answer(
    wing: &Arc<dyn Wing>,
    env: &Env,
    group: GroupId,
    ask: Ask,
    deadline: Moment,
) -> Answer {
    let answer = match ask {
        Ask::ReadIndex => wing.barrier(group, deadline).await.map(Answer::Index).map_err(declined),
        Ask::Page(ask) => rows(wing, env, group, ask, deadline, false).await.map(Answer::Page),
        Ask::Count(ask) => rows(wing, env, group, ask, deadline, true).await.map(Answer::Page),
        Ask::Changes(ask) => changes(wing, env, group, &ask, deadline).await.map(Answer::Changes),
    };
    answer.unwrap_or_else(Answer::Declined)
}

async fn rows(
    wing: &Arc<dyn Wing>,
    env: &Env,
    group: GroupId,
    mut ask: PageAsk,
    deadline: Moment,
    count: bool,
) -> Result<PageAnswer, Declined> {
    // Another node's word for what is bounded is not relied on.
    ask.bytes_max = ask.bytes_max.min(SCAN_PAGE_BYTES_MAX);
    let needed = ask.at.unwrap_or(0).max(ask.at_least);
    let patience = FEED_LAG_WAIT_MAX.min(deadline.since(env.clock.now()));
    reach(wing, group, needed, patience).await?;
    let here = Arc::clone(wing);
    let mut found = env
        .tasks
        .blocking(move || -> Result<Result<PageAnswer, Gone>, ReadError> {
            if count {
                ask.show = Show::Keys;
                ask.limit = COUNT_ROWS_MAX;
                ask.bytes_max = usize::MAX;
            }
            let mut found = page(&ask, |page| here.page(group, page))?;
            if let Ok(answer) = &mut found {
                answer.count = answer.items.len() as u64;
                if count {
                    answer.items.clear();
                } else if ask.show == Show::Heads {
                    behead(answer);
                }
            }
            Ok(found)
        })
        .await
        .map_err(declined)?
        .map_err(|gone| Declined::Gone { floor: gone.floor })?;
    // After the rows: a namespace that is gone by this epoch may have lost some of them.
    found.epoch = epoch(wing, group)?;
    Ok(found)
}

/// Leaves the values of rows out.
fn behead(answer: &mut PageAnswer) {
    for item in &mut answer.items {
        // What cannot be read goes on as it is, and whoever asked says so.
        if let Some(bytes) = &mut item.row
            && let Ok(row) = Row::decode(bytes)
        {
            *bytes = Row { value: Bytes::new(), ..row }.encode();
        }
    }
}

fn epoch(wing: &Arc<dyn Wing>, group: GroupId) -> Result<u64, Declined> {
    let owned = wing.get(group, OWNED_KEY).map_err(declined)?.value;
    let ownership = owned.map(|bytes| Ownership::decode(&bytes)).transpose();
    let ownership = ownership.map_err(|error| Declined::Failed(error.to_string()))?;
    Ok(ownership.unwrap_or_default().epoch)
}

async fn changes(
    wing: &Arc<dyn Wing>,
    env: &Env,
    group: GroupId,
    ask: &ChangesAsk,
    deadline: Moment,
) -> Result<ChangesAnswer, Declined> {
    let left = deadline.since(env.clock.now());
    if ask.at_least > 0 {
        reach(wing, group, ask.at_least, FEED_LAG_WAIT_MAX.min(left)).await?;
    }
    let patience = Duration::from_millis(ask.wait_ms).min(left);
    match reach(wing, group, ask.after.saturating_add(1), patience).await {
        // Nothing new is an answer too.
        Ok(()) | Err(Declined::Behind(_)) => {}
        Err(declined) => return Err(declined),
    }
    let bytes_max = ask.bytes_max.min(MIRROR_ANSWER_BYTES);
    let found = wing.changes(group, ask.after, (&ask.from, Some(&ask.to)), bytes_max);
    let found = found.map_err(declined)?.map_err(|gone| Declined::Gone { floor: gone.floor })?;
    if found.applied < ask.at_least {
        return Err(Declined::Behind(found.applied));
    }
    Ok(ChangesAnswer {
        changes: found.changes,
        floor: found.floor,
        upto: found.upto,
        applied: found.applied,
    })
}

/// Waits until the replica here has applied an index.
async fn reach(
    wing: &Arc<dyn Wing>,
    group: GroupId,
    index: u64,
    patience: Duration,
) -> Result<(), Declined> {
    if !wing.hosts(group) {
        return Err(Declined::NotHere);
    }
    let mut applied = wing.applied_watch(group);
    let now = *applied.borrow();
    if now >= index {
        return Ok(());
    }
    match tokio::time::timeout(patience, applied.wait_for(|applied| *applied >= index)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) if !wing.hosts(group) => Err(Declined::NotHere),
        Ok(Err(_)) | Err(_) => Err(Declined::Behind(now)),
    }
}

fn declined(error: ReadError) -> Declined {
    match error {
        ReadError::NotHere => Declined::NotHere,
        ReadError::NotLeader { leader } => Declined::NotLeader(leader),
        error => Declined::Failed(error.to_string()),
    }
}

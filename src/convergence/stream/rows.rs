//! State sync: rows instead of operations, when the log does not reach back.
//!
//! Why it exists: a log is cut off in the end, and a new replica has nothing. Promises: the reader's
//! vector moves only when all rows are merged (R1), so a cut anywhere leaves a correct, merely older
//! replica; the vector that it moves to is what the source had before the first row was looked at.
//! What happens meanwhile at either side is not lost: at the source it is above that vector and comes
//! as operations, at the reader it is above what the rows can remove; but operations that the rows
//! stand for wait until these are merged (R7).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::exchange::Exchange;
use super::message::{Asked, Said};
use super::metrics::Kind;
use super::source::{Ended, Source, cost};
use super::sums::Sums;
use crate::convergence::words::{Heads, ReadError, Stop};
use crate::model::codec::CodecError;
use crate::peer::PeerStream;
use crate::runtime::limits::{SNAPSHOT_PAGE_BYTES, STATE_SYNC_STALL_MAX};
use crate::runtime::planted::{self, Bug};

/// Why a reader's state sync did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    /// The source has gone, or the connection.
    #[error("the source has gone")]
    Gone,
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
    /// What came makes no sense now.
    #[error("the source broke the protocol")]
    Protocol,
    /// What came cannot be read.
    #[error(transparent)]
    Unreadable(#[from] CodecError),
    /// The shard cannot be read.
    #[error(transparent)]
    Shard(#[from] ReadError),
    /// The shard takes nothing more.
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// The source's end.
pub(super) async fn give(source: &mut Source) -> Result<(), Ended> {
    source.push(Kind::Rows, Said::Short.encode()).await?;
    let Asked::Rows = answer(source).await? else { return Err(Ended::Protocol("no rows wanted")) };
    let shard = source.exchange.shard.clone();
    tracing::info!(namespace = %shard.namespace(), "a state sync is given");
    // Before the first row: a beat that is newer than the vector would claim what is not sent.
    let heads = shard.heads();
    let (sums, vector) = Sums::of(&shard).await?;
    source.push(Kind::Rows, Said::Offer(vector.clone(), sums.groups()).encode()).await?;
    let Asked::Differ(groups) = answer(source).await? else {
        return Err(Ended::Protocol("no groups named"));
    };
    source.push(Kind::Rows, Said::Buckets(sums.buckets_of(&groups)).encode()).await?;
    let Asked::Want(wanted) = answer(source).await? else {
        return Err(Ended::Protocol("no buckets named"));
    };
    let wanted = Arc::new(wanted);
    let mut from = None;
    while !wanted.is_empty() {
        while !source.has_credit() {
            source.listen().await?;
        }
        let page = shard.snapshot_page(from, Some(Arc::clone(&wanted)), SNAPSHOT_PAGE_BYTES);
        let page = page.await?;
        from = page.to.clone();
        source.push_counted(Kind::Rows, Said::Page(Box::new(page))).await?;
        if from.is_none() {
            break;
        }
    }
    source.push(Kind::Rows, Said::Done(vector.clone(), Box::new(heads)).encode()).await?;
    source.sent.join(&vector);
    Ok(())
}

async fn answer(source: &mut Source) -> Result<Asked, Ended> {
    loop {
        if let Some(asked) = source.asked.take() {
            return Ok(asked);
        }
        source.listen().await?;
    }
}

/// The reader's end, after the source has said that its log is short.
pub(super) async fn take(exchange: &Exchange, stream: &mut PeerStream) -> Result<(), Cut> {
    let namespace = exchange.shard.namespace();
    tracing::info!(%namespace, "a state sync begins");
    exchange.metrics.state_syncs_begun.inc();
    ask(exchange, stream, Asked::Rows).await?;
    let Said::Offer(v0, groups) = hear(stream).await?.0 else { return Err(Cut::Protocol) };
    let under_way = exchange.sync_to(&v0).await;
    let (sums, _) = Sums::of(&exchange.shard).await?;
    ask(exchange, stream, Asked::Differ(sums.differing(&groups))).await?;
    let Said::Buckets(buckets) = hear(stream).await?.0 else { return Err(Cut::Protocol) };
    let wanted = sums.wanted(&buckets);
    ask(exchange, stream, Asked::Want((*wanted).clone())).await?;
    if planted::active(Bug::EventualVectorEarly) {
        exchange.shard.reached(v0.clone(), Heads::default()).await?;
    }
    loop {
        match hear(stream).await? {
            (Said::Page(page), bytes) => {
                if page.buckets.as_ref() != Some(&wanted) {
                    return Err(Cut::Protocol);
                }
                exchange.shard.merge(*page).await?;
                let taken = Asked::Taken { bytes, reached: Vec::new(), pruned: Vec::new() };
                ask(exchange, stream, taken).await?;
            }
            (Said::Done(vector, heads), _) => {
                if vector != v0 {
                    return Err(Cut::Protocol);
                }
                exchange.shard.reached(v0, *heads).await?;
                drop(under_way);
                exchange.metrics.state_syncs.inc();
                tracing::info!(%namespace, buckets = wanted.len(), "a state sync is complete");
                return Ok(exchange.release().await?);
            }
            _ => return Err(Cut::Protocol),
        }
    }
}

async fn ask(exchange: &Exchange, stream: &PeerStream, asked: Asked) -> Result<(), Cut> {
    let bytes = asked.encode();
    exchange.metrics.sent(Kind::Rows, bytes.len());
    stream.send.send(bytes).await.map_err(|_closed| Cut::Gone)
}

async fn hear(stream: &mut PeerStream) -> Result<(Said, u64), Cut> {
    let said = tokio::time::timeout(STATE_SYNC_STALL_MAX, stream.recv.recv()).await;
    let said: Bytes = said.map_err(|_late| Cut::Stalled(STATE_SYNC_STALL_MAX))?.ok_or(Cut::Gone)?;
    Ok((Said::decode(&said)?, cost(&said)))
}

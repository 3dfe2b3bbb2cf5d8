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

use bytes::{Bytes, BytesMut};

use super::exchange::Exchange;
use super::message::{Asked, Said};
use super::metrics::Kind;
use super::source::{Ended, Source, cost};
use super::sums::Sums;
use crate::convergence::words::{Heads, ReadError, Stop};
use crate::model::codec::CodecError;
use crate::peer::PeerStream;
use crate::runtime::limits::{
    SNAPSHOT_PAGE_BYTES, STATE_SYNC_PAGE_BYTES_MAX, STATE_SYNC_PART_BYTES,
};
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
        source.push_in_parts(Kind::Rows, Said::Page(Box::new(page))).await?;
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

/// The reader's end, after the source has said that its log is short. Every message must come in time.
pub(super) async fn take(
    exchange: &Exchange,
    stream: &mut PeerStream,
    patience: Duration,
) -> Result<(), Cut> {
    let mut counted = Counted { exchange, complete: false };
    let namespace = exchange.shard.namespace();
    tracing::info!(%namespace, "a state sync begins");
    exchange.metrics.state_syncs_begun.inc();
    let mut hearing = Hearing { stream, patience, parts: Parts::default() };
    hearing.ask(exchange, Asked::Rows).await?;
    let Said::Offer(v0, groups) = hearing.hear(exchange).await?.0 else {
        return Err(Cut::Protocol);
    };
    let under_way = exchange.sync_to(&v0).await;
    let (sums, _) = Sums::of(&exchange.shard).await?;
    hearing.ask(exchange, Asked::Differ(sums.differing(&groups))).await?;
    let Said::Buckets(buckets) = hearing.hear(exchange).await?.0 else {
        return Err(Cut::Protocol);
    };
    let wanted = sums.wanted(&buckets);
    hearing.ask(exchange, Asked::Want((*wanted).clone())).await?;
    if planted::active(Bug::EventualVectorEarly) {
        exchange.shard.reached(v0.clone(), Heads::default()).await?;
    }
    loop {
        match hearing.hear(exchange).await? {
            (Said::Page(page), bytes) => {
                if page.buckets.as_ref() != Some(&wanted) {
                    return Err(Cut::Protocol);
                }
                exchange.shard.merge(*page).await?;
                hearing.taken(exchange, bytes).await?;
            }
            (Said::Done(vector, heads), _) => {
                if vector != v0 {
                    return Err(Cut::Protocol);
                }
                exchange.shard.reached(v0, *heads).await?;
                drop(under_way);
                exchange.metrics.state_syncs.inc();
                counted.complete = true;
                tracing::info!(%namespace, buckets = wanted.len(), "a state sync is complete");
                return Ok(exchange.release().await?);
            }
            _ => return Err(Cut::Protocol),
        }
    }
}

/// Counts a state sync as cut off unless it came to its end, however it is given up.
struct Counted<'a> {
    exchange: &'a Exchange,
    complete: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.exchange.metrics.state_syncs_cut.inc();
        }
    }
}

/// The reader's stream in the course of a state sync.
struct Hearing<'a> {
    stream: &'a mut PeerStream,
    patience: Duration,
    parts: Parts,
}

impl Hearing<'_> {
    async fn ask(&self, exchange: &Exchange, asked: Asked) -> Result<(), Cut> {
        let bytes = asked.encode();
        exchange.metrics.sent(Kind::Rows, bytes.len());
        self.stream.send.send(bytes).await.map_err(|_closed| Cut::Gone)
    }

    async fn taken(&self, exchange: &Exchange, bytes: u64) -> Result<(), Cut> {
        self.ask(exchange, Asked::Taken { bytes, reached: Vec::new(), pruned: Vec::new() }).await
    }

    /// The next message, joined if it comes in parts, and what is still to be given back for it.
    async fn hear(&mut self, exchange: &Exchange) -> Result<(Said, u64), Cut> {
        loop {
            let bytes = tokio::time::timeout(self.patience, self.stream.recv.recv()).await;
            let bytes: Bytes =
                bytes.map_err(|_late| Cut::Stalled(self.patience))?.ok_or(Cut::Gone)?;
            let cost = cost(&bytes);
            match Said::decode(&bytes)? {
                Said::Part { left, bytes } => match self.parts.add(left, &bytes)? {
                    Some(whole) => return Ok((Said::decode(&whole)?, cost)),
                    None => self.taken(exchange, cost).await?,
                },
                // Nothing comes between the parts of a message.
                _ if self.parts.next.is_some() => return Err(Cut::Protocol),
                said => return Ok((said, cost)),
            }
        }
    }
}

/// Parts of a message that are joined.
#[derive(Debug, Default)]
struct Parts {
    joined: BytesMut,
    /// How many are left after the next one; none between messages.
    next: Option<u32>,
}

impl Parts {
    /// Adds a part; the message if it is the last one.
    fn add(&mut self, left: u32, part: &Bytes) -> Result<Option<Bytes>, Cut> {
        let follows = self.next.is_none_or(|next| next == left);
        let bytes = self.joined.len() + part.len();
        // Each of them takes a message that somebody waits for: few must do, too.
        let count_max = u32::try_from(STATE_SYNC_PAGE_BYTES_MAX / STATE_SYNC_PART_BYTES);
        let is_short = bytes <= STATE_SYNC_PAGE_BYTES_MAX && count_max.is_ok_and(|max| left <= max);
        if !follows || !is_short {
            return Err(Cut::Protocol);
        }
        self.joined.extend_from_slice(part);
        self.next = left.checked_sub(1);
        Ok((left == 0).then(|| self.joined.split().freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_their_order_and_only_so_many() {
        let part = Bytes::from_static(b"ab");
        let mut parts = Parts::default();
        assert!(parts.add(1, &part).unwrap().is_none());
        assert_eq!(parts.add(0, &part).unwrap().unwrap(), "abab");
        assert_eq!(
            parts.add(0, &part).unwrap().unwrap(),
            "ab",
            "nothing is left of the one before"
        );
        for (first, second) in [(2, 2), (2, 0), (2, 3)] {
            let mut parts = Parts::default();
            assert!(parts.add(first, &part).is_ok());
            assert!(parts.add(second, &part).is_err(), "{second} after {first}");
        }
        assert!(Parts::default().add(u32::MAX, &part).is_err());
        let long = Bytes::from(vec![0; STATE_SYNC_PAGE_BYTES_MAX / 2 + 1]);
        let mut parts = Parts::default();
        assert!(parts.add(1, &long).is_ok() && parts.add(0, &long).is_err());
    }
}

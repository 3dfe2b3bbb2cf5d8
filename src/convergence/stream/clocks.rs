//! Nodes tell each other the time, so that one whose clock is ahead can know.
//!
//! Why it exists: a writer from the future wins against every concurrent one; it should refuse such
//! writes itself. One small call to each node every few seconds, however many namespaces there are,
//! and none without any. Promises: the way makes nobody seem to lead, since the answer is compared with
//! the time of asking; it may hide a lead that is shorter than the way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::follow::Streams;
use super::inbox::CONVERGE_CALL;
use super::verdict::Question;
use crate::model::NodeId;
use crate::model::codec;
use crate::peer::Lane;
use crate::runtime::limits::{CLOCKS_EVERY, CONVERGENCE_CALL_MAX};

/// Compares clocks, for ever.
pub(super) async fn run(streams: Arc<Streams>) {
    loop {
        if !streams.shards().all().is_empty() {
            let others = streams.others();
            join_all(others.into_iter().map(|node| compare(&streams, node))).await;
        }
        tokio::time::sleep(CLOCKS_EVERY).await;
    }
}

async fn compare(streams: &Streams, node: NodeId) {
    let wall_ms = streams.env().clock.wall_ms();
    let body = codec::seal(&Question::Clock, &[]);
    let transport = streams.transport();
    let asked = transport.call(node, CONVERGE_CALL, Lane::Data, body, CONVERGENCE_CALL_MAX);
    // Who does not answer does not say what time it is.
    if let Ok(answer) = asked.await
        && let Ok((theirs, _)) = codec::open::<u64>("a clock", &answer)
    {
        streams.shards().clock_heard(node, theirs, wall_ms);
    }
}

/// What time it is here.
pub(super) fn answer(streams: &Streams) -> Bytes {
    codec::seal(&streams.env().clock.wall_ms(), &[])
}

//! How long writes stalled, group by group, from the times of their acknowledgements.
//!
//! Why it exists: "keys of groups led elsewhere never stall" is a figure to be shown, not a time to
//! be asserted: a loaded machine can always be slower.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::Ack;

/// A pause that a client would notice: several times a slow write, far below any election.
pub(crate) const NOTICED: Duration = Duration::from_millis(500);

/// The longest pause between two acknowledged writes of each group, from `from` to `to`; both ends
/// count as if a write had been acknowledged there.
pub(crate) fn longest(
    acks: &[Ack],
    groups: impl IntoIterator<Item = u64>,
    from: Instant,
    to: Instant,
) -> BTreeMap<u64, Duration> {
    let mut times: BTreeMap<u64, Vec<Instant>> =
        groups.into_iter().map(|group| (group, vec![from, to])).collect();
    for ack in acks.iter().filter(|ack| ack.at >= from && ack.at <= to) {
        times.entry(ack.group).or_insert_with(|| vec![from, to]).push(ack.at);
    }
    times
        .into_iter()
        .map(|(group, mut times)| {
            times.sort();
            let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
            (group, pauses.max().unwrap_or_default())
        })
        .collect()
}

/// The longest of these groups' pauses.
pub(crate) fn worst<'a>(
    pauses: &BTreeMap<u64, Duration>,
    groups: impl IntoIterator<Item = &'a u64>,
) -> Duration {
    groups.into_iter().filter_map(|group| pauses.get(group)).max().copied().unwrap_or_default()
}

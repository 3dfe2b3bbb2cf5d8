//! What differs between two replicas, found without sending it.
//!
//! Why it exists: a replica that was away for a month usually has nearly everything, and a state sync
//! should cost what is new. Sums over whole rows, losses included, are compared: a digest of what
//! lives would pass over marks and counts that differ while the values are the same.
//!
//! Promises: equal rows have equal sums wherever they are; a bucket whose sums were equal may be left
//! out of a merge, whatever happens to either side meanwhile, because to merge it then would have
//! changed nothing. Relies on sums against accidents, not against malice.

use std::sync::Arc;

use crate::convergence::shard::Shard;
use crate::convergence::words::{BucketSet, ReadError};
use crate::model::codec;
use crate::model::eventual::{Cell, Field, Vector, digest};
use crate::runtime::limits::{BUCKET_GROUPS, SNAPSHOT_PAGE_BYTES};

/// Sums of all buckets of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    buckets: Vec<u128>,
}

impl Default for Sums {
    fn default() -> Self {
        Self { buckets: vec![0; digest::BUCKETS] }
    }
}

impl Sums {
    /// Reads all rows of a shard. Also says what it knew at the first of them.
    pub(super) async fn of(shard: &Shard) -> Result<(Self, Vector), ReadError> {
        let mut sums = Self::default();
        let (mut from, mut first) = (None, None);
        loop {
            let page = shard.snapshot_page(from, None, SNAPSHOT_PAGE_BYTES).await?;
            for (key, field, cell) in &page.entries {
                sums.add_cell(key, field, cell);
            }
            for lost in &page.lost {
                let by = lost.swept.then_some(lost.by);
                sums.add(&lost.key, digest::loss_digest(&lost.key, &lost.field, lost.dot, by));
            }
            first = first.or(Some(page.vector));
            from = page.to;
            if from.is_none() {
                return Ok((sums, first.unwrap_or_default()));
            }
        }
    }

    /// When a loss goes from its cell onto the record, and for how long its value is kept, is every
    /// replica's own business: that it is lost is not.
    fn add_cell(&mut self, key: &[u8], field: &Field, cell: &Cell) {
        for (&dot, mark) in &cell.swept {
            self.add(key, digest::loss_digest(key, field, dot, Some(mark.by)));
        }
        if !cell.live.is_empty() {
            let row = (key, field, &cell.live, &cell.writes);
            self.add(key, xxhash_rust::xxh3::xxh3_128(&codec::seal(&row, &[])));
        }
    }

    fn add(&mut self, key: &[u8], sum: u128) {
        if let Some(bucket) = self.buckets.get_mut(digest::bucket_of(key)) {
            *bucket = bucket.wrapping_add(sum);
        }
    }

    /// Sums of the groups, in order.
    pub(super) fn groups(&self) -> Vec<u128> {
        let of_group = |group: &[u128]| {
            let bytes: Vec<u8> = group.iter().flat_map(|sum| sum.to_be_bytes()).collect();
            xxhash_rust::xxh3::xxh3_128(&bytes)
        };
        self.buckets.chunks(digest::BUCKETS / BUCKET_GROUPS).map(of_group).collect()
    }

    /// The groups whose sums are not these.
    pub(super) fn differing(&self, theirs: &[u128]) -> Vec<u16> {
        let ours = self.groups();
        let groups = ours.iter().enumerate();
        groups
            .filter(|(group, sum)| theirs.get(*group) != Some(sum))
            .filter_map(|(group, _)| u16::try_from(group).ok())
            .collect()
    }

    /// Sums of the buckets of some groups.
    pub(super) fn buckets_of(&self, groups: &[u16]) -> Vec<(u16, u128)> {
        let size = digest::BUCKETS / BUCKET_GROUPS;
        let buckets = self.buckets.iter().enumerate();
        buckets
            .filter(|(bucket, _)| {
                u16::try_from(bucket / size).is_ok_and(|group| groups.contains(&group))
            })
            .filter_map(|(bucket, sum)| Some((u16::try_from(bucket).ok()?, *sum)))
            .collect()
    }

    /// The buckets whose sums are not these.
    pub(super) fn wanted(&self, theirs: &[(u16, u128)]) -> Arc<BucketSet> {
        let mut wanted = BucketSet::default();
        for (bucket, sum) in theirs {
            let bucket = usize::from(*bucket);
            if self.buckets.get(bucket) != Some(sum) {
                wanted.insert(bucket);
            }
        }
        Arc::new(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_buckets_that_differ_are_wanted() {
        let (mut ours, mut theirs) = (Sums::default(), Sums::default());
        for key in ["a", "b", "c"] {
            ours.add(key.as_bytes(), 7);
            theirs.add(key.as_bytes(), 7);
        }
        assert!(ours.differing(&theirs.groups()).is_empty());
        theirs.add(b"new", 1);
        ours.add(b"gone", 2);
        let groups = ours.differing(&theirs.groups());
        let wanted = ours.wanted(&theirs.buckets_of(&groups));
        assert!(wanted.contains(digest::bucket_of(b"new")));
        assert!(wanted.contains(digest::bucket_of(b"gone")));
        assert_eq!(wanted.len(), 2);
        assert!(!groups.is_empty() && groups.len() <= 2);
    }

    #[test]
    fn a_source_that_says_less_than_all_groups_is_asked_for_the_rest() {
        let sums = Sums::default();
        assert_eq!(sums.differing(&[]).len(), BUCKET_GROUPS);
        assert!(sums.wanted(&[(u16::MAX, 0)]).is_empty(), "there is no such bucket");
    }
}

//! Digests: whether two replicas hold the same, in a few bytes.
//!
//! Why it exists: with equal vectors, equal digests are the proof of convergence, and unequal ones an
//! alarm; and a state sync sends only the buckets that differ. A bucket's digest is a sum over its
//! cells, so that a write changes it by one subtraction and one addition.
//!
//! Promises: [`cell_digest`] depends on live versions and their contents only, hence not on when a
//! replica truncated, forgot or finalised something. [`loss_digest`] is one term for each write that
//! is marked as swept or on record as lost: a sync must compare both sums, since a bucket may be the
//! same in what lives and differ in what it knows to be lost. Sums are against accidents, not against
//! a replica that lies.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::cell::{Cell, Content};
use super::dot::Dot;
use super::op::Field;
use super::rows;

/// How many buckets the keys of a shard fall into.
pub const BUCKETS: usize = 4096;

/// The bucket of a key; all of its cells are in it.
pub fn bucket_of(key: &[u8]) -> usize {
    let place = xxh3_64(key) % (BUCKETS as u64);
    usize::try_from(place).expect("it is below the number of buckets")
}

/// The term of a cell in its bucket's sum; nothing for one without live versions.
pub fn cell_digest(key: &[u8], field: &Field, cell: &Cell) -> u128 {
    if cell.live.is_empty() {
        return 0;
    }
    let mut hash = Xxh3::with_seed(LIVE_SEED);
    hash.update(&rows::cell_key(key, field));
    for (dot, version) in &cell.live {
        write_dot(&mut hash, *dot);
        hash.update(&version.hlc.0.to_le_bytes());
        write_content(&mut hash, &version.content);
    }
    hash.digest128()
}

/// The term of a write that is marked as swept or on record as lost; once, if it is both. `swept_by` is
/// what the mark says, or else the record, if that is of a sweeping; what outranks it may change.
pub fn loss_digest(key: &[u8], field: &Field, dot: Dot, swept_by: Option<Dot>) -> u128 {
    let mut hash = Xxh3::with_seed(LOSS_SEED);
    hash.update(&rows::lost_at_key(key, field, dot));
    if let Some(by) = swept_by {
        write_dot(&mut hash, by);
    }
    hash.digest128()
}

/// The digest of all buckets.
pub fn root(buckets: &[u128]) -> u128 {
    let mut hash = Xxh3::with_seed(ROOT_SEED);
    for bucket in buckets {
        hash.update(&bucket.to_le_bytes());
    }
    hash.digest128()
}

const LIVE_SEED: u64 = 1;
const LOSS_SEED: u64 = 2;
const ROOT_SEED: u64 = 3;

fn write_dot(hash: &mut Xxh3, dot: Dot) {
    hash.update(&dot.actor.node.to_le_bytes());
    hash.update(&dot.actor.home.to_le_bytes());
    hash.update(&dot.actor.run.to_le_bytes());
    hash.update(&dot.counter.to_le_bytes());
}

fn write_content(hash: &mut Xxh3, content: &Content) {
    match content {
        Content::Value { value, content_type } => {
            hash.update(&[0, u8::from(content_type.is_some())]);
            let content_type = content_type.as_deref().unwrap_or_default().as_bytes();
            for part in [content_type, value] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        Content::Total(total) => {
            hash.update(&[1]);
            hash.update(&total.to_le_bytes());
        }
        Content::Present => hash.update(&[2]),
        Content::Dropped => hash.update(&[3]),
    }
}

//! Stands in for what the core brings: goes away with the merge of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Dot, Field, Vector, Version};

/// Provisional.
#[derive(Clone, Debug)]
pub enum Ask {
    /** Provisional. */
    Delete,
}
/// Provisional.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /** Provisional. */
    pub context: Option<Vec<Dot>>,
}
/// Provisional.
#[derive(Clone, Debug)]
pub enum Shown {
    /** Provisional. */
    Missing,
}
/// Provisional.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /** Provisional. */
    #[error("refused")]
    Refused,
}
/// Provisional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecord {
    /** P. */
    pub key: Bytes,
    /** P. */
    pub field: Field,
    /** P. */
    pub dot: Dot,
    /** P. */
    pub by: Dot,
    /** P. */
    pub version: Version,
}
/// Provisional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /** P. */
    pub vector: Vector,
}

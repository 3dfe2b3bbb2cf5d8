//! What is measured, as the load sees it: reads, writes on conditions, and what became of them.
//!
//! Why it exists: the same load runs against our own store in each of its modes, against a peer and
//! against nothing at all (to weigh the load itself). What differs between them is behind this trait.
//!
//! Promises (to be kept by whoever implements it): a failure says `NotApplied` only when that is
//! certain; nothing is repeated that may take effect twice; an operation ends within
//! `BENCH_OP_MAX`. Sites are numbered from 1; what is asked at a site is asked of its node alone.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

/// What a read shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The values: none when the key is not there, several when they stand side by side.
    pub values: Vec<Shown>,
    /// What a write hands back that replaces what was seen: an entity tag, a context.
    pub token: Option<String>,
}

/// One value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its bytes.
    pub value: Bytes,
    /// The name of the write that it is from, where there are such names.
    pub name: Option<String>,
}

/// An acknowledged write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// Its name for ever, where there is such a thing.
    pub name: Option<String>,
    /// Its place in the order of the key's writes, where there is one order.
    pub order: Option<u64>,
    /// What [`Target::shows`] needs to know.
    pub proof: Option<String>,
}

/// Why an operation did not succeed, by what its client may conclude.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Somebody else wrote in between: nothing was changed.
    #[error("the condition did not hold")]
    Unmet,
    /// Surely without effect.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// Perhaps done.
    #[error("unknown: {0}")]
    Unknown(String),
}

/// What a write replaces.
#[derive(Clone, Copy, Debug)]
pub enum Over<'a> {
    /// Whatever is there.
    Anything,
    /// What was read: on condition that it is still there, where there is one order; as its
    /// successor, where there is none.
    Seen(&'a Seen),
}

/// A change that the store itself works out.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds to a sum.
    Add(i64),
    /// Puts elements into a set and takes others out.
    Edit {
        /// Elements that shall be there.
        add: Vec<String>,
        /// Elements that shall not.
        remove: Vec<String>,
    },
    /// Sets one field of a document.
    Field {
        /// Its name.
        name: String,
        /// What it shall be.
        value: Value,
    },
}

/// What became of a write, in the store's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is what is shown, or a part of it.
    Current,
    /// Replaced by who had seen it.
    Superseded,
    /// A part of a later sum.
    Merged,
    /// Replaced or outranked by who had not seen it.
    Lost,
    /// The store does not know the write.
    Unknown,
}

impl Fate {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Merged => "merged",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether the nodes hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They do, and have heard of the same.
    Reached,
    /// Something is on its way, or somebody does not answer.
    NotYet,
    /// They have heard of the same and hold different things, which must never be.
    Broken,
}

/// What the store's own meter says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// Writes lost without anyone having seen them.
    pub direct: u64,
    /// Writes that are without effect on what is shown.
    pub effective: u64,
}

/// A store, or a part of one, with a node at each site.
#[async_trait]
pub trait Target: Send + Sync + Debug {
    /// How many sites there are.
    fn sites(&self) -> u64;

    /// Reads a key as the mode reads.
    async fn read(&self, site: u64, key: &str) -> Result<Seen, Failed>;

    /// Sets a key.
    async fn write(
        &self,
        site: u64,
        key: &str,
        value: Bytes,
        over: Over<'_>,
    ) -> Result<Acked, Failed>;

    /// Lets the store change a key.
    async fn change(&self, site: u64, key: &str, change: &Change) -> Result<Acked, Failed>;

    /// Waits until a site shows a write, or what came after it, for so long at most. A store whose writes
    /// have no [`Acked::proof`] is never asked.
    async fn shows(
        &self,
        _site: u64,
        _key: &str,
        _write: &Acked,
        _patience: Duration,
    ) -> Result<bool, Failed> {
        Ok(false)
    }

    /// Reads a key as strictly as the store can: to find out what is there.
    async fn read_back(&self, site: u64, key: &str) -> Result<Seen, Failed> {
        self.read(site, key).await
    }

    /// What became of a write; `None` where a store says nothing of the kind.
    async fn fate(&self, _key: &str, _name: &str) -> Result<Option<Fate>, Failed> {
        Ok(None)
    }

    /// What the store's own meter says; `None` where there is none.
    async fn metered(&self) -> Result<Option<Metered>, Failed> {
        Ok(None)
    }

    /// Whether the nodes hold the same.
    async fn agreement(&self) -> Agreement {
        Agreement::Reached
    }
}

/// A store that answers at once and keeps nothing: what is left is the cost of the load itself.
#[derive(Debug)]
pub struct Nothing;

#[async_trait]
impl Target for Nothing {
    fn sites(&self) -> u64 {
        3
    }

    async fn read(&self, _site: u64, _key: &str) -> Result<Seen, Failed> {
        tokio::task::yield_now().await;
        Ok(Seen::default())
    }

    async fn write(
        &self,
        _site: u64,
        _key: &str,
        _value: Bytes,
        _over: Over<'_>,
    ) -> Result<Acked, Failed> {
        tokio::task::yield_now().await;
        Ok(Acked::default())
    }

    async fn change(&self, _site: u64, _key: &str, _change: &Change) -> Result<Acked, Failed> {
        tokio::task::yield_now().await;
        Ok(Acked::default())
    }
}

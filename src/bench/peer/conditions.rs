//! Under which conditions both sides are measured: figures of others do not belong in the same table.
//!
//! Promises: two that are equal put the same load on the same nodes. Relies on: nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::contender::Interface;
use crate::bench::kept::near;

/// A part of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// CPU without load.
    Idle,
    /// One writer.
    Single,
    /// Many writers.
    Put,
    /// Writes at a rate.
    Open,
    /// Many readers.
    Get,
    /// Many writes in one request.
    Batch,
    /// All keys, and the memory that they take.
    Fill,
    /// A node's death.
    Kill,
}

impl Part {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Single,
        Self::Put,
        Self::Open,
        Self::Get,
        Self::Batch,
        Self::Fill,
        Self::Kill,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Single => "single",
            Self::Put => "put",
            Self::Open => "open",
            Self::Get => "get",
            Self::Batch => "batch",
            Self::Fill => "fill",
            Self::Kill => "kill",
        }
    }
}

/// What both sides are, and what is done to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// How the peer is asked.
    pub interface: Interface,
    /// How long each phase lasts.
    pub lasts: Duration,
    /// Writes a second of the open load.
    pub rate: f64,
    /// Keys that each side holds in the end.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Groups of our own nodes.
    pub groups: u64,
    /// Groups of the second look at idle nodes; 0: none.
    pub many_groups: u64,
    /// Whether our clients ask the node of their site alone.
    pub pinned: bool,
    /// What is measured, in the order of [`Part::ALL`].
    pub parts: Vec<Part>,
}

impl Conditions {
    /// Whether a part is measured.
    pub(super) fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// In what these differ from others.
    pub(super) fn differs(&self, other: &Self) -> Option<&'static str> {
        let same = [
            (self.interface == other.interface, "interface"),
            (self.lasts == other.lasts, "duration"),
            (near(self.rate, other.rate), "rate"),
            (self.keys == other.keys, "number of keys"),
            (self.value_bytes == other.value_bytes, "size of values"),
            (self.groups == other.groups, "number of groups"),
            (self.many_groups == other.many_groups, "number of many groups"),
            (self.pinned == other.pinned, "way to the leaders"),
            (self.parts == other.parts, "list of phases"),
        ];
        same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
    }
}

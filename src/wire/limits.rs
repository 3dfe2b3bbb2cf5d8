//! The answer to `GET /v1/limits`.
//!
//! Why it exists: a client that meets a bound should be able to find it out beforehand.
//! Promises and relies on: as all of [`crate::wire`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Every bound that a client can meet, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// The bounds.
    pub limits: BTreeMap<String, LimitView>,
}

/// One bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitView {
    /// The number.
    pub value: u64,
    /// What it counts: `bytes`, `ms`, `ops` and so on.
    pub unit: String,
    /// What it bounds.
    pub what: String,
}

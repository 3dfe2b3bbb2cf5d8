//! Switches of namespaces to the other side.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::spaces::Topology;

/// What a namespace shall become: the body of `POST /v1/namespaces/{ns}/switch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    /// `linearizable` or `eventual`: the one that it is not.
    pub to: String,
    /// If it becomes eventual: `lww`, `mv`, `counter`, `set` or `map`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub data_type: Option<String>,
    /// If it becomes eventual: how its nodes are linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub topology: Option<Topology>,
    /// If it becomes linearizable: `spread` (the default) or `ordered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub layout: Option<String>,
    /// If it becomes linearizable: how long changes are kept for watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub history: Option<String>,
    /// What becomes of values beside each other: `refuse` (the default: they stand in the way) or
    /// `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub siblings: Option<String>,
}

/// A switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchView {
    /// The namespace.
    pub namespace: String,
    /// Which switch: a number of its own.
    pub job: u64,
    /// `freezing`, `copying`, `sealing`; `done`, or `stopped`.
    pub phase: String,
    /// What it becomes, or has become: `linearizable` or `eventual`.
    pub to: String,
    /// The type, if that is eventual.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub data_type: Option<String>,
    /// Keys that are copied; `null` while whoever drives it does not answer.
    pub copied: Option<u64>,
    /// Keys that there are; `null` if that is not known.
    pub keys: Option<u64>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waits_for: Option<String>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// How long ago it began, in milliseconds.
    pub age_ms: u64,
}

/// What stands in the way of a switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchSurvey {
    /// Keys that were looked at.
    pub keys: u64,
    /// Whether these were all.
    pub complete: bool,
    /// Keys that stand in the way.
    pub obstacles: u64,
    /// The first of them.
    pub named: Vec<SwitchObstacle>,
}

/// A key that stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchObstacle {
    /// The key, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// Why.
    pub why: String,
}

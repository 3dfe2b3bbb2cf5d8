//! Bodies about namespaces.
//!
//! Why it exists: creating, describing and changing share their members; a change may leave any
//! of them out.
//! Promises and relies on: as all of [`crate::wire`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ops::present;

/// The body of `POST /v1/namespaces`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceCreate {
    /// The name: small letters, digits, `.`, `_`, `-`; first a letter or digit.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    pub name: String,
    /// `linearizable` (the default) or `eventual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^(linearizable|eventual)$")]
    pub mode: Option<String>,
    /// Of an eventual one: what its values are. Must be given, and to no other.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^(lww|mv|counter|set|map)$")]
    pub data_type: Option<String>,
    /// Of an eventual one: how its nodes are linked; `"mesh"` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub topology: Option<Topology>,
    /// `spread` over all groups (the default), or `ordered` in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^(spread|ordered)$")]
    pub layout: Option<String>,
    /// What is accepted; what is left out is as wide as it can be by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub limits: Option<NamespaceLimits>,
    /// Bytes of keys and values above which writes are refused with 507; `null` for no quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// How long changes are kept for watches, such as `5m` (the default); `0s` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9]{1,15}(ms|s|m|h)$")]
    pub history: Option<String>,
}

/// What a namespace accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceLimits {
    /// Longest key, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub key_bytes: Option<u64>,
    /// Longest value, in bytes; 0 takes empty values only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    pub value_bytes: Option<u64>,
}

/// The body of `PATCH /v1/namespaces/{ns}`: what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceChange {
    /// What is accepted from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub limits: Option<NamespaceLimits>,
    /// The quota in bytes; `null` takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<u64>)]
    pub quota: Option<Option<u64>>,
    /// How long changes are kept from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9]{1,15}(ms|s|m|h)$")]
    pub history: Option<String>,
    /// Of an eventual one: how its nodes are linked from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub topology: Option<Topology>,
}

/// How the nodes of an eventual namespace are linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// Each with every other one.
    Mesh,
    /// Each with its neighbours in the order of ids.
    Ring,
    /// All with this node.
    Hub(u64),
    /// By these links and no others.
    Links(Vec<SiteLink>),
}

/// One direction of one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteLink {
    /// The node that sends.
    pub from: u64,
    /// The node that receives.
    pub to: u64,
    /// When it carries: `"push"` (at once, the default), `{"interval":"5m"}` or `"manual"`.
    #[serde(default)]
    pub mode: LinkMode,
    /// How much it may carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub bytes_per_s: Option<u64>,
    /// From which hour of the day (UTC) on, and before which: `[22, 6]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<u8>>, min_items = 2, max_items = 2)]
    pub hours: Option<(u8, u8)>,
}

/// When a link carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkMode {
    /// At once.
    #[default]
    Push,
    /// Every so often, such as `5m`.
    Interval(String),
    /// When somebody says so.
    Manual,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamespaceView {
    /// Its name.
    pub name: String,
    /// Its number, never used again after it.
    pub id: u64,
    /// `linearizable` or `eventual`.
    pub mode: String,
    /// Of an eventual one: `lww`, `mv`, `counter`, `set` or `map`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub data_type: Option<String>,
    /// Of an eventual one: how its nodes are linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub topology: Option<Topology>,
    /// `spread` or `ordered`.
    pub layout: String,
    /// What it accepts.
    pub limits: NamespaceLimits,
    /// Bytes above which writes are refused.
    pub quota: Option<u64>,
    /// How long changes are kept for watches.
    pub history: String,
    /// Keys in it, about a second old; `null` while that is not known.
    pub keys: Option<u64>,
    /// Bytes of keys and values in it, about a second old; `null` while that is not known.
    pub bytes: Option<u64>,
    /// How many groups hold it; none of an eventual one, which every node holds.
    pub groups: u64,
}

/// The answer to `GET /v1/namespaces`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamespacesView {
    /// All of them, by name.
    pub namespaces: Vec<NamespaceView>,
}

/// The answer to `DELETE /v1/namespaces/{ns}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamespaceDeleted {
    /// Always `deleting`: the name is free at once, the data goes in the background.
    pub state: String,
}

//! What nodes say about themselves and the cluster, asked outside of the history.
//!
//! Why it exists: faults are aimed at leaders, and their end is only reached when all nodes are
//! ready. Nothing that is asked here is judged. Relies on: `/readyz` and `/v1/cluster`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

/// Longest wait for an answer of a node that may be paused or cut off.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
/// Longest wait for a change of the cluster.
const CHANGE_WITHIN: Duration = Duration::from_secs(20);

/// The cluster as a node sees it: only what the harness uses.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct View {
    /// Replicas that still have to leave replaced nodes.
    pub(super) moves_left: u64,
    pub(super) nodes: Vec<NodeView>,
    pub(super) groups: Vec<GroupView>,
}

/// A node of the catalog.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct NodeView {
    pub(super) id: u64,
    pub(super) state: String,
}

/// A group.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct GroupView {
    pub(super) id: u64,
    pub(super) leader: Option<u64>,
    pub(super) preferred: u64,
    pub(super) term: u64,
}

/// Asks nodes.
#[derive(Clone, Debug)]
pub(super) struct Asks {
    http: reqwest::Client,
}

impl Asks {
    pub(super) fn new() -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .connect_timeout(ANSWER_WITHIN)
            .no_proxy()
            .build()
            .map_err(|error| format!("the HTTP client cannot be made: {error}"))?;
        Ok(Self { http })
    }

    /// Whether a node says that it is ready, or what it says instead.
    pub(super) async fn ready(&self, url: &str) -> Result<(), String> {
        let asked = self.http.get(format!("{url}/readyz")).timeout(ANSWER_WITHIN).send().await;
        let answer = asked.map_err(|error| words(&error))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(answer.text().await.unwrap_or_else(|error| words(&error)))
    }

    /// The cluster as the node sees it.
    pub(super) async fn cluster(&self, url: &str) -> Result<View, String> {
        let asked = self.http.get(format!("{url}/v1/cluster")).timeout(ANSWER_WITHIN).send().await;
        let answer = asked.map_err(|error| words(&error))?;
        answer.json().await.map_err(|error| words(&error))
    }

    /// Lets one node take over the replicas of another.
    pub(super) async fn replace(&self, url: &str, old: u64, new: u64) -> Result<(), String> {
        let asking = self.http.post(format!("{url}/v1/cluster/replace")).timeout(CHANGE_WITHIN);
        let timeout = format!("{}ms", CHANGE_WITHIN.as_millis());
        let asked =
            asking.header("request-timeout", timeout).json(&json!({"old": old, "new": new}));
        let answer = asked.send().await.map_err(|error| words(&error))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(answer.text().await.unwrap_or_else(|error| words(&error)))
    }
}

/// An error with its innermost cause, which is the one that says something.
fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Who leads each group: of what the nodes say, the newest term counts.
pub(super) fn leaders(views: &[View]) -> BTreeMap<u64, u64> {
    let mut newest: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for group in views.iter().flat_map(|view| &view.groups) {
        let Some(leader) = group.leader else { continue };
        let known = newest.entry(group.id).or_insert((group.term, leader));
        if group.term > known.0 {
            *known = (group.term, leader);
        }
    }
    newest.into_iter().map(|(group, (_, leader))| (group, leader)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_term_says_who_leads() {
        let view = |term, leader| View {
            moves_left: 0,
            nodes: Vec::new(),
            groups: vec![GroupView { id: 3, leader, preferred: 1, term }],
        };
        let said = [view(4, Some(1)), view(5, Some(2)), view(6, None), view(5, Some(2))];
        assert_eq!(leaders(&said), BTreeMap::from([(3, 2)]));
        assert!(leaders(&[]).is_empty());
    }
}

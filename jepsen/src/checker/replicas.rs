//! Compares the replicas themselves when everything is quiet again.
//!
//! Why it exists: clients read what leaders say; a replica that went astray is seen only when it leads.
//! Promises: two things are compared once all faults are over: the digest of every group's state, of
//! all nodes at an equal applied index, and every key of every namespace, as each node's own replica
//! has it (`read=stale`) against a linearizable scan. What cannot be compared is said and not judged:
//! an older binary has no digests, and a cluster that does not come to rest is `unknown`. Relies on: no
//! client writing any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::api::{Api, Reply, Request};
use crate::clock::Clock;
use crate::verdict::{Anomaly, Verdict};

/// How long the replicas may take to come to the same index and the same keys.
const EQUAL_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// Differences shown.
const SHOWN: usize = 8;

/// A group's state on one node: applied index and digest.
type Digests = BTreeMap<u64, (u64, String)>;
/// The keys of a namespace with what they hold, as text.
type Rows = BTreeMap<String, String>;

/// How a comparison came out.
#[derive(Debug, PartialEq)]
enum Comparison {
    /// All equal; so many things were compared.
    Equal(u64),
    /// Certainly different.
    Different(Vec<Anomaly>),
    /// Not comparable yet.
    NotYet(String),
    /// Not comparable with this binary.
    Never(String),
}

/// Compares all replicas; waits until they can be compared, within a bound.
pub async fn compare(api: &Api) -> Verdict {
    let digests = patiently(async || digests(api).await).await;
    let rows = patiently(async || rows(api).await).await;
    verdict(digests, rows)
}

/// Repeats what is not comparable yet, or differs: an index may be equal and a lease just ending. What
/// still differs at the end differs.
async fn patiently(look: impl AsyncFn() -> Comparison) -> Comparison {
    let clock = Clock::default();
    loop {
        let comparison = look().await;
        let late = Duration::from_nanos(clock.now()) > EQUAL_WITHIN;
        match comparison {
            Comparison::Equal(_) | Comparison::Never(_) => return comparison,
            Comparison::Different(_) | Comparison::NotYet(_) if late => return comparison,
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn verdict(digests: Comparison, rows: Comparison) -> Verdict {
    let mut anomalies = Vec::new();
    let mut unknown = Vec::new();
    let mut said = Vec::new();
    let mut compared = BTreeMap::new();
    for (what, comparison) in [("state digests", digests), ("keys", rows)] {
        match comparison {
            Comparison::Equal(count) => {
                said.push(format!("{count} {what} are equal on all replicas"));
                compared.insert(what, count);
            }
            Comparison::Different(found) => anomalies.extend(found),
            Comparison::NotYet(why) => unknown.push(format!("{what}: {why}")),
            Comparison::Never(why) => said.push(format!("{what} were not judged: {why}")),
        }
    }
    let verdict = if !anomalies.is_empty() {
        Verdict::invalid("replicas", "replicas differ", anomalies)
    } else if !unknown.is_empty() {
        Verdict::unknown("replicas", unknown.join("; "))
    } else if compared.is_empty() {
        Verdict::unknown("replicas", said.join("; "))
    } else {
        Verdict::valid("replicas", said.join("; "))
    };
    verdict.with_figures(json!({ "compared": compared }))
}

async fn digests(api: &Api) -> Comparison {
    let mut nodes = BTreeMap::new();
    for node in api.nodes() {
        let reply = api.send(node, Request::new(Method::GET, "/v1/cluster/digest")).await;
        match reply.status {
            200 => nodes.insert(node, digests_in(&reply.json())),
            404 | 405 => return Comparison::Never("this binary has no digest".into()),
            status => return Comparison::NotYet(format!("node {node} answers {status}")),
        };
    }
    equal_digests(&nodes)
}

fn digests_in(answer: &Json) -> Digests {
    let groups = answer.get("groups").and_then(Json::as_array);
    let group = |group: &Json| {
        let number = |name: &str| group.get(name).and_then(Json::as_u64);
        let digest = group.get("digest").and_then(Json::as_str)?.to_owned();
        Some((number("group")?, (number("applied")?, digest)))
    };
    groups.into_iter().flatten().filter_map(group).collect()
}

/// A group that one node has at another index is not comparable yet; nodes need not all have it.
fn equal_digests(nodes: &BTreeMap<u32, Digests>) -> Comparison {
    let groups: BTreeSet<u64> = nodes.values().flat_map(|groups| groups.keys().copied()).collect();
    let (mut behind, mut different, mut compared) = (Vec::new(), Vec::new(), 0);
    for group in groups {
        let states: Vec<(u32, &(u64, String))> =
            nodes.iter().filter_map(|(node, groups)| Some((*node, groups.get(&group)?))).collect();
        let by_index: BTreeMap<u64, BTreeSet<&str>> =
            states.iter().fold(BTreeMap::new(), |mut all, (_, (index, digest))| {
                all.entry(*index).or_insert_with(BTreeSet::new).insert(digest.as_str());
                all
            });
        if by_index.values().any(|digests| digests.len() > 1) {
            different.push(Anomaly {
                kind: "replica-digest".into(),
                words: format!("group {group}: the replicas' states differ: {states:?}"),
                events: Vec::new(),
            });
        } else if by_index.len() > 1 {
            behind.push(group);
        } else {
            compared += 1;
        }
    }
    different.truncate(SHOWN);
    if !different.is_empty() {
        Comparison::Different(different)
    } else if !behind.is_empty() {
        Comparison::NotYet(format!("groups {behind:?} did not come to one index"))
    } else if compared == 0 {
        Comparison::NotYet("no node shows a group".into())
    } else {
        Comparison::Equal(compared)
    }
}

async fn rows(api: &Api) -> Comparison {
    let nodes = api.nodes();
    let Some(first) = nodes.first().copied() else { return Comparison::Never("no nodes".into()) };
    let reply = api.send(first, Request::new(Method::GET, "/v1/namespaces")).await;
    let answer = reply.json();
    let Some(namespaces) = answer.get("namespaces").and_then(Json::as_array) else {
        return Comparison::NotYet(format!("node {first} lists no namespaces ({})", reply.status));
    };
    // Replicas of eventual namespaces owe each other equality of another kind, which their workloads ask for.
    let is_ordered = |space: &&Json| space.get("mode").and_then(Json::as_str) != Some("eventual");
    let names = namespaces.iter().filter(is_ordered);
    let names = names.filter_map(|namespace| namespace.get("name")?.as_str());
    let (mut compared, mut different, mut open) = (0_u64, Vec::new(), Vec::new());
    for name in names {
        let truth = match scan(api, first, name, "linearizable").await {
            Ok(rows) => rows,
            Err(why) => {
                open.push(why);
                continue;
            }
        };
        for node in &nodes {
            match scan(api, *node, name, "stale").await {
                Ok(rows) if rows == truth => compared += u64::try_from(rows.len()).unwrap_or(0),
                Ok(rows) => different.extend(difference(name, *node, &truth, &rows)),
                Err(why) => open.push(why),
            }
        }
    }
    different.truncate(SHOWN);
    if !different.is_empty() {
        Comparison::Different(different)
    } else if let Some(why) = open.into_iter().next() {
        Comparison::NotYet(why)
    } else {
        Comparison::Equal(compared)
    }
}

async fn scan(api: &Api, node: u32, name: &str, read: &str) -> Result<Rows, String> {
    let path = format!("/v1/ns/{name}/keys?read={read}");
    let request = Request::new(Method::GET, path).header("accept", "application/x-ndjson");
    let reply = api.send(node, request).await;
    rows_in(&reply).ok_or_else(|| {
        let error = reply.error.as_deref().unwrap_or("the stream did not come to its end");
        format!("scanning {name} at node {node} with read={read}: {error}")
    })
}

/// The rows of a stream that came to its end.
fn rows_in(reply: &Reply) -> Option<Rows> {
    if reply.status != 200 {
        return None;
    }
    let mut rows = Rows::new();
    for line in reply.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let row: Json = serde_json::from_slice(line).ok()?;
        if row.get("end").is_some() {
            return Some(rows);
        }
        let key = row.get("key").or_else(|| row.get("key64"))?.as_str()?.to_owned();
        rows.insert(key, row.to_string());
    }
    None
}

fn difference(name: &str, node: u32, truth: &Rows, rows: &Rows) -> Vec<Anomaly> {
    let keys: BTreeSet<&String> = truth.keys().chain(rows.keys()).collect();
    let differing = keys.into_iter().filter(|key| truth.get(*key) != rows.get(*key));
    let anomaly = |key: &String| Anomaly {
        kind: "replica-row".into(),
        words: format!(
            "{name}/{key}: node {node} has {:?}, a linearizable read shows {:?}",
            rows.get(key),
            truth.get(key)
        ),
        events: Vec::new(),
    };
    differing.take(SHOWN).map(anomaly).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;

    fn nodes(states: &[(u32, u64, u64, &str)]) -> BTreeMap<u32, Digests> {
        let mut nodes: BTreeMap<u32, Digests> = BTreeMap::new();
        for (node, group, index, digest) in states {
            nodes.entry(*node).or_default().insert(*group, (*index, (*digest).to_owned()));
        }
        nodes
    }

    #[test]
    fn equal_digests_at_equal_indexes_are_equal() {
        let nodes = nodes(&[(1, 0, 5, "a"), (2, 0, 5, "a"), (2, 1, 7, "b"), (3, 1, 7, "b")]);
        assert_eq!(equal_digests(&nodes), Comparison::Equal(2));
    }

    #[test]
    fn different_digests_at_one_index_differ() {
        let nodes = nodes(&[(1, 0, 5, "a"), (2, 0, 5, "b"), (3, 0, 6, "c")]);
        let Comparison::Different(found) = equal_digests(&nodes) else { panic!("not found") };
        assert_eq!(found[0].kind, "replica-digest");
    }

    #[test]
    fn a_replica_behind_is_not_comparable_yet() {
        let nodes = nodes(&[(1, 0, 5, "a"), (2, 0, 6, "b")]);
        assert!(matches!(equal_digests(&nodes), Comparison::NotYet(_)));
    }

    #[test]
    fn a_row_that_differs_or_is_missing_is_shown() {
        let rows = |pairs: &[(&str, &str)]| -> Rows {
            pairs.iter().map(|(key, row)| ((*key).into(), (*row).into())).collect()
        };
        let found = difference("n", 2, &rows(&[("a", "1"), ("b", "2")]), &rows(&[("a", "9")]));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_binary_without_digests_is_judged_by_its_keys_and_says_so() {
        let never = Comparison::Never("this binary has no digest".into());
        let verdict = verdict(never, Comparison::Equal(3));
        assert_eq!(verdict.validity, Validity::Valid);
        assert!(verdict.reason.contains("no digest"));
    }

    #[test]
    fn replicas_that_never_come_to_rest_are_not_a_pass() {
        let verdict = verdict(Comparison::NotYet("group 3".into()), Comparison::Equal(3));
        assert_eq!(verdict.validity, Validity::Unknown);
    }
}

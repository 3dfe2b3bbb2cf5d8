//! Whether the cluster works again when nothing is broken any more.
//!
//! Why it exists: a store that is safe because it does nothing passes every test of consistency. Before
//! any fault one key of each group is looked up; when all faults are over a fresh write and a
//! linearizable read must succeed in each group, within a bound.
//!
//! Promises: what it writes is in a namespace of its own and in no history.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use crate::api::{Api, ApiError, Outcome, Request};
use crate::verdict::{Anomaly, Verdict};

const NAME: &str = "recovery";
/// Requests at a time.
const AT_A_TIME: usize = 32;
/// Keys that are tried for each group: with 25 the chance to miss one of 1,000 groups is nil.
const KEYS_PER_GROUP: usize = 25;
/// Pause between tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Tries to make the namespace.
const TRIES: u32 = 40;

/// A key in each group.
#[derive(Clone, Debug)]
pub struct Probes {
    space: String,
    keys: BTreeMap<u64, String>,
}

impl Probes {
    /// Finds them, while the cluster is well.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer, or a group has no key.
    pub async fn find(api: &Api) -> Result<Self, ApiError> {
        let space = api.own("probe");
        let node = api.nodes().first().copied().unwrap_or(1);
        let failed = |why: String| ApiError { what: "looking for a key of each group".into(), why };
        let mut made = false;
        for _ in 0..TRIES {
            let body = json!({ "name": space }).to_string();
            let make = Request::new(Method::POST, "/v1/namespaces")
                .header("content-type", "application/json")
                .body(body);
            let reply = api.send(node, make).await;
            made = reply.outcome == Outcome::Applied
                || reply.error.as_deref() == Some("namespace_exists");
            if made {
                break;
            }
            sleep(PAUSE).await;
        }
        let reply =
            api.send(node, Request::new(Method::GET, format!("/v1/namespaces/{space}"))).await;
        let groups = reply.json().get("groups").and_then(Json::as_u64).unwrap_or_default();
        if !made || groups == 0 {
            return Err(failed(reply.error.unwrap_or_else(|| "no namespace of its own".into())));
        }
        let groups = usize::try_from(groups).unwrap_or(usize::MAX);
        let mut keys = BTreeMap::new();
        let names = (0..groups.saturating_mul(KEYS_PER_GROUP)).map(|number| format!("p{number}"));
        let mut asked = stream::iter(names)
            .map(|key| {
                let path = format!("/v1/route?ns={space}&key={key}");
                async move { (api.send(node, Request::new(Method::GET, path)).await, key) }
            })
            .buffer_unordered(AT_A_TIME);
        while let Some((reply, key)) = asked.next().await {
            if let Some(group) = reply.json().get("group").and_then(Json::as_u64) {
                keys.entry(group).or_insert(key);
            }
            if keys.len() >= groups {
                break;
            }
        }
        drop(asked);
        if keys.len() < groups {
            return Err(failed(format!("found keys of {} of {groups} groups", keys.len())));
        }
        Ok(Self { space, keys })
    }

    /// Writes and reads in each group until that works or the bound is over.
    pub async fn check(&self, api: &Api, bound: Duration, rng: &mut fastrand::Rng) -> Verdict {
        let began = Instant::now();
        let nodes = api.nodes();
        let each = self.keys.iter().map(|(group, key)| {
            let mut rng = rng.fork();
            let nodes = nodes.clone();
            async move {
                let mut why = "it was not tried".to_owned();
                while began.elapsed() < bound {
                    let at = |rng: &mut fastrand::Rng| rng.choice(&nodes).copied().unwrap_or(1);
                    match self.once(api, key, (at(&mut rng), at(&mut rng))).await {
                        Ok(()) => return (*group, Ok(began.elapsed())),
                        Err(error) => why = error,
                    }
                    sleep(PAUSE).await;
                }
                (*group, Err(why))
            }
        });
        // The futures are collected first: a lazy iterator over borrowed closures is not `Send`.
        let each: Vec<_> = each.collect();
        let found: Vec<_> = stream::iter(each).buffer_unordered(AT_A_TIME).collect().await;
        verdict(found, bound)
    }

    async fn once(&self, api: &Api, key: &str, (writer, reader): (u32, u32)) -> Result<(), String> {
        let path = format!("/v1/ns/{}/keys/{key}", self.space);
        let put = Request::new(Method::PUT, path.clone()).body("recovered");
        let reply = api.send(writer, put).await;
        if reply.outcome != Outcome::Applied {
            return Err(format!("write at node {writer}: {}", reply.error.unwrap_or_default()));
        }
        let reply = api.send(reader, Request::new(Method::GET, path)).await;
        if reply.outcome != Outcome::Applied {
            return Err(format!("read at node {reader}: {}", reply.error.unwrap_or_default()));
        }
        match reply.text().as_str() {
            "recovered" => Ok(()),
            other => Err(format!("read at node {reader}: {other:?} instead of what was written")),
        }
    }
}

fn verdict(found: Vec<(u64, Result<Duration, String>)>, bound: Duration) -> Verdict {
    let groups = found.len();
    let mut times: Vec<u128> = Vec::new();
    let mut missing = Vec::new();
    for (group, result) in found {
        match result {
            Ok(time) => times.push(time.as_millis()),
            Err(why) => missing.push((group, why)),
        }
    }
    times.sort_unstable();
    missing.sort();
    let figures = json!({
        "groups": groups, "recovered": times.len(),
        "median_ms": times.get(times.len() / 2), "slowest_ms": times.last(),
    });
    let verdict = if let Some((group, why)) = missing.first() {
        let words = format!(
            "{} of {groups} groups took no write and read within {} s after everything was healed; \
             group {group}: {why}",
            missing.len(),
            bound.as_secs()
        );
        let anomaly = Anomaly { kind: "no-recovery".into(), words: words.clone(), events: vec![] };
        Verdict::invalid(NAME, words, vec![anomaly])
    } else {
        let slowest = times.last().copied().unwrap_or_default();
        Verdict::valid(
            NAME,
            format!("all {groups} groups wrote and read again within {slowest} ms"),
        )
    };
    verdict.with_figures(figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;

    #[test]
    fn one_group_that_stays_dead_is_an_anomaly() {
        let bound = Duration::from_secs(60);
        let well = (1, Ok(Duration::from_millis(40)));
        assert_eq!(verdict(vec![well.clone()], bound).validity, Validity::Valid);
        let dead = verdict(vec![well, (7, Err("read at node 2: timeout".into()))], bound);
        assert_eq!(dead.validity, Validity::Invalid);
        assert!(dead.reason.contains("group 7"), "{}", dead.reason);
    }
}

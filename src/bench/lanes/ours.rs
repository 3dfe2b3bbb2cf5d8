//! Lanes to our own store: plain HTTP/1.1 with keep-alive, straight to the leaders.
//!
//! Promises: requests are those that any HTTP client would send (with an idempotency key only when
//! asked for); the table of leaders is read once and again when an answer names another leader;
//! outcomes are those of the answer's body, and a request without an answer is of unknown outcome. A
//! lane opens a connection when it first needs one: who asks only for keys that suit has one.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::http::{Answer, Connection};
use super::{Lane, Lanes, Patience, site_of};
use crate::bench::target::Failed;
use crate::client::{Client, Leaders};
use crate::runtime::limits::ROUTES_REFRESH_MS;
use crate::runtime::{Env, Moment};
use crate::wire::{
    BatchEnd, BatchResult, CLUSTER_PATH, ClusterView, IDEMPOTENCY_KEY, NDJSON, Outcome, Problem,
    base_url,
};

/// How our store is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Each lane asks the node of its site alone, whoever leads.
    pub pinned: bool,
    /// Writes carry an idempotency key.
    pub named: bool,
}

/// Lanes to the namespace `default`.
#[derive(Debug)]
pub struct Ours {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    env: Env,
    manner: Manner,
    endpoints: Vec<String>,
    /// What stands behind the path, by site.
    tails: Vec<Vec<u8>>,
    leaders: Mutex<Arc<Leaders>>,
    /// Counts the tables.
    edition: AtomicU64,
    looked: Mutex<Moment>,
}

impl Ours {
    /// Lanes to these nodes; asks one of them who leads.
    ///
    /// # Errors
    ///
    /// When none of them answers.
    pub async fn new(client: &Client, manner: Manner, env: &Env) -> Result<Self, String> {
        let (endpoints, leaders) = if manner.pinned {
            (client.endpoints().to_vec(), Leaders::default())
        } else {
            let view = client.cluster().await.map_err(|error| error.to_string())?;
            // All that answer, whichever of them were named.
            let there = view.nodes.iter().filter(|node| node.reachable);
            let endpoints: Vec<_> = there.map(|node| base_url(&node.address)).collect();
            let leaders = Leaders::of(&view, &endpoints);
            (endpoints, leaders)
        };
        if endpoints.is_empty() {
            return Err("no node says that it is there".to_owned());
        }
        let tail = |url: &String| {
            let host = url.trim_start_matches("http://");
            format!(" HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\n").into_bytes()
        };
        let shared = Shared {
            env: env.clone(),
            manner,
            tails: endpoints.iter().map(tail).collect(),
            endpoints,
            leaders: Mutex::new(Arc::new(leaders)),
            edition: AtomicU64::new(0),
            looked: Mutex::new(env.clock.now()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Lanes for Ours {
    fn sites(&self) -> u64 {
        u64::try_from(self.shared.endpoints.len()).unwrap_or(1)
    }

    fn routed(&self) -> bool {
        !self.shared.manner.pinned && self.shared.endpoints.len() > 1
    }

    fn batches(&self) -> bool {
        true
    }

    fn lane(&self, number: u64) -> Box<dyn Lane> {
        let shared = Arc::clone(&self.shared);
        let leaders = Arc::clone(&shared.leaders.lock());
        Box::new(OurLane {
            site: site_of(number, self.sites()),
            connections: shared.endpoints.iter().map(|_| None).collect(),
            edition: shared.edition.load(Ordering::Acquire),
            leaders,
            outdated: false,
            ending: None,
            shared,
            request: Vec::new(),
            batch: Vec::new(),
            added: 0,
            patience: Patience::default(),
        })
    }
}

struct OurLane {
    shared: Arc<Shared>,
    /// Its own node, counted from 0.
    site: usize,
    connections: Vec<Option<Connection>>,
    leaders: Arc<Leaders>,
    edition: u64,
    /// Whether the table was seen to be wrong.
    outdated: bool,
    /// The site whose connection ended with an answer that is still looked at.
    ending: Option<usize>,
    request: Vec<u8>,
    /// The lines of the next batch, and how many there are.
    batch: Vec<u8>,
    added: usize,
    patience: Patience,
}

impl OurLane {
    fn site_for(&self, key: &str) -> usize {
        if self.shared.manner.pinned {
            return self.site;
        }
        self.leaders.of_key(key.as_bytes()).unwrap_or(self.site)
    }

    /// Begins a request for a key.
    fn begin(&mut self, method: &str, key: &str, site: usize) {
        self.request.clear();
        let path = percent_encode(key.as_bytes(), NON_ALPHANUMERIC);
        self.line(format_args!("{method} /v1/ns/default/keys/{path}"));
        self.tail(site);
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.request.write_fmt(text).expect("memory takes all that is written");
    }

    fn tail(&mut self, site: usize) {
        let tail = self.shared.tails.get(site).expect("each site has a tail");
        self.request.extend_from_slice(tail);
    }

    /// Ends the head of a request with a body.
    fn end(&mut self, body_bytes: usize) {
        if self.shared.manner.named {
            let rng = &self.shared.env.rng;
            let (high, low) = (rng.next(), rng.next());
            self.line(format_args!("{IDEMPOTENCY_KEY}: {high:016x}{low:016x}\r\n"));
        }
        self.line(format_args!("content-length: {body_bytes}\r\n\r\n"));
    }

    /// Sends what was made ready, and reads the answer.
    async fn ask(&mut self, site: usize) -> Result<Answer, Failed> {
        let url = self.shared.endpoints.get(site).expect("each site has an endpoint");
        let place = self.connections.get_mut(site).expect("each site has a place");
        let (kept, request) = (place.take(), self.request.as_slice());
        let work = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(url)
                    .await
                    .map_err(|error| Failed::NotApplied(format!("{url}: {error}")))?,
            };
            let answer = connection.ask(request).await;
            // Whether it was read, and how far, nobody says.
            let answer = answer.map_err(|error| Failed::Unknown(format!("{url}: {error}")))?;
            Ok((connection, answer))
        };
        let silent = || Err(Failed::Unknown(format!("{url} stayed silent")));
        match self.patience.wait(work).await.unwrap_or_else(silent) {
            Ok((connection, answer)) => {
                *place = Some(connection);
                Ok(answer)
            }
            Err(failed) => Err(failed),
        }
    }

    /// Forgets a connection that ends with its last answer.
    fn settle(&mut self, site: usize, answer: &Answer) {
        if !Connection::stays(answer)
            && let Some(place) = self.connections.get_mut(site)
        {
            *place = None;
        }
    }

    fn body(&self, site: usize, answer: &Answer) -> &[u8] {
        let connection = self.connections.get(site).and_then(Option::as_ref);
        connection.map(|connection| connection.body(answer)).unwrap_or_default()
    }

    /// Takes over a newer table, and fetches one when an answer or a failure has said that ours is
    /// old. Before an operation, since an answer stays in its connection until the next request.
    async fn learn(&mut self) {
        if let Some(place) = self.ending.take().and_then(|site| self.connections.get_mut(site)) {
            *place = None;
        }
        if std::mem::take(&mut self.outdated) && !self.shared.manner.pinned && self.may_look() {
            for site in 0..self.shared.endpoints.len() {
                self.request.clear();
                self.line(format_args!("GET {CLUSTER_PATH}"));
                self.tail(site);
                self.request.extend_from_slice(b"\r\n");
                let Ok(answer) = self.ask(site).await else { continue };
                let view = serde_json::from_slice::<ClusterView>(self.body(site, &answer));
                self.settle(site, &answer);
                if let Ok(view) = view {
                    let leaders = Leaders::of(&view, &self.shared.endpoints);
                    *self.shared.leaders.lock() = Arc::new(leaders);
                    self.shared.edition.fetch_add(1, Ordering::AcqRel);
                    break;
                }
            }
        }
        let edition = self.shared.edition.load(Ordering::Acquire);
        if edition != self.edition {
            self.edition = edition;
            self.leaders = Arc::clone(&self.shared.leaders.lock());
        }
    }

    /// One lane looks at a time, and not too often.
    fn may_look(&self) -> bool {
        let now = self.shared.env.clock.now();
        let mut looked = self.shared.looked.lock();
        let free = now.since(*looked) >= Duration::from_millis(ROUTES_REFRESH_MS);
        if free {
            *looked = now;
        }
        free
    }

    /// Sends what was made ready; refusals become failures, with their own words.
    async fn answered(&mut self, site: usize) -> Result<Answer, Failed> {
        let asked = self.ask(site).await;
        self.outdated |= asked.as_ref().map_or(true, |answer| answer.elsewhere);
        let answer = asked?;
        if answer.status < 400 {
            return Ok(answer);
        }
        let failed = refusal(answer.status, self.body(site, &answer));
        self.settle(site, &answer);
        Err(failed)
    }
}

#[async_trait]
impl Lane for OurLane {
    fn suits(&self, key: &str) -> bool {
        self.site_for(key) == self.site
    }

    async fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Failed> {
        self.learn().await;
        let site = self.site_for(key);
        self.begin("PUT", key, site);
        self.end(value.len());
        self.request.extend_from_slice(value);
        let answer = self.answered(site).await?;
        self.settle(site, &answer);
        match answer.tagged {
            true => Ok(()),
            false => Err(Failed::Unknown(format!("HTTP {} without an ETag", answer.status))),
        }
    }

    async fn get(&mut self, key: &str) -> Result<Option<&[u8]>, Failed> {
        self.learn().await;
        let site = self.site_for(key);
        self.begin("GET", key, site);
        self.request.extend_from_slice(b"\r\n");
        match self.answered(site).await {
            Ok(answer) if answer.tagged => {
                // Its bytes are in the connection, which is forgotten before the next request.
                self.ending = (!Connection::stays(&answer)).then_some(site);
                Ok(Some(self.body(site, &answer)))
            }
            Ok(answer) => {
                Err(Failed::NotApplied(format!("HTTP {} without an ETag", answer.status)))
            }
            Err(Failed::Unmet) => Ok(None),
            // A read has no effect, whatever became of it.
            Err(Failed::Unknown(text) | Failed::NotApplied(text)) => Err(Failed::NotApplied(text)),
        }
    }

    fn add(&mut self, key: &str, value: &[u8]) {
        let text =
            std::str::from_utf8(value).expect("loads write text, which JSON carries as it is");
        self.added += 1;
        self.batch.extend_from_slice(b"{\"put\":");
        serde_json::to_writer(&mut self.batch, key).expect("a text is plain JSON");
        self.batch.extend_from_slice(b",\"value\":");
        serde_json::to_writer(&mut self.batch, text).expect("a text is plain JSON");
        self.batch.extend_from_slice(b"}\n");
    }

    async fn send(&mut self) -> Result<Vec<Outcome>, Failed> {
        let added = std::mem::take(&mut self.added);
        let batch = std::mem::take(&mut self.batch);
        self.learn().await;
        let site = self.site;
        self.request.clear();
        self.line(format_args!("POST /v1/ns/default/batch"));
        self.tail(site);
        self.line(format_args!("content-type: {NDJSON}\r\n"));
        self.end(batch.len());
        self.request.extend_from_slice(&batch);
        // Its room is for the next one.
        self.batch = batch;
        self.batch.clear();
        let answer = self.answered(site).await?;
        let outcomes = outcomes(self.body(site, &answer), added);
        self.settle(site, &answer);
        Ok(outcomes)
    }
}

/// What became of each line; nothing when the last line says that all of them succeeded and there are
/// as many lines before it.
fn outcomes(body: &[u8], added: usize) -> Vec<Outcome> {
    let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let last = body.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Ok(end) = serde_json::from_slice::<BatchEnd>(last)
        && end.failed == 0
        && end.code.is_none()
        && usize::try_from(end.ops) == Ok(added)
        && lines.clone().count() == added + 1
    {
        return Vec::new();
    }
    // Of what has no result nobody can say.
    let mut all = vec![Outcome::Unknown; added];
    lines.by_ref().filter_map(|line| serde_json::from_slice::<BatchResult>(line).ok()).for_each(
        |result| {
            let at = result.n.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            if let Some(place) = at.and_then(|at| all.get_mut(at)) {
                *place = if result.status < 400 { Outcome::Applied } else { result.outcome };
            }
        },
    );
    all
}

/// What a refusal says; `Unmet` stands for a key that is not there.
fn refusal(status: u16, body: &[u8]) -> Failed {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        // Something between us and the node may have spoken; only a refusal of the request is certain.
        let text = format!("HTTP {status} without a known body");
        let certain = (400..500).contains(&status);
        return if certain { Failed::NotApplied(text) } else { Failed::Unknown(text) };
    };
    let text = format!("{} ({}, HTTP {status})", problem.detail, problem.code);
    match problem.outcome {
        _ if problem.code == "key_not_found" => Failed::Unmet,
        Outcome::NotApplied => Failed::NotApplied(text),
        Outcome::Applied | Outcome::Unknown => Failed::Unknown(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_right_as_a_whole_or_line_by_line() {
        let line = |n: u64, status: u16, outcome: &str| {
            format!("{{\"n\":{n},\"status\":{status},\"outcome\":\"{outcome}\"}}\n")
        };
        let end =
            |ops: u64, failed: u64| format!("{{\"end\":true,\"ops\":{ops},\"failed\":{failed}}}\n");
        let two = line(1, 201, "applied") + &line(2, 200, "applied");
        assert_eq!(outcomes((two.clone() + &end(2, 0)).as_bytes(), 2), []);
        // Fewer results than the last line claims, and an answer that was cut off:
        let one = line(1, 201, "applied");
        let half = [Outcome::Applied, Outcome::Unknown];
        assert_eq!(outcomes((one.clone() + &end(2, 0)).as_bytes(), 2), half);
        assert_eq!(outcomes(one.as_bytes(), 2), half);
        let refused = one + &line(2, 503, "not_applied") + &end(2, 1);
        assert_eq!(outcomes(refused.as_bytes(), 2), [Outcome::Applied, Outcome::NotApplied]);
        assert_eq!(outcomes(two.as_bytes(), 2), [Outcome::Applied; 2]);
    }

    #[test]
    fn a_refusal_is_sure_only_when_the_node_says_so() {
        assert!(matches!(refusal(404, b"<html>"), Failed::NotApplied(_)));
        assert!(matches!(refusal(502, b"<html>"), Failed::Unknown(_)));
        let problem = |code: &str, outcome: &str| {
            serde_json::json!({ "type": "x", "title": "x", "status": 503, "detail": "x", "code": code,
                "outcome": outcome, "request_id": "x" })
            .to_string()
        };
        let of = |code, outcome| refusal(503, problem(code, outcome).as_bytes());
        assert!(matches!(of("unavailable", "not_applied"), Failed::NotApplied(_)));
        assert!(matches!(of("undetermined", "unknown"), Failed::Unknown(_)));
        assert_eq!(of("key_not_found", "not_applied"), Failed::Unmet);
    }
}

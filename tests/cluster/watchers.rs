//! Two hundred watchers see every change exactly once, in each group's order, whatever dies.
//!
//! Writers change keys under a prefix while nodes are killed and restarted and the watchers are moved
//! from node to node. Each watcher resumes with its last cursor. At the end all must have seen the
//! same changes, in the same order within each group, and among them each acknowledged one once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::api::{Api, Fate, fate};
use crate::support::chance::{rounds, seeded};
use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::wait_until;

const WATCHERS: usize = 200;
const WRITERS: u64 = 8;
const PREFIX: &str = "watched/";

/// Events after which a watcher moves to another node, on average.
const MOVE_ONE_IN: u32 = 150;

const REST: Duration = Duration::from_millis(50);

/// A node that sends nothing for so long, not even a bookmark, is left.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// Place of a change: index and place within the entry.
type Place = (u64, u64);

/// What a watcher has seen, by group and in order.
type Seen = BTreeMap<u64, Vec<(Place, String)>>;

#[derive(Debug, Default)]
struct Watcher {
    seen: Mutex<Seen>,
    moves: AtomicU64,
    resumes: AtomicU64,
    ready: AtomicBool,
    /// What it met last, for who has to find out why it stopped.
    last: Mutex<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_each_change_once_in_group_order_while_nodes_die() {
    let mut rng = seeded("watchers_see_each_change_once_in_group_order_while_nodes_die");
    let kills = rounds("TETRARCH_ROUNDS", 3);
    let mut cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let watchers: Vec<Arc<Watcher>> = (0..WATCHERS).map(|_| Arc::default()).collect();
    let mut tasks = JoinSet::new();
    for watcher in &watchers {
        let (api, bases) = (cluster.api.clone(), cluster.all_urls());
        tasks.spawn(watch(api, bases, Arc::clone(watcher), Arc::clone(&stop), rng.fork()));
    }
    wait_until("all watchers have begun", async || {
        let late = watchers.iter().filter(|w| !w.ready.load(Ordering::Relaxed)).count();
        if late == 0 { Ok(()) } else { Err(format!("{late} have not")) }
    })
    .await;
    let acked: Arc<Mutex<Vec<(u64, u64, String)>>> = Arc::default();
    let quiet = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (api, bases) = (cluster.api.clone(), cluster.all_urls());
        let (acked, quiet) = (Arc::clone(&acked), Arc::clone(&quiet));
        writers.spawn(write(api, bases, writer, acked, quiet, rng.fork()));
    }
    for _ in 0..kills {
        more(&acked, 150).await;
        let victim = rng.u64(1..=3);
        cluster.kill(victim);
        more(&acked, 150).await;
        cluster.restart(victim);
        cluster.wait_ready(victim).await;
    }
    more(&acked, 150).await;
    quiet.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer does not panic");
    }
    let acked = acked.lock().clone();
    for (number, watcher) in watchers.iter().enumerate() {
        wait_until(&format!("watcher {number} has seen all that was acknowledged"), async || {
            let seen = watcher.seen.lock();
            let has = |group: &u64, index: &u64| {
                seen.get(group).is_some_and(|all| all.iter().any(|((at, _), _)| at == index))
            };
            let missing: Vec<_> = acked.iter().filter(|(g, i, _)| !has(g, i)).take(3).collect();
            if missing.is_empty() {
                return Ok(());
            }
            let newest: Vec<_> =
                missing.iter().map(|(g, ..)| seen.get(g).and_then(|all| all.last())).collect();
            let others = missing.first().map(|(group, index, _)| {
                let has = |w: &&Arc<Watcher>| {
                    !std::ptr::eq(Arc::as_ptr(w), Arc::as_ptr(watcher))
                        && w.seen.lock().get(group).is_some_and(|all| {
                            all.iter().any(|((at, _), _)| at == index)
                        })
                };
                watchers.iter().filter(has).count()
            });
            Err(format!("missing {missing:?}, the first seen by {others:?} others; newest there {newest:?}; {}", watcher.last.lock()))
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    tasks.shutdown().await;
    judge(&watchers, &acked);
}

fn judge(watchers: &[Arc<Watcher>], acked: &[(u64, u64, String)]) {
    let mut newest = BTreeMap::<u64, u64>::new();
    for (group, index, _) in acked {
        let known = newest.entry(*group).or_default();
        *known = (*known).max(*index);
    }
    // What is newer than the last acknowledged change may not have reached everyone yet.
    let until = |seen: &Seen| -> Seen {
        newest
            .iter()
            .map(|(group, newest)| {
                let all = seen.get(group).cloned().unwrap_or_default();
                (*group, all.into_iter().filter(|((at, _), _)| at <= newest).collect())
            })
            .collect()
    };
    let first = until(&watchers[0].seen.lock());
    for (number, watcher) in watchers.iter().enumerate() {
        let seen = watcher.seen.lock();
        for (group, changes) in seen.iter() {
            for pair in changes.windows(2) {
                assert!(
                    pair[0].0 < pair[1].0,
                    "watcher {number}, group {group}: {:?} and then {:?}",
                    pair[0],
                    pair[1]
                );
            }
        }
        assert!(until(&seen) == first, "watchers 0 and {number} saw different changes");
    }
    for (group, index, key) in acked {
        let found = first[group].iter().filter(|((at, _), _)| at == index).collect::<Vec<_>>();
        assert!(
            found.len() == 1 && found[0].1 == *key,
            "the write of {key} at {group}-{index} was seen as {found:?}"
        );
    }
    let sum = |of: fn(&Watcher) -> &AtomicU64| -> u64 {
        watchers.iter().map(|w| of(w).load(Ordering::Relaxed)).sum()
    };
    let (moves, resumes) = (sum(|w| &w.moves), sum(|w| &w.resumes));
    println!(
        "  {} changes acknowledged, {} watchers agree; {moves} moves, {resumes} resumptions",
        acked.len(),
        watchers.len()
    );
    assert!(resumes > moves && moves > 0, "no watcher lost its node: the test shows nothing");
}

async fn more(acked: &Mutex<Vec<(u64, u64, String)>>, more: usize) {
    let goal = acked.lock().len() + more;
    wait_until(&format!("{more} more changes are acknowledged"), async || {
        let now = acked.lock().len();
        if now >= goal { Ok(()) } else { Err(format!("{} are missing", goal - now)) }
    })
    .await;
}

async fn write(
    api: Api,
    bases: Vec<String>,
    writer: u64,
    acked: Arc<Mutex<Vec<(u64, u64, String)>>>,
    quiet: Arc<AtomicBool>,
    mut rng: fastrand::Rng,
) {
    while !quiet.load(Ordering::Relaxed) {
        let key = format!("{PREFIX}{writer}/{}", rng.u32(..50));
        let base = rng.choice(&bases).expect("there is a node");
        let came_back = if rng.u32(..6) == 0 {
            api.delete(base, key.as_bytes()).await
        } else {
            api.put(base, key.as_bytes(), format!("{:x}", rng.u64(..)).into()).await
        };
        match fate(came_back) {
            Fate::Applied(answer) if answer.status != 404 => {
                let (group, index) = (answer.group().unwrap(), answer.index().unwrap());
                acked.lock().push((group, index, key));
            }
            Fate::Applied(_) => {}
            Fate::NotApplied(_) | Fate::Unknown(_) => tokio::time::sleep(REST).await,
        }
    }
}

async fn watch(
    api: Api,
    bases: Vec<String>,
    watcher: Arc<Watcher>,
    stop: Arc<AtomicBool>,
    mut rng: fastrand::Rng,
) {
    let mut cursor = None;
    while !stop.load(Ordering::Relaxed) {
        let base = rng.choice(&bases).expect("there is a node");
        let since = cursor.as_deref().unwrap_or("now").to_owned();
        let url = format!("{base}/v1/ns/default/watch?prefix={PREFIX}&since={since}");
        let request = api
            .request(Method::GET, &url)
            .header("accept", "application/x-ndjson")
            .timeout(Duration::from_secs(600));
        let Ok(Ok(response)) = tokio::time::timeout(SILENCE_MAX, request.send()).await else {
            *watcher.last.lock() = format!("no answer by {base}");
            tokio::time::sleep(REST).await;
            continue;
        };
        if response.status() != 200 {
            let status = response.status();
            let text = response.text().await.unwrap_or_default();
            assert!(status.as_u16() >= 500, "{status}: {text}");
            *watcher.last.lock() = text;
            tokio::time::sleep(REST).await;
            continue;
        }
        if cursor.is_some() {
            watcher.resumes.fetch_add(1, Ordering::Relaxed);
        }
        follow(response, &watcher, &mut cursor, &mut rng).await;
    }
}

/// Reads events until the stream ends, goes silent, or the watcher wants to move.
async fn follow(
    response: reqwest::Response,
    watcher: &Watcher,
    cursor: &mut Option<String>,
    rng: &mut fastrand::Rng,
) {
    let response_from = response.url().to_string();
    let mut body = response.bytes_stream();
    let mut pending = Vec::new();
    loop {
        let Ok(Some(Ok(bytes))) = tokio::time::timeout(SILENCE_MAX, body.next()).await else {
            return;
        };
        pending.extend_from_slice(&bytes);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&line)));
            let kind = event["type"].as_str().expect("an event has a type");
            if let Some(text) = event["cursor"].as_str() {
                *cursor = Some(text.to_owned());
                *watcher.last.lock() = format!("{response_from}: {event}");
                watcher.ready.store(true, Ordering::Relaxed);
            }
            match kind {
                "put" | "delete" => {
                    let number = |name: &str| event[name].as_u64().expect("an event has a place");
                    let key = event["key"].as_str().expect("an event has a key").to_owned();
                    let place = (number("index"), number("seq"));
                    watcher.seen.lock().entry(number("group")).or_default().push((place, key));
                    if rng.u32(..MOVE_ONE_IN) == 0 {
                        watcher.moves.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
                "bookmark" => {}
                "end" => return,
                other => panic!("an event of kind {other:?}: {event}"),
            }
        }
    }
}

//! Idempotent increments are counted exactly, whatever happens to answers and leaders.
//!
//! Thirty-two clients with short timeouts repeat each increment, under its own `Idempotency-Key` and
//! at any node, until they are told that it is done, while the leader of a counter is killed again
//! and again. One increment too many or too few fails the test; so does a run in which nothing had
//! to be repeated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use tokio::task::JoinSet;

use crate::support::api::{Api, Silence};
use crate::support::chance::{rounds, seeded};
use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::wait_until;

const CLIENTS: u64 = 32;
const COUNTERS: usize = 4;

/// A client gives up on an answer so soon that many are lost while a leader is away.
const PATIENCE: Duration = Duration::from_millis(400);

const REST: Duration = Duration::from_millis(20);

/// What the clients have seen together.
#[derive(Debug, Default)]
struct Seen {
    done: [AtomicU64; COUNTERS],
    repeated: AtomicU64,
    replayed: AtomicU64,
    stop: AtomicBool,
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_are_counted_exactly_while_leaders_die() {
    let mut rng = seeded("increments_are_counted_exactly_while_leaders_die");
    let kills = rounds("TETRARCH_ROUNDS", 4);
    let mut cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (api, bases, seen) = (cluster.api.clone(), cluster.all_urls(), Arc::clone(&seen));
        clients.spawn(increment(api, bases, client, seen, rng.fork()));
    }
    let mut killed = BTreeMap::<u64, u64>::new();
    for _ in 0..kills {
        progress(&seen, CLIENTS * 4).await;
        let counter = rng.usize(..COUNTERS);
        let route = cluster.api.route(&cluster.url(1), &key(counter)).await.unwrap();
        let Some(leader) = route.leader else { continue };
        cluster.kill(leader);
        *killed.entry(leader).or_default() += 1;
        progress(&seen, CLIENTS * 4).await;
        cluster.restart(leader);
        cluster.wait_ready(leader).await;
    }
    progress(&seen, CLIENTS * 4).await;
    seen.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client does not panic");
    }
    let (repeated, replayed) =
        (seen.repeated.load(Ordering::Relaxed), seen.replayed.load(Ordering::Relaxed));
    println!("  leaders killed: {killed:?}; {repeated} repeats, {replayed} answered by a replay");
    assert!(killed.values().sum::<u64>() > 0, "no leader was killed: the test shows nothing");
    assert!(repeated > 0, "no increment was repeated: the test shows nothing");
    for (counter, done) in seen.done.iter().enumerate() {
        let wanted = done.load(Ordering::Relaxed).to_string();
        for base in cluster.all_urls() {
            let key = key(counter);
            let answer = wait_until("the counter is read", async || {
                match cluster.api.get(&base, key.as_bytes()).await {
                    Ok(answer) if answer.status == 200 => Ok(answer),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            assert_eq!(answer.text(), wanted, "counter {counter} at {base}");
        }
        println!("  counter {counter}: {wanted} increments, exact at every node");
    }
}

fn key(counter: usize) -> String {
    format!("counter/{counter}")
}

async fn progress(seen: &Seen, more: u64) {
    let now = || seen.done.iter().map(|done| done.load(Ordering::Relaxed)).sum::<u64>();
    let goal = now() + more;
    wait_until(&format!("{more} more increments are done"), async || {
        if now() >= goal { Ok(()) } else { Err(format!("{} are missing", goal - now())) }
    })
    .await;
}

async fn increment(
    api: Api,
    bases: Vec<String>,
    client: u64,
    seen: Arc<Seen>,
    mut rng: fastrand::Rng,
) {
    let mut number = 0_u64;
    while !seen.stop.load(Ordering::Relaxed) {
        number += 1;
        let counter = rng.usize(..COUNTERS);
        let once = format!("client-{client}-{number}-{:016x}", rng.u64(..));
        let mut tries = 0_u64;
        loop {
            tries += 1;
            let base = rng.choice(&bases).expect("there is a node");
            let request = api
                .request(Method::PATCH, &Api::key_url(base, key(counter).as_bytes()))
                .header("idempotency-key", &once)
                .header("content-type", "application/kv-op+json")
                .header("request-timeout", "350ms")
                .timeout(PATIENCE)
                .body(r#"{"add":1}"#);
            match api.send(request).await {
                Ok(answer) if answer.status == 200 => {
                    if answer.header("kv-replayed") == Some("?1") {
                        assert!(tries > 1, "a first request was answered by a replay");
                        seen.replayed.fetch_add(1, Ordering::Relaxed);
                    }
                    break;
                }
                Ok(answer) => {
                    assert!(answer.status >= 500, "{}: {}", answer.status, answer.text());
                }
                Err(Silence::NotSent(_) | Silence::Lost(_)) => {}
            }
            seen.repeated.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(REST).await;
        }
        seen.done[counter].fetch_add(1, Ordering::Relaxed);
    }
}

//! Leases end when they should and never before; fencing tokens only grow.
//!
//! Judged by the clients' own monotonic clock and only where it is certain: a lease has ended early if
//! something of it was missing in an answer that arrived before the lease's time, counted from the
//! moment at which its grant or last renewal was *sent*, was over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::api::{Answer, Api, Silence};
use crate::support::chance::{rounds, seeded};
use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::{GIVE_UP_AFTER, wait_until};

const TTL: Duration = Duration::from_secs(4);

/// How often kept leases are renewed.
const RENEW_EVERY: Duration = Duration::from_millis(800);

const REST: Duration = Duration::from_millis(30);

/// How often kept keys are looked at, at least.
const LOOKS: u64 = 100;

/// What the keepers of all leases have done.
#[derive(Debug, Default)]
struct Counts {
    renewals: AtomicU64,
    looks: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Pause,
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_hold_and_end_while_leaders_are_killed() {
    let mut rng = seeded("leases_hold_and_end_while_leaders_are_killed");
    leases_under(Fault::Kill, &mut rng).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_hold_and_end_while_leaders_are_paused() {
    let mut rng = seeded("leases_hold_and_end_while_leaders_are_paused");
    leases_under(Fault::Pause, &mut rng).await;
}

async fn leases_under(fault: Fault, rng: &mut fastrand::Rng) {
    let mut cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let counts = Arc::new(Counts::default());
    let renewals = &counts.renewals;
    let mut keepers = JoinSet::new();
    for number in 0..12 {
        let (api, bases) = (cluster.api.clone(), cluster.all_urls());
        let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
        keepers.spawn(keep(api, bases, number, stop, counts, rng.fork()));
    }
    let mut left = JoinSet::new();
    for round in 0..rounds("TETRARCH_ROUNDS", 2) {
        for number in 0..12 {
            let (api, bases) = (cluster.api.clone(), cluster.all_urls());
            left.spawn(leave(api, bases, format!("left/{round}/{number}"), rng.fork()));
        }
        wait_more(renewals, 24).await;
        let key = format!("kept/{}/a", rng.u64(..12));
        let leader = cluster.api.route(&cluster.url(1), &key).await.unwrap().leader.unwrap();
        match fault {
            Fault::Kill => cluster.kill(leader),
            Fault::Pause => cluster.pause(leader),
        }
        let struck = Instant::now();
        wait_until("the others have gone on for longer than a lease", async || {
            if struck.elapsed() > TTL + TTL / 2 { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        match fault {
            Fault::Kill => cluster.restart(leader),
            Fault::Pause => cluster.resume(leader),
        }
        cluster.wait_ready(leader).await;
        wait_more(renewals, 24).await;
    }
    let mut ends = Vec::new();
    while let Some(ended) = left.join_next().await {
        ends.push(ended.expect("nothing left ends early"));
    }
    ends.sort();
    wait_until("the kept keys were looked at often enough", async || {
        let looks = counts.looks.load(Ordering::Relaxed);
        if looks > LOOKS { Ok(()) } else { Err(format!("{looks} of {LOOKS} looks")) }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    while let Some(kept) = keepers.join_next().await {
        kept.expect("nothing kept ends early");
    }
    let checks = counts.looks.load(Ordering::Relaxed);
    println!(
        "  {} renewals, {checks} looks at kept keys, none missing; {} leases left alone all ended, \
         the first after {:?}, the last after {:?} of {TTL:?}",
        renewals.load(Ordering::Relaxed),
        ends.len(),
        ends.first().unwrap(),
        ends.last().unwrap()
    );
}

async fn wait_more(count: &AtomicU64, more: u64) {
    let goal = count.load(Ordering::Relaxed) + more;
    wait_until(&format!("{more} more renewals"), async || {
        let now = count.load(Ordering::Relaxed);
        if now >= goal { Ok(()) } else { Err(format!("{} are missing", goal - now)) }
    })
    .await;
}

/// Grants a lease with two keys in different groups, renews it, and looks at the keys.
async fn keep(
    api: Api,
    bases: Vec<String>,
    number: u64,
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    mut rng: fastrand::Rng,
) {
    let keys = [format!("kept/{number}/a"), format!("kept/{number}/b")];
    let mut known: Option<(String, Instant)> = None;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let base = rng.choice(&bases).expect("there is a node").clone();
        let Some((lease, until)) = known.clone() else {
            known = Some(granted(&api, &bases, &keys, &mut rng).await);
            continue;
        };
        if Instant::now() >= next {
            let sent = Instant::now();
            let url = format!("{base}/v1/leases/{lease}/renew");
            match ask(&api, Method::POST, &url, None).await {
                Some(answer) if answer.status == 200 => {
                    counts.renewals.fetch_add(1, Ordering::Relaxed);
                    known = Some((lease, sent + TTL));
                    next = sent + RENEW_EVERY;
                }
                Some(answer) if answer.status == 404 => {
                    // Only certain if its time was not over when the answer came.
                    assert!(Instant::now() >= until, "lease {lease} ended early");
                    known = None;
                }
                _ => {}
            }
            continue;
        }
        let key = rng.choice(&keys).expect("there are keys");
        if let Some(answer) =
            ask(&api, Method::GET, &Api::key_url(&base, key.as_bytes()), None).await
        {
            let arrived = Instant::now();
            assert!(
                answer.status == 200 || arrived >= until || answer.status >= 500,
                "{key} was missing {:?} before its lease {lease} was over: {}",
                until - arrived,
                answer.text()
            );
            if answer.status == 404 {
                known = None;
            }
            counts.looks.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(REST).await;
    }
}

/// A lease with these keys, and the moment before which it surely lives.
async fn granted(
    api: &Api,
    bases: &[String],
    keys: &[String],
    rng: &mut fastrand::Rng,
) -> (String, Instant) {
    loop {
        let base = rng.choice(bases).expect("there is a node").clone();
        let sent = Instant::now();
        let body = format!(r#"{{"ttl":"{}ms"}}"#, TTL.as_millis());
        let Some(answer) = ask(api, Method::POST, &format!("{base}/v1/leases"), Some(body)).await
        else {
            continue;
        };
        if answer.status != 201 {
            tokio::time::sleep(REST).await;
            continue;
        }
        let view: Value = serde_json::from_slice(&answer.body).unwrap();
        let lease = view["id"].as_str().unwrap().to_owned();
        let mut written = 0;
        while written < keys.len() && sent.elapsed() < TTL {
            let url = Api::key_url(&base, keys[written].as_bytes());
            let request = api.request(Method::PUT, &url).header("kv-lease", &lease).body("x");
            match api.send(request.timeout(Duration::from_secs(2))).await {
                Ok(answer) if answer.status < 300 => written += 1,
                _ => tokio::time::sleep(REST).await,
            }
        }
        if written == keys.len() {
            return (lease, sent + TTL);
        }
    }
}

/// Writes a key with a lease of its own, and waits until it is gone: how long that took.
async fn leave(api: Api, bases: Vec<String>, key: String, mut rng: fastrand::Rng) -> Duration {
    let sent = loop {
        let base = rng.choice(&bases).expect("there is a node").clone();
        let sent = Instant::now();
        let url = format!("{}?ttl={}ms", Api::key_url(&base, key.as_bytes()), TTL.as_millis());
        let request = api.request(Method::PUT, &url).body(Bytes::from_static(b"left"));
        match api.send(request.timeout(Duration::from_secs(3))).await {
            Ok(answer) if answer.status < 300 => break sent,
            _ => tokio::time::sleep(REST).await,
        }
    };
    loop {
        assert!(sent.elapsed() < GIVE_UP_AFTER, "{key} never went");
        let base = rng.choice(&bases).expect("there is a node").clone();
        let answer = ask(&api, Method::GET, &Api::key_url(&base, key.as_bytes()), None).await;
        if answer.is_some_and(|answer| answer.status == 404) {
            let took = sent.elapsed();
            assert!(took >= TTL, "{key} was gone {took:?} after it was written");
            return took;
        }
        tokio::time::sleep(REST).await;
    }
}

async fn ask(api: &Api, method: Method, url: &str, body: Option<String>) -> Option<Answer> {
    let mut request = api.request(method, url).timeout(Duration::from_secs(2));
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    match api.send(request).await {
        Ok(answer) => Some(answer),
        Err(Silence::NotSent(_) | Silence::Lost(_)) => {
            tokio::time::sleep(REST).await;
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fencing_tokens_only_grow_while_leaders_are_killed_and_paused() {
    let mut rng = seeded("fencing_tokens_only_grow_while_leaders_are_killed_and_paused");
    let mut cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    let largest = Arc::new(Mutex::new((0_u64, 0_u64)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut contenders = JoinSet::new();
    for number in 0..6 {
        let (api, bases) = (cluster.api.clone(), cluster.all_urls());
        let (largest, stop) = (Arc::clone(&largest), Arc::clone(&stop));
        contenders.spawn(contend(api, bases, number, largest, stop, rng.fork()));
    }
    for round in 0..rounds("TETRARCH_ROUNDS", 4) {
        held_again(&largest, 4).await;
        let leader = cluster.api.route(&cluster.url(1), "the-lock").await.unwrap().leader;
        let Some(leader) = leader else { continue };
        if round % 2 == 0 {
            cluster.kill(leader);
            held_again(&largest, 2).await;
            cluster.restart(leader);
        } else {
            cluster.pause(leader);
            held_again(&largest, 2).await;
            cluster.resume(leader);
        }
        cluster.wait_ready(leader).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = contenders.join_next().await {
        ended.expect("tokens only grow");
    }
    let (token, holds) = *largest.lock();
    println!("  held {holds} times, the largest token is {token}");
}

async fn held_again(largest: &Mutex<(u64, u64)>, times: u64) {
    let goal = largest.lock().1 + times;
    wait_until(&format!("the lock is taken {times} more times"), async || {
        let now = largest.lock().1;
        if now >= goal { Ok(()) } else { Err(format!("{} are missing", goal - now)) }
    })
    .await;
}

/// Takes the lock again and again; sometimes lets it go, sometimes lets it run out.
async fn contend(
    api: Api,
    bases: Vec<String>,
    number: u64,
    largest: Arc<Mutex<(u64, u64)>>,
    stop: Arc<AtomicBool>,
    mut rng: fastrand::Rng,
) {
    while !stop.load(Ordering::Relaxed) {
        let base = rng.choice(&bases).expect("there is a node").clone();
        let url = format!("{base}/v1/ns/default/locks/the-lock");
        // All tokens that anyone held before this request was sent must be smaller.
        let before = largest.lock().0;
        let body = format!(r#"{{"ttl":"2s","owner":"c{number}","wait":"3s"}}"#);
        let request = api.request(Method::POST, &url).header("request-timeout", "5s");
        let request = request.header("content-type", "application/json").body(body);
        let Ok(answer) = api.send(request.timeout(Duration::from_secs(7))).await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        if answer.status != 200 {
            assert!(answer.status == 409 || answer.status >= 500, "{}", answer.text());
            tokio::time::sleep(REST).await;
            continue;
        }
        let view: Value = serde_json::from_slice(&answer.body).unwrap();
        let token = view["token"].as_u64().expect("a holder has a token");
        assert!(token > before, "token {token} was given out after {before} had been held");
        {
            let mut largest = largest.lock();
            *largest = (largest.0.max(token), largest.1 + 1);
        }
        if rng.u32(..3) > 0 {
            let url = format!("{url}?token={token}");
            drop(api.send(api.request(Method::DELETE, &url).timeout(Duration::from_secs(3))).await);
        }
    }
}

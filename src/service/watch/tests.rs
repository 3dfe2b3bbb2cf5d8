//! Tests of watches: every change once and in order, whatever happens to the watch.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::model::{Give, WriteOp, split_data_key};
use crate::runtime::Moment;
use crate::service::testing::World;
use crate::service::{Condition, KeyRequest, KeyStep, Step, TxnRequest};

fn context() -> Context {
    Context::new(Moment(u64::MAX / 2), "test")
}

fn write(op: WriteOp) -> KeyRequest {
    KeyRequest { require: Condition::None, op, give: Give::Nothing }
}

fn put(value: &str) -> KeyRequest {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let attach = crate::model::Attach::None;
    write(WriteOp::Put { value, content_type: None, attach })
}

fn request(prefix: &str, since: Since) -> WatchRequest {
    WatchRequest {
        range: KeyRange::new(prefix.as_bytes(), b"", None),
        since,
        initial: false,
        previous: true,
        kinds: Kinds::ALL,
    }
}

/// The next event that is no bookmark.
async fn event(watch: &mut Watch) -> WatchEvent {
    loop {
        match watch.next().await.expect("the watch goes on") {
            WatchEvent::Bookmark { .. } => {}
            event => return event,
        }
    }
}

async fn set(service: &Service, key: &str, value: &str) {
    let key = Bytes::copy_from_slice(key.as_bytes());
    service.write("default", key, put(value), context()).await.unwrap();
}

/// One random step: a put, a delete, or several keys in one entry.
async fn step(service: &Service, rng: &mut fastrand::Rng, number: u64) {
    let key = |n: u64| Bytes::from(format!("{}/{n}", ["a", "b"][usize::from(n.is_multiple_of(3))]));
    match rng.u8(0..4) {
        0 => {
            let key = key(rng.u64(0..12));
            service.write("default", key, write(WriteOp::Delete), context()).await.unwrap();
        }
        1 => {
            let step = |n: u64| KeyStep {
                key: Bytes::from(format!("a/{{t}}{n}")),
                step: Step::Write(put(&format!("{number}"))),
            };
            let txn = TxnRequest { then: (0..3).map(step).collect(), ..TxnRequest::default() };
            service.txn("default", txn, context()).await.unwrap();
        }
        _ => {
            let key = key(rng.u64(0..12));
            service.write("default", key, put(&number.to_string()), context()).await.unwrap();
        }
    }
}

type Seen = BTreeMap<GroupId, Vec<(u64, u32, Bytes)>>;

/// Lets a watch run for a moment, then cuts it off wherever it is.
async fn follow(
    service: &Service,
    cursor: &mut Since,
    (patience, mut left): (Duration, u8),
    seen: &mut Seen,
) {
    let mut watch =
        service.watch("default", request("a/", cursor.clone()), context()).await.unwrap();
    let end = tokio::time::Instant::now() + patience;
    while let Ok(event) = tokio::time::timeout_at(end, watch.next()).await {
        match event.expect("nothing ends the watch") {
            WatchEvent::Change(change) => {
                let shown = (change.index, change.seq, change.key);
                seen.entry(change.group).or_default().push(shown);
                *cursor = Since::Cursor(change.cursor.to_string());
            }
            WatchEvent::Bookmark { cursor: text } => *cursor = Since::Cursor(text.to_string()),
            other => panic!("{other:?}"),
        }
        // Cut off between two events, too.
        left -= 1;
        if left == 0 {
            break;
        }
    }
    // What a poll goes on from.
    *cursor = Since::Cursor(watch.cursor().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_seen_once_and_in_order_whatever_node_the_watch_goes_on_at() {
    let seed = std::env::var("WATCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| crate::runtime::Rng::from_entropy().next());
    println!("replay with WATCH_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::new();
    // The third has no replicas: it follows the others' through mirrors.
    let services = [world.service(1, true), world.service(2, true), world.service(3, false)];
    let mut watchers: Vec<(Since, Seen)> = vec![(Since::Start, Seen::new()); 3];
    for number in 0..60 {
        for _ in 0..rng.u8(0..6) {
            step(&services[0], &mut rng, number).await;
        }
        match rng.u8(0..6) {
            0 => world.hold(2),
            1 | 2 => world.release(2),
            _ => {}
        }
        let (cursor, seen) = &mut watchers[rng.usize(0..3)];
        let service = &services[rng.usize(0..3)];
        let cut = (Duration::from_millis(rng.u64(0..25)), rng.u8(1..30));
        follow(service, cursor, cut, seen).await;
    }
    world.release(2);
    let groups = services[0].flow.place("default", Moment(u64::MAX / 2)).await.unwrap().groups;
    let wanted: Seen = groups
        .into_iter()
        .map(|group| {
            let data = |(index, seq, row): (u64, u32, Bytes)| {
                let key = row.slice_ref(split_data_key(&row)?.1);
                key.starts_with(b"a/").then_some((index, seq, key))
            };
            (group, world.changes(group).into_iter().filter_map(data).collect())
        })
        .filter(|(_, changes): &(GroupId, Vec<_>)| !changes.is_empty())
        .collect();
    let count = |seen: &Seen| seen.values().map(Vec::len).sum::<usize>();
    for (cursor, seen) in &mut watchers {
        while count(seen) < count(&wanted) {
            let service = &services[rng.usize(0..3)];
            let cut = (Duration::from_millis(100), rng.u8(1..60));
            follow(service, cursor, cut, seen).await;
        }
        assert_eq!(*seen, wanted, "seed {seed}");
    }
}

#[tokio::test]
async fn a_watch_that_begins_where_the_replica_is_behind_the_hub_gets_what_lies_between() {
    let world = World::new();
    let services = [world.service(1, true), world.service(2, true)];
    set(&services[0], "k", "0").await;
    let begin = request("k", Since::Start);
    let mut first = services[1].watch("default", begin, context()).await.unwrap();
    event(&mut first).await;
    let cursor = Since::Cursor(first.cursor().to_string());
    world.hold(2);
    for value in ["1", "2", "3"] {
        set(&services[0], "k", value).await;
    }
    // The hub has learnt its place from another node, as it does while the replica here is opened.
    for feed in &first.admitted.feeds {
        feed.publish(world.index());
    }
    let mut second = services[1].watch("default", request("k", cursor), context()).await.unwrap();
    for value in ["1", "2", "3"] {
        let next = tokio::time::timeout(Duration::from_secs(30), event(&mut second)).await;
        let WatchEvent::Change(change) = next.expect("no gap") else { panic!("a change") };
        assert_eq!(change.row.as_ref().unwrap().value, value);
    }
}

#[tokio::test]
async fn the_initial_state_is_followed_by_exactly_the_changes_after_it() {
    let world = World::new();
    let service = world.service(1, true);
    for n in 0..20 {
        set(&service, &format!("k{n:02}"), "old").await;
    }
    let begin = WatchRequest { initial: true, ..request("k", Since::Now) };
    let mut watch = service.watch("default", begin.clone(), context()).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..7 {
        let WatchEvent::Change(change) = event(&mut watch).await else { panic!("a key") };
        assert!(change.initial && change.kind == Kind::Put);
        keys.push(change.key.clone());
    }
    // Changed behind the view, and the watch goes on elsewhere.
    set(&service, "k00", "new").await;
    set(&service, "k19", "new").await;
    let since = Since::Cursor(watch.cursor().to_string());
    drop(watch);
    let other = world.service(2, true);
    let mut watch = other.watch("default", request("k", since), context()).await.unwrap();
    loop {
        match event(&mut watch).await {
            WatchEvent::Change(change) => {
                assert_eq!(change.row.as_ref().unwrap().value, "old", "of the view");
                keys.push(change.key.clone());
            }
            WatchEvent::Synced { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    let all: Vec<String> = (0..20).map(|n| format!("k{n:02}")).collect();
    assert_eq!(keys, all);
    for _ in 0..2 {
        let WatchEvent::Change(change) = event(&mut watch).await else { panic!("a change") };
        assert_eq!(change.row.as_ref().unwrap().value, "new");
        assert_eq!(change.previous.as_ref().unwrap().value, "old");
    }
}

#[tokio::test]
async fn a_trimmed_history_is_an_error_with_a_cursor_to_restart_from() {
    let world = World::new();
    let service = world.service(1, true);
    let _others = [world.service(2, true), world.service(3, true)];
    set(&service, "k", "1").await;
    let mut watch = service.watch("default", request("", Since::Start), context()).await.unwrap();
    event(&mut watch).await;
    let old = Since::Cursor(watch.cursor().to_string());
    set(&service, "k", "2").await;
    world.trim(world.index());
    let refused = service.watch("default", request("", old), context()).await.unwrap_err();
    let ErrorKind::CursorGone { gone: Gone::History, restart: Some(restart), .. } = refused.kind
    else {
        panic!("{refused:?}")
    };
    let restart = request("", Since::Cursor(restart));
    let mut resumed = service.watch("default", restart, context()).await.unwrap();
    set(&service, "k", "3").await;
    let WatchEvent::Change(change) = event(&mut resumed).await else { panic!("a change") };
    assert_eq!(change.row.as_ref().unwrap().value, "3");
    // The first one was not read from meanwhile: it is too late for it.
    let ended = event(&mut watch).await;
    assert!(
        matches!(ended, WatchEvent::End { reason: EndReason::HistoryTrimmed, .. }),
        "{ended:?}"
    );
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn watches_end_with_the_node_and_with_the_namespace_and_are_told_that_they_are_served() {
    let world = World::new();
    let service = world.service(1, true);
    let begin = || service.watch("default", request("x", Since::Now), context());
    let (mut first, mut second) = (begin().await.unwrap(), begin().await.unwrap());
    // An idle watch is told all the same, and others' changes move its cursor on.
    set(&service, "other", "1").await;
    let before = first.cursor();
    let Some(WatchEvent::Bookmark { cursor }) = first.next().await else { panic!("a bookmark") };
    assert_ne!(before, cursor);
    world.edit_catalog(|catalog| {
        catalog.epoch += 1;
        catalog.namespaces.clear();
    });
    let ended = event(&mut first).await;
    assert!(matches!(ended, WatchEvent::End { reason: EndReason::NamespaceDeleted, .. }));
    service.end_watches();
    let ended = event(&mut second).await;
    assert!(matches!(
        ended,
        WatchEvent::End { reason: EndReason::NodeStopping | EndReason::NamespaceDeleted, .. }
    ));
    drop((first, second));
    assert!(service.flow.hub.index.read().is_empty(), "nothing is left of them");
}

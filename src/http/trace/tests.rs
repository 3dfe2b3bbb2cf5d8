//! Tests of traces over HTTP.

use futures_util::StreamExt;

use super::*;
use crate::http::tests::Door;
use crate::wire::TraceLine;

const TRACE: &str = "/v1/ns/default/trace";

/// The lines of a recording that ends after so many requests, which `ask` sends.
async fn recorded(door: &Door, query: &str, ask: impl AsyncFnOnce(&Door)) -> Vec<TraceLine> {
    let response = door.begin("GET", &format!("{TRACE}?{query}")).await;
    assert_eq!(response.headers()["content-type"], NDJSON);
    let mut frames = response.into_body().into_data_stream();
    ask(door).await;
    let mut text = Vec::new();
    while let Some(frame) = frames.next().await {
        text.extend_from_slice(&frame.unwrap());
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn records(lines: &[TraceLine]) -> Vec<&TraceRecord> {
    let records = lines.iter().filter_map(|line| match line {
        TraceLine::Record(record) => Some(record),
        _ => None,
    });
    records.collect()
}

async fn some_requests(door: &Door) {
    let uri = "/v1/ns/default/keys/cart%2F1";
    door.ask("PUT", uri, "hello").await;
    let etag = door.ask("GET", &format!("{uri}?read=stale"), "").await.header("etag").to_owned();
    door.with("PUT", uri, &[("if-match", &etag)], "7").await;
    door.with("PATCH", uri, &[("content-type", "application/kv-op+json")], "{ \"add\": 1}").await;
    door.ask("GET", "/v1/ns/default/keys/none", "").await;
    // What is not about keys of this namespace is not recorded.
    door.ask("GET", "/v1/cluster", "").await;
    door.ask("PUT", "/v1/ns/nope/keys/a", "v").await;
}

#[tokio::test]
async fn what_is_asked_is_told_with_its_condition_and_outcome_but_no_value() {
    let door = Door::new(8);
    let lines = recorded(&door, "records=5", some_requests).await;
    let TraceLine::Head(head) = &lines[0] else { panic!("{:?}", lines[0]) };
    assert_eq!((head.trace, head.node, head.hashed), (TRACE_VERSION, Some(1), false));
    let records = records(&lines);
    let ops: Vec<_> = records.iter().map(|record| (&*record.op, record.status)).collect();
    assert_eq!(ops, [("put", 201), ("get", 200), ("put", 204), ("patch", 200), ("get", 404)]);
    assert_eq!(records[0].key.as_deref(), Some("cart/1"));
    assert_eq!((records[0].bytes, records[0].outcome.as_str()), (5, "applied"));
    assert_eq!((records[1].read.as_deref(), records[1].answer_bytes), (Some("stale"), Some(5)));
    assert_eq!(records[2].if_match, records[1].made);
    assert_eq!(records[3].kind.as_deref(), Some("add"));
    assert_eq!(records[4].outcome, "not_applied");
    assert!(records.is_sorted_by_key(|record| record.at_us));
    let end = TraceEnd { end: "records".into(), records: 5, missed: 0 };
    assert_eq!(lines.last(), Some(&TraceLine::End(end)));
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("hello"), "{text}");
}

#[tokio::test]
async fn with_a_salt_nothing_stands_as_it_was_and_what_is_alike_stays_alike() {
    let door = Door::new(8);
    let lines = recorded(&door, "records=5&salt=x", some_requests).await;
    let records = records(&lines);
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("cart"), "{text}");
    let hashes: Vec<_> = records.iter().map(|record| record.key_hash.clone().unwrap()).collect();
    assert!(hashes[0] == hashes[3] && hashes[0] != hashes[4] && hashes[0].len() == 16);
    assert_eq!(records[2].if_match, records[1].made);
    let other = recorded(&door, "records=5&salt=y", some_requests).await;
    assert_ne!(self::records(&other)[0].key_hash, records[0].key_hash);
}

#[tokio::test]
async fn what_comes_faster_than_it_is_taken_is_counted_and_holds_nothing_up() {
    let door = Door::new(8);
    let many = TRACE_QUEUE_RECORDS + 7;
    let lines = recorded(&door, "duration=1s", async |door| {
        for _ in 0..many {
            door.ask("GET", "/v1/ns/default/keys/k", "").await;
        }
    })
    .await;
    let Some(TraceLine::End(end)) = lines.last() else { panic!("{:?}", lines.last()) };
    assert_eq!((end.end.as_str(), end.missed), ("time", 7));
    assert_eq!(end.records, u64::try_from(TRACE_QUEUE_RECORDS).unwrap());
}

#[tokio::test]
async fn a_recording_is_bounded_and_ends_with_its_stream() {
    let door = Door::new(8);
    for query in ["duration=2h", "records=0", "records=99999999999", "values=1"] {
        assert_eq!(door.ask("GET", &format!("{TRACE}?{query}"), "").await.status, 400, "{query}");
    }
    assert_eq!(door.ask("GET", "/v1/ns/nope/trace", "").await.status, 404);
    let mut running = Vec::new();
    for _ in 0..TRACES_MAX {
        running.push(door.begin("GET", TRACE).await);
        assert_eq!(running.last().unwrap().status(), 200);
    }
    assert_eq!(door.ask("GET", TRACE, "").await.status, 503);
    running.pop();
    assert_eq!(door.begin("GET", TRACE).await.status(), 200);
}

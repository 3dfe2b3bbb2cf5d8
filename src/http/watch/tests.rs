//! Tests of watches over HTTP.

use futures_util::StreamExt;
use serde_json::Value;

use crate::http::tests::Door;

const WATCH: &str = "/v1/ns/default/watch";

#[tokio::test]
async fn events_of_sse_have_a_type_an_id_and_the_change() {
    let door = Door::new(8);
    door.ask("PUT", "/v1/ns/default/keys/k", "v").await;
    let response = door.begin("GET", &format!("{WATCH}?since=start&prefix=k")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut frames = response.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("data: ") {
        text.push_str(std::str::from_utf8(&frames.next().await.unwrap().unwrap()).unwrap());
    }
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[1], lines[2]), ("retry: 1000", "", "event: put"));
    let event: Value = serde_json::from_str(lines[4].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(lines[3].strip_prefix("id: "), event["cursor"].as_str());
    assert_eq!((&event["type"], &event["key"]), (&"put".into(), &"k".into()));
    assert_eq!((&event["value"], &event["version"]), (&"v".into(), &1.into()));
    assert!(text.ends_with("\n\n"));
}

#[tokio::test]
async fn a_poll_gives_what_is_there_or_a_cursor_to_come_back_with() {
    let door = Door::new(8);
    let nothing = door.with("GET", WATCH, &[("prefer", "wait=0")], "").await;
    assert_eq!(nothing.status, 204);
    let cursor = nothing.header("kv-cursor").to_owned();
    door.ask("PUT", "/v1/ns/default/keys/k", "v").await;
    door.ask("DELETE", "/v1/ns/default/keys/k", "").await;
    let uri = format!("{WATCH}?prev=1&since={cursor}");
    let mut types = Vec::new();
    let mut uri_next = uri.clone();
    while types.len() < 2 {
        let some = door.with("GET", &uri_next, &[("prefer", "wait=30")], "").await;
        assert_eq!(some.status, 200);
        let body: Value = serde_json::from_slice(&some.body).unwrap();
        let events = body["events"].as_array().unwrap().clone();
        types.extend(events.iter().map(|event| event["type"].as_str().unwrap().to_owned()));
        if types.len() == 2 {
            assert_eq!(events.last().unwrap()["previous"]["value"], "v");
        }
        uri_next = format!("{WATCH}?prev=1&since={}", body["cursor"].as_str().unwrap());
    }
    assert_eq!(types, ["put", "delete"]);
    let only = door.with("GET", &format!("{uri}&kinds=delete"), &[("prefer", "wait=30")], "").await;
    let body: Value = serde_json::from_slice(&only.body).unwrap();
    assert_eq!(body["events"][0]["type"], "delete");
}

#[tokio::test]
async fn watches_that_make_no_sense_or_come_too_late_are_refused() {
    let door = Door::new(8);
    door.ask("PUT", "/v1/ns/default/keys/k", "v").await;
    let nothing = door.with("GET", WATCH, &[("prefer", "wait=0")], "").await;
    let cursor = nothing.header("kv-cursor").to_owned();
    for (query, status, code) in [
        ("since=later".to_owned(), 400, "invalid_cursor"),
        ("kinds=update".into(), 400, "invalid"),
        (format!("initial=1&since={cursor}"), 400, "invalid"),
        ("initial=1&since=start".into(), 400, "invalid"),
    ] {
        let answer = door.ask("GET", &format!("{WATCH}?{query}"), "").await;
        assert_eq!((answer.status, answer.problem().code.as_str()), (status, code), "{query}");
    }
    door.ask("PUT", "/v1/ns/default/keys/k", "w").await;
    door.world.trim(door.world.index());
    let gone = door.ask("GET", &format!("{WATCH}?since={cursor}"), "").await;
    let problem = gone.problem();
    assert_eq!((gone.status, problem.code.as_str()), (410, "history_trimmed"));
    assert!(problem.restart.is_some());
}

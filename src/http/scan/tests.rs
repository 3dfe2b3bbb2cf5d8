//! Tests of scans over HTTP.

use serde_json::Value;

use crate::http::tests::Door;

async fn filled() -> Door {
    let door = Door::new(8);
    for key in ["a/1", "a/2", "b", "c/x/1", "c/y"] {
        door.ask("PUT", &format!("/v1/ns/default/keys/{key}"), key).await;
    }
    door.ask("PUT", "/v1/ns/default/keys/%ff", vec![0xfe]).await;
    door
}

async fn get(door: &Door, query: &str) -> Value {
    let answer = door.ask("GET", &format!("/v1/ns/default/keys?{query}"), "").await;
    assert_eq!(answer.status, 200, "{query}: {:?}", answer.body);
    serde_json::from_slice(&answer.body).unwrap()
}

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    let name =
        |item: &'_ Value| ["key", "key64", "prefix"].into_iter().find(|n| !item[n].is_null());
    items.map(|item| item[name(item).unwrap()].as_str().unwrap()).collect()
}

#[tokio::test]
async fn keys_are_listed_in_order_with_what_is_asked_of_them() {
    let door = filled().await;
    let page = get(&door, "").await;
    assert_eq!(names(&page), ["a/1", "a/2", "b", "c/x/1", "c/y", "_w"]);
    assert_eq!(
        (&page["items"][2]["value"], &page["items"][5]["value64"]),
        (&"b".into(), &"_g".into())
    );
    assert!(page["items"][0]["etag"].is_string() && page["next"].is_null());
    assert_eq!(names(&get(&door, "prefix=c/&reverse=1&fields=key").await), ["c/y", "c/x/1"]);
    assert_eq!(names(&get(&door, "start=a/2&end=c/y").await), ["a/2", "b", "c/x/1"]);
    let meta = get(&door, "prefix=b&fields=meta").await;
    assert_eq!((&meta["items"][0]["version"], &meta["items"][0]["value"]), (&1.into(), &"".into()));
    assert_eq!(names(&get(&door, "delimiter=/").await), ["a/", "b", "c/", "_w"]);
    assert_eq!(names(&get(&door, "prefix=c/&delimiter=/").await), ["c/x/", "c/y"]);
    assert_eq!(get(&door, "fields=count").await["count"], 6);
    assert_eq!(get(&door, "fields=count&delimiter=/").await["count"], 4);
}

#[tokio::test]
async fn the_pages_of_a_cursor_are_of_one_view_and_link_to_each_other() {
    let door = filled().await;
    let mut uri = "/v1/ns/default/keys?limit=2&fields=key".to_owned();
    let mut found = Vec::new();
    loop {
        let answer = door.ask("GET", &uri, "").await;
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        found.extend(names(&page).into_iter().map(str::to_owned));
        // None of this is in the view.
        door.ask("PUT", "/v1/ns/default/keys/c/z", "new").await;
        door.ask("DELETE", "/v1/ns/default/keys/c/y", "").await;
        let Some(next) = page["next"].as_str() else { break };
        let link = answer.header("link");
        assert!(link.contains(next) && link.ends_with("; rel=\"next\""), "{link}");
        uri = link[1..].split('>').next().unwrap().to_owned();
    }
    assert_eq!(found, ["a/1", "a/2", "b", "c/x/1", "c/y", "_w"]);
    door.world.trim(door.world.index());
    let gone = door.ask("GET", &uri, "").await;
    assert_eq!((gone.status, gone.problem().code.as_str()), (410, "view_gone"));
}

#[tokio::test]
async fn a_stream_has_a_line_for_each_item_and_one_for_the_end() {
    let door = filled().await;
    let ndjson = [("accept", "application/x-ndjson")];
    let answer = door.with("GET", "/v1/ns/default/keys?prefix=a/", &ndjson, "").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["key"], &lines[1]["value"]), (&"a/1".into(), &"a/2".into()));
    assert_eq!(lines[2], serde_json::json!({"end": true, "count": 2}));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let door = filled().await;
    let page = get(&door, "limit=1").await;
    let cursor = page["next"].as_str().unwrap();
    for (query, code) in [
        (format!("limit=1&reverse=1&cursor={cursor}"), "invalid_cursor"),
        (format!("prefix=a&cursor={cursor}"), "invalid_cursor"),
        (format!("cursor={}", &cursor[1..]), "invalid_cursor"),
        ("limit=0".into(), "invalid"),
        ("limit=10001".into(), "invalid"),
        ("fields=all".into(), "invalid"),
        ("prefix=a&prefix64=YQ".into(), "invalid"),
        ("read=bounded&max_staleness=1s".into(), "invalid"),
        ("fields=count&limit=3".into(), "invalid"),
    ] {
        let answer = door.ask("GET", &format!("/v1/ns/default/keys?{query}"), "").await;
        assert_eq!((answer.status, answer.problem().code.as_str()), (400, code), "{query}");
    }
}

#[tokio::test]
async fn a_prefix_is_deleted_when_that_is_said_twice() {
    let door = filled().await;
    let uri = "/v1/ns/default/keys?prefix=a/";
    for headers in [&[][..], &[("kv-confirm", "all")]] {
        let refused = door.with("DELETE", uri, headers, "").await;
        assert_eq!(
            (refused.status, refused.problem().code.as_str()),
            (428, "confirmation_missing")
        );
    }
    let answer = door.with("DELETE", uri, &[("kv-confirm", "prefix")], "").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"deleted":2}"#[..]));
    assert_eq!(get(&door, "fields=count").await["count"], 4);
}

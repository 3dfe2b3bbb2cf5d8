//! Tests of single keys and transactions through the whole router.

use serde_json::{Value, json};

use super::Door;

const KEY: &str = "/v1/ns/default/keys/k";

#[tokio::test]
async fn conditions_decide_about_writes_and_a_412_says_the_newest_tag() {
    let door = Door::new(8);
    let missing = [("if-none-match", "*")];
    assert_eq!(door.with("PUT", KEY, &[("if-match", "*")], "v").await.status, 412);
    let created = door.with("PUT", KEY, &missing, "1").await;
    assert_eq!(created.status, 201);
    let tag = created.header("etag").to_owned();
    let weak = format!("W/{tag}");
    let list = format!("\"9-9\", {tag}");
    let refused = door.with("PUT", KEY, &missing, "2").await;
    assert_eq!((refused.status, refused.header("etag")), (412, tag.as_str()));
    assert_eq!(refused.problem().code, "precondition_failed");
    for (name, value, status) in [
        ("if-match", weak.as_str(), 412),
        ("if-match", "\"9-9\"", 412),
        ("if-match", "\"not-ours\"", 412),
        ("if-none-match", weak.as_str(), 412),
        ("if-none-match", tag.as_str(), 412),
        ("if-match", "", 400),
        ("if-match", "*, *", 400),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 400),
        ("if-match", list.as_str(), 204),
        ("if-none-match", tag.as_str(), 204),
        ("if-match", "*", 204),
    ] {
        let answer = door.with("PUT", KEY, &[(name, value)], "2").await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    assert_eq!(door.with("DELETE", KEY, &[("if-match", tag.as_str())], "").await.status, 412);
    assert_eq!(door.with("DELETE", KEY, &[("if-match", "*")], "").await.status, 204);
}

#[tokio::test]
async fn reads_are_304_when_the_client_has_it_and_412_when_it_wants_another() {
    let door = Door::new(8);
    assert_eq!(door.with("GET", KEY, &[("if-none-match", "*")], "").await.status, 404);
    let tag = door.ask("PUT", KEY, "v").await.header("etag").to_owned();
    let weak = format!("W/{tag}");
    let (past, future) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT");
    for (headers, status) in [
        (vec![("if-none-match", tag.as_str())], 304),
        (vec![("if-none-match", weak.as_str())], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-none-match", "\"9-9\"")], 200),
        (vec![("if-modified-since", future)], 304),
        (vec![("if-modified-since", past)], 200),
        (vec![("if-modified-since", "yesterday")], 200),
        (vec![("if-none-match", "\"9-9\""), ("if-modified-since", future)], 200),
        (vec![("if-match", tag.as_str())], 200),
        (vec![("if-match", weak.as_str())], 412),
        (vec![("if-match", "\"9-9\""), ("if-none-match", tag.as_str())], 412),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = door.with(method, KEY, &headers, "").await;
            assert_eq!(answer.status, status, "{method} {headers:?}");
            assert_eq!(answer.header("etag"), tag, "{method} {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_content_type_is_kept_or_refused_and_a_value_comes_raw_or_in_an_envelope() {
    let door = Door::new(8);
    let kind = [("content-type", "text/plain; charset=utf-8")];
    assert_eq!(door.with("PUT", KEY, &kind, "é").await.status, 201);
    let raw = door.ask("GET", KEY, "").await;
    assert_eq!(raw.header("content-type"), "text/plain; charset=utf-8");
    assert!(raw.header("last-modified").ends_with("GMT"));
    let envelope = door.with("GET", KEY, &[("accept", "application/json")], "").await;
    let body: Value = serde_json::from_slice(&envelope.body).unwrap();
    assert_eq!((body["key"].as_str(), body["value"].as_str()), (Some("k"), Some("é")));
    assert_eq!(body["content_type"], "text/plain; charset=utf-8");
    assert_eq!(body["etag"].as_str(), Some(raw.header("etag")));
    door.ask("PUT", KEY, vec![255]).await;
    let envelope = door.with("GET", KEY, &[("accept", "application/json")], "").await;
    let body: Value = serde_json::from_slice(&envelope.body).unwrap();
    assert_eq!((body["value64"].as_str(), body["value"].as_str()), (Some("_w"), None));
    let long = format!("text/{}", "x".repeat(300));
    for headers in [
        vec![("content-type", "text")],
        vec![("content-type", "*/*")],
        vec![("content-type", long.as_str())],
        vec![("content-type", "a/b"), ("content-type", "c/d")],
    ] {
        assert_eq!(door.with("PUT", KEY, &headers, "v").await.status, 400, "{headers:?}");
    }
    assert_eq!(door.with("PUT", KEY, &[("content-encoding", "gzip")], "v").await.status, 415);
    assert_eq!(door.with("GET", KEY, &[("accept", "a/b;q=7")], "").await.status, 400);
}

#[tokio::test]
async fn a_put_answers_with_the_new_or_the_old_value_when_asked() {
    let door = Door::new(8);
    let prefer = [("prefer", "return=representation")];
    let new = door.with("PUT", KEY, &prefer, "1").await;
    assert_eq!((new.status, new.body.as_ref()), (201, &b"1"[..]));
    assert_eq!(new.header("preference-applied"), "return=representation");
    assert_eq!(door.with("PUT", KEY, &prefer, "2").await.status, 200);
    let old = door.ask("PUT", &format!("{KEY}?prev=1"), "3").await;
    let body: Value = serde_json::from_slice(&old.body).unwrap();
    assert_eq!((old.status, &body["previous"]["value"]), (200, &json!("2")));
    let gone = door.ask("DELETE", &format!("{KEY}?prev=1"), "").await;
    let body: Value = serde_json::from_slice(&gone.body).unwrap();
    assert_eq!((gone.status, &body["previous"]["value"]), (200, &json!("3")));
}

#[tokio::test]
async fn a_key_that_paths_would_spoil_goes_by_key64() {
    let door = Door::new(8);
    let uri = "/v1/ns/default/key?key64=Li4v_w";
    let created = door.ask("PUT", uri, "v").await;
    assert_eq!((created.status, created.header("location")), (201, uri));
    assert_eq!(door.ask("GET", "/v1/ns/default/keys/..%2F%ff", "").await.body.as_ref(), b"v");
    for bad in ["", "?key64=", "?key64=%2B%2B", "?key64=a&key64=b", "?key=a"] {
        assert_eq!(door.ask("GET", &format!("/v1/ns/default/key{bad}"), "").await.status, 400);
    }
}

#[tokio::test]
async fn patches_of_all_kinds_apply_or_say_why_not() {
    let door = Door::new(8);
    let op = [("content-type", "application/kv-op+json")];
    let merge = [("content-type", "application/merge-patch+json")];
    let json_patch = [("content-type", "application/json-patch+json")];
    let added = door.with("PATCH", KEY, &op, r#"{"add":5}"#).await;
    assert_eq!((added.status, added.body.as_ref()), (200, &b"5"[..]));
    for (headers, body, status) in [
        (&op, r#"{"max":7}"#, 200),
        (&op, "{}", 422),
        (&op, r#"{"add":1,"max":2}"#, 422),
        (&op, "nonsense", 400),
        (&merge, "nonsense", 400),
        (&merge, r#"{"a":1}"#, 200),
        (&op, r#"{"add":1}"#, 409),
        (&json_patch, r#"[{"op":"test","path":"/a","value":2}]"#, 409),
        (&json_patch, r#"[{"op":"fly"}]"#, 422),
        (&json_patch, r#"[{"op":"replace","path":"/a","value":2}]"#, 200),
    ] {
        let answer = door.with("PATCH", KEY, headers, body).await;
        assert_eq!(answer.status, status, "{body}: {:?}", answer.body);
    }
    assert_eq!(door.ask("GET", KEY, "").await.body.as_ref(), br#"{"a":2}"#);
}

#[tokio::test]
async fn a_repeated_request_is_replayed_and_another_with_its_key_refused() {
    let door = Door::new(8);
    let once = [("idempotency-key", "one"), ("content-type", "application/kv-op+json")];
    let first = door.with("PATCH", KEY, &once, r#"{"add":5}"#).await;
    let again = door.with("PATCH", KEY, &once, r#"{"add":5}"#).await;
    assert_eq!((again.status, again.header("kv-replayed")), (200, "?1"));
    assert_eq!((&first.body, first.header("kv-replayed")), (&again.body, ""));
    let other = door.with("PATCH", KEY, &once, r#"{"add":6}"#).await;
    assert_eq!((other.status, other.problem().code.as_str()), (422, "idempotency_mismatch"));
}

#[tokio::test]
async fn what_a_client_has_seen_comes_back_as_its_session() {
    let door = Door::new(8);
    let session = door.ask("PUT", KEY, "v").await.header("kv-session").to_owned();
    assert!(!session.is_empty());
    let read = door.with("GET", KEY, &[("kv-session", &session)], "").await;
    assert_eq!(read.status, 200);
    assert_eq!(door.with("GET", KEY, &[("kv-session", "made-up")], "").await.status, 400);
    for (query, status) in [
        ("read=session", 200),
        ("read=bounded&max_staleness=10s", 200),
        ("read=bounded", 400),
        ("read=stale&max_staleness=10s", 400),
        ("read=bounded&max_staleness=soon", 400),
    ] {
        assert_eq!(door.ask("GET", &format!("{KEY}?{query}"), "").await.status, status, "{query}");
    }
}

#[tokio::test]
async fn a_transaction_does_one_of_two_things() {
    let door = Door::new(8);
    let uri = "/v1/ns/default/txn";
    let txn = json!({
        "if": [{"key": "{t}a", "exists": false}],
        "then": [{"put": "{t}a", "value": "1"}, {"patch": "{t}n", "add": 2}],
        "else": [{"get": "{t}a"}, {"get": "{t}none"}],
    });
    let first: Value =
        serde_json::from_slice(&door.ask("POST", uri, txn.to_string()).await.body).unwrap();
    assert_eq!(
        (&first["succeeded"], &first["results"][0]["created"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(first["results"][1]["row"]["value"], "2");
    let second: Value =
        serde_json::from_slice(&door.ask("POST", uri, txn.to_string()).await.body).unwrap();
    assert_eq!(second["succeeded"], false);
    assert_eq!(second["results"][0]["row"]["value"], "1");
    assert_eq!(second["results"][1]["existed"], false);
    let many: Vec<Value> =
        (0..129).map(|n| json!({"put": format!("{{t}}{n}"), "value": ""})).collect();
    for (body, status, code) in [
        (json!({}).to_string(), 400, "invalid"),
        ("[]".to_owned(), 400, "invalid"),
        (json!({"then": [{"put": "a"}]}).to_string(), 400, "invalid"),
        (json!({"than": []}).to_string(), 400, "invalid"),
        (json!({"then": many}).to_string(), 400, "invalid"),
        (
            json!({"then": [{"put": "{t}a", "value": ""}, {"delete": "{t}a"}]}).to_string(),
            422,
            "duplicate_key",
        ),
    ] {
        let answer = door.ask("POST", uri, body.clone()).await;
        assert_eq!((answer.status, answer.problem().code.as_str()), (status, code), "{body}");
    }
    let apart: Vec<Value> = (0..20).map(|n| json!({"get": format!("k{n}")})).collect();
    let refused = door.ask("POST", uri, json!({ "then": apart }).to_string()).await;
    assert_eq!((refused.status, refused.problem().code.as_str()), (422, "cross_group"));
    assert!(refused.problem().groups.is_some_and(|groups| groups.len() > 1));
}

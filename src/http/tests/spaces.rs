//! Tests of namespaces, leases, locks and limits through the whole router.

use serde_json::{Value, json};

use super::Door;

fn body(answer: &super::Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_namespace_is_made_changed_and_deleted() {
    let door = Door::new(8);
    let wanted = json!({"name": "orders", "layout": "ordered", "quota": 1000, "history": "90s"});
    let made = door.ask("POST", "/v1/namespaces", wanted.to_string()).await;
    assert_eq!((made.status, made.header("location")), (201, "/v1/namespaces/orders"));
    assert_eq!((&body(&made)["quota"], &body(&made)["history"]), (&json!(1000), &json!("90s")));
    assert_eq!(door.ask("POST", "/v1/namespaces", wanted.to_string()).await.status, 200);
    let other = json!({"name": "orders", "layout": "spread"}).to_string();
    let refused = door.ask("POST", "/v1/namespaces", other).await;
    assert_eq!((refused.status, refused.problem().code.as_str()), (409, "namespace_exists"));
    let uri = "/v1/namespaces/orders";
    let changed = door.ask("PATCH", uri, r#"{"quota":null,"limits":{"value_bytes":10}}"#).await;
    assert_eq!((changed.status, &body(&changed)["quota"]), (200, &Value::Null));
    assert_eq!(body(&changed)["limits"], json!({"key_bytes": 4096, "value_bytes": 10}));
    assert_eq!(body(&door.ask("GET", uri, "").await)["layout"], "ordered");
    let all = body(&door.ask("GET", "/v1/namespaces", "").await);
    assert_eq!(all["namespaces"].as_array().unwrap().len(), 2);
    assert_eq!(door.ask("DELETE", uri, "").await.status, 202);
    assert_eq!(door.ask("GET", uri, "").await.status, 404);
}

#[tokio::test]
async fn namespaces_that_make_no_sense_are_refused() {
    let door = Door::new(8);
    for (wanted, status) in [
        (json!({}), 400),
        (json!({"name": "UPPER"}), 400),
        (json!({"name": "a", "mode": "best"}), 400),
        (json!({"name": "a", "mode": "eventual"}), 400),
        (json!({"name": "a", "mode": "eventual", "type": "text"}), 400),
        (json!({"name": "a", "type": "lww"}), 400),
        (json!({"name": "a", "mode": "eventual", "type": "lww", "topology": {"hub": 99}}), 400),
        (json!({"name": "a", "mode": "eventual", "type": "lww", "quota": 5}), 400),
        (json!(["a"]), 400),
        (json!({"name": "a", "layout": "heap"}), 400),
        (json!({"name": "a", "history": "long"}), 400),
        (json!({"name": "a", "limits": {"bytes": 1}}), 400),
        (json!({"name": "a", "colour": "red"}), 400),
    ] {
        let answer = door.ask("POST", "/v1/namespaces", wanted.to_string()).await;
        assert_eq!(answer.status, status, "{wanted}");
    }
    let plain = [("content-type", "text/plain")];
    assert_eq!(door.with("POST", "/v1/namespaces", &plain, "{}").await.status, 415);
    assert_eq!(door.ask("GET", "/v1/namespaces/%ff", "").await.status, 400);
    assert_eq!(door.ask("DELETE", "/v1/namespaces/never", "").await.status, 404);
}

#[tokio::test]
async fn a_late_repeat_of_a_deletion_spares_the_namespace_that_was_made_since() {
    let door = Door::new(8);
    let uri = "/v1/namespaces/orders";
    let make = || door.with("POST", "/v1/namespaces", &[], r#"{"name":"orders"}"#);
    assert_eq!(make().await.status, 201);
    let once = [("idempotency-key", "gone-1")];
    assert_eq!(door.with("DELETE", uri, &once, "").await.status, 202);
    assert_eq!(make().await.status, 201);
    let late = door.with("DELETE", uri, &once, "").await;
    assert_eq!((late.status, late.header("kv-replayed")), (202, "?1"));
    assert_eq!(door.ask("GET", uri, "").await.status, 200);
    let patch = |quota: u64, key: &'static str| {
        let (door, body) = (&door, json!({"quota": quota}).to_string());
        async move { door.with("PATCH", uri, &[("idempotency-key", key)], body).await }
    };
    assert_eq!(patch(1_000, "p1").await.status, 200);
    assert_eq!(patch(2_000, "p2").await.status, 200);
    let late = patch(1_000, "p1").await;
    assert_eq!((late.status, late.header("kv-replayed")), (200, "?1"));
    assert_eq!(body(&door.ask("GET", uri, "").await)["quota"], 2_000);
    assert_eq!(patch(9, "p1").await.problem().code, "idempotency_mismatch");
}

#[tokio::test]
async fn a_lease_lives_until_it_is_ended() {
    let door = Door::new(8);
    let granted = door.ask("POST", "/v1/leases", r#"{"ttl":"30s"}"#).await;
    assert_eq!(granted.status, 201);
    let id = body(&granted)["id"].as_str().unwrap().to_owned();
    let uri = format!("/v1/leases/{id}");
    assert_eq!(granted.header("location"), uri);
    assert_eq!(body(&door.ask("GET", &uri, "").await)["ttl_ms"], 30_000);
    assert_eq!(door.ask("POST", &format!("{uri}/renew"), "").await.status, 200);
    assert_eq!(door.ask("DELETE", &uri, "").await.status, 200);
    assert_eq!(door.ask("GET", &uri, "").await.problem().code, "lease_not_found");
    for wanted in [r"{}", r#"{"ttl":"1ms"}"#, r#"{"ttl":30}"#, r#"{"ttl":"30s","near":{}}"#] {
        assert_eq!(door.ask("POST", "/v1/leases", wanted).await.status, 400, "{wanted}");
    }
    assert_eq!(door.ask("GET", "/v1/leases/xyz", "").await.status, 400);
}

#[tokio::test]
async fn a_lock_is_held_by_one_and_released_by_its_token() {
    let door = Door::new(8);
    let uri = "/v1/ns/default/locks/jobs/nightly";
    assert_eq!(body(&door.ask("GET", uri, "").await)["holder"], Value::Null);
    let held = door.ask("POST", uri, r#"{"ttl":"10s","owner":"me"}"#).await;
    assert_eq!((held.status, &body(&held)["owner"]), (200, &json!("me")));
    let busy = door.ask("POST", uri, r#"{"ttl":"10s"}"#).await;
    assert_eq!((busy.status, busy.problem().code.as_str()), (409, "lock_held"));
    let token = body(&held)["token"].as_u64().unwrap();
    assert_eq!(body(&door.ask("GET", uri, "").await)["holder"]["token"], token);
    for (query, status) in [("", 400), ("?token=x", 400), ("?token=1", 409)] {
        assert_eq!(door.ask("DELETE", &format!("{uri}{query}"), "").await.status, status);
    }
    assert_eq!(door.ask("DELETE", &format!("{uri}?token={token}"), "").await.status, 200);
    for wanted in [r"{}", r#"{"ttl":"10s","lease":"00000000000000aa"}"#, r#"{"ttl":"1"}"#] {
        assert_eq!(door.ask("POST", uri, wanted).await.status, 400, "{wanted}");
    }
}

#[tokio::test]
async fn the_limits_and_the_description_can_be_read() {
    let door = Door::new(8);
    let limits = body(&door.ask("GET", "/v1/limits", "").await);
    assert_eq!(limits["limits"]["key_bytes"]["value"], 4096);
    let description = body(&door.ask("GET", "/openapi.json", "").await);
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn a_node_says_what_its_own_replicas_hold() {
    let door = Door::new(8);
    let made = body(&door.ask("GET", "/v1/cluster/digest", "").await);
    assert_eq!(made["node"], 1);
    assert_eq!(made["groups"].as_array().unwrap().len(), 9, "every group with a replica here");
    assert_eq!(
        made["groups"][8],
        json!({"group": 8, "applied": 1, "rows": 1, "digest": "0000000000000008"})
    );
    assert_eq!(door.ask("GET", "/v1/cluster/digest?x=1", "").await.status, 400);
    let late = door.with("GET", "/v1/cluster/digest", &[("request-timeout", "1ms")], "").await;
    assert!(late.status == 200 || late.problem().code == "unavailable");
}

#[tokio::test]
async fn a_switch_is_checked_begun_watched_and_cancelled() {
    let door = Door::new(8);
    let uri = "/v1/namespaces/default/switch";
    let none = door.ask("GET", uri, "").await;
    assert_eq!((none.status, none.problem().code.as_str()), (404, "no_switch"));
    assert_eq!(door.ask("PUT", "/v1/ns/default/keys/k", "text").await.status, 201);
    let counter = r#"{"to":"eventual","type":"counter"}"#;
    let survey = body(&door.ask("POST", &format!("{uri}/check"), counter).await);
    assert_eq!((&survey["obstacles"], &survey["named"][0]["key"]), (&json!(1), &json!("k")));
    let refused = door.ask("POST", uri, counter).await;
    assert_eq!((refused.status, refused.problem().code.as_str()), (409, "switch_blocked"));
    let begun = door.ask("POST", uri, r#"{"to":"eventual","type":"lww"}"#).await;
    assert_eq!((begun.status, &body(&begun)["phase"]), (202, &json!("freezing")));
    let write = door.ask("PUT", "/v1/ns/default/keys/k", "more").await;
    assert_eq!((write.status, write.problem().code.as_str()), (503, "switching"));
    assert_eq!(write.header("retry-after"), "1");
    assert_eq!(door.ask("GET", "/v1/ns/default/keys/k", "").await.status, 200);
    let change = door.ask("PATCH", "/v1/namespaces/default", r#"{"quota":5}"#).await;
    assert_eq!((change.status, change.problem().code.as_str()), (409, "refused"));
    let view = body(&door.ask("GET", uri, "").await);
    assert_eq!((&view["to"], &view["type"]), (&json!("eventual"), &json!("lww")));
    assert_eq!(body(&door.ask("DELETE", uri, "").await)["phase"], "stopped");
    assert_eq!(door.ask("PUT", "/v1/ns/default/keys/k", "more").await.status, 204);
    for wrong in [r#"{"to":"best"}"#, r#"{"to":"linearizable"}"#, r#"{"to":"eventual"}"#, "{}"] {
        assert_eq!(door.ask("POST", uri, wrong).await.status, 400, "{wrong}");
    }
    assert_eq!(door.ask("GET", "/v1/namespaces/never/switch", "").await.status, 404);
}

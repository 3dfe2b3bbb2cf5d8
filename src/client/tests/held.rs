//! Leases and locks: what is held, and what is said when it no longer is.

use super::*;

const HELD: &str =
    r#"{"name":"l","token":41,"lease":"00000000000000aa","ttl_ms":60000,"owner":""}"#;

fn lease(ttl_ms: u64) -> String {
    format!(r#"{{"id":"00000000000000aa","ttl_ms":{ttl_ms},"expires_in_ms":{ttl_ms}}}"#)
}

fn granted(ttl_ms: u64) -> Step {
    Step::Answer(201, lease(ttl_ms).leak())
}

#[tokio::test]
async fn a_guard_that_loses_its_lease_tells_so() {
    let gone = Step::Problem(404, "lease_not_found", "not_applied");
    let (url, script) =
        serve(vec![granted(30), Step::Answer(200, HELD), Step::Answer(200, "{}"), gone]).await;
    // The times to live of the script are short, so that the renewals come at once.
    let client = client(&[&url], 5000);
    let guard = client.lock("default", "l", &LockOptions::default()).await;
    // The grant may already have run out on a slow machine; then the lock was never given.
    let lost = match guard {
        Ok(guard) => {
            assert_eq!(guard.token(), 41);
            let lost = guard.lost().await;
            assert!(!guard.is_held());
            lost
        }
        Err(error) => error,
    };
    assert!(matches!(lost, ClientError::LeaseLost { .. }), "{lost}");
    assert_eq!(script.seen.lock()[0], "POST /v1/leases");
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_is_lost_by_our_own_clock() {
    let (url, _script) = serve(vec![granted(40), Step::Hang, Step::Hang, Step::Hang]).await;
    let keeper = client(&[&url], 60_000).keep_lease(Duration::from_millis(40), None).await.unwrap();
    let lost = keeper.lost().await;
    assert!(lost.to_string().contains("not be renewed in time"), "{lost}");
    assert!(!keeper.is_live());
}

#[tokio::test]
async fn a_keeper_renews_until_it_is_told_otherwise() {
    let renewed = || Step::Answer(200, lease(60).leak());
    let gone = Step::Problem(404, "lease_not_found", "not_applied");
    let (url, script) = serve(vec![granted(60_000), renewed(), renewed(), gone]).await;
    let client = client(&[&url], 5000);
    let given = client.grant_lease(Duration::from_secs(60), None).await.unwrap();
    let keeper = client.keep_lease_of(&given.id).await.unwrap();
    let lost = keeper.lost().await;
    assert!(matches!(lost, ClientError::LeaseLost { .. }), "{lost}");
    let seen = script.seen.lock().clone();
    assert!(seen.len() >= 2 && seen[1..].iter().all(|s| s.ends_with("00000000000000aa/renew")));
    assert!(script.keys.lock()[1..].iter().all(Option::is_none), "a renewal has no name");
}

#[tokio::test]
async fn a_lock_is_asked_for_by_lease_and_given_back_by_token() {
    let (url, script) = serve(vec![
        granted(60_000),
        Step::Lose,
        Step::Answer(200, HELD),
        Step::Answer(200, r#"{"name":"l","released":true}"#),
        Step::Answer(200, r#"{"keys":0}"#),
    ])
    .await;
    let client = client(&[&url], 20_000);
    let guard = client.lock("default", "l", &LockOptions::default()).await.unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
    assert_eq!(script.bodies.lock()[1], r#"{"lease":"00000000000000aa"}"#);
    let keys = script.keys.lock().clone();
    assert_eq!(keys[1], keys[2]);
    assert_eq!(script.queries.lock()[3], "token=41");
    assert_eq!(script.seen.lock()[4], "DELETE /v1/leases/00000000000000aa");
}

#[tokio::test]
async fn a_lock_that_somebody_holds_leaves_no_lease_behind() {
    let (url, script) = serve(vec![
        granted(60_000),
        Step::Problem(409, "lock_held", "not_applied"),
        Step::Answer(200, r#"{"keys":0}"#),
    ])
    .await;
    let client = client(&[&url], 5000);
    let error = client.lock("default", "l", &LockOptions::default()).await.unwrap_err();
    assert!(error.is_lock_held(), "{error}");
    assert_eq!(script.seen.lock()[2], "DELETE /v1/leases/00000000000000aa");
}

//! Scans, watches and batches against a server that breaks off where it hurts.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::*;
use crate::wire::OpResult;

fn put(key: &str, index: u64, seq: u64) -> String {
    format!(
        r#"{{"type":"put","key":"{key}","value":"v","group":1,"index":{index},"seq":{seq},"cursor":"c{index}"}}"#
    )
}

async fn take(client: &Client, request: WatchRequest, count: usize) -> Vec<Event> {
    let events = client.watch("default", request).take(count);
    events.try_collect().await.unwrap()
}

fn keys(events: &[Event]) -> Vec<String> {
    let key = |event: &Event| match event {
        Event::Change(change) => String::from_utf8_lossy(&change.row.key).into_owned(),
        Event::Synced { .. } => "synced".to_owned(),
        Event::Bookmark { .. } => "bookmark".to_owned(),
        Event::Restarted => "restarted".to_owned(),
    };
    events.iter().map(key).collect()
}

#[tokio::test]
async fn a_watch_goes_on_elsewhere_without_loss_or_repetition() {
    // Cut within an entry of two changes: the cursor stands before what the other node tells again.
    let first = vec![put("a", 5, 0), put("b", 6, 0)];
    let (one, at_one) = serve(vec![Step::Lines(first, true)]).await;
    let second = vec![put("b", 6, 0), put("c", 6, 1), put("d", 9, 0)];
    let (other, at_other) = serve(vec![Step::Lines(second, true)]).await;
    let events = take(&client(&[&other, &one], 5000), WatchRequest::default(), 4).await;
    assert_eq!(keys(&events), ["a", "b", "c", "d"]);
    assert_eq!(*at_one.queries.lock(), ["since=now"]);
    assert_eq!(*at_other.queries.lock(), ["since=c6"]);
}

#[tokio::test]
async fn a_watch_that_breaks_while_it_tells_what_is_there_says_so_and_begins_anew() {
    let initial = put("a", 5, 0).replace(r#""seq""#, r#""initial":true,"seq""#);
    let synced = r#"{"type":"synced","cursor":"c7"}"#.to_owned();
    let (url, script) = serve(vec![
        Step::Lines(vec![initial.clone()], true),
        Step::Lines(vec![initial, synced], true),
        Step::Lines(vec![put("b", 8, 0)], true),
    ])
    .await;
    let request = WatchRequest { initial: true, ..WatchRequest::default() };
    let events = take(&client(&[&url], 5000), request, 5).await;
    assert_eq!(keys(&events), ["a", "restarted", "a", "synced", "b"]);
    assert_eq!(*script.queries.lock(), ["since=now&initial=1", "since=now&initial=1", "since=c7"]);
}

#[tokio::test]
async fn a_watch_whose_history_is_gone_says_where_to_start_over() {
    let (url, _) = serve(vec![
        Step::Lines(vec![put("a", 5, 0)], true),
        Step::Problem(503, "unavailable", "not_applied"),
        Step::Answer(
            410,
            r#"{"type":"t","title":"t","status":410,"detail":"d","code":"history_trimmed",
                "outcome":"not_applied","request_id":"r","restart":"c99"}"#,
        ),
    ])
    .await;
    let client = client(&[&url], 5000);
    let mut events = std::pin::pin!(client.watch("default", WatchRequest::default()));
    events.next().await.unwrap().unwrap();
    match events.next().await.unwrap() {
        Err(ClientError::Gone { restart, .. }) => assert_eq!(restart.unwrap(), "c99"),
        other => panic!("{other:?}"),
    }
    assert!(events.next().await.is_none(), "the error is final");
}

#[tokio::test]
async fn a_scan_asks_again_for_the_page_that_failed() {
    let (url, script) = serve(vec![
        Step::Answer(200, r#"{"items":[{"key":"a","value":"1"},{"prefix":"b/"}],"next":"p2"}"#),
        Step::Lose,
        Step::Answer(200, r#"{"items":[{"key64":"_w","value64":"_g"}]}"#),
    ])
    .await;
    let items: Vec<_> = client(&[&url], 20_000)
        .scan("default", ScanRequest::default())
        .try_collect()
        .await
        .unwrap();
    let Some(Item::Row(last)) = items.last() else { panic!("{items:?}") };
    assert_eq!(
        (items.len(), &last.key[..], last.value.as_deref()),
        (3, &b"\xff"[..], Some(&b"\xfe"[..]))
    );
    assert_eq!(script.queries.lock()[1..], ["fields=value&cursor=p2", "fields=value&cursor=p2"]);
}

#[tokio::test]
async fn a_stream_without_its_last_line_is_no_result() {
    let row = r#"{"key":"a","value":"1"}"#.to_owned();
    let end = r#"{"end":true,"count":1}"#.to_owned();
    let short = r#"{"end":true,"count":2}"#.to_owned();
    let cases = [
        (vec![row.clone()], false, false),
        (vec![row.clone()], true, false),
        (vec![row.clone(), short], false, false),
        (vec![row, end], false, true),
    ];
    for (lines, cut, good) in cases {
        let (url, _) = serve(vec![Step::Lines(lines.clone(), cut)]).await;
        let items = client(&[&url], 5000).scan_stream("default", ScanRequest::default());
        let items: Result<Vec<_>, _> = items.try_collect().await;
        assert_eq!(items.is_ok(), good, "{lines:?} {items:?}");
    }
}

fn result(n: u64, status: u16) -> String {
    let outcome = if status < 400 { "applied" } else { "not_applied" };
    format!(r#"{{"n":{n},"status":{status},"outcome":"{outcome}"}}"#)
}

#[tokio::test]
async fn a_batch_sends_again_only_what_has_no_result_and_keeps_the_lines_numbers() {
    let end = r#"{"end":true,"ops":3,"failed":1}"#.to_owned();
    let (url, script) = serve(vec![
        Step::Lose,
        Step::Lines(vec![result(1, 201), result(2, 503), result(3, 412), end.clone()], false),
        Step::Lines(vec![result(2, 200), end], false),
    ])
    .await;
    let ops = (0..3).map(|n: u8| BatchOp { op: ops::put(&[b'a' + n], b"v"), ..BatchOp::default() });
    let results = client(&[&url], 20_000).batch("default", stream::iter(ops.collect::<Vec<_>>()));
    let results: Vec<BatchResult> = results.try_collect().await.unwrap();
    let statuses: Vec<_> = results.iter().map(|result| (result.n, result.status)).collect();
    assert_eq!(statuses, [(1, 201), (2, 200), (3, 412)]);
    let keys = script.keys.lock().clone();
    assert!(keys.len() == 3 && keys.iter().all(|key| key.is_some() && *key == keys[0]), "{keys:?}");
    let bodies = script.bodies.lock();
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[2], "\n{\"put\":\"b\",\"value\":\"v\"}\n\n");
}

#[tokio::test]
async fn operations_of_one_key_are_never_in_one_request() {
    let one = || Step::Lines(vec![result(1, 200)], false);
    let (url, script) = serve(vec![one(), one()]).await;
    let op = |value: &[u8]| BatchOp { op: ops::put(b"k", value), ..BatchOp::default() };
    let results = client(&[&url], 5000).batch("default", stream::iter([op(b"1"), op(b"2")]));
    let results: Vec<BatchResult> = results.try_collect().await.unwrap();
    assert_eq!(results.iter().map(|result| result.n).collect::<Vec<_>>(), [1, 2]);
    let keys = script.keys.lock();
    assert!(keys.len() == 2 && keys[0] != keys[1], "each request has a name of its own: {keys:?}");
}

#[tokio::test]
async fn a_transaction_is_sent_as_documented_and_repeated_under_one_name() {
    let done =
        r#"{"succeeded":true,"results":[{"op":"put","key":"k"}],"revision":4,"group":1,"index":9}"#;
    let (url, script) = serve(vec![Step::Lose, Step::Answer(200, done)]).await;
    let txn = Txn::new()
        .when(ops::version(b"k", ops::Than::Eq, 0))
        .then(ops::put(b"k", b"v"))
        .or_else(ops::get(b"k"));
    let done = client(&[&url], 20_000).txn("default", &txn).await.unwrap();
    assert_eq!(
        done.results[0],
        OpResult { op: "put".into(), key: Some("k".into()), ..OpResult::default() }
    );
    assert_eq!(
        script.bodies.lock()[0],
        r#"{"if":[{"key":"k","version":0,"op":"eq"}],"then":[{"put":"k","value":"v"}],"else":[{"get":"k"}]}"#
    );
    let keys = script.keys.lock().clone();
    assert_eq!(keys[0], keys[1]);
}

//! Tests of `http::batch`: each name says what it holds.

use std::time::Duration;

use axum::body::to_bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::super::tests::Door;
use super::*;
use crate::runtime::limits::BATCH_LINE_BYTES_MAX;

fn body(chunks: Vec<Vec<u8>>) -> Body {
    Body::from_stream(futures_util::stream::iter(chunks.into_iter().map(Ok::<_, Infallible>)))
}

async fn send(door: &Door, body: Body, headers: &[(&str, &str)]) -> (u16, Vec<Value>) {
    let mut request = Request::post("/v1/ns/default/batch");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = door.send(request.body(body).unwrap()).await;
    let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    (answer.status, lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
}

#[tokio::test]
async fn each_line_has_its_own_result_and_a_bad_one_harms_no_other() {
    let door = Door::new(8);
    let text = concat!(
        "{\"id\":\"first\",\"put\":\"a\",\"value\":\"1\"}\n",
        "\n",
        "{\"put\":\"a\",\"value\":\"2\"}\r\n",
        "nonsense\n",
        "{\"put\":\"b\",\"value\":\"1\",\"if_match\":\"*\"}\n",
        "{\"put\":\"c\",\"value\":\"1\",\"if_none_match\":\"*\"}\n",
        "{\"delete\":\"never\"}\n",
        "{\"patch\":\"n\",\"add\":5}\n",
        "{\"patch\":\"n\",\"add\":2}\n",
        "{\"put\":\"a\",\"value\":\"3\",\"valeu\":\"4\"}\n",
        "{\"put\":5}\n",
        "{\"delete\":\"a\"}",
    );
    let mut bytes = text.as_bytes().to_vec();
    // In pieces of three bytes: no line may depend on how it was cut.
    let pieces = bytes.chunks_mut(3).map(|piece| piece.to_vec()).collect();
    let (status, lines) = send(&door, body(pieces), &[]).await;
    assert_eq!(status, 200);
    let found: Vec<(u64, u64)> = lines[..lines.len() - 1]
        .iter()
        .map(|line| (line["n"].as_u64().unwrap(), line["status"].as_u64().unwrap()))
        .collect();
    let wanted = [
        (1, 201),
        (3, 204),
        (4, 400),
        (5, 412),
        (6, 201),
        (7, 404),
        (8, 200),
        (9, 200),
        (10, 400),
        (11, 400),
        (12, 204),
    ];
    assert_eq!(found, wanted);
    assert_eq!(lines[0]["id"], "first");
    assert_eq!(lines[7]["value"], "7", "one key's operations keep their order");
    let end = lines.last().unwrap();
    assert_eq!((end["end"].as_bool(), end["ops"].as_u64()), (Some(true), Some(11)));
    assert_eq!(end["failed"], 5);
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_batch_and_what_stood_before_is_done() {
    let door = Door::new(8);
    let mut text = b"{\"put\":\"a\",\"value\":\"1\"}\n".to_vec();
    text.extend(vec![b'x'; BATCH_LINE_BYTES_MAX + 2]);
    text.extend(b"\n{\"put\":\"b\",\"value\":\"1\"}\n");
    let (_, lines) = send(&door, body(vec![text]), &[]).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!((lines[0]["status"].as_u64(), lines[1]["status"].as_u64()), (Some(201), Some(413)));
    assert_eq!(lines[2]["code"], "too_large");
    assert_eq!(door.ask("GET", "/v1/ns/default/keys/b", "").await.status, 404);
}

#[tokio::test]
async fn a_client_that_stalls_gets_what_it_sent_done_and_then_the_end() {
    let first =
        futures_util::stream::iter([Ok::<_, Infallible>("{\"put\":\"a\",\"value\":\"1\"}\n")]);
    let never = first.chain(futures_util::stream::pending());
    let mut lines = Lines::new(Side::Groups, Body::from_stream(never), Duration::from_millis(20));
    let Next::Portion(portion) = lines.next().await else { panic!("the line comes first") };
    assert_eq!(portion.lines.len(), 1);
    let Next::End(ended) = lines.next().await else { panic!("nothing else comes") };
    assert_eq!(ended.code, Some("request_timeout"));
}

#[tokio::test]
async fn ten_thousand_lines_come_back_in_order() {
    use std::fmt::Write as _;
    let door = Door::new(8);
    let mut text = String::new();
    for number in 0..10_000 {
        writeln!(text, "{{\"put\":\"k{number}\",\"value\":\"{number}\"}}").unwrap();
    }
    let pieces = text.as_bytes().chunks(16 * 1024).map(<[u8]>::to_vec).collect();
    let (_, lines) = send(&door, body(pieces), &[]).await;
    assert_eq!(lines.len(), 10_001);
    let in_order = |(at, line): (usize, &Value)| line["n"].as_u64() == Some(at as u64 + 1);
    assert!(lines[..10_000].iter().enumerate().all(in_order));
    assert_eq!(lines[10_000]["failed"], 0);
}

#[tokio::test]
async fn a_batch_is_refused_as_a_whole_only_before_it_begins() {
    let door = Door::new(8);
    let (status, _) = send(&door, Body::empty(), &[("content-type", "image/png")]).await;
    assert_eq!(status, 415);
    let unknown = door.ask("POST", "/v1/ns/nope/batch", "").await;
    assert_eq!((unknown.status, unknown.problem().code.as_str()), (404, "namespace_not_found"));
    let (status, lines) = send(&door, Body::empty(), &[("idempotency-key", "k")]).await;
    assert_eq!((status, lines[0]["ops"].as_u64()), (200, Some(0)));
}

#[tokio::test]
async fn any_part_of_a_batch_is_sent_again_with_its_key_and_done_once() {
    let door = Door::new(8);
    let once = [("idempotency-key", "order-17")];
    let add = |key: &str, by: u64| format!("{{\"patch\":\"{key}\",\"add\":{by}}}");
    let ask = async |lines: [String; 4]| {
        let (status, mut lines) = send(&door, Body::from(lines.join("\n")), &once).await;
        assert_eq!(status, 200);
        assert_eq!(lines.pop().unwrap()["end"], true);
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let told = |line: &Value| {
            let replayed = line["replayed"].as_bool().unwrap_or(false);
            (line["n"].as_u64().unwrap(), text(line, "value"), text(line, "code"), replayed)
        };
        lines.iter().map(told).collect::<Vec<_>>()
    };
    let done = |n, value: &str, again| (n, value.to_owned(), String::new(), again);
    let refused = |n| (n, String::new(), "idempotency_mismatch".to_owned(), false);
    let none = String::new;
    // The first request broke off behind its second line; the next leaves out what has a result.
    let first = ask([add("a", 1), add("b", 1), none(), none()]).await;
    assert_eq!(first, [done(1, "1", false), done(2, "1", false)]);
    let rest = ask([none(), add("b", 1), add("a", 5), add("c", 1)]).await;
    assert_eq!(rest, [done(2, "1", true), done(3, "6", false), done(4, "1", false)]);
    // Another operation in the place of one that is known is refused by itself.
    let other = ask([add("a", 1), add("b", 2), add("a", 5), add("c", 1)]).await;
    assert_eq!(other, [done(1, "1", true), refused(2), done(3, "6", true), done(4, "1", true)]);
    let all = ask([add("a", 1), add("b", 1), add("a", 5), add("c", 1)]).await;
    assert!(all.iter().all(|(.., replayed)| *replayed), "{all:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_lines_or_an_end(chunks: Vec<Vec<u8>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let count: usize = {
                let all = chunks.concat();
                all.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count()
            };
            let mut lines = Lines::new(Side::Groups, body(chunks), Duration::from_secs(1));
            let mut found = 0;
            while let Next::Portion(portion) = lines.next().await {
                found += portion.lines.len();
            }
            assert_eq!(found, count);
        });
    }
}

#[tokio::test]
async fn a_batch_keeps_its_place_until_its_last_line_is_taken() {
    let door = Door::new(8);
    let mut running = Vec::new();
    for _ in 0..crate::runtime::limits::BATCHES_MAX {
        running.push(door.begin("POST", "/v1/ns/default/batch").await);
    }
    let full = door.ask("POST", "/v1/ns/default/batch", "").await;
    assert_eq!((full.status, full.header("retry-after")), (503, "1"));
    for response in running {
        drop(to_bytes(response.into_body(), usize::MAX).await.unwrap());
    }
    assert_eq!(door.ask("POST", "/v1/ns/default/batch", "").await.status, 200);
}

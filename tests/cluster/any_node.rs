//! Any node answers any request, and answers say what the API promises.

use bytes::Bytes;
use reqwest::Method;
use tetrarch::wire::{
    KV_GROUP, KV_INDEX, KV_READ, Outcome, PROBLEM_JSON, REQUEST_ID, REQUEST_TIMEOUT,
};

use crate::support::api::{Answer, Api};
use crate::support::cluster::{Cluster, Shape};

const VALUE_MAX: usize = 1024 * 1024;
const KEY_MAX: usize = 4096;

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_lead_a_third_each_and_answer_alike() {
    let cluster = Cluster::start(&Shape::default()).await;
    each_leads_a_third(&cluster).await;
    what_one_node_wrote_every_node_reads(&cluster).await;
    a_key_can_be_any_bytes(&cluster).await;
    every_write_says_what_it_did(&cluster).await;
    what_makes_no_sense_is_refused(&cluster).await;
    reads_say_how_they_read(&cluster).await;
    routes_and_figures_are_shown(&cluster).await;
}

async fn each_leads_a_third(cluster: &Cluster) {
    for node in cluster.ids() {
        let view = cluster.wait_leaders_home(node).await;
        let data: Vec<_> = view.groups.iter().filter(|group| group.id != 0).collect();
        assert_eq!(data.len(), 24, "eight groups for each node");
        for id in cluster.ids() {
            let led = data.iter().filter(|group| group.leader == Some(id)).count();
            assert_eq!(led, 8, "groups led by node {id} as node {node} sees it");
        }
        let mut slots: Vec<[u16; 2]> = data.iter().flat_map(|g| g.slots.clone()).collect();
        slots.sort_unstable();
        let covered: u32 = slots.iter().map(|s| u32::from(s[1] - s[0]) + 1).sum();
        assert_eq!(covered, 16_384, "every slot belongs to one group: {slots:?}");
    }
}

async fn what_one_node_wrote_every_node_reads(cluster: &Cluster) {
    let urls = cluster.all_urls();
    for number in 0..60 {
        let key = format!("shared/{number}").into_bytes();
        let writer = &urls[number % urls.len()];
        let value = Bytes::from(format!("from {writer}, {number}"));
        let put = cluster.api.put(writer, &key, value.clone()).await.unwrap();
        assert_eq!(put.status, 201, "{}", put.text());
        for url in &urls {
            let got = cluster.api.get(url, &key).await.unwrap();
            assert_eq!((got.status, &got.body), (200, &value), "read at {url}");
            assert_eq!(got.etag(), put.etag());
            assert_eq!(got.group(), put.group());
            assert!(got.index() >= put.index(), "a read reflects the write before it");
        }
    }
}

async fn a_key_can_be_any_bytes(cluster: &Cluster) {
    let urls = cluster.all_urls();
    let mut keys: Vec<Vec<u8>> = vec![
        (0..=255).collect(),
        vec![0],
        vec![0xff; 8],
        b"a/b//c/".to_vec(),
        b" %2F?#&=+".to_vec(),
        b"{tag}rest".to_vec(),
        "größe/鍵".as_bytes().to_vec(),
        vec![b'k'; KEY_MAX],
    ];
    keys.extend((0..=255).map(|byte| vec![b'x', byte, b'y']));
    for (number, key) in keys.iter().enumerate() {
        let value = Bytes::from(format!("value {number}"));
        let put = cluster.api.put(&urls[number % 3], key, value.clone()).await.unwrap();
        assert_eq!(put.status, 201, "{key:?}: {}", put.text());
        let got = cluster.api.get(&urls[(number + 1) % 3], key).await.unwrap();
        assert_eq!((got.status, got.body), (200, value), "{key:?}");
    }
    // A slash as it is and a slash in disguise are the same byte.
    let plain = format!("{}/v1/ns/default/keys/one/two", urls[0]);
    let put = cluster.api.send(cluster.api.request(Method::PUT, &plain).body("x")).await.unwrap();
    assert_eq!(put.status, 201);
    let got = cluster.api.get_path(&urls[1], "/v1/ns/default/keys/one%2Ftwo").await.unwrap();
    assert_eq!((got.status, got.text()), (200, "x".to_owned()));
}

async fn every_write_says_what_it_did(cluster: &Cluster) {
    let (api, urls) = (&cluster.api, cluster.all_urls());
    let key = b"life of a key".as_slice();
    missing(&api.get(&urls[0], key).await.unwrap());
    missing(&api.delete(&urls[1], key).await.unwrap());
    let created = api.put(&urls[2], key, Bytes::from_static(b"one")).await.unwrap();
    assert_eq!((created.status, created.body.len()), (201, 0));
    let replaced = api.put(&urls[0], key, Bytes::from_static(b"two")).await.unwrap();
    assert_eq!((replaced.status, replaced.body.len()), (204, 0));
    let (first, second) = (created.etag().unwrap(), replaced.etag().unwrap());
    assert_ne!(first, second, "every write gives another ETag");
    let named = format!("\"{}-{}\"", replaced.group().unwrap(), replaced.index().unwrap());
    assert_eq!(second, named, "the ETag names group and place");
    let head = api.send(api.request(Method::HEAD, &Api::key_url(&urls[1], key))).await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("3"));
    assert_eq!(head.etag(), Some(second));
    let deleted = api.delete(&urls[1], key).await.unwrap();
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    for url in &urls {
        missing(&api.get(url, key).await.unwrap());
    }
    let empty = api.put(&urls[0], key, Bytes::new()).await.unwrap();
    assert_eq!(empty.status, 201, "an empty value is a value");
    let got = api.get(&urls[2], key).await.unwrap();
    assert_eq!((got.status, got.body.len()), (200, 0));
    let largest = Bytes::from(vec![7; VALUE_MAX]);
    assert_eq!(api.put(&urls[0], key, largest.clone()).await.unwrap().status, 204);
    assert_eq!(api.get(&urls[2], key).await.unwrap().body, largest);
}

fn missing(answer: &Answer) {
    assert!(answer.is_missing_key(), "status {}: {}", answer.status, answer.text());
    assert!(answer.header(KV_GROUP).is_some(), "also a missing key has a group");
    assert!(answer.header(KV_INDEX).is_some(), "also a missing key is missing as of some index");
    assert_eq!(answer.header("content-type"), Some(PROBLEM_JSON));
}

async fn what_makes_no_sense_is_refused(cluster: &Cluster) {
    let (api, url) = (&cluster.api, cluster.url(1));
    let get = |path: &str| api.request(Method::GET, &format!("{url}{path}"));
    let put = |path: &str| api.request(Method::PUT, &format!("{url}{path}")).body("v");
    let long_key = format!("/v1/ns/default/keys/{}", "k".repeat(KEY_MAX + 1));
    let too_large = vec![0_u8; VALUE_MAX + 1];
    let asked = [
        (
            "a value that is too long",
            put("/v1/ns/default/keys/k").body(too_large),
            413,
            "too_large",
        ),
        ("a key that is too long", put(&long_key), 414, "key_too_long"),
        ("no key", put("/v1/ns/default/keys/"), 400, "invalid"),
        ("half an escape", put("/v1/ns/default/keys/a%2"), 400, "invalid"),
        ("no such namespace", get("/v1/ns/elsewhere/keys/k"), 404, "namespace_not_found"),
        ("no such reading", get("/v1/ns/default/keys/k?read=maybe"), 400, "invalid"),
        ("a parameter nobody knows", get("/v1/ns/default/keys/k?color=red"), 400, "invalid"),
        (
            "a timeout that is none",
            get("/v1/ns/default/keys/k").header(REQUEST_TIMEOUT, "soon"),
            400,
            "invalid",
        ),
        (
            "a condition that does not hold",
            put("/v1/ns/default/keys/k").header("if-match", "\"1-1\""),
            412,
            "precondition_failed",
        ),
        ("no such place", get("/v1/nothing"), 404, "not_found"),
        (
            "a method that the place does not know",
            api.request(Method::POST, &format!("{url}/v1/ns/default/keys/k")),
            405,
            "method_not_allowed",
        ),
    ];
    for (what, request, status, code) in asked {
        let answer = api.send(request).await.unwrap();
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some(PROBLEM_JSON), "{what}");
        let problem = answer.problem().unwrap_or_else(|| panic!("{what}: {}", answer.text()));
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{what}");
        assert_eq!(problem.outcome, Outcome::NotApplied, "{what}");
        assert!(!problem.detail.is_empty() && !problem.request_id.is_empty(), "{what}");
    }
    missing(&api.get(&url, b"k").await.unwrap());
}

async fn reads_say_how_they_read(cluster: &Cluster) {
    let (api, urls) = (&cluster.api, cluster.all_urls());
    let key = b"shared/1".as_slice();
    for url in &urls {
        let linearizable = api.get(url, key).await.unwrap();
        assert_eq!(linearizable.header(KV_READ), Some("linearizable"));
        let stale = api.get_stale(url, key).await.unwrap();
        assert!(stale.status == 200 || stale.is_missing_key(), "{}", stale.text());
        let read = stale.header(KV_READ).unwrap_or_default();
        assert!(read.starts_with("stale; age"), "{read:?} states its age");
    }
    let named = api.request(Method::GET, &Api::key_url(&urls[0], key)).header(REQUEST_ID, "mine-7");
    assert_eq!(api.send(named).await.unwrap().header(REQUEST_ID), Some("mine-7"));
    assert!(api.get(&urls[0], key).await.unwrap().header(REQUEST_ID).is_some());
}

async fn routes_and_figures_are_shown(cluster: &Cluster) {
    let api = &cluster.api;
    for url in cluster.all_urls() {
        let route = api.route(&url, "shared/1").await.unwrap();
        let got = api.get(&url, b"shared/1").await.unwrap();
        assert_eq!(Some(route.group), got.group());
        assert_eq!(route.leader, Some(route.preferred));
        assert_eq!(route.replicas.len(), 3);
        assert_eq!(api.get_path(&url, "/livez").await.unwrap().status, 200);
        let metrics = api.get_path(&url, "/metrics").await.unwrap().text();
        for name in ["tetrarch_http_requests_total", "tetrarch_group_term", "tetrarch_proposals"] {
            assert!(metrics.contains(name), "{name} is missing in:\n{metrics}");
        }
    }
}

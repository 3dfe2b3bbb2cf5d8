//! A live namespace is recorded through real nodes, and what was recorded is driven through each mode.
//!
//! What is asserted: reads and writes of all nodes are in the trace with their conditions and without any
//! value; the replay drives as many operations at as many sites, and finds nothing wrong.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tetrarch::bench::figures::Report;
use tetrarch::wire::{TraceEnd, TraceLine, TraceRecord};

use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::wait_until;

/// Requests that are sent to each node.
const EACH: u64 = 40;

fn recorder(out: &Path, urls: &[String], more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tetrarch"))
        .args(["bench", "record", "--json", "--duration", "60s", "--endpoint", &urls.join(",")])
        .args(["--records", &EACH.to_string(), "--out"])
        .arg(out)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Every node is asked `EACH` times, of which a quarter each is a write, one on a condition, and reads.
async fn ask(cluster: &Cluster, urls: &[String]) {
    let http = reqwest::Client::new();
    for number in 0..EACH / 4 {
        for url in urls {
            let key = format!("{url}/v1/ns/default/keys/secret-{}", number % 5);
            let send = |request: reqwest::RequestBuilder| async { request.send().await.unwrap() };
            send(http.put(&key).body("never to be seen")).await;
            let got = send(http.get(&key)).await;
            let etag = got.headers()["etag"].clone();
            assert_eq!(got.text().await.unwrap(), "never to be seen");
            send(http.put(&key).header("if-match", etag).body("never to be seen")).await;
            send(http.get(format!("{key}?read=stale"))).await;
        }
    }
    assert_eq!(cluster.ids().len(), urls.len());
}

fn read(path: &Path) -> (Vec<TraceRecord>, TraceEnd, String) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut records = Vec::new();
    let mut end = None;
    for line in text.lines() {
        match serde_json::from_str::<TraceLine>(line).unwrap() {
            TraceLine::Record(record) => records.push(record),
            TraceLine::End(last) => end = Some(last),
            TraceLine::Head(_) | TraceLine::Missed(_) => {}
        }
    }
    (records, end.unwrap(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_live_namespace_is_recorded_and_driven_through_each_mode() {
    let cluster = Cluster::start(&Shape::default()).await;
    let urls = cluster.all_urls();
    let dir = tempfile::tempdir().unwrap();
    let (plain, hashed) = (dir.path().join("plain"), dir.path().join("hashed"));
    let recorders = [recorder(&plain, &urls, &[]), recorder(&hashed, &urls, &["--hash-keys"])];
    // The head is there once all nodes record; it is written with the first portion at the latest.
    for url in &urls {
        wait_recorded(url, 2).await;
    }
    ask(&cluster, &urls).await;
    for recorder in recorders {
        let done = recorder.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let (records, end, text) = read(&plain);
    let all = EACH * u64::try_from(urls.len()).unwrap();
    assert_eq!((end.end.as_str(), end.records, end.missed), ("records", all, 0));
    assert!(!text.contains("never"), "no value is in a trace");
    let count = |of: &dyn Fn(&TraceRecord) -> bool| records.iter().filter(|r| of(r)).count() as u64;
    assert_eq!(count(&|r| r.op == "get"), all / 2);
    assert_eq!(count(&|r| r.op == "put" && r.if_match.is_some()), all / 4);
    assert_eq!(count(&|r| r.node == Some(2)), EACH);
    assert!(records.iter().all(|r| r.client.is_some() && r.key.is_some()));
    let (hashes, _, text) = read(&hashed);
    assert!(!text.contains("secret") && !text.contains("127.0.0.1"), "nothing stands as it was");
    let keys: std::collections::BTreeSet<_> = hashes.iter().map(|r| r.key_hash.clone()).collect();
    assert_eq!(keys.len(), 5, "what is alike is alike, at all nodes");
    drop(cluster);
    replayed(&hashed, all);
}

/// Waits until so many recordings of a node have begun.
async fn wait_recorded(url: &str, many: u64) {
    wait_until("the recordings run", async || {
        let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
        let began = text.lines().find(|line| {
            line.contains("http_requests_total") && line.contains("/v1/ns/{ns}/trace")
        });
        let all = began.is_some_and(|line| line.ends_with(&format!(" {many}")));
        all.then_some(()).ok_or_else(|| format!("{began:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eventual_namespace_is_recorded_too() {
    let cluster = Cluster::start(&Shape::default()).await;
    let url = cluster.url(1);
    let http = reqwest::Client::new();
    let space = r#"{"name":"carts","mode":"eventual","type":"mv"}"#;
    let made = http.post(format!("{url}/v1/namespaces")).header("content-type", "application/json");
    assert_eq!(made.body(space).send().await.unwrap().status(), 201);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("trace");
    let recorder = recorder(&out, std::slice::from_ref(&url), &["--ns", "carts"]);
    wait_recorded(&url, 1).await;
    for number in 0..EACH / 2 {
        let key = format!("{url}/v1/ns/carts/keys/cart-{number}");
        assert_eq!(http.put(&key).body("bread").send().await.unwrap().status(), 201);
        let got = http.get(&key).send().await.unwrap();
        assert_eq!(got.status(), 200);
    }
    let done = recorder.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (records, end, _) = read(&out);
    assert_eq!((end.records, end.missed), (EACH, 0));
    let puts = records.iter().filter(|record| record.op == "put" && record.made.is_some());
    assert_eq!(puts.count() as u64, EACH / 2, "{records:?}");
}

fn replayed(trace: &Path, all: u64) {
    let dir = tempfile::tempdir().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_tetrarch"))
        .args(["bench", "replay", "--json", "--rtt-ms", "10", "--modes", "linearizable,lww,mv"])
        .arg(trace)
        .arg("--out")
        .arg(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let report: Report = serde_json::from_slice(&done.stdout).unwrap();
    let modes: Vec<_> = report.runs.iter().map(|run| run.mode.as_str()).collect();
    assert_eq!(modes, ["linearizable", "lww", "mv"]);
    for run in &report.runs {
        assert_eq!((run.trouble.as_deref(), run.verified.wrong), (None, 0), "{said}");
        assert_eq!((run.workload.as_str(), run.totals().0, run.keys), ("trace", all, 5));
    }
    assert!(report.remarks[0].contains("namespace \"default\""), "{:?}", report.remarks);
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("One trace, every mode"), "the page has its table");
}

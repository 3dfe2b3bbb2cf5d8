//! Whether the page has an example for each request that the API knows.

use serde_json::Value;

use crate::page::Page;
use crate::support::cluster::Cluster;

/// Asks the cluster what it knows and looks for each request among the examples.
pub(crate) async fn check(page: &Page, cluster: &Cluster) {
    let answer = cluster.api.get_path(&cluster.url(1), "/openapi.json").await.unwrap();
    let document: Value = serde_json::from_slice(&answer.body).expect("the document is JSON");
    let asked: Vec<(String, String)> =
        page.examples().flat_map(|example| requests(&example.command)).collect();
    let paths = document["paths"].as_object().expect("the document has paths");
    let mut missing = Vec::new();
    let mut known = 0;
    for (path, methods) in paths {
        for method in methods.as_object().expect("a path has methods").keys() {
            let method = method.to_ascii_uppercase();
            if ["PARAMETERS", "SUMMARY", "DESCRIPTION", "SERVERS"].contains(&method.as_str()) {
                continue;
            }
            known += 1;
            if !asked.iter().any(|(m, p)| *m == method && fits(path, p)) {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(known > 30, "the document knows the API: {known} requests");
    assert!(missing.is_empty(), "no example for:\n{}", missing.join("\n"));
}

/// Method and path of each curl of a command.
fn requests(command: &str) -> Vec<(String, String)> {
    let mut requests = Vec::new();
    for curl in command.split("curl ").skip(1) {
        let Some(rest) = curl.split("http://127.0.0.1:").nth(1) else { continue };
        let path = rest.find('/').map_or("", |at| &rest[at..]);
        let path = path.split(['\'', '"', ' ', '?', '\n']).next().unwrap_or_default();
        let words: Vec<&str> = curl.split_whitespace().collect();
        let named = words.iter().position(|word| *word == "-X").and_then(|at| words.get(at + 1));
        let sends = words.iter().any(|word| word.starts_with("--data") || *word == "-d");
        let heads = words.iter().any(|word| *word == "-I" || *word == "--head");
        let method = match named {
            Some(method) => (*method).to_owned(),
            None if heads => "HEAD".to_owned(),
            None if words.contains(&"-T") => "PUT".to_owned(),
            None if sends => "POST".to_owned(),
            None => "GET".to_owned(),
        };
        requests.push((method, path.to_owned()));
    }
    requests
}

/// Whether a path is one of a template's. The last part of a key may hold slashes.
fn fits(template: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let mut wanted = template.split('/').peekable();
    while let Some(want) = wanted.next() {
        let Some(part) = parts.next() else { return false };
        let open = want.starts_with('{');
        if !open && want != part {
            return false;
        }
        if open && wanted.peek().is_none() && (want.contains("key") || want.contains("name")) {
            return !part.is_empty();
        }
    }
    parts.next().is_none()
}

#[test]
fn commands_are_read_as_curl_reads_them() {
    let one =
        requests("curl -s -X PUT --data-binary x 'http://127.0.0.1:7101/v1/ns/a/keys/b?ttl=3s'");
    assert_eq!(one, [("PUT".to_owned(), "/v1/ns/a/keys/b".to_owned())]);
    assert!(fits("/v1/ns/{ns}/keys/{key}", "/v1/ns/a/keys/b/c"));
    assert!(!fits("/v1/ns/{ns}/keys/{key}", "/v1/ns/a/keys"));
    assert!(!fits("/v1/leases/{id}", "/v1/leases/$LEASE/renew"));
    assert!(fits("/v1/leases/{id}/renew", "/v1/leases/$LEASE/renew"));
}

//! Tests of the description: it is well formed, it knows every route, and every answer that any test
//! of the front door gets is declared in it ([`declared`]).

use std::collections::BTreeSet;

use super::super::routes::TABLE;
use super::*;

/// The operation of a request, if its path is one of the description's.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let entry = TABLE.iter().find(|entry| {
        let pattern: Vec<&str> = entry.path.split('/').collect();
        let asked: Vec<&str> = path.split('/').collect();
        let rest = pattern.iter().any(|part| part.starts_with("{*"));
        let fits = |(part, asked): (&&str, &&str)| part.starts_with('{') || part == asked;
        let long = if rest { asked.len() >= pattern.len() } else { asked.len() == pattern.len() };
        long && pattern.iter().zip(&asked).all(fits)
    })?;
    document["paths"][entry.path.replace("{*", "{")].get(method.to_ascii_lowercase())
}

/// Fails when an answer is not one that the description declares.
pub(in super::super) fn declared(method: &str, path: &str, status: u16, content_type: &str) {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    let document = DOCUMENT.get_or_init(document);
    let Some(operation) = operation(document, method, path) else { return };
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "{method} {path} answers an undeclared {status}");
    let content = response["content"].as_object().or(response["x-content"].as_object());
    let essence = content_type.split(';').next().unwrap_or_default();
    match content {
        None => {
            assert!(essence.is_empty() || method == "HEAD", "{method} {path} {status}: {essence}");
        }
        Some(content) => assert!(
            essence.is_empty() || content.contains_key(essence) || content.contains_key("*/*"),
            "{method} {path} {status}: undeclared {essence}"
        ),
    }
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap();
        item.iter().map(move |(method, operation)| (path.clone(), method.clone(), operation))
    });
    all.collect()
}

#[test]
fn the_description_knows_every_route_and_method_and_no_others() {
    let document = document();
    let described: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
    let served: BTreeSet<(String, String)> = TABLE
        .iter()
        .flat_map(|entry| {
            let path = entry.path.replace("{*", "{");
            entry.methods.iter().map(move |method| (path.clone(), (*method).to_owned()))
        })
        .collect();
    assert_eq!(described, served);
}

#[test]
fn the_description_is_openapi_3_1_with_unique_ids_and_references_that_resolve() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    found.push(reference.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "{id} stands twice");
        assert!(operation["summary"].is_string(), "{id} has no summary");
        let known = id.strip_suffix("64").unwrap_or(&id);
        assert!(problems::of(known).is_some(), "nobody has said the errors of {known}");
        let named: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path: BTreeSet<&str> = parameters
            .iter()
            .filter(|p| p["in"] == "path")
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        assert_eq!(named, in_path, "{method} {path}");
        let mut seen = BTreeSet::new();
        for parameter in &parameters {
            let key = (parameter["in"].to_string(), parameter["name"].to_string());
            assert!(seen.insert(key.clone()), "{id}: {key:?} stands twice");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].is_string(), "{id} {status}");
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn every_code_of_the_description_has_a_title_of_its_own() {
    let document = document();
    for (_, _, operation) in operations(&document) {
        for response in operation["responses"].as_object().unwrap().values() {
            for code in response["x-codes"].as_array().into_iter().flatten() {
                let code = code.as_str().unwrap();
                let broken = super::super::problem::title("internal");
                assert!(
                    code == "internal" || super::super::problem::title(code) != broken,
                    "{code}"
                );
            }
        }
    }
}

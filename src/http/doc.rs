//! `GET /openapi.json`: the whole API, described by the code that serves it.
//!
//! Why it exists: clients and test tools are made from it, so it must be complete and true. Shapes
//! come from the wire types, parameters and successes from the handlers, errors from one table; here
//! they are put together.
//!
//! Promises: OpenAPI 3.1; every route of the table and nothing else; every answer declared.

pub(super) mod params;
mod problems;

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::wire;

use super::parse::query;
use super::{Asked, Front};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tetrarch",
        description = "A replicated key-value store over HTTP in which every node leads part of the writes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        super::keys::get,
        super::keys::head,
        super::change::put,
        super::change::delete,
        super::change::patch,
        super::scan::list,
        super::scan::delete_prefix,
        super::watch::watch,
        super::trace::trace,
        super::eventual::losses::receipt,
        super::eventual::losses::conflicts,
        super::eventual::losses::totals,
        super::eventual::losses::restore,
        super::eventual::convergence::convergence,
        super::eventual::convergence::pass,
        super::eventual::copies::vector,
        super::eventual::copies::export,
        super::eventual::copies::import,
        super::txn::txn,
        super::batch::batch,
        super::locks::acquire,
        super::locks::look,
        super::locks::release,
        super::spaces::list,
        super::spaces::create,
        super::spaces::describe,
        super::spaces::change,
        super::spaces::delete,
        super::switching::begin,
        super::switching::check,
        super::switching::look,
        super::switching::cancel,
        super::leases::grant,
        super::leases::look,
        super::leases::renew,
        super::leases::end,
        super::bounds::limits,
        super::admin::cluster,
        super::admin::digest,
        super::admin::join,
        super::admin::replace,
        super::admin::route,
        super::probes::livez,
        super::probes::readyz,
        super::probes::metrics,
        openapi,
    ),
    components(schemas(
        wire::Problem,
        wire::BatchEnd,
        wire::ScanEnd,
        wire::StreamError,
        wire::TraceHead,
        wire::TraceMissed,
        wire::TraceEnd
    ))
)]
struct Described;

/// Describes all of this.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn openapi(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    if let Err(failure) = query(request.uri().query(), &[]) {
        return failure.response(&front, &asked);
    }
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let text = serde_json::to_vec(&document()).expect("a JSON value is written as JSON");
        Bytes::from(text)
    });
    let mut response = Response::new(Body::from(text.clone()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The whole description.
pub(super) fn document() -> Value {
    let described = serde_json::to_value(Described::openapi());
    let mut document = described.expect("the description is made of text and numbers");
    if let Some(info) = document.get_mut("info").and_then(Value::as_object_mut) {
        info.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    }
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        also_by_key64(paths);
        for (path, item) in paths.iter_mut() {
            for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
                finish(path, operation);
            }
        }
    }
    without_row(&mut document);
    if let Some(item) = document.pointer_mut("/components/schemas/ScanItem")
        && let Some(kinds) = item.as_object_mut().and_then(|item| item.remove("oneOf"))
    {
        // What fits the first of them fits the second, too.
        item["anyOf"] = kinds;
    }
    one_of(&mut document, "Op", &OP_VERBS);
    one_of(&mut document, "BatchLine", &OP_VERBS);
    one_of(&mut document, "KvOp", &["add", "max", "min", "append"]);
    with_sets(&mut document);
    document
}

/// An operation of a set may be both of its kinds at once.
fn with_sets(document: &mut Value) {
    let of_sets = json!({ "anyOf": [{ "required": ["set_add"] }, { "required": ["set_remove"] }] });
    if let Some(kinds) =
        document.pointer_mut("/components/schemas/KvOp/oneOf").and_then(Value::as_array_mut)
    {
        kinds.push(of_sets);
        kinds.push(json!({ "required": ["fields"] }));
    }
}

const OP_VERBS: [&str; 8] =
    ["put", "put64", "delete", "delete64", "get", "get64", "patch", "patch64"];

/// An event that has no row has none of its members: it does not become `null`.
fn without_row(document: &mut Value) {
    let row = "/components/schemas/WatchEvent/allOf/0/oneOf/1";
    if let Some(row) = document.pointer_mut(row) {
        *row = json!({ "not": { "required": ["etag"] } });
    }
}

/// Says of a schema that exactly one of these members must be there.
fn one_of(document: &mut Value, schema: &str, members: &[&str]) {
    let choices: Vec<Value> = members.iter().map(|name| json!({ "required": [name] })).collect();
    if let Some(schema) = document
        .pointer_mut("/components/schemas")
        .and_then(|schemas| schemas.get_mut(schema))
        .and_then(Value::as_object_mut)
    {
        schema.insert("oneOf".to_owned(), Value::Array(choices));
    }
}

/// The paths by key, a second time with the key in `?key64=`.
fn also_by_key64(paths: &mut Map<String, Value>) {
    let Some(mut item) = paths.get("/v1/ns/{ns}/keys/{key}").cloned() else { return };
    for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        operation["operationId"] = json!(format!("{id}64"));
        let parameters = operation["parameters"].as_array_mut().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["name"] == "key") {
            *parameter = json!({
                "name": "key64",
                "in": "query",
                "required": true,
                "description": "The key in base64url, with or without padding.",
                "schema": {
                    "type": "string",
                    "minLength": 2,
                    "maxLength": 5464,
                    "pattern": "^[A-Za-z0-9_-]+=*$",
                },
            });
        }
    }
    paths.insert("/v1/ns/{ns}/key".to_owned(), item);
}

/// What every operation has: its errors, and the headers of the house.
fn finish(path: &str, operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let known = id.strip_suffix("64").unwrap_or(&id);
    let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for (status, names) in problems::of(known).into_iter().flatten().flatten() {
        let of_status = codes.entry(*status).or_default();
        of_status.extend(names.iter().filter(|name| !of_status.contains(name)).collect::<Vec<_>>());
    }
    let probe = !path.starts_with("/v1/");
    if !probe {
        let timeout = json!({
            "name": "Request-Timeout",
            "in": "header",
            "description": "How long the client waits, in seconds: 5s or 5. Also taken: 500ms; \
                longer than 60s counts as 60s. When it is over, 503 or 504 is the answer.",
            "schema": { "type": "string", "pattern": "^([1-9]|[1-5][0-9]|60)s?$" },
        });
        match operation["parameters"].as_array_mut() {
            Some(parameters) => parameters.push(timeout),
            None => operation["parameters"] = json!([timeout]),
        }
    }
    let responses = &mut operation["responses"];
    for (status, codes) in codes {
        responses[status.to_string()] = problem(status, &codes, known == "head_key");
    }
    let Some(responses) = responses.as_object_mut() else { return };
    if known == "watch" {
        events_of(responses);
    }
    for (status, response) in responses.iter_mut() {
        let headers = headers_of(path, status);
        response["headers"] = headers;
        let lines = response.pointer_mut("/content/application~1x-ndjson/schema");
        if let Some((lines, kinds)) = lines.zip(lines_of(known)) {
            let kinds = kinds.map(|kind| json!({ "$ref": format!("#/components/schemas/{kind}") }));
            *lines = json!({ "description": "Each line.", "anyOf": kinds.collect::<Vec<_>>() });
        }
        if matches!(known, "get_key" | "put_key" | "patch_key") {
            or_the_value(response);
        }
    }
    for (status, what) in BARE {
        responses.entry(status).or_insert_with(|| json!({ "description": what }));
    }
    let perhaps = PERHAPS.iter().filter(|(status, _)| *status != "201" || known == "put_key");
    for (status, what) in perhaps {
        if let Some(response) = responses.get_mut(*status).and_then(Value::as_object_mut)
            && let Some(content) = response.remove("content")
        {
            let said = response.get("description").and_then(Value::as_str).unwrap_or_default();
            let said = format!("{said}. {what}");
            response.insert("description".to_owned(), json!(said));
            response.insert("x-content".to_owned(), content);
        }
    }
}

/// A value that was stored as JSON is JSON without being an envelope.
fn or_the_value(response: &mut Value) {
    if let Some(schema) = response.pointer_mut("/content/application~1json/schema") {
        let what =
            "The envelope where Accept asks for it; else the value, if its type is this one.";
        *schema = json!({ "description": what, "anyOf": [schema.take(), {}] });
    }
}

/// What the HTTP library refuses by itself, before there is a request that could be answered.
const BARE: [(&str, &str); 2] = [
    ("414", "Refused without a body: the URI is too long for HTTP here"),
    ("431", "Refused without a body: request line and headers are longer than 64 KiB, or too many"),
];

/// Answers with or without a body. OpenAPI has no words for that: a declared body is one that is
/// always there, so it stands under a name of our own.
const PERHAPS: [(&str, &str); 2] = [
    ("201", "The body is there only if it was asked for, and then as x-content says"),
    ("414", "HTTP itself refuses longer URIs without the body of x-content"),
];

/// What the lines of an operation's stream can be.
fn lines_of(operation: &str) -> Option<impl Iterator<Item = &'static str>> {
    let kinds: &[&str] = match operation {
        "scan" => &["ScanItem", "ScanEnd", "StreamError"],
        "batch" => &["BatchResult", "BatchEnd"],
        "trace" => &["TraceHead", "TraceRecord", "TraceMissed", "TraceEnd"],
        "list_conflicts" => &["Conflict", "StreamError"],
        _ => return None,
    };
    Some(kinds.iter().copied())
}

/// A stream of events as tools take it: OpenAPI 3.1 has no words for a stream, so the schema is that
/// of each event.
fn events_of(responses: &mut Map<String, Value>) {
    let text = json!({ "type": "string" });
    let event = json!({
        "type": "object",
        "description": "One event of the stream.",
        "properties": {
            "event": text,
            "id": { "type": "string", "description": "The cursor to go on from." },
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": { "$ref": "#/components/schemas/WatchEvent" },
            },
        },
        "required": ["event", "data"],
    });
    let content = responses.get_mut("200").and_then(|response| response.get_mut("content"));
    if let Some(content) = content.and_then(Value::as_object_mut) {
        content.insert("text/event-stream".to_owned(), json!({ "schema": event }));
    }
}

fn problem(status: u16, codes: &[&str], bodiless: bool) -> Value {
    let description = format!("Refused: {}", codes.join(", "));
    if bodiless {
        return json!({ "description": description });
    }
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({
        "description": description,
        "content": { wire::PROBLEM_JSON: { "schema": schema } },
        "x-codes": codes,
        "x-status": status,
    })
}

/// The headers that an answer has, or may have.
fn headers_of(path: &str, status: &str) -> Value {
    let text = |what: &str| json!({ "description": what, "schema": { "type": "string" } });
    let number =
        |what: &str| json!({ "description": what, "schema": { "type": "integer", "minimum": 0 } });
    let mut headers = Map::new();
    let mut add = |name: &str, header| headers.insert(name.to_owned(), header);
    add("Request-Id", text("Names the request in logs."));
    if path.starts_with("/v1/") {
        add("KV-Served-By", number("The node that did the work."));
    }
    if path.starts_with("/v1/ns/") || path.starts_with("/v1/leases") {
        add("KV-Group", number("The group that answered."));
        add("KV-Index", number("The position in the group's order that the answer reflects."));
        add("KV-Leader", text("Base URL of the leader's node, as a hint."));
        add("KV-Session", text("What the client has seen now: send it with the next request."));
        add("KV-Read", text("What kind of read it was."));
        add("KV-Replayed", text("`?1`: the answer of an earlier request."));
        add("KV-Revision", number("The revision of what was read or written."));
    }
    if path.starts_with("/v1/ns/") {
        add("KV-Vector", text("Of an eventual namespace: what the node had heard of."));
    }
    if path.contains("/key") {
        add("ETag", text("Names the key's newest write."));
        add("Last-Modified", text("When it was, by the clock of the node that took it."));
        add("KV-Version", number("Writes of the key since it was created."));
        add("KV-Lease", text("The lease that the key hangs on."));
        add("KV-Receipt", text("Of an eventual namespace: the name of the write."));
        add("KV-Context", text("Of an eventual namespace: what is shown, for the next write."));
        add("KV-Siblings", text("Of an eventual namespace: how many values there are."));
        add("KV-Partial", text("`?1`: deleted while fields of it were written."));
    }
    if status == "201" {
        add("Location", text("Where it is found again."));
    }
    if status == "503" {
        add("Retry-After", number("Seconds after which another try makes sense."));
    }
    Value::Object(headers)
}

//! What two runs of the same example have in common.
//!
//! Promises: values, statuses, names, counts and codes are compared as they are; only what depends on
//! the cluster or the moment (indexes, groups, nodes, ids, times, cursors) is replaced by its kind.

/// Members of JSON bodies, and headers, whose numbers no two clusters share.
const NUMBERS: [&str; 34] = [
    "group",
    "index",
    "revision",
    "created",
    "epoch",
    "slot",
    "leader",
    "preferred",
    "token",
    "id",
    "kv-group",
    "kv-index",
    "kv-served-by",
    "kv-revision",
    "answered_by",
    "expires_in_ms",
    "remaining_ms",
    "age-ms",
    "node",
    "term",
    "committed",
    "known",
    "applied",
    "last",
    "uptime_ms",
    "seq",
    "content-length",
    "at",
    "leads",
    "lag",
    "bytes",
    "waiting",
    "groups",
    "max-age",
];

/// Members and headers whose text is made up by the cluster.
const TEXTS: [&str; 29] = [
    "request_id",
    "request-id",
    "date",
    "last-modified",
    "modified",
    "cursor",
    "next",
    "view",
    "kv-session",
    "kv-cursor",
    "restart",
    "etag",
    "cluster",
    "incarnation",
    "lease",
    "lease_id",
    "leader",
    "leader_url",
    "url",
    "kv-leader",
    "kv-lease",
    "kv-receipt",
    "kv-context",
    "kv-vector",
    "receipt",
    "context",
    "vector",
    "digest",
    "restored",
];

/// The output with what differs between runs replaced.
pub(crate) fn of(output: &str) -> String {
    output.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn line(line: &str) -> String {
    if let Some((name, value)) = header(line) {
        let name = name.to_ascii_lowercase();
        if TEXTS.contains(&name.as_str()) || NUMBERS.contains(&name.as_str()) {
            return format!("{name}: *");
        }
        return format!("{name}: {}", words(value));
    }
    if line.starts_with("id: ") {
        return "id: *".to_owned();
    }
    words(&members(line))
}

/// A header line; a body that looks like one is compared more loosely, which does no harm.
fn header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ")?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (is_name && name != "data" && name != "event" && name != "id").then_some((name, value))
}

/// Replaces the values of known members in JSON text.
fn members(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\":") {
        let (before, after) = rest.split_at(at + 2);
        out.push_str(before);
        let name = before[..at].rsplit('"').next().unwrap_or_default();
        rest = after;
        let space = after.len() - after.trim_start().len();
        let value = &after[space..];
        if TEXTS.contains(&name) && value.starts_with('"') {
            let end = end_of_string(value);
            out.push('*');
            rest = &value[end..];
        } else if NUMBERS.contains(&name) {
            let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
            if end > 0 {
                out.push('*');
                rest = &value[end..];
            } else if value.starts_with('"') && matches!(name, "id") {
                out.push('*');
                rest = &value[end_of_string(value)..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn end_of_string(value: &str) -> usize {
    let mut escaped = false;
    for (at, c) in value.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    value.len()
}

/// Replaces addresses, entity tags, and what messages say of indexes and groups.
fn words(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut numbered = false;
    for word in text.split(' ') {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
        out.push(if word.contains("127.0.0.1:") {
            "*".to_owned()
        } else if numbered && is_number {
            word.replace(bare, "*")
        } else {
            word.to_owned()
        });
        let numbering = ["index", "group", "groups", "node", "token", "revision", "of", "and"];
        numbered = numbering.contains(&bare) || (numbered && is_number);
    }
    tags(&out.join(" "))
}

/// Replaces entity tags: `"12-34"`, plain or escaped in JSON.
fn tags(text: &str) -> String {
    let parts: Vec<String> = text
        .split('"')
        .map(|part| {
            let tag = part.trim_end_matches('\\');
            let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
            match tag.split_once('-') {
                Some((group, at)) if digits(group) && digits(at) => part.replace(tag, "*-*"),
                _ => part.to_owned(),
            }
        })
        .collect();
    parts.join("\"")
}

#[test]
fn what_differs_between_clusters_is_replaced_and_nothing_else() {
    for (raw, form) in [
        ("kv-group: 12", "kv-group: *"),
        ("HTTP/1.1 200 OK", "HTTP/1.1 200 OK"),
        ("content-type: text/plain", "content-type: text/plain"),
        (r#"{"key":"a","etag":"\"1-2\"","revision":7}"#, r#"{"key":"a","etag":*,"revision":*}"#),
        (r#"{"value":"7","leader":"http://127.0.0.1:7101"}"#, r#"{"value":"7","leader":*}"#),
        ("as of index 12 of group 3", "as of index * of group *"),
        (
            r#"data: {"type":"put","key":"n12","index":4}"#,
            r#"data: {"type":"put","key":"n12","index":*}"#,
        ),
    ] {
        assert_eq!(of(raw), form);
    }
    assert_ne!(of(r#"{"status":200}"#), of(r#"{"status":201}"#));
    assert_ne!(of("hello"), of("hallo"));
}

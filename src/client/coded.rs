//! Any bytes in JSON and in paths: text where they are UTF-8, else base64 with the URL alphabet.
//!
//! Promises: what is written here reads back the same; a reader takes either alphabet of base64,
//! padded or not. Relies on: the rule of [`crate::wire`] that a name with `64` behind it holds base64.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a path segment: everything else is percent-encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Bytes as JSON carries them: as text, or in base64.
pub fn to_text(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(to_base64(bytes))),
    }
}

/// The bytes of a text or of base64; `None` when there is neither, or the base64 is none.
pub fn from_text(text: Option<&str>, base64: Option<&str>) -> Option<Bytes> {
    match (text, base64) {
        (Some(text), _) => Some(Bytes::copy_from_slice(text.as_bytes())),
        (None, Some(base64)) => from_base64(base64),
        (None, None) => None,
    }
}

/// Base64 with the URL alphabet and without padding.
pub fn to_base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of base64 in either alphabet.
pub fn from_base64(text: &str) -> Option<Bytes> {
    let plain = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    URL_SAFE_NO_PAD.decode(plain).ok().map(Bytes::from)
}

/// A duration as the API writes it.
pub(super) fn duration_text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis().max(1))
}

/// The path of a key. One that the path cannot carry (`.` and `..`: parsers take them for steps,
/// however encoded) travels in the query.
pub(super) fn key_path(ns: &str, key: &[u8]) -> String {
    if matches!(key, b"." | b"..") {
        return format!("{}/key?key64={}", space_path(ns), to_base64(key));
    }
    format!("{}/keys/{}", space_path(ns), encode(key))
}

/// The path under which a namespace's keys are.
pub(super) fn space_path(ns: &str) -> String {
    format!("/v1/ns/{}", segment(ns))
}

/// A text as one path segment.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A key as one path segment, or as a query's value.
pub(super) fn encode(key: &[u8]) -> String {
    percent_encoding::percent_encode(key, NON_ALPHANUMERIC).to_string()
}

/// A query behind a path, grown name by name.
#[derive(Debug)]
pub(super) struct Query(String);

impl Query {
    pub(super) fn after(path: String) -> Self {
        Self(path)
    }

    pub(super) fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&percent_encoding::percent_encode(value.as_ref(), SEGMENT).to_string());
    }

    /// Text under its name; other bytes under the name with `64` behind it.
    pub(super) fn add_bytes(&mut self, name: &str, value: &[u8]) {
        if std::str::from_utf8(value).is_ok() {
            self.add(name, value);
        } else {
            self.add(&format!("{name}64"), to_base64(value));
        }
    }

    pub(super) fn path(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_so_that_no_url_parser_changes_them() {
        assert_eq!(key_path("default", b"a/.."), "/v1/ns/default/keys/a%2F%2E%2E");
        assert_eq!(key_path("a b", b"x/\xff"), "/v1/ns/a%20b/keys/x%2F%FF");
        assert_eq!(key_path("default", b".."), "/v1/ns/default/key?key64=Li4");
    }

    #[test]
    fn any_bytes_read_back() {
        for bytes in [&b"text"[..], b"", b"\xff\x00\xfe", "ü".as_bytes()] {
            let (text, base64) = to_text(bytes);
            assert_eq!(from_text(text.as_deref(), base64.as_deref()).unwrap(), bytes);
        }
        assert_eq!(from_base64("+/8=").unwrap(), from_base64("-_8").unwrap());
    }

    #[test]
    fn queries_carry_any_bytes() {
        let mut query = Query::after("/p?key64=Li4".to_owned());
        query.add("ttl", "5s");
        query.add_bytes("prefix", b"a&b");
        query.add_bytes("start", b"\xff");
        assert_eq!(query.path(), "/p?key64=Li4&ttl=5s&prefix=a%26b&start64=_w");
    }
}

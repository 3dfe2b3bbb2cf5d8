//! `Idempotency-Key`: what makes repeating a request harmless.
//!
//! Promises: the fingerprint covers all that decides what a request does and what it answers: method,
//! path, query, the headers listed here, and the body. Two requests with the same key and different
//! fingerprints are refused by the group that remembers the first.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::runtime::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::service::OnceKey;
use crate::wire::IDEMPOTENCY_KEY;

use super::parse::text_header;
use super::problem::Failure;

/// The headers by which a request does or answers something else.
const TELLING: [&str; 7] =
    ["content-type", "if-match", "if-none-match", "kv-lease", "kv-confirm", "prefer", "kv-context"];

/// The client's key, if it gave one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<Bytes>, Failure> {
    let Some(text) = text_header(headers, IDEMPOTENCY_KEY)? else { return Ok(None) };
    if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        let most = IDEMPOTENCY_KEY_BYTES_MAX;
        return Err(Failure::invalid(format!("Idempotency-Key has 1 to {most} characters")));
    }
    Ok(Some(Bytes::copy_from_slice(text.as_bytes())))
}

/// The key with the request's fingerprint.
pub(super) fn once(parts: &Parts, body: &[u8]) -> Result<Option<OnceKey>, Failure> {
    let key = key(&parts.headers)?;
    Ok(key.map(|key| OnceKey { key, fingerprint: fingerprint(parts, body) }))
}

fn fingerprint(parts: &Parts, body: &[u8]) -> [u8; 16] {
    let mut hash = Xxh3::new();
    // Each piece behind its length, so that no two requests are one string of bytes.
    let mut piece = |bytes: &[u8]| {
        hash.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(bytes);
    };
    piece(parts.method.as_str().as_bytes());
    piece(parts.uri.path().as_bytes());
    piece(parts.uri.query().unwrap_or_default().as_bytes());
    for name in TELLING {
        piece(name.as_bytes());
        for value in parts.headers.get_all(name) {
            piece(value.as_bytes());
        }
    }
    piece(body);
    hash.digest128().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn print(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> [u8; 16] {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        fingerprint(&request.body(()).unwrap().into_parts().0, body.as_bytes())
    }

    #[test]
    fn whatever_decides_about_a_request_changes_its_fingerprint_and_nothing_else() {
        let first = print("PUT", "/k?ttl=1s", &[("if-match", "\"1-2\"")], "v");
        for other in [
            print("DELETE", "/k?ttl=1s", &[("if-match", "\"1-2\"")], "v"),
            print("PUT", "/l?ttl=1s", &[("if-match", "\"1-2\"")], "v"),
            print("PUT", "/k?ttl=2s", &[("if-match", "\"1-2\"")], "v"),
            print("PUT", "/k?ttl=1s", &[("if-none-match", "\"1-2\"")], "v"),
            print("PUT", "/k?ttl=1s", &[("if-match", "\"1-2\""), ("kv-lease", "x")], "v"),
            print("PUT", "/k?ttl=1s", &[("if-match", "\"1-2\"")], "w"),
            print("PUT", "/k?ttl=1", &[("if-match", "\"1-2\"")], "sv"),
        ] {
            assert_ne!(first, other);
        }
        let elsewhere = [("if-match", "\"1-2\""), ("request-id", "7"), ("kv-session", "s")];
        assert_eq!(first, print("PUT", "/k?ttl=1s", &elsewhere, "v"));
    }

    #[test]
    fn keys_are_printable_and_bounded() {
        let ask = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, axum::http::HeaderValue::from_bytes(value).unwrap());
            key(&headers).map(|key| key.is_some()).ok()
        };
        assert!(key(&HeaderMap::new()).unwrap().is_none());
        assert_eq!(ask(b"6e8bc430-9c3a-11d9-9669-0800200c9a66"), Some(true));
        assert_eq!(ask(&[b'x'; 255]), Some(true));
        for refused in [b"".as_slice(), &[b'x'; 256], b"\xff"] {
            assert_eq!(ask(refused), None);
        }
    }
}

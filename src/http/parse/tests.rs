//! Tests of `http::parse`: each name says what it holds.

use super::*;

#[test]
fn keys_are_the_bytes_that_the_path_says() {
    for (path, namespace, key) in [
        ("/v1/ns/default/keys/a", "default", b"a".as_slice()),
        ("/v1/ns/default/keys/a/b//c", "default", b"a/b//c"),
        ("/v1/ns/default/keys/a%2Fb", "default", b"a/b"),
        ("/v1/ns/default/keys/%00%ff%FE", "default", b"\x00\xff\xfe"),
        ("/v1/ns/default/keys/../keys/x", "default", b"../keys/x"),
        ("/v1/ns/default/keys/+%20%25", "default", b"+ %"),
        ("/v1/ns/%C3%A9/keys/k", "é", b"k"),
        ("/v1/ns/default/keys//", "default", b"/"),
    ] {
        let (found_namespace, found_key) = key_path(path).unwrap();
        assert_eq!((found_namespace.as_str(), found_key.as_ref()), (namespace, key), "{path}");
    }
}

#[test]
fn broken_escapes_and_empty_keys_are_refused() {
    for path in [
        "/v1/ns/default/keys/",
        "/v1/ns/default/keys/a%",
        "/v1/ns/default/keys/a%4",
        "/v1/ns/default/keys/a%zz",
        "/v1/ns/%ff/keys/a",
        "/v1/ns/default",
    ] {
        assert_eq!(key_path(path).unwrap_err().status.as_u16(), 400, "{path}");
    }
}

#[test]
fn queries_that_are_not_understood_are_refused() {
    assert_eq!(read_mode(None).unwrap(), ReadMode::Linearizable);
    assert_eq!(read_mode(Some("read=linearizable")).unwrap(), ReadMode::Linearizable);
    assert_eq!(read_mode(Some("read=stale&")).unwrap(), ReadMode::Stale);
    for query in ["read=lease", "read", "raed=stale", "read=stale&read=stale"] {
        assert_eq!(read_mode(Some(query)).unwrap_err().code, "invalid", "{query}");
    }
}

#[test]
fn a_route_is_asked_for_by_any_key() {
    let (namespace, key) = route_query(Some("ns=n&key=%00%2F")).unwrap();
    assert_eq!((namespace.as_str(), key.as_ref()), ("n", b"\0/".as_slice()));
    assert_eq!(route_query(Some("key=a")).unwrap().0, "default");
    assert!(route_query(Some("ns=n")).is_err());
    assert!(route_query(None).is_err());
}

#[test]
fn times_are_milliseconds_seconds_or_plain_seconds_within_bounds() {
    let ask = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_TIMEOUT, HeaderValue::from_str(value).unwrap());
        request_timeout(&headers).ok()
    };
    assert_eq!(request_timeout(&HeaderMap::new()).unwrap(), Duration::from_secs(5));
    for (value, time) in [
        ("500ms", Some(Duration::from_millis(500))),
        ("5s", Some(Duration::from_secs(5))),
        ("7", Some(Duration::from_secs(7))),
        ("99999", Some(REQUEST_TIMEOUT_MAX)),
        ("0", None),
        ("-1", None),
        ("+1", None),
        ("1.5s", None),
        ("", None),
        ("ms", None),
        ("soon", None),
    ] {
        assert_eq!(ask(value), time, "{value:?}");
    }
}

#[test]
fn only_names_fit_for_a_log_are_taken_as_request_ids() {
    let ask = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        request_id(&headers).map(|(id, _)| id)
    };
    assert_eq!(ask(b"abc-1").as_deref(), Some("abc-1"));
    for value in [b"a b".as_slice(), b"", &[b'x'; 129], b"\xff"] {
        assert_eq!(ask(value), None);
    }
}

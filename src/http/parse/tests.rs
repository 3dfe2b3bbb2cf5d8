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
    let read_mode = |raw| Query::of(raw, &["read", "max_staleness"])?.read_mode();
    assert_eq!(read_mode(None).unwrap(), ReadMode::Linearizable);
    assert_eq!(read_mode(Some("read=linearizable")).unwrap(), ReadMode::Linearizable);
    assert_eq!(read_mode(Some("read=stale&")).unwrap(), ReadMode::Stale);
    let bounded = ReadMode::Bounded(Duration::from_millis(250));
    assert_eq!(read_mode(Some("max_staleness=250ms&read=bounded")).unwrap(), bounded);
    assert_eq!(read_mode(Some("read=session")).unwrap(), ReadMode::Session);
    for query in [
        "read=lease",
        "read",
        "raed=stale",
        "read=stale&read=stale",
        "read=bounded",
        "max_staleness=1s",
        "read=stale&max_staleness=1s",
        "read=bounded&max_staleness=1",
    ] {
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

#[test]
fn a_header_that_may_stand_once_is_refused_when_it_stands_twice() {
    let mut headers = HeaderMap::new();
    headers.append(REQUEST_TIMEOUT, HeaderValue::from_static("1s"));
    assert!(request_timeout(&headers).is_ok());
    headers.append(REQUEST_TIMEOUT, HeaderValue::from_static("2s"));
    assert_eq!(request_timeout(&headers).unwrap_err().status.as_u16(), 400);
}

#[test]
fn base64_is_read_in_both_alphabets_with_and_without_padding() {
    for text in ["_-8", "_-8=", "/+8", "/+8="] {
        assert_eq!(base64_any("x", text).unwrap().as_ref(), [255, 239], "{text}");
    }
    assert_eq!(base64_any("x", "").unwrap().len(), 0);
    for text in ["a", "_/8=", "a b=", "=", "YQ===", "YR"] {
        assert!(base64_any("x", text).is_err(), "{text}");
    }
    assert!(base64url("x", "/+8").is_err());
}

#[test]
fn lives_and_leases_are_bounded() {
    assert!(ttl_ms("ttl", LEASE_TTL_MIN).is_ok() && ttl_ms("ttl", LEASE_TTL_MAX).is_ok());
    assert!(ttl_ms("ttl", Duration::from_millis(999)).is_err());
    assert!(ttl_ms("ttl", LEASE_TTL_MAX + Duration::from_millis(1)).is_err());
    assert_eq!(lease_id("00000000000000Aa").unwrap().0, 0xaa);
    for text in ["", "aa", "00000000000000zz", "+000000000000aa0", "00000000000000aa0"] {
        assert!(lease_id(text).is_err(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_query_is_understood_or_refused(raw in "[ -~]{0,60}") {
        if let Ok(query) = Query::of(Some(&raw), &["read", "max_staleness", "ttl", "prev", "key64"]) {
            drop((query.read_mode(), query.duration("ttl"), query.flag("prev")));
            drop((query.number("ttl"), query.text("prev"), query.either("prev", "key64")));
        }
    }

    #[test]
    fn any_text_is_base64_a_media_type_or_an_error(text: String) {
        drop((base64_any("x", &text), media_type(&text).map(str::len), lease_id(&text)));
    }

    #[test]
    fn any_path_is_a_key_or_an_error(path in "/v1/ns/[ -~]{0,20}/keys/[ -~]{0,20}") {
        drop((key_path(&path), lock_path(&path), namespace_path(&path)));
    }
}

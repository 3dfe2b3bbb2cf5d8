//! Tests of `http::steps`: each name says what it holds.

use proptest::prelude::*;

use super::*;

fn read(json: &str) -> Result<(Verb, KeyStep), Failure> {
    step(serde_json::from_str(json).unwrap(), &Condition::None)
}

#[test]
fn every_operation_is_read() {
    for (json, verb, key) in [
        (r#"{"put":"a","value":""}"#, Verb::Put, "a"),
        (r#"{"put64":"YQ","value64":"_-8="}"#, Verb::Put, "a"),
        (r#"{"put":"a","value64":"/+8=","content_type":"text/plain","ttl":"5s"}"#, Verb::Put, "a"),
        (r#"{"put":"a","value":"v","lease":"00000000000000aa"}"#, Verb::Put, "a"),
        (r#"{"delete":"a"}"#, Verb::Delete, "a"),
        (r#"{"delete64":"YQ=="}"#, Verb::Delete, "a"),
        (r#"{"get":"é"}"#, Verb::Get, "é"),
        (r#"{"patch":"a","merge":null}"#, Verb::Patch, "a"),
        (r#"{"patch":"a","merge":{"b":1}}"#, Verb::Patch, "a"),
        (r#"{"patch":"a","json":[{"op":"test","path":"","value":1}]}"#, Verb::Patch, "a"),
        (r#"{"patch":"a","add":-5}"#, Verb::Patch, "a"),
        (r#"{"patch":"a","max":"12.50"}"#, Verb::Patch, "a"),
        (r#"{"patch":"a","append":"x"}"#, Verb::Patch, "a"),
    ] {
        let (found, step) = read(json).unwrap_or_else(|failure| panic!("{json}: {failure:?}"));
        assert_eq!((found, step.key.as_ref()), (verb, key.as_bytes()), "{json}");
    }
}

#[test]
fn operations_that_are_two_or_none_are_refused() {
    for json in [
        r"{}",
        r#"{"put":"a"}"#,
        r#"{"put":"","value":""}"#,
        r#"{"put":"a","put64":"YQ","value":""}"#,
        r#"{"put":"a","delete":"a","value":""}"#,
        r#"{"put":"a","value":"v","value64":"dg"}"#,
        r#"{"put":"a","value64":"***"}"#,
        r#"{"put64":"a!","value":""}"#,
        r#"{"put":"a","value":"v","ttl":"1s","lease":"00000000000000aa"}"#,
        r#"{"put":"a","value":"v","ttl":"1ms"}"#,
        r#"{"put":"a","value":"v","lease":"aa"}"#,
        r#"{"put":"a","value":"v","content_type":"x"}"#,
        r#"{"put":"a","value":"v","add":1}"#,
        r#"{"delete":"a","value":"v"}"#,
        r#"{"get":"a","append":"v"}"#,
        r#"{"patch":"a"}"#,
        r#"{"patch":"a","add":1,"max":1}"#,
        r#"{"patch":"a","add":1,"merge":{}}"#,
        r#"{"patch":"a","merge":{},"json":[]}"#,
        r#"{"patch":"a","json":[{"op":"fly"}]}"#,
        r#"{"patch":"a","add":1e300}"#,
        r#"{"patch":"a","add":0.12345678901234567}"#,
        r#"{"patch":"a","add":"five"}"#,
    ] {
        let status = read(json).unwrap_err().status.as_u16();
        assert!(matches!(status, 400 | 422), "{json}: {status}");
    }
    assert!(serde_json::from_str::<Op>(r#"{"put":"a","valeu":""}"#).is_err());
    assert!(serde_json::from_str::<wire::BatchLine>(r#"{"put":"a","valeu":""}"#).is_err());
    assert!(step(serde_json::from_str(r#"{"get":"a"}"#).unwrap(), &Condition::Exists).is_err());
}

#[test]
fn conditions_ask_one_thing_of_one_key() {
    let read = |json: &str| comparison(serde_json::from_str(json).unwrap());
    for json in [
        r#"{"key":"a","exists":false}"#,
        r#"{"key64":"YQ","etag":"\"3-7\""}"#,
        r#"{"key":"a","value":"v"}"#,
        r#"{"key":"a","value64":"dg==","op":"lt"}"#,
        r#"{"key":"a","revision":7,"op":"ge"}"#,
        r#"{"key":"a","version":7,"op":"ne"}"#,
        r#"{"key":"a","created":0}"#,
    ] {
        assert!(read(json).is_ok(), "{json}");
    }
    for json in [
        r#"{"key":"a"}"#,
        r#"{"exists":true}"#,
        r#"{"key":"a","key64":"YQ","exists":true}"#,
        r#"{"key":"","exists":true}"#,
        r#"{"key":"a","exists":true,"op":"eq"}"#,
        r#"{"key":"a","etag":"3-7"}"#,
        r#"{"key":"a","etag":"W/\"3-7\""}"#,
        r#"{"key":"a","revision":7,"version":7}"#,
        r#"{"key":"a","revision":7,"op":"like"}"#,
    ] {
        assert_eq!(read(json).unwrap_err().status.as_u16(), 400, "{json}");
    }
}

proptest! {
    #[test]
    fn any_operation_is_a_step_or_an_error(
        put in proptest::option::of(".{0,4}"),
        patch64 in proptest::option::of(".{0,4}"),
        value64 in proptest::option::of(".{0,6}"),
        ttl in proptest::option::of(".{0,4}"),
        add in proptest::option::of(any::<f64>()),
    ) {
        let number = |float| serde_json::Number::from_f64(float).map(wire::Amount::Number);
        let add = add.and_then(number);
        let op = Op { put, patch64, value64, ttl, add, ..Op::default() };
        drop(step(op, &Condition::None));
    }
}

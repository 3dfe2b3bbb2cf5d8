//! JSON: what others accept is accepted, and comes back digit for digit.

use proptest::prelude::*;

use super::*;

fn written(text: &str) -> String {
    let mut out = Vec::new();
    Json::parse(text.as_bytes()).unwrap().write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn members_keep_their_order_and_numbers_their_digits() {
    let text = r#"{"z":1.10,"a":[12345678901234567890123,-0,1E400,0.10e-7],"m":{"é\n":null}}"#;
    assert_eq!(written(text), text);
    assert_eq!(written(" [ true , false ] "), "[true,false]");
    assert_eq!(written(r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#);
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        " ",
        "01",
        "1.",
        ".5",
        "-",
        "1e",
        "+1",
        "nul",
        "[1,]",
        "[1 2]",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1,}",
        "\"a",
        "\"\\x\"",
        "\"\\ud800\"",
        "1 2",
        "\"a\nb\"",
        "\"\\",
    ] {
        assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Json::parse(b"\"\xff\"").is_err());
}

#[test]
fn nesting_is_bounded_on_both_sides() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deepest = Json::parse(nested(JSON_DEPTH_MAX).as_bytes()).unwrap();
    assert_eq!(deepest.depth(), JSON_DEPTH_MAX);
    assert!(Json::parse(nested(JSON_DEPTH_MAX + 2).as_bytes()).is_err());
    assert!(Json::parse(nested(1_000_000).as_bytes()).is_err());
}

#[test]
fn numbers_mean_the_same_however_they_are_written() {
    let number = |text: &str| Json::Number(text.to_owned());
    for (a, b) in [("1", "1.0"), ("100", "1e2"), ("0", "-0.00"), ("0.5", "5E-1"), ("12", "1.2e1")] {
        assert!(number(a).means(&number(b)), "{a} {b}");
    }
    for (a, b) in [("1", "-1"), ("1", "10"), ("9007199254740993", "9007199254740992")] {
        assert!(!number(a).means(&number(b)), "{a} {b}");
    }
}

pub(in crate::model) fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        "[a-c\"/~\u{e9}\\\\]{0,3}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-c~/]{0,2}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<serde_json::Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn other_readers_agree_on_what_is_written(value in any_json(), pretty: bool) {
        let text =
            if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let ours = written(&text.unwrap());
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).unwrap(), value);
    }

    #[test]
    fn other_readers_agree_on_what_is_json(text in "[\\[\\]{}\",:0-9eE+.tfn a\\\\-]{0,12}") {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        // They refuse numbers beyond a float, which are numbers all the same.
        let beyond = theirs.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
        prop_assert_eq!(Json::parse(text.as_bytes()).is_ok(), theirs.is_ok() || beyond);
    }

    #[test]
    fn any_bytes_are_json_or_not(bytes: Vec<u8>) {
        drop(Json::parse(&bytes));
    }
}

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

#[test]
fn escapes_are_read_and_only_what_must_be_is_escaped() {
    for (text, expected) in [
        (r#""\u0041\/\b\f\n\r\t\"\\""#, r#""A/\u0008\u000c\n\r\t\"\\""#),
        (r#""\ud83d\ude00é""#, "\"\u{1f600}é\""),
    ] {
        assert_eq!(written(text), expected);
        assert_eq!(written(&written(text)), expected);
    }
    for text in [r#""\ude00""#, r#""\ud83d\u0041""#, r#""\u12""#, r#""\u12g4""#, r#""\ud83dx""#] {
        assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_json_or_not(bytes: Vec<u8>) {
        drop(Json::parse(&bytes));
    }
}

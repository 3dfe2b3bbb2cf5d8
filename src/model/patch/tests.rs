//! Patches: the RFCs' cases, and bounds that hold. `tests/scripts/patches.rs` asks another reader.

use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 1 << 20;

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8(bytes.as_ref().to_vec()).unwrap()
}

fn run(patch: &Patch, old: Option<&str>) -> Result<String, Denial> {
    let old = old.map(|old| Bytes::copy_from_slice(old.as_bytes()));
    apply(patch, old.as_ref(), LIMIT, &mut Budget::default()).map(text)
}

fn merged(old: &str, patch: &str) -> String {
    run(&Patch::Merge(Bytes::copy_from_slice(patch.as_bytes())), Some(old)).unwrap()
}

fn stepped(old: &str, steps: &str) -> Result<String, Denial> {
    run(&Patch::Json(Bytes::copy_from_slice(steps.as_bytes())), Some(old))
}

fn fault(result: Result<String, Denial>) -> PatchFault {
    match result {
        Err(Denial::Patch { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn merging_does_what_the_rfc_lists() {
    for (old, patch, new) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, r"{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"foo"}"#, r"null", r"null"),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        (r"[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        (r"{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        assert_eq!(merged(old, patch), new, "{old} {patch}");
    }
    let patch = Patch::Merge(Bytes::from_static(br#"{"a":1}"#));
    assert_eq!(run(&patch, None), Ok(r#"{"a":1}"#.to_owned()));
}

#[test]
fn what_a_patch_does_not_touch_stays_digit_for_digit() {
    let old = r#"{"z":12345678901234567890123,"a":1.10,"m":[1e400,-0]}"#;
    assert_eq!(merged(old, r#"{"n":2.50}"#), old.replace("-0]}", "-0],\"n\":2.50}"));
    assert_eq!(
        stepped(old, r#"[{"op":"remove","path":"/a"}]"#),
        Ok(r#"{"z":12345678901234567890123,"m":[1e400,-0]}"#.to_owned())
    );
}

#[test]
fn paths_are_escaped_and_places_are_plain_digits() {
    let old = r#"{"a/b":1,"m~n":2,"":3,"l":[0,1]}"#;
    for (path, value) in [("/a~1b", "1"), ("/m~0n", "2"), ("/", "3"), ("/l/1", "1")] {
        let test = format!(r#"[{{"op":"test","path":"{path}","value":{value}}}]"#);
        assert_eq!(stepped(old, &test), Ok(old.to_owned()), "{path}");
    }
    for path in ["/l/01", "/l/-", "/l/2", "/l/+1", "/x", "/a~1b/c"] {
        let test = format!(r#"[{{"op":"test","path":"{path}","value":1}}]"#);
        assert_eq!(fault(stepped(old, &test)), PatchFault::Conflict, "{path}");
    }
    for path in ["l", "/~2", "/~"] {
        let test = format!(r#"[{{"op":"test","path":"{path}","value":1}}]"#);
        assert_eq!(fault(stepped(old, &test)), PatchFault::Invalid, "{path}");
    }
}

#[test]
fn what_is_no_patch_and_what_does_not_fit_are_told_apart() {
    for steps in ["{", "{}", "[1]", r#"[{"op":"add","path":""}]"#, r#"[{"op":"no","path":""}]"#] {
        assert_eq!(fault(stepped("{}", steps)), PatchFault::Invalid, "{steps}");
    }
    assert_eq!(fault(stepped("no json", "[]")), PatchFault::Conflict);
    let into_itself = r#"[{"op":"move","from":"/a","path":"/a/b"}]"#;
    assert_eq!(fault(stepped(r#"{"a":{}}"#, into_itself)), PatchFault::Conflict);
}

#[test]
fn copies_of_copies_do_not_fill_the_memory() {
    let copy = r#"{"op":"copy","from":"","path":"/-"}"#;
    let steps = format!("[{}]", vec![copy; 200].join(","));
    assert_eq!(stepped(r#"["abcdefgh"]"#, &steps), Err(Denial::TooLarge { limit: LIMIT }));
    let many = format!("[{}]", vec![r#"{"op":"test","path":"","value":1}"#; 1001].join(","));
    assert_eq!(fault(stepped("1", &many)), PatchFault::Invalid);
}

#[test]
fn moves_do_not_nest_deeper_than_the_stack() {
    let step = r#"{"op":"add","path":"/0","value":[]},{"op":"move","from":"/1","path":"/0/0"}"#;
    let steps = format!("[{}]", vec![step; 400].join(","));
    assert_eq!(fault(stepped("[[]]", &steps)), PatchFault::Conflict);
}

#[test]
fn numbers_count_from_nothing_and_strangers_are_refused() {
    let number = |text: &str| text.parse::<Decimal>().unwrap();
    let add = |by| Patch::Number(NumberOp::Add(number(by)));
    assert_eq!(run(&add("5"), None), Ok("5".to_owned()));
    assert_eq!(run(&add("-0.5"), Some("1.25")), Ok("0.75".to_owned()));
    let max = Patch::Number(NumberOp::Max(number("7")));
    assert_eq!(run(&max, Some("9")), Ok("9".to_owned()));
    assert_eq!(run(&max, None), Ok("7".to_owned()));
    assert_eq!(run(&Patch::Number(NumberOp::Min(number("7"))), Some("9")), Ok("7".to_owned()));
    assert!(matches!(run(&add("1"), Some("x")), Err(Denial::NotANumber { .. })));
    assert_eq!(run(&Patch::Append(Bytes::from_static(b"b")), Some("a")), Ok("ab".to_owned()));
}

proptest! {
    #[test]
    fn any_bytes_patch_anything_or_are_refused(old: Vec<u8>, patch: Vec<u8>) {
        let old = Bytes::from(old);
        let budget = &mut Budget::default();
        drop(apply(&Patch::Merge(patch.clone().into()), Some(&old), LIMIT, budget));
        drop(apply(&Patch::Json(patch.into()), Some(&old), LIMIT, budget));
    }
}

//! Another reading of JSON and of its patches, compared with the model's.
//!
//! Why it exists: the model reads JSON itself, so that numbers and order stay; that it reads the
//! same JSON, and patches as RFC 6902 and 7396 say, is held against `serde_json` and `json-patch`,
//! which the model itself does not use.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use tetrarch::model::{
    Action, Attach, Book, Command, Give, KeyOp, KeyReply, NamespaceId, Patch, Reply, Request,
    Require, Slot, SlotRange, Space, WriteOp, apply,
};

use crate::model::Rows;

/// The value that a patch makes of another; `None` when it is refused.
fn patched(old: &str, patch: Patch) -> Option<Value> {
    let mut rows = Rows::default();
    let slot = Slot::new(1).expect("1 is a slot");
    let put = WriteOp::Put {
        value: Bytes::copy_from_slice(old.as_bytes()),
        content_type: None,
        attach: Attach::None,
    };
    let id = NamespaceId(1);
    let space =
        Space { id, ordered: false, recorded: false, quota: None, value_bytes_max: 1 << 20 };
    let write = |op| {
        let key = Bytes::from_static(b"k");
        let op = KeyOp { slot, key, require: Require::None, op, give: Give::After };
        let action = Action::Key(space, op);
        Command::Request(Request { epoch: 1, at_ms: 0, once: None, action })
    };
    let own = Command::Own { ranges: vec![SlotRange { first: slot, last: slot }], epoch: 1 };
    let mut last = Reply::Nothing;
    for (index, command) in (1..).zip([own, write(put), write(WriteOp::Patch { patch })]) {
        let outcome =
            apply(&mut Book::default(), &rows, index, &command).expect("the rows are whole");
        rows.take(outcome.effects);
        last = outcome.reply;
    }
    match last {
        Reply::Key(KeyReply::Patched { row, .. }) => {
            Some(serde_json::from_slice(&row.value).expect("a patch makes JSON"))
        }
        _ => None,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c\"/~\u{e9}\\\\\n\u{1}]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c~/]{0,2}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

fn any_steps() -> impl Strategy<Value = Value> {
    let path = || "(/([a-c]|0|1|-|~1|~0){1}){0,3}";
    let op = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
    let step = (op, path(), path(), any_json()).prop_map(|(op, path, from, value)| {
        // Moving a value onto itself is nothing to us, and an error to them at the root.
        let from = if from == path { format!("{from}/a") } else { from };
        serde_json::json!({"op": op, "path": path, "from": from, "value": value})
    });
    prop::collection::vec(step, 0..4).prop_map(Value::from)
}

proptest! {
    #[test]
    fn another_reader_agrees_on_json_patches(mut old in any_json(), steps in any_steps()) {
        let ours = patched(&old.to_string(), Patch::Json(steps.to_string().into()));
        let theirs: json_patch::Patch = serde_json::from_value(steps).unwrap();
        // Its variant that takes a failed patch back panics on some of these.
        let theirs = json_patch::patch_unsafe(&mut old, &theirs).ok().map(|()| old);
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn another_reader_agrees_on_merging(mut old in any_json(), patch in any_json(), pretty: bool) {
        let text = if pretty { format!("{patch:#}") } else { patch.to_string() };
        let ours = patched(&old.to_string(), Patch::Merge(text.into()));
        json_patch::merge(&mut old, &patch);
        prop_assert_eq!(ours, Some(old));
    }

    #[test]
    fn another_reader_agrees_on_what_is_json(text in "[\\[\\]{}\",:0-9eE+.tfn ua\\\\-]{0,12}") {
        let theirs = serde_json::from_str::<Value>(&text);
        // They refuse numbers beyond a float, which are numbers all the same.
        let beyond = theirs.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
        prop_assume!(!beyond);
        prop_assert_eq!(patched(&text, Patch::Json("[]".into())).is_some(), theirs.is_ok());
    }
}

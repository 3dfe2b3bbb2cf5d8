//! Bodies of writes as what is asked of an eventual namespace.
//!
//! Promises: what no eventual type takes is refused here, with what to do instead; which of them this
//! type takes, the operation's maker says.

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::model::eventual::text::Context;
use crate::model::eventual::{Ask, FieldAsk, FieldEdit};
use crate::service::eventual::{Order, SpaceStep};
use crate::wire::{Amount, BatchLine, FieldOp, FieldOps, KvOp, Op};

use super::super::parse::media_type;
use super::super::patch::{Kind, invalid, not_json};
use super::super::problem::Failure;
use super::super::steps::{Verb, no_strangers, put_value, verb_and_key};
use super::unsupported;

/// What a PATCH asks for.
pub(super) fn patch(headers: &HeaderMap, body: &Bytes) -> Result<Ask, Failure> {
    match Kind::of(headers)? {
        Kind::Merge => {
            let read = serde_json::from_slice::<IgnoredAny>(body);
            read.map(|_| Ask::Merge(body.clone())).map_err(|error| not_json(&error))
        }
        Kind::Json => Err(no_json_patch()),
        Kind::Op => {
            serde_json::from_slice::<IgnoredAny>(body).map_err(|error| not_json(&error))?;
            let op: KvOp = serde_json::from_slice(body)
                .map_err(|error| invalid(format!("the body is no kv-op: {error}")))?;
            let KvOp { add, max, min, append, set_add, set_remove, fields } = op;
            no_rivals(max.is_some() || min.is_some() || append.is_some())?;
            one_of(add, set_add, set_remove, fields)
        }
    }
}

fn no_json_patch() -> Failure {
    unsupported(
        "a JSON Patch tests and moves what other nodes may change at the same time: send a merge \
         patch, or kv-op fields",
    )
}

/// What the last of several writers decides cannot be merged.
fn no_rivals(there: bool) -> Result<(), Failure> {
    if !there {
        return Ok(());
    }
    Err(unsupported(
        "max, min and append of concurrent writers cannot be merged: of an eventual namespace a \
         counter takes add, a set set_add and set_remove, a map fields",
    ))
}

/// The one operation that is there.
fn one_of(
    add: Option<Amount>,
    set_add: Option<Vec<String>>,
    set_remove: Option<Vec<String>>,
    fields: Option<FieldOps>,
) -> Result<Ask, Failure> {
    match (add, set_add, set_remove, fields) {
        (Some(add), None, None, None) => whole("add", &add).map(Ask::Add),
        (None, None, None, Some(fields)) => {
            let field = |(path, op): (String, FieldOp)| field(&path, op);
            fields.into_iter().map(field).collect::<Result<_, _>>().map(Ask::Fields)
        }
        (None, add, remove, None) if add.is_some() || remove.is_some() => {
            Ok(Ask::SetEdit { add: names(add), remove: names(remove) })
        }
        _ => {
            let detail = "an operation is exactly one of add, set_add with set_remove, and fields";
            Err(invalid(detail.to_owned()))
        }
    }
}

fn names(names: Option<Vec<String>>) -> Vec<Bytes> {
    names.unwrap_or_default().into_iter().map(Bytes::from).collect()
}

/// What is added to a counter: a whole number, exactly as it was written.
fn whole(name: &str, amount: &Amount) -> Result<i64, Failure> {
    let read = match amount {
        Amount::Text(text) => text.parse().ok(),
        Amount::Number(number) => number.as_i64(),
    };
    read.ok_or_else(|| invalid(format!("{name} is a whole number of at most 64 bits")))
}

fn field(path: &str, op: FieldOp) -> Result<FieldAsk, Failure> {
    let FieldOp { put, delete, add, set_add, set_remove } = op;
    let edit = match (put, delete, add, set_add, set_remove) {
        (Some(value), None, None, None, None) => FieldEdit::Put(value.to_string().into()),
        (None, Some(true), None, None, None) => FieldEdit::Delete,
        (None, None, Some(add), None, None) => FieldEdit::Add(whole("add", &add)?),
        (None, None, None, add, remove) if add.is_some() || remove.is_some() => {
            FieldEdit::SetEdit { add: names(add), remove: names(remove) }
        }
        _ => {
            let detail = format!(
                "what is done to {path:?} is exactly one of put, delete (true), add, and set_add \
                 with set_remove"
            );
            return Err(invalid(detail));
        }
    };
    Ok(FieldAsk { path: path_of(path)?, edit })
}

/// `a.b`, or the JSON array `["a","b"]`.
fn path_of(text: &str) -> Result<Vec<Bytes>, Failure> {
    let names: Vec<String> = if text.starts_with('[') {
        serde_json::from_str(text)
            .map_err(|error| invalid(format!("{text:?} is no path of JSON texts: {error}")))?
    } else {
        text.split('.').map(str::to_owned).collect()
    };
    let plain = !text.starts_with('[');
    if names.is_empty() || (plain && names.iter().any(String::is_empty)) {
        let detail = format!("{text:?} is no path: a.b, or [\"a\",\"b\"] for names that are so");
        return Err(invalid(detail));
    }
    Ok(names.into_iter().map(Bytes::from).collect())
}

/// A line of a batch: its key, and what is done with it.
pub(in super::super) fn line(line: BatchLine) -> Result<(Bytes, SpaceStep), Failure> {
    let BatchLine { if_match, if_none_match, context, op, .. } = line;
    if if_match.is_some() || if_none_match.is_some() {
        return Err(unsupported("a line for an eventual namespace takes no condition"));
    }
    if op.ttl.is_some() || op.lease.is_some() {
        return Err(unsupported("a key of an eventual namespace takes no ttl and no lease"));
    }
    let content = serde_json::to_vec(&(&op, &context))
        .map_err(|error| Failure::invalid(format!("the line cannot be kept: {error}")))?;
    let (verb, key) = verb_and_key(&op)?;
    no_strangers(verb, &op)?;
    let ask = match verb {
        Verb::Get => return Ok((key, SpaceStep::Get)),
        Verb::Delete => Ask::Delete,
        Verb::Put => {
            let content_type = op.content_type.as_deref().map(media_type).transpose()?;
            let content_type = content_type.map(str::to_owned);
            Ask::Put { value: put_value(op)?, content_type }
        }
        Verb::Patch => line_patch(op)?,
    };
    let seen = context.map(|text| text.parse::<Context>()).transpose();
    let seen = seen.map_err(|error| Failure::invalid(format!("context: {error}")))?;
    let show = verb == Verb::Patch;
    let order = Order { seen, show, ..Order::from(ask) };
    Ok((key, SpaceStep::Write(order, content.into())))
}

fn line_patch(op: Op) -> Result<Ask, Failure> {
    let Op { merge, json, add, max, min, append, set_add, set_remove, fields, .. } = op;
    if json.is_some() {
        return Err(no_json_patch());
    }
    no_rivals(max.is_some() || min.is_some() || append.is_some())?;
    let other = add.is_some() || set_add.is_some() || set_remove.is_some() || fields.is_some();
    match merge {
        Some(merge) if !other => Ok(Ask::Merge(merge.to_string().into())),
        None => one_of(add, set_add, set_remove, fields),
        Some(_) => Err(Failure::refused(
            StatusCode::BAD_REQUEST,
            "invalid",
            "a patch is exactly one of merge, add, set_add with set_remove, and fields",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(body: &str) -> Result<Ask, u16> {
        let op: KvOp = serde_json::from_str(body).unwrap();
        no_rivals(op.max.is_some() || op.min.is_some() || op.append.is_some())
            .and_then(|()| one_of(op.add, op.set_add, op.set_remove, op.fields))
            .map_err(|failure| failure.status.as_u16())
    }

    #[test]
    fn an_operation_is_one_thing() {
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(op(r#"{"add":-5}"#), Ok(Ask::Add(-5)));
        assert_eq!(op(r#"{"add":"9223372036854775807"}"#), Ok(Ask::Add(i64::MAX)));
        let both = Ask::SetEdit { add: vec![text("a")], remove: vec![text("b")] };
        assert_eq!(op(r#"{"set_add":["a"],"set_remove":["b"]}"#), Ok(both));
        for bad in [
            "{}",
            r#"{"add":1.5}"#,
            r#"{"add":"9223372036854775808"}"#,
            r#"{"add":1,"set_add":["a"]}"#,
            r#"{"max":1}"#,
            r#"{"append":"x"}"#,
            r#"{"fields":{"a":{}}}"#,
            r#"{"fields":{"a":{"delete":false}}}"#,
            r#"{"fields":{"a":{"add":1,"put":2}}}"#,
            r#"{"fields":{"a..b":{"add":1}}}"#,
            r#"{"fields":{"[1]":{"add":1}}}"#,
        ] {
            assert_eq!(op(bad), Err(422), "{bad}");
        }
    }

    #[test]
    fn a_path_is_dotted_or_spelt_out() {
        let names = |path: &str| {
            let names = path_of(path).unwrap().into_iter();
            names.map(|name| String::from_utf8(name.into()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names("a.b"), ["a", "b"]);
        assert_eq!(names(r#"["a.b",""]"#), ["a.b", ""]);
    }
}

//! Reading a change of a counter, a set or some fields as clients write it in JSON.
//!
//! ```json
//! {"add": -3}      {"set_add": ["x"], "set_remove": ["y"]}
//! {"fields": {"a.b": {"add": 1}, "/odd.name/c": {"put": {"x": 1}}, "old": {"delete": true}}}
//! ```
//!
//! A field's name is its path between points; one that begins with `/` is a JSON pointer (RFC 6901),
//! for names with points in them. Promises: what is not exactly one of these is refused with a reason.

use bytes::Bytes;

use super::ask::{Ask, FieldAsk, FieldEdit, Refusal};
use super::local::texts;
use crate::model::json::Json;

impl Ask {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// When it is no such change.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let body =
            Json::parse(body).map_err(|error| malformed(format!("it is no JSON: {error}")))?;
        if let Some(fields) = body.member("fields") {
            let (Json::Object(fields), Json::Object(whole)) = (fields, &body) else {
                return Err(malformed("\"fields\" is an object"));
            };
            if whole.len() > 1 {
                return Err(malformed("\"fields\" stands alone"));
            }
            let ask = |(name, edit): &(String, Json)| {
                Ok(FieldAsk { path: path(name)?, edit: edit_of(edit)? })
            };
            return fields.iter().map(ask).collect::<Result<_, _>>().map(Self::Fields);
        }
        match edit_of(&body)? {
            FieldEdit::Add(by) => Ok(Self::Add(by)),
            FieldEdit::SetEdit { add, remove } => Ok(Self::SetEdit { add, remove }),
            FieldEdit::Put(_) | FieldEdit::Delete => {
                Err(malformed("\"put\" and \"delete\" are for fields"))
            }
        }
    }
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::Malformed { reason: reason.into() }
}

fn edit_of(edit: &Json) -> Result<FieldEdit, Refusal> {
    let Json::Object(members) = edit else {
        return Err(malformed("a change is an object"));
    };
    let list = |name: &str| match edit.member(name) {
        None => Ok(Vec::new()),
        Some(listed) => {
            texts(listed).ok_or_else(|| malformed(format!("\"{name}\" is an array of texts")))
        }
    };
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    match (names.as_slice(), members.first().map(|(_, value)| value)) {
        (["add"], Some(Json::Number(by))) => {
            let by = by.parse().map_err(|_error| malformed("\"add\" takes a whole number"))?;
            Ok(FieldEdit::Add(by))
        }
        (["put"], Some(value)) => {
            let mut text = Vec::with_capacity(value.bytes());
            value.write(&mut text);
            Ok(FieldEdit::Put(text.into()))
        }
        (["delete"], Some(Json::Bool(true))) => Ok(FieldEdit::Delete),
        (["set_add" | "set_remove"] | ["set_add", "set_remove"] | ["set_remove", "set_add"], _) => {
            Ok(FieldEdit::SetEdit { add: list("set_add")?, remove: list("set_remove")? })
        }
        _ => Err(malformed(
            "a change is one of \"add\" with a whole number, \"set_add\" and \"set_remove\" with \
             arrays of texts, \"put\" with any value, \"delete\" with true",
        )),
    }
}

/// The names that lead to a field.
fn path(name: &str) -> Result<Vec<Bytes>, Refusal> {
    let Some(pointer) = name.strip_prefix('/') else {
        return Ok(name.split('.').map(|part| Bytes::from(part.to_owned())).collect());
    };
    pointer
        .split('/')
        .map(|part| {
            if part.replace("~0", "").replace("~1", "").contains('~') {
                return Err(malformed("a ~ in a pointer is followed by 0 or 1"));
            }
            Ok(Bytes::from(part.replace("~1", "/").replace("~0", "~")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn each_kind_of_change_reads_back() {
        assert_eq!(Ask::parse(b"{\"add\":-3}"), Ok(Ask::Add(-3)));
        let edit = Ask::SetEdit { add: vec![bytes("x")], remove: vec![bytes("y")] };
        assert_eq!(Ask::parse(b"{\"set_remove\":[\"y\"],\"set_add\":[\"x\"]}"), Ok(edit));
        let fields =
            br#"{"fields":{"a.b":{"add":1},"/c.d/e~1f":{"put":{"x":1}},"g":{"delete":true}}}"#;
        let field = |path: &[&'static str], edit| FieldAsk {
            path: path.iter().map(|name| bytes(name)).collect(),
            edit,
        };
        assert_eq!(
            Ask::parse(fields),
            Ok(Ask::Fields(vec![
                field(&["a", "b"], FieldEdit::Add(1)),
                field(&["c.d", "e/f"], FieldEdit::Put(bytes("{\"x\":1}"))),
                field(&["g"], FieldEdit::Delete),
            ]))
        );
    }

    #[test]
    fn what_is_no_change_is_refused_with_a_reason() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"add\":1.5}",
            "{\"add\":\"1\"}",
            "{\"add\":1,\"put\":2}",
            "{\"put\":1}",
            "{\"set_add\":[1]}",
            "{\"fields\":[]}",
            "{\"fields\":{},\"add\":1}",
            "{\"fields\":{\"a\":{\"delete\":false}}}",
            "{\"fields\":{\"/~2\":{\"add\":1}}}",
        ] {
            assert_eq!(Ask::parse(text.as_bytes()).unwrap_err().code(), "patch_invalid", "{text}");
        }
    }
}

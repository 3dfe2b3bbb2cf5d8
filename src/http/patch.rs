//! Patches: which kind a body is, and whether it makes sense by itself.
//!
//! Promises: what no value could take is refused here with 422 and never reaches a log; whether it
//! fits the value that is stored is judged where that value is.

use axum::http::HeaderMap;
use axum::http::StatusCode;
use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::model::{Decimal, NumberOp, Patch};
use crate::wire::{Amount, JSON_PATCH, KV_OP, KvOp, MERGE_PATCH};

use super::eventual::unsupported;
use super::parse::content_type;
use super::problem::Failure;

/// The kind of a patch, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Merge,
    Json,
    Op,
}

impl Kind {
    /// Reads the content type.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let said = content_type(headers)?.unwrap_or_default();
        let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            MERGE_PATCH => Ok(Self::Merge),
            JSON_PATCH => Ok(Self::Json),
            KV_OP => Ok(Self::Op),
            _ => {
                let detail = format!("a patch is {KV_OP}, {MERGE_PATCH} or {JSON_PATCH}");
                Err(Failure::unsupported(detail))
            }
        }
    }

    /// Reads the body.
    pub(super) fn read(self, body: &Bytes) -> Result<Patch, Failure> {
        match self {
            Self::Merge => {
                let read = serde_json::from_slice::<IgnoredAny>(body);
                read.map(|_| Patch::Merge(body.clone())).map_err(|error| not_json(&error))
            }
            Self::Json => {
                serde_json::from_slice::<IgnoredAny>(body).map_err(|error| not_json(&error))?;
                json_patch(body.clone())
            }
            Self::Op => {
                serde_json::from_slice::<IgnoredAny>(body).map_err(|error| not_json(&error))?;
                let op: KvOp = serde_json::from_slice(body)
                    .map_err(|error| invalid(format!("the body is no kv-op: {error}")))?;
                let KvOp { add, max, min, append, set_add, set_remove, fields } = op;
                no_sets(set_add.is_some() || set_remove.is_some() || fields.is_some())?;
                one_of(add, max, min, append)
            }
        }
    }
}

/// What only eventual namespaces take.
pub(super) fn no_sets(there: bool) -> Result<(), Failure> {
    if !there {
        return Ok(());
    }
    Err(unsupported(
        "set_add, set_remove and fields are for eventual namespaces of type set and map: send a JSON \
         Patch",
    ))
}

/// What every operation of a JSON Patch has; what else belongs to it the model knows.
#[derive(serde::Deserialize)]
struct Step {
    #[serde(rename = "op")]
    _op: StepKind,
    #[serde(rename = "path")]
    _path: String,
}

/// The operations of RFC 6902.
#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum StepKind {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

/// A JSON Patch whose operations are all known.
pub(super) fn json_patch(body: Bytes) -> Result<Patch, Failure> {
    match serde_json::from_slice::<Vec<Step>>(&body) {
        Ok(_steps) => Ok(Patch::Json(body)),
        Err(error) => Err(invalid(format!("the body is no JSON Patch: {error}"))),
    }
}

/// The one operation that is there.
pub(super) fn one_of(
    add: Option<Amount>,
    max: Option<Amount>,
    min: Option<Amount>,
    append: Option<String>,
) -> Result<Patch, Failure> {
    match (add, max, min, append) {
        (Some(add), None, None, None) => Ok(Patch::Number(NumberOp::Add(decimal("add", &add)?))),
        (None, Some(max), None, None) => Ok(Patch::Number(NumberOp::Max(decimal("max", &max)?))),
        (None, None, Some(min), None) => Ok(Patch::Number(NumberOp::Min(decimal("min", &min)?))),
        (None, None, None, Some(text)) => Ok(Patch::Append(Bytes::from(text))),
        _ => Err(invalid("an operation is exactly one of add, max, min and append".to_owned())),
    }
}

/// A number, exactly as it was written; what JSON readers may round must come as text.
fn decimal(name: &str, amount: &Amount) -> Result<Decimal, Failure> {
    let text = match amount {
        Amount::Text(text) => text.clone(),
        Amount::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(_), _, _) | (_, Some(_), _) => number.to_string(),
            (_, _, Some(float)) if exact(float) => format!("{float}"),
            _ => {
                let detail = format!("{name}: write {number} as text, so that it stays exact");
                return Err(invalid(detail));
            }
        },
    };
    text.parse()
        .map_err(|_fault| invalid(format!("{name}: {text:?} is no decimal number in range")))
}

/// Whether the shortest text of a number has no more digits than every double keeps.
fn exact(float: f64) -> bool {
    let text = format!("{float}");
    float.is_finite() && text.bytes().filter(u8::is_ascii_digit).count() <= 15
}

pub(super) fn invalid(detail: String) -> Failure {
    Failure::refused(StatusCode::UNPROCESSABLE_ENTITY, "patch_invalid", detail)
}

pub(super) fn not_json(error: &serde_json::Error) -> Failure {
    Failure::invalid(format!("the body is not JSON: {error}"))
}

//! Operations and conditions of JSON in the hall's words; shared by transactions and batches.
//!
//! Promises: an operation is exactly one thing to exactly one key, and a member that belongs to
//! another operation is refused: it was meant for something.

use bytes::Bytes;

use crate::model::{Attach, Cmp, Give, Patch, WriteOp};
use crate::service::{Check, Comparison, Condition, KeyRequest, KeyStep, Step};
use crate::wire::{self, Op};

use super::parse::etag;
use super::parse::time::duration_of;
use super::parse::{base64_any, base64url, lease_id, media_type, ttl_ms};
use super::patch::{json_patch, no_sets, one_of};
use super::problem::Failure;

/// What an operation does, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Put,
    Delete,
    Get,
    Patch,
}

impl Verb {
    /// As it stands in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Get => "get",
            Self::Patch => "patch",
        }
    }
}

/// One operation as a step of the hall.
pub(super) fn step(op: Op, require: &Condition) -> Result<(Verb, KeyStep), Failure> {
    let (verb, key) = verb_and_key(&op)?;
    no_strangers(verb, &op)?;
    let write = |op, give| Step::Write(KeyRequest { require: require.clone(), op, give });
    let step = match verb {
        Verb::Get if *require != Condition::None => {
            return Err(Failure::invalid("a get takes no condition"));
        }
        Verb::Get => Step::Get,
        Verb::Delete => write(WriteOp::Delete, Give::Nothing),
        Verb::Put => write(put(op)?, Give::Nothing),
        Verb::Patch => write(WriteOp::Patch { patch: patch(op)? }, Give::After),
    };
    Ok((verb, KeyStep { key, step }))
}

pub(super) fn verb_and_key(op: &Op) -> Result<(Verb, Bytes), Failure> {
    let named = [
        (Verb::Put, &op.put, &op.put64),
        (Verb::Delete, &op.delete, &op.delete64),
        (Verb::Get, &op.get, &op.get64),
        (Verb::Patch, &op.patch, &op.patch64),
    ];
    let mut found = named.into_iter().flat_map(|(verb, plain, encoded)| {
        let plain = plain.as_ref().map(|key| (verb, Ok(Bytes::from(key.clone()))));
        let encoded = encoded.as_ref().map(|key| (verb, base64url("the key", key)));
        [plain, encoded].into_iter().flatten()
    });
    let (Some((verb, key)), None) = (found.next(), found.next()) else {
        let detail = "an operation is exactly one of put, delete, get and patch, or one with 64";
        return Err(Failure::invalid(detail));
    };
    let key = key?;
    if key.is_empty() {
        return Err(Failure::invalid("the key is empty"));
    }
    Ok((verb, key))
}

/// Members that belong to another verb.
pub(super) fn no_strangers(verb: Verb, op: &Op) -> Result<(), Failure> {
    let of_put = op.value.is_some()
        || op.value64.is_some()
        || op.content_type.is_some()
        || op.lease.is_some()
        || op.ttl.is_some();
    let of_patch = op.merge.is_some()
        || op.json.is_some()
        || op.add.is_some()
        || op.max.is_some()
        || op.min.is_some()
        || op.append.is_some()
        || op.set_add.is_some()
        || op.set_remove.is_some()
        || op.fields.is_some();
    if (of_put && verb != Verb::Put) || (of_patch && verb != Verb::Patch) {
        let detail = format!("the operation has members that a {} does not take", verb.name());
        return Err(Failure::invalid(detail));
    }
    Ok(())
}

/// The value of a put.
pub(super) fn put_value(op: Op) -> Result<Bytes, Failure> {
    bytes("value", op.value, op.value64)?
        .ok_or_else(|| Failure::invalid("a put needs value or value64"))
}

fn put(mut op: Op) -> Result<WriteOp, Failure> {
    let (value, value64) = (op.value.take(), op.value64.take());
    let value = put_value(Op { value, value64, ..Op::default() })?;
    let content_type = op.content_type.as_deref().map(media_type).transpose()?;
    let attach = match (op.ttl, op.lease) {
        (None, None) => Attach::None,
        (Some(ttl), None) => Attach::Ttl(ttl_ms("ttl", duration_of("ttl", &ttl)?)?),
        (None, Some(lease)) => Attach::Lease(lease_id(&lease)?),
        (Some(_), Some(_)) => return Err(Failure::invalid("a put takes ttl or lease, not both")),
    };
    Ok(WriteOp::Put { value, content_type: content_type.map(str::to_owned), attach })
}

fn bytes(
    name: &str,
    text: Option<String>,
    encoded: Option<String>,
) -> Result<Option<Bytes>, Failure> {
    match (text, encoded) {
        (Some(_), Some(_)) => Err(Failure::invalid(format!("{name} or {name}64, not both"))),
        (text, None) => Ok(text.map(Bytes::from)),
        (None, Some(encoded)) => base64_any(&format!("{name}64"), &encoded).map(Some),
    }
}

fn patch(op: Op) -> Result<Patch, Failure> {
    let Op { merge, json, add, max, min, append, set_add, set_remove, fields, .. } = op;
    no_sets(set_add.is_some() || set_remove.is_some() || fields.is_some())?;
    let of_number = add.is_some() || max.is_some() || min.is_some() || append.is_some();
    let text = |value: &serde_json::Value| Bytes::from(value.to_string());
    match (merge, json) {
        (Some(merge), None) if !of_number => Ok(Patch::Merge(text(&merge))),
        (None, Some(ops)) if !of_number => json_patch(text(&serde_json::Value::Array(ops))),
        (None, None) => one_of(add, max, min, append),
        _ => Err(Failure::invalid("a patch is exactly one of merge, json, add, max, min, append")),
    }
}

/// One condition of a transaction.
pub(super) fn comparison(condition: wire::Condition) -> Result<Comparison, Failure> {
    let wire::Condition {
        key,
        key64,
        exists,
        etag,
        value,
        value64,
        revision,
        version,
        created,
        op,
    } = condition;
    let key = match (key, key64) {
        (Some(key), None) => Bytes::from(key),
        (None, Some(encoded)) => base64url("key64", &encoded)?,
        _ => return Err(Failure::invalid("a condition has key or key64")),
    };
    if key.is_empty() {
        return Err(Failure::invalid("the key is empty"));
    }
    let ordered = op.is_some();
    let cmp = cmp(op.as_deref())?;
    let value = bytes("value", value, value64)?;
    let check = match (exists, etag, value, revision, version, created) {
        (Some(exists), None, None, None, None, None) if !ordered => Check::Exists(exists),
        (None, Some(tag), None, None, None, None) if !ordered => Check::Tag(etag::single(&tag)?),
        (None, None, Some(value), None, None, None) => Check::Value(cmp, value),
        (None, None, None, Some(revision), None, None) => Check::Revision(cmp, revision),
        (None, None, None, None, Some(version), None) => Check::Version(cmp, version),
        (None, None, None, None, None, Some(created)) => Check::Created(cmp, created),
        _ => {
            let detail = "a condition has exactly one of exists, etag, value, value64, revision, \
                          version and created; op goes with the last five";
            return Err(Failure::invalid(detail));
        }
    };
    Ok(Comparison { key, check })
}

fn cmp(op: Option<&str>) -> Result<Cmp, Failure> {
    match op.unwrap_or("eq") {
        "eq" => Ok(Cmp::Eq),
        "ne" => Ok(Cmp::Ne),
        "lt" => Ok(Cmp::Lt),
        "le" => Ok(Cmp::Le),
        "gt" => Ok(Cmp::Gt),
        "ge" => Ok(Cmp::Ge),
        other => Err(Failure::invalid(format!("op {other:?} is not eq, ne, lt, le, gt or ge"))),
    }
}

#[cfg(test)]
mod tests;

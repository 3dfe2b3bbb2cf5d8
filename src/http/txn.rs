//! `POST /v1/ns/{ns}/txn`: conditions, and what is done when they hold or do not, as one entry.
//!
//! Promises: a condition that does not hold is an answer (200, `succeeded: false`), not an error; an
//! operation that cannot be done undoes the whole transaction.

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::model::{GroupId, KeyReply};
use crate::runtime::limits::{TXN_BODY_BYTES_MAX, TXN_OPS_MAX};
use crate::service::{Condition, EntityTag, KeyStep, TxnDone, TxnRequest};
use crate::wire::{self, KV_REVISION, OpResult};

use super::body::read_json_and_bytes;
use super::doc::params::{OnceHeaders, SpacePath};
use super::envelope::{envelope, json, text_or_64};
use super::facts::Facts;
use super::once::once;
use super::parse::{etag, namespace_path, query};
use super::problem::Failure;
use super::steps::{Verb, comparison, step};
use super::{Asked, Front};

/// Does several operations at once, or others.
#[utoipa::path(
    post,
    path = "/v1/ns/{ns}/txn",
    operation_id = "txn",
    tag = "keys",
    params(SpacePath, OnceHeaders),
    request_body = wire::TxnRequest,
    responses((status = 200, description = "Done; also when a condition did not hold",
        body = wire::TxnReply))
)]
pub(super) async fn txn(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match run(&front, &asked, request).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn run(front: &Front, asked: &Asked, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    query(parts.uri.query(), &[])?;
    let namespace = namespace_path(parts.uri.path())?;
    let request = Request::from_parts(parts.clone(), body);
    let read = read_json_and_bytes(front, asked, request, TXN_BODY_BYTES_MAX).await?;
    let (txn, body): (wire::TxnRequest, _) = read;
    let context = asked.context_once(once(&parts, &body)?);
    let (txn, then, otherwise) = understood(txn)?;
    let done = front.service.txn(&namespace, txn, context).await?;
    tracing::Span::current().record("group", done.group.0);
    let ran = if done.reply.succeeded { then } else { otherwise };
    let TxnDone { reply, group, index, leader, replayed } = done;
    let facts = Facts {
        group: Some(group),
        index: Some(index),
        leader,
        served_by: leader,
        replayed,
        ..Facts::default()
    };
    let results = ran.iter().zip(reply.results);
    let body = wire::TxnReply {
        succeeded: reply.succeeded,
        results: results.map(|((verb, key), reply)| result(*verb, key, group, reply)).collect(),
        revision: reply.revision,
        group: group.0,
        index,
    };
    let mut response = json(StatusCode::OK, &body);
    let headers = response.headers_mut();
    headers.insert(KV_REVISION, HeaderValue::from(body.revision));
    facts.write(headers, front, asked);
    Ok(response)
}

type Named = Vec<(Verb, bytes::Bytes)>;

/// The transaction in the hall's words, and what its two branches are called.
fn understood(txn: wire::TxnRequest) -> Result<(TxnRequest, Named, Named), Failure> {
    let wire::TxnRequest { conditions, then, otherwise } = txn;
    let count = conditions.len() + then.len() + otherwise.len();
    if count > TXN_OPS_MAX {
        let detail = format!(
            "a transaction has at most {TXN_OPS_MAX} conditions and operations, this has {count}"
        );
        return Err(Failure::invalid(detail));
    }
    if count == 0 {
        return Err(Failure::invalid("the transaction is empty"));
    }
    let compare = conditions.into_iter().map(comparison).collect::<Result<Vec<_>, _>>()?;
    let (then, then_named) = branch(then)?;
    let (or_else, else_named) = branch(otherwise)?;
    Ok((TxnRequest { compare, then, or_else }, then_named, else_named))
}

fn branch(ops: Vec<wire::Op>) -> Result<(Vec<KeyStep>, Named), Failure> {
    let mut named = Vec::with_capacity(ops.len());
    let mut steps = Vec::with_capacity(ops.len());
    for op in ops {
        let (verb, step) = step(op, &Condition::None)?;
        named.push((verb, step.key.clone()));
        steps.push(step);
    }
    Ok((steps, named))
}

fn result(verb: Verb, key: &[u8], group: GroupId, reply: KeyReply) -> OpResult {
    let (key_text, key64) = text_or_64(key);
    let named =
        OpResult { op: verb.name().to_owned(), key: key_text, key64, ..OpResult::default() };
    let tag = |at| Some(etag::text(EntityTag { group, at }));
    match reply {
        KeyReply::Put { created, at, .. } => {
            OpResult { etag: tag(at), created: Some(created), ..named }
        }
        KeyReply::Deleted { existed, .. } => OpResult { existed: Some(existed), ..named },
        KeyReply::Patched { created, at, row, .. } => {
            let row = envelope(key, group, &row, true);
            OpResult { etag: tag(at), created: Some(created), row: Some(row), ..named }
        }
        KeyReply::Found(row) => OpResult {
            etag: row.as_ref().and_then(|row| tag(row.at)),
            existed: Some(row.is_some()),
            row: row.map(|row| envelope(key, group, &row, true)),
            ..named
        },
        // Both undo the transaction, so the hall answers them as errors.
        KeyReply::Unmet { .. } | KeyReply::Denied(_) => named,
    }
}

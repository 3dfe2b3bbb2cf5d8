//! `GET /v1/ns/{ns}/convergence`: whether the nodes have the same, and if not, what is between them;
//! `POST` to its `pass`: the word that a link of mode `manual` waits for.
//!
//! Promises: who does not answer in time is named as unreachable, and does not count. A pass is asked
//! of the node that the link leads to, and takes its time: the answer does not wait for it.

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use crate::convergence::{Convergence, Lag, MemberState, Verdict};
use crate::model::NodeId;
use crate::placement::LinkMode;
use crate::service::ceil_ms;
use crate::wire::{self, ConvergenceLag, ConvergenceMember, PassView};

use super::super::doc::params::{PassQuery, SpacePath};
use super::super::envelope::json;
use super::super::parse::{Query, query};
use super::super::problem::Failure;
use super::Here;

/// Says whether the nodes have the same.
#[utoipa::path(get, path = "/v1/ns/{ns}/convergence", operation_id = "get_convergence",
    tag = "eventual", params(SpacePath),
    responses((status = 200, description = "What each node has, and what is between them",
        body = wire::Convergence)))]
pub(in super::super) async fn convergence(here: Here, parts: Parts) -> Response {
    let told = async {
        query(parts.uri.query(), &[])?;
        let found = here.space.convergence(&here.asked.context()).await?;
        Ok(here.read(json(StatusCode::OK, &view(found)), &here.space.vector()))
    };
    here.answer(told).await
}

/// Asks for one pass over a link that carries only when it is asked to.
///
/// Of the node that the link leads to; the pass begins when the link's hours do, and takes what its
/// source had when it began. Asked for twice before it begins it is one.
#[utoipa::path(post, path = "/v1/ns/{ns}/convergence/pass", operation_id = "ask_pass",
    tag = "eventual", params(SpacePath, PassQuery),
    responses((status = 202, description = "It is asked for", body = PassView)))]
pub(in super::super) async fn pass(here: Here, parts: Parts) -> Response {
    let told = async {
        let query = Query::of(parts.uri.query(), &["from"])?;
        let from = query.number("from")?;
        let from = from.ok_or_else(|| Failure::invalid("the query needs from=, a node's id"))?;
        let to = here.space.node().0;
        match here.space.ask_pass(NodeId(from)) {
            Some(LinkMode::Manual) => Ok(json(StatusCode::ACCEPTED, &PassView { from, to })),
            Some(LinkMode::Push | LinkMode::Interval(_)) => {
                let detail = format!(
                    "the link from node {from} to node {to} carries by itself: only links of mode \
                     manual are asked"
                );
                Err(Failure::refused(StatusCode::CONFLICT, "link_not_manual", detail))
            }
            None => {
                let detail = format!(
                    "no link of the namespace leads from node {from} to node {to}, which was asked: \
                     ask the node that the link leads to"
                );
                Err(Failure::refused(StatusCode::NOT_FOUND, "link_not_found", detail))
            }
        }
    };
    here.answer(told).await
}

fn view(found: Convergence) -> wire::Convergence {
    let Convergence { verdict, members, lags, buckets } = found;
    let state = match verdict {
        Verdict::Converged => "converged",
        Verdict::Lagging => "lagging",
        Verdict::Diverged => "diverged",
    };
    let member = |member: MemberState| ConvergenceMember {
        node: member.node.0,
        reachable: member.vector.is_some(),
        vector: member.vector.map(|vector| vector.to_string()),
        digest: member.root.map(|(rows, losses)| format!("{rows:032x}{losses:032x}")),
    };
    let lag = |lag: Lag| ConvergenceLag {
        from: lag.from.0,
        to: lag.to.0,
        writes: lag.missing,
        age_ms: lag.age.map(ceil_ms),
    };
    wire::Convergence {
        state: state.to_owned(),
        members: members.into_iter().map(member).collect(),
        lags: lags.into_iter().map(lag).collect(),
        buckets: buckets.into_iter().collect(),
    }
}

//! `GET /v1/ns/{ns}/convergence`: whether the nodes have the same, and if not, what is between them.
//!
//! Promises: who does not answer in time is named as unreachable, and does not count.

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use crate::convergence::{Convergence, Lag, MemberState, Verdict};
use crate::service::ceil_ms;
use crate::wire::{self, ConvergenceLag, ConvergenceMember};

use super::super::doc::params::SpacePath;
use super::super::envelope::json;
use super::super::parse::query;
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

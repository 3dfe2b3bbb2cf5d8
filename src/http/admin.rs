//! The cluster as a whole: its state, where a key lives, joining and replacing nodes.

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};

use crate::model::{Incarnation, NodeId};
use crate::runtime::limits::ADMIN_BODY_BYTES_MAX;
use crate::wire::{
    ChangeReply, DigestView, GroupDigest, JoinRequest, KnownNode, ReplaceRequest, RouteReplica,
    RouteView, base_url,
};

use super::body::read_json;
use super::doc::params::RouteQuery;
use super::facts::Facts;
use super::parse::{query, route_query};
use super::problem::Failure;
use super::{Asked, Front, view};

/// The cluster as this node sees it.
#[utoipa::path(get, path = "/v1/cluster", operation_id = "get_cluster", tag = "cluster",
    responses((status = 200, description = "Nodes and groups", body = crate::wire::ClusterView)))]
pub(super) async fn cluster(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    if let Err(failure) = query(request.uri().query(), &[]) {
        return failure.response(&front, &asked);
    }
    let mut response = Json(view::cluster(&front.service.cluster().await)).into_response();
    Facts::default().write(response.headers_mut(), &front, &asked);
    response
}

/// What this node's replicas hold, to compare with the others'.
#[utoipa::path(get, path = "/v1/cluster/digest", operation_id = "get_digest", tag = "cluster",
    responses((status = 200, description = "A digest for each replica", body = DigestView)))]
pub(super) async fn digest(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match digests(&front, &asked, request.uri().query()).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn digests(front: &Front, asked: &Asked, raw: Option<&str>) -> Result<Response, Failure> {
    query(raw, &[])?;
    let made = front.service.digests(&asked.context()).await?;
    let groups = made.into_iter().map(|(group, digest)| GroupDigest {
        group: group.0,
        applied: digest.applied,
        rows: digest.rows,
        digest: format!("{:016x}", digest.digest),
    });
    let view = DigestView { node: front.service.node().0, groups: groups.collect() };
    let mut response = Json(view).into_response();
    Facts::default().write(response.headers_mut(), front, asked);
    Ok(response)
}

/// Where a key lives.
#[utoipa::path(get, path = "/v1/route", operation_id = "get_route", tag = "cluster",
    params(RouteQuery),
    responses((status = 200, description = "Its group and nodes", body = RouteView)))]
pub(super) async fn route(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match find(&front, &asked, request.uri().query()).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn find(front: &Front, asked: &Asked, raw: Option<&str>) -> Result<Response, Failure> {
    let (namespace, key) = route_query(raw)?;
    front.service.knows(&namespace, &asked.context()).await?;
    let route = front.service.route(&namespace, &key)?;
    let facts = Facts { group: Some(route.group), leader: route.leader, ..Facts::default() };
    let replica = |(node, address): &(NodeId, Option<String>)| RouteReplica {
        node: node.0,
        url: address.as_deref().map(base_url),
    };
    let view = RouteView {
        slot: route.slot.get(),
        group: route.group.0,
        leader: route.leader.map(|node| node.0),
        preferred: route.preferred.0,
        leader_url: facts.leader_url(front),
        replicas: route.replicas.iter().map(replica).collect(),
        epoch: route.epoch,
    };
    let mut response = Json(view).into_response();
    facts.write(response.headers_mut(), front, asked);
    Ok(response)
}

/// Makes a node known to the cluster.
#[utoipa::path(post, path = "/v1/cluster/nodes", operation_id = "add_node", tag = "cluster",
    request_body = JoinRequest,
    responses((status = 200, description = "It is known", body = ChangeReply)))]
pub(super) async fn join(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match add_node(&front, &asked, request).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn add_node(front: &Front, asked: &Asked, request: Request) -> Result<Response, Failure> {
    let JoinRequest { id, address, incarnation } =
        read_json(front, asked, request, ADMIN_BODY_BYTES_MAX).await?;
    let digits = incarnation.len() == 16 && incarnation.bytes().all(|b| b.is_ascii_hexdigit());
    let incarnation = digits.then(|| u64::from_str_radix(&incarnation, 16).ok()).flatten();
    let incarnation =
        incarnation.ok_or_else(|| Failure::invalid("incarnation is 16 hexadecimal digits"))?;
    if !(1..=u64::from(u32::MAX)).contains(&id) {
        let detail = format!("a node's id is between 1 and {}, not {id}", u32::MAX);
        return Err(Failure::invalid(detail));
    }
    let epoch = front
        .service
        .add_node(NodeId(id), address, Incarnation(incarnation), asked.context())
        .await?;
    Ok(changed(front, asked, epoch))
}

/// Has one node take over the replicas of another.
#[utoipa::path(post, path = "/v1/cluster/replace", operation_id = "replace_node", tag = "cluster",
    request_body = ReplaceRequest,
    responses((status = 200, description = "Decided; the moves follow", body = ChangeReply)))]
pub(super) async fn replace(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match replace_node(&front, &asked, request).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn replace_node(front: &Front, asked: &Asked, request: Request) -> Result<Response, Failure> {
    let ReplaceRequest { old, new } =
        read_json(front, asked, request, ADMIN_BODY_BYTES_MAX).await?;
    let epoch = front.service.replace(NodeId(old), NodeId(new), asked.context()).await?;
    Ok(changed(front, asked, epoch))
}

/// The answer to a change: with it, a newcomer can reach everyone.
fn changed(front: &Front, asked: &Asked, epoch: u64) -> Response {
    let catalog = front.service.catalog();
    let nodes = catalog.iter().flat_map(|catalog| catalog.present_nodes());
    let known = |(id, entry): (NodeId, &crate::placement::NodeEntry)| KnownNode {
        id: id.0,
        address: entry.address.clone(),
        incarnation: entry.incarnation.to_string(),
    };
    let reply = ChangeReply {
        cluster: catalog.as_ref().map(|catalog| catalog.cluster.to_string()),
        epoch,
        nodes: nodes.map(known).collect(),
        groups: catalog.as_ref().map_or(0, |c| c.groups.keys().filter(|g| g.0 != 0).count() as u64),
    };
    let mut response = Json(reply).into_response();
    Facts::default().write(response.headers_mut(), front, asked);
    response
}

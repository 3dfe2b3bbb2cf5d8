//! Nodes: making one known, having one replaced.
//!
//! Promises: both may be repeated without harm. Relies on the system group to decide.

use crate::model::{Command, Incarnation, NodeId, Reply};
use crate::placement::{CatalogCommand, CatalogReply};

use super::ask::Context;
use super::error::{ErrorKind, ServiceError};
use super::forward::Work;
use super::pursue::{Plan, pursue};
use super::route::{Map, Target};
use super::{Service, internal};

impl Service {
    /// Makes a node known to the cluster; the epoch at which it is. Repeating it is harmless.
    ///
    /// # Errors
    ///
    /// `Refused` when the cluster does not want it.
    pub async fn add_node(
        &self,
        node: NodeId,
        address: String,
        incarnation: Incarnation,
        context: Context,
    ) -> Result<u64, ServiceError> {
        self.change(&CatalogCommand::AddNode { node, address, incarnation }, &context).await
    }

    /// Has one node take over the replicas of another; the epoch at which that was decided. The
    /// moves follow; [`Service::cluster`] shows how many are left. Repeating it is harmless.
    ///
    /// # Errors
    ///
    /// `Refused` when the cluster does not want it.
    pub async fn replace(
        &self,
        old: NodeId,
        new: NodeId,
        context: Context,
    ) -> Result<u64, ServiceError> {
        self.change(&CatalogCommand::Replace { old, new }, &context).await
    }

    async fn change(
        &self,
        command: &CatalogCommand,
        context: &Context,
    ) -> Result<u64, ServiceError> {
        let planner = |_: &Map| {
            let work = Work::Propose(Command::Catalog(command.encode()).encode());
            Ok(Plan { target: Target::System, work, repeatable: false })
        };
        let answer = pursue(&self.hall, context, &planner).await?.answer()?;
        let Reply::Catalog(bytes) = &answer.reply else { return Err(answer.unexpected()) };
        match CatalogReply::decode(bytes) {
            Ok(CatalogReply::Done { epoch } | CatalogReply::Namespace { epoch, .. }) => Ok(epoch),
            Ok(CatalogReply::Refused { code, reason }) => {
                Err(ErrorKind::Refused { code, reason }.into())
            }
            Err(error) => Err(internal(answer.group, &error.to_string())),
        }
    }
}

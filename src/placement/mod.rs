//! Who should hold and lead what. Pure: it knows neither who is alive nor any I/O.
//!
//! [`slot_of`] says which slot a key falls into, the [`Catalog`] says which group holds that slot on
//! which nodes, [`assign`] makes the first catalog, and [`plan`] says what should move next. The
//! catalog is a replicated value: [`Catalog::apply`] is run by every replica of group 0 and must come
//! to the same catalog at each.

pub mod assign;
pub mod catalog;
pub mod change;
pub mod command;
pub mod links;
mod namespaces;
pub mod plan;
pub mod slots;
pub mod switch;
pub mod topology;

pub use catalog::{
    Catalog, GroupEntry, Layout, Mode, NamespaceEntry, NamespaceLimits, NodeEntry, NodeState,
};
pub use command::{CatalogCommand, CatalogReply, RefusalCode};
pub use plan::{Led, Move, MoveFacts, MoveStep, TransferLimits, move_step, next_move, transfers};
pub use slots::{SlotTable, ranges, slot_of};
pub use switch::{Siblings, Switch, SwitchPhase, SwitchStep, SwitchTo};
pub use topology::{LinkMode, SiteLink, Topology};

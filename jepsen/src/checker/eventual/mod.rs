//! Judges of eventual namespaces.
//!
//! Why they exist: what is promised here is not an order, but an end in which all replicas are the
//! same and nothing that was acknowledged is unaccounted for. Each judge reads the history alone:
//! what clients had been shown, what was acknowledged at which node, and what every node says when
//! all is over.

mod agreement;
mod availability;
mod cut_off;
mod deletions;
mod doubts;
mod fates;
mod heard;
mod loss_model;
mod merging;
mod record;
mod written;

pub use agreement::Agreement;
pub use availability::Availability;
pub use deletions::Deletions;
pub use fates::Fates;
pub use merging::Merging;
pub use written::Written;

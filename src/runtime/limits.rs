//! Every bound of the system, named, with its reason.
//!
//! Why it exists: what has no bound ends with the memory. Overload is refused at these numbers, and
//! a reader finds all of them in one place. Grouped by the room that keeps them.

mod bench;
mod client;
mod consensus;
mod convergence;
mod eventual;
mod exchange;
mod http;
mod model;
mod peer;
mod placement;
mod requests;
mod service;
mod storage;
mod streams;
mod switching;
mod upkeep;

pub use bench::*;
pub use client::*;
pub use consensus::*;
pub use convergence::*;
pub use eventual::*;
pub use exchange::*;
pub use http::*;
pub use model::*;
pub use peer::*;
pub use placement::*;
pub use requests::*;
pub use service::*;
pub use storage::*;
pub use streams::*;
pub use switching::*;
pub use upkeep::*;

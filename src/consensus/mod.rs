//! The linearizable wing: agree, then answer. The only room that knows openraft.
//!
//! The life of a command: `ingress` gathers what waits, openraft appends it through `log_store`
//! while `network` carries it to the followers; the shared log flushes once for all groups; when a
//! quorum has flushed it, it is committed, `machine` applies it, and the answer climbs back. Reads
//! pass the `barrier` first.
//!
//! Around that: `founding` and `door` decide whether this node may take part at all, `hosting` which
//! groups run here, `leadership` who should lead them, `moves` how replicas change nodes, `upkeep`
//! when the log is cut, `tend` what a leader does by itself: end leases, forget, purge; `quiet` lets
//! groups rest that nobody uses.
//!
//! Promises: nothing acknowledged is lost while a majority of each group keeps its disks; a failed
//! flush stops the node. Does not know: HTTP, namespaces, the other wing.

pub mod barrier;
pub mod channel;
pub mod codec;
pub mod confirm;
pub mod door;
pub mod error;
mod figures;
pub mod founding;
pub mod freshness;
pub mod group;
pub mod groups;
pub mod hosting;
pub mod identity;
pub mod inbox;
pub mod ingress;
pub mod leadership;
pub mod leases;
pub mod log_store;
mod looking_back;
pub mod machine;
pub mod marks;
pub mod metrics;
pub mod moves;
pub mod network;
pub mod probe;
pub mod quiet;
pub mod status;
pub mod tend;
pub mod types;
pub mod upkeep;
pub mod witness;

pub use channel::{FEED, FORWARD, STATUS, SWITCH};
pub use error::{ProposeError, ReadError};
pub use groups::{Foundation, Groups};
pub use ingress::Proposed;
pub use leases::{LeaseNews, LeaseTable};
pub use status::{GroupStatus, Role};

//! Bounds of the catalog.

/// Most nodes that take part in a cluster. Every node holds group 0 and keeps a connection to every
/// other; beyond this number both should be thought over first.
pub const NODES_MAX: usize = 64;

/// Most node ids that a cluster ever uses. Their entries stay in the catalog, which every node holds
/// in memory: this keeps it below a megabyte or so.
pub const NODES_KNOWN_MAX: usize = 4096;

/// Longest address of a node (`host:port`): a DNS name has at most 253 characters.
pub const ADDRESS_BYTES_MAX: usize = 260;

/// Links of one namespace's topology: both directions between all nodes of a small cluster, and of a
/// large one more than anybody writes down. Bounded because the catalog holds them.
pub const SITE_LINKS_MAX: usize = 256;

//! Tests of the peer room: the contract of `Transport` on both networks, and what is true of the
//! real one only.

mod bulk;
mod contract;
mod in_memory;
mod one_end;
mod support;
mod wire;

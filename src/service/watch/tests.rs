//! Tests of watches.

//! Tests of shards.

//! Tests of scans.

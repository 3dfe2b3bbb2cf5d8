//! Tests of scans over HTTP.

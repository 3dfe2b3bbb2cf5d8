//! Tests of watches over HTTP.

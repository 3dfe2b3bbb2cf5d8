//! Commands: what is written reads back, and nothing read can panic.

//! The binary: arguments, settings, the chosen command, exit code.
fn main() {}

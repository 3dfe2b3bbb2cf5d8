//! The `tetrarch-jepsen` binary: hands its command line to the library.

fn main() {}

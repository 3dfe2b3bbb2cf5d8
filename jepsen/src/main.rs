//! The `tetrarch-jepsen` binary: hands its command line to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tetrarch_jepsen::cli::main()
}

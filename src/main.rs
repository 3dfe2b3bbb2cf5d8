//! The binary: hands the function that serves a node to the command line, returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tetrarch::cli::run(tetrarch::app::serve)
}

//! The binary: hands the function that serves a node to the command line, returns its exit code.

use std::process::ExitCode;

/// A request makes some dozens of small allocations on one thread that are freed on another: measured
/// against the C library's, this allocator takes a fifth less CPU and gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tetrarch::cli::run(tetrarch::app::serve)
}

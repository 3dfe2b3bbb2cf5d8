//! Seeded entropy for a run's process, where the machine has a C compiler.
//!
//! Why it exists: see `entropy.c`. Without it a run is seeded, but two runs of one seed part sooner or
//! later. Promises: says whether it works.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const SOURCE: &str = include_str!("entropy.c");

/// The library to load before all others, made once per process; `None` without a compiler.
pub fn library() -> Option<PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    MADE.get_or_init(make).clone()
}

fn make() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let directory = own.parent()?;
    let made = directory.join(format!("libtetrarch_entropy-{}.so", std::process::id()));
    let source = made.with_extension("c");
    std::fs::write(&source, SOURCE).ok()?;
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&made, &source])
        .stderr(Stdio::null())
        .status();
    drop(std::fs::remove_file(&source));
    let is_made = compiled.is_ok_and(|status| status.success());
    // One name for all: whoever comes later replaces it by the same.
    let library = directory.join("libtetrarch_entropy.so");
    (is_made && std::fs::rename(&made, &library).is_ok()).then_some(library)
}

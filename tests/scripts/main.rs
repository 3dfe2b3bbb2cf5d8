//! Golden traces of the pure rooms: scripts of commands with the output that they must give.
//!
//! Why it exists: a trace shows, in one place and readable without Rust, what a sequence of commands
//! does, and any change of behaviour shows up as a diff of it. Every file under `model/` and
//! `placement/` beside this one is run. After a change that is meant,
//! `UPDATE_GOLDENFILES=1 cargo test --test scripts` writes the traces anew: read the diff.

mod model;
mod patches;
mod placement;

use std::error::Error;
use std::path::{Path, PathBuf};

type Fault = Box<dyn Error>;

/// Runs every script of a directory with a runner of its own. Which one differs is in the diff.
#[allow(clippy::panic, reason = "a test fails by panicking")]
fn run_all<R: goldenscript::Runner>(directory: &str, runner: impl Fn() -> R) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(directory);
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(&directory)
        .expect("the directory of scripts is part of the repository")
        .map(|entry| entry.expect("a listed script can be looked at").path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "new"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts in {}", directory.display());
    for script in scripts {
        if let Err(error) = goldenscript::run(&mut runner(), &script) {
            panic!("{}: {error}", script.display());
        }
    }
}

/// The value of `key=` in a command.
fn named<T>(args: &mut goldenscript::ArgumentConsumer<'_>, key: &str) -> Result<T, Fault>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    args.lookup_parse(key)?.ok_or_else(|| format!("{key}= is missing").into())
}

/// The next argument without a key.
fn next<T>(args: &mut goldenscript::ArgumentConsumer<'_>, what: &str) -> Result<T, Fault>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    args.next_pos().ok_or_else(|| format!("{what} is missing"))?.parse()
}

#[test]
fn the_scripts_of_the_model_give_what_they_gave() {
    run_all("model", model::Group::default);
}

#[test]
fn the_scripts_of_placement_give_what_they_gave() {
    run_all("placement", placement::Map::default);
}

//! Programs of the machine, and small ones in C that are compiled when they are needed.
//!
//! Why C: an ioctl and a preloaded library are unsafe code, which no Rust here may have. Promises:
//! what is missing or fails is told in words that a person can act on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

/// A program in C that the harness carries with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    name: &'static str,
    text: &'static str,
    flags: &'static [&'static str],
}

/// The library that is preloaded into nodes.
pub(super) const FAULT: Source = Source {
    name: "fault",
    text: include_str!("../../shim/fault.c"),
    flags: &["-shared", "-fPIC", "-ldl"],
};
/// Takes the power from a file system.
pub(super) const POWER: Source =
    Source { name: "power", text: include_str!("../../shim/power.c"), flags: &[] };
/// Joins a TAP device to the switch.
pub(super) const TAP: Source =
    Source { name: "tap", text: include_str!("../../shim/tap.c"), flags: &[] };

/// Runs a program; the error is what it said.
pub(super) async fn tool(program: &str, words: &[&str]) -> Result<String, String> {
    let ran = Command::new(program).args(words).kill_on_drop(true).output().await;
    let output = ran.map_err(|error| format!("{program}: {error}"))?;
    told(program, &output)
}

fn told(program: &str, output: &Output) -> Result<String, String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.lines().next().unwrap_or("failed without a word")))
}

/// Compiles a source into a directory and says where the result is.
pub(super) async fn compiled(source: Source, dir: &Path) -> Result<PathBuf, String> {
    let dir = dir.join("shim");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let (text, made) = (dir.join(format!("{}.c", source.name)), dir.join(source.name));
    fs::write(&text, source.text).map_err(|error| format!("{}: {error}", text.display()))?;
    let (from, to) = (plain(&text)?, plain(&made)?);
    let words = [&["-O2", "-w", "-o", to, from], source.flags].concat();
    let compiled = tool("gcc", &words).await;
    compiled.map_err(|error| format!("no C compiler for {}: {error}", source.name))?;
    Ok(std::path::absolute(&made).unwrap_or(made))
}

/// A path as a word of a command line.
pub(super) fn plain(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is not plain text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tool_that_fails_is_quoted() {
        let error = tool("ls", &["/no/such/place"]).await.unwrap_err();
        assert!(error.starts_with("ls: ") && error.contains("/no/such/place"), "{error}");
        assert!(tool("no-such-tool-at-all", &[]).await.is_err());
    }
}

//! Other programs that tests run: the command line under test, and tools of the system.
//!
//! Promises: a failure shows the program's own words.

use std::process::{Command, Output, Stdio};

use super::node::binary;

/// What a program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `tetrarch` with arguments to its end, beside the test's own tasks.
pub(crate) async fn tetrarch(args: &[&str]) -> Ran {
    let mut command = binary();
    command.args(args).stdin(Stdio::null());
    let output = tokio::process::Command::from(command).output().await.expect("the binary starts");
    ran(&output)
}

/// Runs a tool of the system to its end; its words on failure.
pub(crate) fn tool(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let ran = ran(&output);
    if ran.success {
        Ok(ran.stdout)
    } else {
        Err(format!("{program} {}: {}{}", args.join(" "), ran.stdout, ran.stderr))
    }
}

fn ran(output: &Output) -> Ran {
    Ran {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

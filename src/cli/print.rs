//! Everything that the command line writes to the terminal.
//!
//! Promises: results go to standard output, remarks to standard error; colours only where the
//! stream is a terminal that wants them (`anstream` decides); a closed pipe is not an error.

use std::fmt::Display;
use std::io::Write;

use anstyle::{AnsiColor, Style};

/// A line of the result.
pub(super) fn line(text: impl Display) {
    // Who closed the pipe has seen enough.
    drop(writeln!(anstream::stdout().lock(), "{text}"));
}

/// Bytes of the result, as they are.
pub(super) fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(bytes).and_then(|()| out.flush()));
}

/// A JSON document on one line.
pub(super) fn json(value: &serde_json::Value) {
    line(value);
}

/// A remark.
pub(super) fn note(text: impl Display) {
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

/// What went wrong.
pub(super) fn error(text: &str) {
    let style = AnsiColor::Red.on_default().bold();
    note(format!("{style}error:{style:#} {text}"));
}

/// Text in a style, which is dropped where there are no colours.
pub(super) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

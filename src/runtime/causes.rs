//! An error with its causes in one line.
//!
//! Why it exists: the text of an error names what was attempted and leaves the reason to its source, so
//! that whoever tells an error to people must tell its sources as well. Promises: outermost first.

use std::error::Error;

/// The text of an error and of all that caused it.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}

//! What a measurement keeps: its report so far, in the output directory, to go on behind it.
//!
//! Why it exists: a measurement of hours that is stopped half way, by whomever, must not have been in
//! vain; nor may what it goes on behind be something else than it takes it for.
//!
//! Promises: a report is written whole or not at all; what is no report of the form that is asked for is
//! refused and left as it is. Relies on: [`Kept::VERSION`], which no two forms share.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::figures::{FILE, Report, VERSION};

/// A report that is kept.
pub trait Kept: Serialize + DeserializeOwned {
    /// The version of the form; that of no other form.
    const VERSION: u32;

    /// The version that this one says it has.
    fn version(&self) -> u32;
}

impl Kept for Report {
    const VERSION: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

/// Why results cannot be kept, or not be gone on behind.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The output directory cannot be used.
    #[error("{} cannot be used: {source}; give --out a directory that can be written", path.display())]
    Output {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is there was measured under other conditions.
    #[error("{} has {name} with another {what}; give another --out", path.display())]
    Other {
        /// Which file.
        path: PathBuf,
        /// Which run.
        name: String,
        /// What differs.
        what: &'static str,
    },
    /// What is there is no report of ours.
    #[error("{} is no report of this version ({reason}); give another --out", path.display())]
    Report {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The report in a directory; `None` when there is none.
///
/// # Errors
///
/// When there is something else.
pub fn read_report<T: Kept>(out: &Path) -> Result<Option<T>, KeptError> {
    let path = out.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeptError::Output { path, source }),
    };
    match serde_json::from_str::<T>(&text) {
        Ok(report) if report.version() == T::VERSION => Ok(Some(report)),
        Ok(report) => {
            let reason = format!("it has version {}", report.version());
            Err(KeptError::Report { path, reason })
        }
        Err(error) => Err(KeptError::Report { path, reason: error.to_string() }),
    }
}

/// Writes a report, whole or not at all.
///
/// # Errors
///
/// When the directory cannot be written.
#[allow(clippy::disallowed_methods, reason = "a report for people, not a node's data")]
pub fn write_report<T: Kept>(out: &Path, report: &T) -> Result<(), KeptError> {
    let text = serde_json::to_string_pretty(report).expect("a report is plain data");
    let (path, new) = (out.join(FILE), out.join(format!("{FILE}.new")));
    let unusable = |source| KeptError::Output { path: path.clone(), source };
    std::fs::create_dir_all(out).map_err(unusable)?;
    std::fs::write(&new, text).map_err(unusable)?;
    std::fs::rename(&new, &path).map_err(unusable)
}

/// The same number: what went through JSON may have lost its last place.
pub(super) fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::super::figures::Run;
    use super::super::peer::rows::PeerReport;
    use super::*;

    #[test]
    fn a_report_is_kept_and_something_else_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let read = || read_report::<Report>(dir.path());
        assert!(read().unwrap().is_none());
        let runs = vec![Run { name: "x".into(), ..Run::default() }];
        let report = Report { version: VERSION, runs, ..Report::default() };
        write_report(dir.path(), &report).unwrap();
        // One form is not taken for another, of which all that is missing would have a default.
        let taken = read_report::<PeerReport>(dir.path()).unwrap_err().to_string();
        assert!(taken.contains("version 1"), "{taken}");
        assert_eq!(read().unwrap(), Some(report));
        let newer = Report { version: VERSION + 1, ..Report::default() };
        write_report(dir.path(), &newer).unwrap();
        assert!(read().unwrap_err().to_string().contains("--out"));
        std::fs::write(dir.path().join(FILE), "[").unwrap();
        read().unwrap_err();
    }
}

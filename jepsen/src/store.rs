//! Where a run is kept: one directory with everything that its verdict rests on.
//!
//! Promises: `DIR/<workload>-<nemesis>-<time>-<seed>/` holds `history.edn`, `history.jsonl`,
//! `results.json`, `index.html` and `nodes/N.log`; `DIR/latest` points to the run that was begun last.
//! The history is written before it is judged, so that a checker that fails loses nothing.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::history::History;
use crate::report::RunSummary;
use crate::verdict::Verdict;

/// The directory of a run.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    name: String,
    started: Duration,
}

impl Store {
    /// Makes the directory of a new run, and lets `latest` point to it.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn create(root: &Path, workload: &str, nemesis: &str, seed: u64) -> io::Result<Self> {
        let started = now();
        let kept = |letter: char| letter.is_ascii_alphanumeric() || ",-_".contains(letter);
        let nemesis: String =
            nemesis.chars().map(|letter| if kept(letter) { letter } else { '.' }).collect();
        let name = format!("{workload}-{nemesis}-{}-{seed}", stamp(started, false));
        let dir = root.join(&name);
        fs::create_dir_all(dir.join("nodes"))?;
        // The processes under test have other working directories.
        let dir = dir.canonicalize()?;
        let latest = root.join("latest");
        if latest.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            fs::remove_file(&latest)?;
        }
        // What is no link there is somebody's own; it is left alone.
        if latest.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(&name, &latest)?;
        }
        Ok(Self { dir, name, started })
    }

    /// Where.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory's name within the store, which is also the name of the run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the run began, as RFC 3339.
    pub fn started(&self) -> String {
        stamp(self.started, true)
    }

    /// Where the cluster may put data and control files; removed by `tidy`.
    pub fn cluster_dir(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// Writes the history in both forms.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub fn keep_history(&self, history: &History) -> io::Result<()> {
        let mut edn = BufWriter::new(File::create(self.dir.join("history.edn"))?);
        history.write_edn(&mut edn)?;
        edn.flush()?;
        let mut lines = BufWriter::new(File::create(self.dir.join("history.jsonl"))?);
        history.write_jsonl(&mut lines)?;
        lines.flush()
    }

    /// Copies the nodes' logs.
    ///
    /// # Errors
    ///
    /// When one cannot be read or written.
    pub fn keep_logs(&self, logs: &[(u32, PathBuf)]) -> io::Result<Vec<(u32, PathBuf)>> {
        let mut kept = Vec::new();
        for (node, log) in logs {
            let to = self.dir.join("nodes").join(format!("{node}.log"));
            if *log != to && log.exists() {
                fs::copy(log, &to)?;
            }
            kept.push((*node, to));
        }
        Ok(kept)
    }

    /// Writes what was found.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub fn keep_results(&self, summary: &RunSummary, verdicts: &[Verdict]) -> io::Result<()> {
        let results = json!({ "summary": summary, "verdicts": verdicts });
        fs::write(self.dir.join("results.json"), format!("{results:#}\n"))
    }

    /// Files that a page may link to.
    pub fn files(&self) -> Vec<String> {
        let names = ["history.edn", "history.jsonl", "results.json"].map(str::to_owned);
        let mut logs: Vec<String> = fs::read_dir(self.dir.join("nodes"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(format!("nodes/{}", entry.ok()?.file_name().to_str()?)))
            .collect();
        logs.sort();
        names.into_iter().chain(logs).collect()
    }

    /// Removes the data directories.
    ///
    /// # Errors
    ///
    /// When they cannot be removed.
    pub fn tidy(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.cluster_dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a directory's name shows when the run was")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time in UTC: `20260203T040506` or, with `long`, RFC 3339.
fn stamp(since: Duration, long: bool) -> String {
    let seconds = since.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    if long {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    } else {
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}")
    }
}

/// Year, month and day of a day since 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        let stamp = |seconds| stamp(Duration::from_secs(seconds), true);
        assert_eq!(stamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(stamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(stamp(1_795_276_800), "2026-11-21T16:00:00Z");
    }

    #[test]
    fn latest_points_to_the_newest_run() {
        let root = tempfile::tempdir().unwrap();
        let first = Store::create(root.path(), "register", "none", 1).unwrap();
        let second = Store::create(root.path(), "register", "kill:all,pause", 2).unwrap();
        assert_ne!(first.dir(), second.dir());
        let latest = root.path().join("latest").canonicalize().unwrap();
        assert_eq!(latest, second.dir());
        assert!(second.name().starts_with("register-kill.all,pause-"));
        second.tidy().unwrap();
    }
}

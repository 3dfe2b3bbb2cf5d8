//! Searches the nodes' logs for what must not stand there.
//!
//! Why it exists: a node that panicked or broke one of its own invariants has failed, even if no client
//! noticed. Promises: each line is looked at; what is allowed is allowed by name, with the reason. A log
//! that cannot be read is `unknown`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::verdict::{Anomaly, Verdict};

/// Anomalies shown.
const SHOWN: usize = 12;
/// How much of a line is shown.
const LINE_SHOWN: usize = 400;

/// Texts that must not stand in a log, with the kind of anomaly that they are. All lower case; the
/// first that fits names the line.
const BAD: &[(&str, &str)] = &[
    ("panicked at", "panic"),
    ("ended by a panic", "panic"),
    ("has panicked", "panic"),
    ("assertion", "assertion"),
    ("invariant", "assertion"),
    ("addresssanitizer", "memory"),
    ("segmentation fault", "memory"),
    ("stack overflow", "memory"),
    ("memory allocation of", "memory"),
    ("corrupt", "corruption"),
    ("checksum", "corruption"),
    ("\"level\":\"error\"", "error"),
];

/// Lines that may stand there although they look bad: all of the texts of a row, in lower case, have
/// to be in the line. Panics are never allowed.
const ALLOWED: &[(&[&str], &str)] = &[
    (
        &["no room for the next log segment"],
        "the disk was full on purpose; the node refuses writes and goes on",
    ),
    (
        &["the log is poisoned"],
        "the disk failed on purpose; the node must stop rather than acknowledge what is not on it",
    ),
    (
        &["openraft::", "cannot sync log segment"],
        "Raft's own words for the same failed sync, which it is told of before the node ends",
    ),
    (&["openraft::", "cannot write log segment"], "Raft's own words for the same failed write"),
    (
        &["openraft::", "the disk is full"],
        "Raft's own words for a log that a full disk has stopped",
    ),
    (
        &["sled::", "storagefull"],
        "the working index on a full disk; the node stops, and makes it anew when it starts",
    ),
    (
        &["sled::", "input/output error"],
        "the working index on a disk that fails on purpose; the node stops, and makes it anew",
    ),
    (
        &["the group has stopped"],
        "what follows from a poisoned log; the replica takes part in nothing any more",
    ),
    (&["the node stops"], "what follows from a poisoned log: the node ends itself"),
    (
        &["did not stop in time"],
        "a node that is told to stop while its disk or its peers hang is ended after its grace",
    ),
    (
        &["request failed"],
        "a 500 while the disk fails or the node stops; its outcome is judged in the history",
    ),
    (
        &["torn"],
        "the end of a log after a power cut: cut off on purpose when the node starts again",
    ),
];

/// What a node may say when it refuses to open a file that was damaged on purpose, and only then.
const REFUSES_DAMAGE: &[&str] = &["error: ", ": corrupt at offset "];

/// Searches the logs of the nodes. `damaged`: files were damaged on purpose in this run, so a node may
/// refuse to start on one, by name and offset.
pub fn search(files: &[(u32, PathBuf)], damaged: bool) -> Verdict {
    let mut found = Found { damaged, ..Found::default() };
    for (node, path) in files {
        if let Err(error) = found.read(*node, path) {
            found.unread.push(format!("node {node}: {error}"));
        }
    }
    found.verdict(files.len())
}

#[derive(Debug, Default)]
struct Found {
    damaged: bool,
    lines: u64,
    allowed: u64,
    bad: u64,
    anomalies: Vec<Anomaly>,
    unread: Vec<String>,
}

impl Found {
    fn read(&mut self, node: u32, path: &Path) -> std::io::Result<()> {
        #[allow(clippy::disallowed_methods, reason = "the logs are real files of other processes")]
        let mut reader = BufReader::new(std::fs::File::open(path)?);
        let mut line = Vec::new();
        let mut number = 0_u64;
        while reader.read_until(b'\n', &mut line)? > 0 {
            number += 1;
            self.line(node, number, String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        Ok(())
    }

    fn line(&mut self, node: u32, number: u64, line: &str) {
        self.lines += 1;
        let Some(kind) = judge(line) else { return };
        let refuses = self.damaged && REFUSES_DAMAGE.iter().all(|text| line.contains(text));
        let Some(kind) = kind.filter(|kind| *kind == "panic" || !refuses) else {
            self.allowed += 1;
            return;
        };
        self.bad += 1;
        if self.anomalies.len() < SHOWN {
            let shown: String = line.chars().take(LINE_SHOWN).collect();
            self.anomalies.push(Anomaly {
                kind: format!("log-{kind}"),
                words: format!("node {node}, line {number}: {shown}"),
                events: Vec::new(),
            });
        }
    }

    fn verdict(self, files: usize) -> Verdict {
        let figures = json!({
            "files": files,
            "lines": self.lines,
            "bad": self.bad,
            "allowed": self.allowed,
            "unread": self.unread,
        });
        let verdict = if !self.anomalies.is_empty() {
            Verdict::invalid(
                "logs",
                format!("{} lines must not be there", self.bad),
                self.anomalies,
            )
        } else if !self.unread.is_empty() {
            Verdict::unknown("logs", format!("not readable: {}", self.unread.join(", ")))
        } else if files == 0 {
            Verdict::unknown("logs", "there are no logs here")
        } else {
            Verdict::valid("logs", format!("nothing bad in {} lines", self.lines))
        };
        verdict.with_figures(figures)
    }
}

/// What a line is: `None` good, `Some(None)` bad and allowed, otherwise the kind. Levels in colour
/// are still levels.
fn judge(line: &str) -> Option<Option<&'static str>> {
    let line = plain(line);
    // The level stands behind the time; further on `error` is only a word.
    let is_error = line.split_whitespace().take(2).any(|word| word == "ERROR");
    let line = line.to_lowercase();
    let found = BAD.iter().find(|(text, _)| line.contains(text)).map(|(_, kind)| kind);
    let kind = found.or(is_error.then_some(&"error"))?;
    let allowed = *kind != "panic"
        && ALLOWED.iter().any(|(texts, _)| texts.iter().all(|text| line.contains(text)));
    Some((!allowed).then_some(*kind))
}

/// The line without the escapes that colour it.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut escaped = false;
    for letter in line.chars() {
        match letter {
            '\u{1b}' => escaped = true,
            letter if escaped => escaped = !letter.is_ascii_alphabetic(),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;

    fn of(text: &str) -> Verdict {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.log");
        std::fs::write(&path, text).unwrap();
        search(&[(1, path)], false)
    }

    #[test]
    fn a_quiet_log_is_fine() {
        let verdict =
            of("2026-11-21T15:00:00Z  INFO ready\n2026-11-21T15:00:01Z  WARN slow error=timeout\n");
        assert_eq!(verdict.validity, Validity::Valid, "{verdict:?}");
    }

    #[test]
    fn each_kind_of_bad_line_is_found() {
        let lines = [
            ("thread 'main' (7) panicked at src/x.rs:1:2:", "log-panic"),
            ("assertion `left == right` failed", "log-assertion"),
            ("2026-11-21T15:00:00Z ERROR tetrarch::storage: a strange thing", "log-error"),
            ("2026-11-21T15:00:00Z \u{1b}[31mERROR\u{1b}[0m tetrarch: strange", "log-error"),
            ("2026-11-21T15:00:00Z  WARN a block is corrupt", "log-corruption"),
            ("memory allocation of 8 bytes failed", "log-memory"),
        ];
        for (line, kind) in lines {
            let verdict = of(line);
            let kinds: Vec<&str> =
                verdict.anomalies.iter().map(|found| found.kind.as_str()).collect();
            assert_eq!(kinds, [kind], "{line}");
        }
    }

    #[test]
    fn what_is_allowed_is_counted_and_a_panic_never_is() {
        let verdict = of("ERROR the log is poisoned reason=\"write failed\"\n");
        assert_eq!(verdict.validity, Validity::Valid, "{verdict:?}");
        assert_eq!(verdict.figures["allowed"], 1);
        let verdict =
            of("2026-11-21T15:00:00Z ERROR openraft::core::raft_core: RaftCore::main error: \
                          when Write Log: cannot sync log segment log/segment-0000000001.log\n");
        assert_eq!(verdict.validity, Validity::Valid, "Raft says it too: {verdict:?}");
        let verdict = of("2026-11-21T15:00:00Z ERROR openraft::core: when Apply: strange\n");
        assert_eq!(verdict.validity, Validity::Invalid);
        let verdict = of("thread 'x' panicked at src/a.rs: the log is poisoned\n");
        assert_eq!(verdict.validity, Validity::Invalid);
    }

    #[test]
    fn a_refused_file_is_allowed_only_where_files_were_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.log");
        let line =
            "error: log/segment-0000000001.log: corrupt at offset 116224: the checksum is wrong";
        std::fs::write(&path, format!("{line}\n")).unwrap();
        let files = [(1, path)];
        assert_eq!(search(&files, false).validity, Validity::Invalid);
        assert_eq!(search(&files, true).validity, Validity::Valid);
    }

    #[test]
    fn a_log_that_is_not_there_is_not_a_pass() {
        let verdict = search(&[(1, PathBuf::from("/nowhere/1.log"))], false);
        assert_eq!(verdict.validity, Validity::Unknown);
    }
}

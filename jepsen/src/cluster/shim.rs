//! The control file of a node's fault shim: what is to fail, and how often it did.
//!
//! Why it exists: the shim (`shim/fault.c`) maps the file, so that a setting takes effect with the
//! node's next call, and its counts tell whether a fault bit. Relies on: the order of words there.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BYTES: usize = 4096;

/// A word of the control file.
#[derive(Clone, Copy, Debug)]
enum Word {
    SyncFail = 0,
    SyncFailLeft,
    SyncDelay,
    WriteFull,
    ClockOffset,
    ClockRate,
    ClockBase,
    Strobe,
    StrobePeriod,
    Seed,
    SyncsFailed = 257,
    SyncsDelayed,
    WritesFailed,
    ClocksMoved,
}

/// What a disk does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFault {
    /// How many syncs of a million fail with EIO.
    pub sync_fails_ppm: i64,
    /// How many may fail; negative: without end.
    pub sync_fails_left: i64,
    /// How long each sync takes longer.
    pub sync_delay: Duration,
    /// How many writes of a million fail with ENOSPC.
    pub write_full_ppm: i64,
    /// Where chance comes from.
    pub seed: u64,
}

/// What a wall clock does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockFault {
    /// By how much it is wrong, in milliseconds.
    pub offset_ms: i64,
    /// By how much it runs too fast or too slow, in millionths.
    pub rate_ppm: i64,
    /// By how much it is wrong besides, every other period.
    pub strobe_ms: i64,
    /// How long such a period is.
    pub strobe_period: Duration,
}

/// How often a shim has done what was asked for, since the cluster started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShimCounts {
    /// Syncs that failed.
    pub syncs_failed: i64,
    /// Syncs that took longer.
    pub syncs_delayed: i64,
    /// Writes that failed.
    pub writes_failed: i64,
    /// Times that the wall clock was read wrong.
    pub clocks_moved: i64,
}

/// The shim of one node.
#[derive(Debug)]
pub(super) struct Shim {
    preload: PathBuf,
    control: PathBuf,
    file: fs::File,
    dir: PathBuf,
}

impl Shim {
    /// A shim that does nothing yet, for what is under `dir`.
    pub(super) fn make(library: &Path, control: &Path, dir: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(control)?;
        file.write_all_at(&[0; BYTES], 0)?;
        Ok(Self {
            preload: library.to_owned(),
            control: std::path::absolute(control)?,
            file,
            // As the kernel names it, without links on the way.
            dir: fs::canonicalize(dir)?,
        })
    }

    /// What a node must find in its environment.
    pub(super) fn environment(&self) -> [(&'static str, &Path); 3] {
        [
            ("LD_PRELOAD", &self.preload),
            ("JEPSEN_FAULT_CONTROL", &self.control),
            ("JEPSEN_FAULT_DIR", &self.dir),
        ]
    }

    pub(super) fn set_disk(&self, fault: DiskFault) -> io::Result<()> {
        self.set(Word::Seed, i64::from_le_bytes(fault.seed.to_le_bytes()))?;
        self.set(Word::SyncFailLeft, fault.sync_fails_left)?;
        self.set(Word::SyncFail, fault.sync_fails_ppm)?;
        self.set(Word::SyncDelay, i64::try_from(fault.sync_delay.as_micros()).unwrap_or(i64::MAX))?;
        self.set(Word::WriteFull, fault.write_full_ppm)
    }

    pub(super) fn set_clock(&self, fault: ClockFault) -> io::Result<()> {
        let nanos = |millis: i64| millis.saturating_mul(1_000_000);
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let base = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
        let period = i64::try_from(fault.strobe_period.as_nanos()).unwrap_or(i64::MAX);
        self.set(Word::ClockOffset, nanos(fault.offset_ms))?;
        self.set(Word::ClockBase, base)?;
        self.set(Word::ClockRate, fault.rate_ppm)?;
        self.set(Word::StrobePeriod, period)?;
        self.set(Word::Strobe, nanos(fault.strobe_ms))
    }

    pub(super) fn counts(&self) -> ShimCounts {
        let get = |word| self.get(word).unwrap_or(0);
        ShimCounts {
            syncs_failed: get(Word::SyncsFailed),
            syncs_delayed: get(Word::SyncsDelayed),
            writes_failed: get(Word::WritesFailed),
            clocks_moved: get(Word::ClocksMoved),
        }
    }

    fn set(&self, word: Word, value: i64) -> io::Result<()> {
        self.file.write_all_at(&value.to_le_bytes(), place(word))
    }

    fn get(&self, word: Word) -> io::Result<i64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, place(word))?;
        Ok(i64::from_le_bytes(bytes))
    }
}

fn place(word: Word) -> u64 {
    word as u64 * 8
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::cluster::tools::{FAULT, compiled};

    async fn shim(dir: &Path) -> Option<Shim> {
        match compiled(FAULT, dir).await {
            Ok(library) => Some(Shim::make(&library, &dir.join("control"), dir).unwrap()),
            Err(why) => {
                println!("skipped: {why}");
                None
            }
        }
    }

    fn run(shim: &Shim, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(words[0]);
        let output = command.args(&words[1..]).envs(shim.environment()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    #[tokio::test]
    async fn a_moved_wall_clock_is_seen_and_counted() {
        let dir = tempfile::TempDir::new().unwrap();
        let Some(shim) = shim(dir.path()).await else { return };
        let date = |shim: &Shim| run(shim, &["date", "+%s"]).1.parse::<i64>().unwrap();
        let before = date(&shim);
        assert_eq!(shim.counts().clocks_moved, 0);
        shim.set_clock(ClockFault { offset_ms: -86_400_000, ..ClockFault::default() }).unwrap();
        let after = date(&shim);
        assert!((before - 86_400..before - 86_000).contains(&after), "{before} {after}");
        assert!(shim.counts().clocks_moved > 0);
        // Ten thousand times too fast: what runs for a moment is far ahead.
        shim.set_clock(ClockFault { rate_ppm: 1_000_000_000_000, ..ClockFault::default() })
            .unwrap();
        assert!(date(&shim) > before + 10);
        shim.set_clock(ClockFault::default()).unwrap();
        assert!((before..before + 1000).contains(&date(&shim)));
    }

    #[tokio::test]
    async fn syncs_and_writes_fail_under_the_directory_only() {
        let dir = tempfile::TempDir::new().unwrap();
        let elsewhere = tempfile::TempDir::new().unwrap();
        let Some(shim) = shim(dir.path()).await else { return };
        let (inside, outside) = (dir.path().join("f"), elsewhere.path().join("f"));
        let write = |path: &Path, how: &str| {
            let to = format!("of={}", path.display());
            run(&shim, &["dd", "if=/dev/zero", &to, "bs=4096", "count=1", how]).0
        };
        let once =
            DiskFault { sync_fails_ppm: 1_000_000, sync_fails_left: 1, ..DiskFault::default() };
        shim.set_disk(once).unwrap();
        assert!(write(&outside, "conv=fsync"));
        assert!(!write(&inside, "conv=fsync"));
        assert!(write(&inside, "conv=fdatasync"), "it fails once");
        assert_eq!(shim.counts().syncs_failed, 1);
        shim.set_disk(DiskFault { write_full_ppm: 1_000_000, ..DiskFault::default() }).unwrap();
        assert!(write(&outside, "conv=notrunc") && !write(&inside, "conv=notrunc"));
        assert_eq!(shim.counts().writes_failed, 1);
        let slow = Duration::from_millis(1);
        shim.set_disk(DiskFault { sync_delay: slow, ..DiskFault::default() }).unwrap();
        assert!(write(&inside, "conv=fsync"));
        assert_eq!(shim.counts().syncs_delayed, 1);
    }
}

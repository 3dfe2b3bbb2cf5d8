//! Bytes on a stopped node's disk that are no longer what was written.
//!
//! Why it exists: disks lie, and an operator may restore half a directory. A node must then refuse to
//! start, or be refused by the others, rather than forget what it promised. Promises: at most one node
//! of the cluster is damaged at a time, since two damaged copies of three would be data loss that no
//! store could prevent; a damaged node counts as such until it was seen ready or was replaced.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{sleep, timeout};

use super::{Cluster, Miss};

/// Longest wait for a damaged node to be ready or to say why it will not be.
const JUDGED_WITHIN: Duration = Duration::from_secs(15);
/// Longest wait for its replacement while other faults may be about; the rest is left to the healing.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The most of a file's end that is torn.
const TORN_MAX: u64 = 64 * 1024;

/// Kinds of damage.
pub const DAMAGES: &[&str] = &["truncate", "torn", "flip"];

/// What was done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, below the data directory.
    pub file: String,
    /// One of [`DAMAGES`].
    pub kind: &'static str,
    /// Where.
    pub offset: u64,
}

impl Cluster {
    /// Kills a node and damages one of its files. The node stays down.
    ///
    /// # Errors
    ///
    /// When it does not run, when another one is damaged already, or there is nothing to damage.
    pub async fn damage(
        &self,
        node: u32,
        kind: &'static str,
        rng: &mut Rng,
    ) -> Result<Damage, Miss> {
        for (number, seat) in &self.seats {
            let mut seat = seat.lock().await;
            let is_doubtful = self.is_doubtful(&mut seat).await;
            if is_doubtful || seat.replaces.is_some() || seat.unfit().is_some() {
                return Miss::skipped(format!("node {number} is still damaged"));
            }
            if !seat.runs() {
                return Miss::skipped("all others must remember what the damaged node said");
            }
        }
        if self.seats.len() < 3 {
            return Miss::skipped("a damaged copy needs two good ones");
        }
        self.kill(node).await?;
        let mut seat = self.seat(node).await?;
        let failed = |error: io::Error| Miss::Failed(format!("node {node}: {error}"));
        let files = files(&seat.data).map_err(failed)?;
        let picked = files.get(rng.usize(..files.len().max(1)));
        let Some(path) = picked else { return Miss::skipped("there is no file to damage") };
        let offset = spoil(path, kind, rng).map_err(failed)?;
        let name = path.strip_prefix(&seat.data).unwrap_or(path).display().to_string();
        seat.damage = Some(format!("{kind} of {name} at {offset}"));
        Ok(Damage { file: name, kind, offset })
    }

    /// Starts a damaged node and sees what comes of it: in words, what it did. One that refuses to
    /// start is replaced, as the store's handbook says, now or at the latest when the cluster heals.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn judge_damage(&self, node: u32) -> Result<String, Miss> {
        drop(self.start_node(node).await);
        let url = self.seat(node).await?.url();
        let judged = async {
            loop {
                let mut seat = self.seat(node).await?;
                if !seat.runs()
                    && let Some(why) = seat.unfit()
                {
                    return Ok(Some(why));
                }
                drop(seat);
                if self.asks.ready(&url).await.is_ok() {
                    self.seat(node).await?.damage = None;
                    return Ok(None);
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let why = match timeout(JUDGED_WITHIN, judged).await {
            Err(_late) => return Ok("not judged yet".to_owned()),
            Ok(judged) => match judged? {
                None => return Ok("it started and is ready".to_owned()),
                Some(why) => why,
            },
        };
        let replaced = timeout(REPLACED_WITHIN, self.replace(node)).await;
        let replaced = if matches!(replaced, Ok(Ok(()))) { "replaced" } else { "to be replaced" };
        Ok(format!("{replaced}, since it said: {why}"))
    }

    /// Replaces a node by one with a new id and an empty directory, which takes its seat.
    ///
    /// # Errors
    ///
    /// When there is nobody to join through, or the cluster refuses.
    pub async fn replace(&self, node: u32) -> Result<(), Miss> {
        let failed = |error: super::ClusterError| Miss::Failed(error.to_string());
        self.vacate(node).await.map_err(failed)?;
        self.settle(node).await.map_err(failed)
    }

    /// Whether some node is damaged, or not done with taking another one's place.
    pub async fn is_short_of_copies(&self) -> bool {
        for seat in self.seats.values() {
            let seat = seat.lock().await;
            if seat.damage.is_some() || seat.replaces.is_some() || seat.unfit().is_some() {
                return true;
            }
        }
        false
    }
}

/// Segments in use and checkpoints, in a fixed order. What may be deleted at any time is left out.
fn files(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![data.join("log"), data.join("checkpoints")];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                dirs.push(path);
            } else if name.starts_with("segment-") || name.ends_with(".ckpt") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Damages a file somewhere in what was written; returns where.
fn spoil(path: &Path, kind: &str, rng: &mut Rng) -> io::Result<u64> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let bytes = fs::read(path)?;
    // A segment has its full size from the start; behind its last batch there are only zeros.
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let written = u64::try_from(written).unwrap_or(u64::MAX).max(1);
    let at = rng.u64(..written);
    let tail = written.saturating_sub(rng.u64(1..=TORN_MAX.min(written)));
    match kind {
        "truncate" => file.set_len(at).map(|()| at),
        "torn" => {
            let length = usize::try_from(written - tail).unwrap_or(0);
            let garbage: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
            file.write_all_at(&garbage, tail).map(|()| tail)
        }
        _ => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            let flipped = byte.map(|byte| byte ^ (1 << rng.u8(..8)));
            file.write_all_at(&flipped, at).map(|()| at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_done_where_something_was_written() {
        let dir = tempfile::TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("log")).unwrap();
        fs::create_dir_all(dir.path().join("checkpoints/g3")).unwrap();
        let before = [vec![7; 1000], vec![0; 100_000]].concat();
        let segment = dir.path().join("log/segment-0000000001.log");
        let checkpoint = dir.path().join("checkpoints/g3/00000000000000000009.ckpt");
        fs::write(dir.path().join("log/spare-0000000002.log"), b"x").unwrap();
        fs::write(&checkpoint, b"x").unwrap();
        for kind in DAMAGES {
            fs::write(&segment, &before).unwrap();
            assert_eq!(files(dir.path()).unwrap(), [checkpoint.clone(), segment.clone()]);
            let at = spoil(&segment, kind, &mut Rng::with_seed(1)).unwrap();
            let after = fs::read(&segment).unwrap();
            assert!(at < 1000, "{kind} at {at}");
            assert_ne!(before, after, "{kind}");
            assert!(*kind == "truncate" || after[1000..] == before[1000..], "{kind}");
        }
    }
}

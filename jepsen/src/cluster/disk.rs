//! A disk of a node's own: an ext4 in a file, whose power can be cut and which can be full.
//!
//! Why it exists: kill -9 leaves the page cache alive, so that it cannot show what was never made
//! durable. The file system's shutdown ioctl drops it, as a power cut does. Needs root, loop devices
//! and a C compiler. Promises: it is unmounted when the value is dropped; every cut is proved by a
//! file that was written and not synced and must be gone.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::tools::{plain, tool};

/// A file that is written and never synced.
const CANARY: &str = "canary";
/// What it says.
const ALIVE: &[u8] = b"alive";
/// The file that takes all room.
const BALLAST: &str = "ballast";
/// The smallest piece of room that is looked for.
const BLOCK: u64 = 4096;
/// Size of a disk; the image is sparse, so that only what is used takes room.
const DISK_MIB: u64 = 1024;

/// A mounted file system, or one between a power cut and its return.
#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
    /// Where it is mounted.
    pub(super) at: PathBuf,
    power: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Makes and mounts the disk of a node under `dir`. `power` is the compiled program.
    pub(super) async fn make(dir: &Path, number: u32, power: &Path) -> Result<Self, String> {
        let words = |error: std::io::Error| error.to_string();
        let disks = dir.join("disks");
        fs::create_dir_all(&disks).map_err(words)?;
        let image = disks.join(format!("{number}.img"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&image);
        file.and_then(|file| file.set_len(DISK_MIB << 20)).map_err(words)?;
        // Without reserved blocks a full disk is full for root too.
        tool("mkfs.ext4", &["-q", "-F", "-m", "0", plain(&image)?]).await?;
        let at = disks.join(number.to_string());
        fs::create_dir_all(&at).map_err(words)?;
        let mut disk = Self { image, at, power: power.to_owned(), mounted: false };
        disk.mount().await?;
        Ok(disk)
    }

    async fn mount(&mut self) -> Result<(), String> {
        tool("mount", &["-o", "loop", plain(&self.image)?, plain(&self.at)?]).await?;
        self.mounted = true;
        Ok(())
    }

    /// Takes the power away. Nobody may rely on the file system any more.
    pub(super) async fn cut_power(&self) -> Result<(), String> {
        let canary = self.at.join(CANARY);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(canary);
        // On a full disk there is no room for the canary; then the cut is believed without it.
        drop(file.and_then(|mut file| file.write_all(ALIVE)));
        tool(plain(&self.power)?, &[plain(&self.at)?]).await.map(drop)
    }

    /// Mounts what survived. An error when nothing was lost: then it was no power cut.
    pub(super) async fn power_returns(&mut self) -> Result<(), String> {
        if self.mounted {
            tool("umount", &[plain(&self.at)?]).await?;
            self.mounted = false;
        }
        self.mount().await?;
        match fs::read(self.at.join(CANARY)) {
            Ok(survived) if survived == ALIVE => {
                Err("unsynced bytes survived: that was no power cut".to_owned())
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("the disk is still without power: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Takes all room that is left.
    pub(super) fn fill(&self) -> Result<(), String> {
        let words = |error: std::io::Error| error.to_string();
        let file = OpenOptions::new().append(true).create(true).open(self.at.join(BALLAST));
        let file = file.map_err(words)?;
        let mut piece = DISK_MIB << 20;
        let mut end = file.metadata().map_err(words)?.len();
        while piece >= BLOCK {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&file, flags, end, piece) {
                Ok(()) => end += piece,
                Err(rustix::io::Errno::NOSPC) => piece /= 2,
                Err(error) => return Err(error.to_string()),
            }
        }
        if self.room() < 16 * BLOCK {
            return Ok(());
        }
        Err(format!("{} bytes are still free", self.room()))
    }

    /// Gives the room back.
    #[allow(clippy::disallowed_methods, reason = "no file of the store")]
    pub(super) fn free(&self) -> Result<(), String> {
        match fs::remove_file(self.at.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    fn room(&self) -> u64 {
        rustix::fs::statvfs(&self.at).map_or(0, |stat| stat.f_bavail * stat.f_frsize)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a process that is just dying may still hold it. Nothing is left to be told.
            drop(std::process::Command::new("umount").arg("-l").arg(&self.at).output());
        }
    }
}

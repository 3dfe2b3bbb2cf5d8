//! File systems of a test's own: an ext4 on a loop device whose power can be cut, a small tmpfs that
//! fills up.
//!
//! Why it exists: kill -9 leaves the page cache alive, so it cannot show what was never made durable.
//! The shutdown ioctl of ext4 drops it, as a power cut does. Needs root and loop devices; `Err` says
//! what is missing, and the caller skips with that message.
//!
//! Promises: what was mounted is unmounted when the value is dropped.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::command::tool;

/// ext4's shutdown ioctl, `_IOR('X', 125, __u32)`, with flag 2: stop at once, do not flush the
/// journal. An ioctl is unsafe code, which this crate does not have; python3 does it.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587D, struct.pack('I', 2))";

/// A file that is written and never synced: a power cut must lose it, else it was none.
const CANARY: &str = "canary";

/// A mounted file system.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) at: PathBuf,
    image: Option<PathBuf>,
    mounted: bool,
}

impl Mount {
    /// An ext4 of so many MiB in an image file under `dir`.
    pub(crate) fn ext4(dir: &Path, name: &str, mib: u64) -> Result<Self, String> {
        let image = dir.join(format!("{name}.img"));
        let file = OpenOptions::new().write(true).create_new(true).open(&image);
        let file = file.map_err(|error| error.to_string())?;
        file.set_len(mib * 1024 * 1024).map_err(|error| error.to_string())?;
        tool("mkfs.ext4", &["-q", "-F", text(&image)])?;
        let mut mount = Self { at: dir.join(name), image: Some(image), mounted: false };
        fs::create_dir_all(&mount.at).map_err(|error| error.to_string())?;
        mount.mount()?;
        Ok(mount)
    }

    /// A tmpfs of so many MiB under `dir`.
    pub(crate) fn tmpfs(dir: &Path, name: &str, mib: u64) -> Result<Self, String> {
        let at = dir.join(name);
        fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        tool("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", text(&at)])?;
        Ok(Self { at, image: None, mounted: true })
    }

    /// Gives a tmpfs another size.
    pub(crate) fn resize(&self, mib: u64) {
        tool("mount", &["-o", &format!("remount,size={mib}m"), text(&self.at)]).unwrap();
    }

    fn mount(&mut self) -> Result<(), String> {
        let image = self.image.as_ref().expect("only an image is mounted again");
        tool("mount", &["-o", "loop", text(image), text(&self.at)])?;
        self.mounted = true;
        Ok(())
    }

    /// Takes the power away: whatever was not made durable is gone. No process may rely on the
    /// file system any more; those that still run get errors.
    pub(crate) fn cut_power(&self) -> Result<(), String> {
        let canary = OpenOptions::new().write(true).create(true).truncate(true).open(self.canary());
        canary.and_then(|mut file| file.write_all(b"alive")).map_err(|error| error.to_string())?;
        tool("python3", &["-c", SHUTDOWN, text(&self.at)]).map(drop)
    }

    /// Mounts what survived the power cut. Panics when there was none: a test of nothing must fail.
    pub(crate) fn power_returns(&mut self) {
        self.unmount().unwrap();
        self.mount().unwrap();
        let survived = fs::read(self.canary()).unwrap_or_default();
        assert!(survived != b"alive", "unsynced bytes survived: that was no power cut");
    }

    fn canary(&self) -> PathBuf {
        self.at.join(CANARY)
    }

    fn unmount(&mut self) -> Result<(), String> {
        tool("umount", &[text(&self.at)])?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = self.unmount()
        {
            println!("{} stays mounted: {error}", self.at.display());
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

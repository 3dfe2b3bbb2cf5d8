//! What every disk promises, run on both, and what only the simulated one can show.

use super::{Arc, Disk, OpenMode, Path, PathBuf, RealDisk, SimDisk};

fn disks() -> Vec<(Arc<dyn Disk>, Option<tempfile::TempDir>)> {
    let dir = tempfile::tempdir().unwrap();
    let real = RealDisk::new(dir.path()).unwrap();
    vec![(Arc::new(real), Some(dir)), (Arc::new(SimDisk::new()), None)]
}

#[test]
fn what_is_written_is_read_and_only_so_much() {
    for (disk, _keep) in disks() {
        disk.create_dir(Path::new("a/b")).unwrap();
        let file = disk.open(Path::new("a/b/f"), OpenMode::Create).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_at(3, b"hello").unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 8);
        let mut buffer = [9u8; 10];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 8);
        assert_eq!(&buffer, b"\0\0\0hello\x09\x09");
        assert_eq!(file.read_at(100, &mut buffer).unwrap(), 0);
        file.set_len(5).unwrap();
        file.set_len(6).unwrap();
        assert_eq!(file.read_at(3, &mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"he\0");
    }
}

#[test]
fn names_are_listed_renamed_and_removed() {
    for (disk, _keep) in disks() {
        let (a, b) = (Path::new("d/a"), Path::new("d/b"));
        assert!(disk.list(Path::new("d")).unwrap().is_empty());
        assert!(disk.open(a, OpenMode::ReadWrite).is_err());
        disk.create_dir(Path::new("d")).unwrap();
        disk.open(a, OpenMode::Create).unwrap().write_at(0, b"x").unwrap();
        disk.open(b, OpenMode::Create).unwrap();
        assert_eq!(disk.list(Path::new("d")).unwrap(), [PathBuf::from("a"), PathBuf::from("b")]);
        disk.rename(a, b).unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        assert_eq!(disk.open(b, OpenMode::Read).unwrap().len().unwrap(), 1);
        assert!(disk.open(b, OpenMode::Read).unwrap().write_at(0, b"y").is_err());
        assert!(!disk.exists(a).unwrap());
        disk.remove(b).unwrap();
        assert!(disk.remove(b).is_err());
        assert!(disk.free_bytes().unwrap() > 0);
    }
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_any_sectors_of_the_rest() {
    let mut patterns = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = SimDisk::new();
        let path = Path::new("f");
        let file = disk.open(path, OpenMode::Create).unwrap();
        file.write_at(0, &[1; 2048]).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(0, &[2; 2048]).unwrap();
        disk.power_cut(seed);
        assert!(file.sync().is_err(), "a file of the former life is unusable");
        let file = disk.open(path, OpenMode::Read).unwrap();
        let mut buffer = [0; 2048];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 2048);
        let sectors: Vec<u8> = buffer.chunks(512).map(|sector| sector[0]).collect();
        assert!(buffer.chunks(512).all(|s| s.iter().all(|b| *b == s[0])), "seed {seed}");
        patterns.insert(sectors);
    }
    assert_eq!(patterns.len(), 16, "every subset of four sectors comes up");
}

#[test]
fn a_failed_sync_loses_the_bytes_although_they_can_still_be_read() {
    let disk = SimDisk::new();
    let file = disk.open(Path::new("f"), OpenMode::Create).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    file.write_at(0, b"old").unwrap();
    file.sync().unwrap();
    file.write_at(0, b"new").unwrap();
    disk.fail_sync(disk.syncs() + 1);
    file.sync().unwrap_err();
    file.sync().unwrap();
    let mut buffer = [0; 3];
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"new");
    file.forget().unwrap();
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"old");
}

#[test]
fn power_that_goes_in_the_middle_of_a_write_leaves_any_part_of_it() {
    let mut left = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new();
        let file = disk.open(Path::new("f"), OpenMode::Create).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        disk.die_at_operation(disk.operations() + 1);
        file.write_at(0, &[2; 512]).unwrap_err();
        file.sync().unwrap_err();
        disk.power_cut(seed);
        left.insert(disk.open(Path::new("f"), OpenMode::Read).unwrap().len().unwrap());
    }
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [0, 512]);
}

#[test]
fn names_that_were_not_synced_may_be_lost() {
    let survived = (0..50)
        .filter(|seed| {
            let disk = SimDisk::new();
            disk.open(Path::new("f"), OpenMode::Create).unwrap().sync().unwrap();
            disk.power_cut(*seed);
            disk.exists(Path::new("f")).unwrap()
        })
        .count();
    assert!((1..50).contains(&survived), "{survived} of 50");
}

#[test]
fn faults_come_when_asked_for() {
    let disk = SimDisk::new();
    let file = disk.open(Path::new("f"), OpenMode::Create).unwrap();
    disk.fail_sync(2);
    file.sync().unwrap();
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    disk.set_budget(Some(10));
    file.write_at(0, &[0; 10]).unwrap();
    file.write_at(0, &[0; 10]).unwrap();
    let error = file.write_at(5, &[0; 10]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let seen = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let hook = Arc::clone(&seen);
    disk.on_sync(move |n| hook.store(n, std::sync::atomic::Ordering::SeqCst));
    file.sync().unwrap();
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 3);
    disk.die_at_sync(4);
    assert!(file.sync().is_err() && file.len().is_err());
    disk.power_cut(1);
    assert!(!disk.exists(Path::new("g")).unwrap());
}

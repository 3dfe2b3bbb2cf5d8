//! What a load has written, and so what a read may show: one number a key.
//!
//! Why it exists beside the ledger of `bench compare`: that one keeps every write, which costs as much as
//! a write. Here each key has one writer at a time, so that the newest acknowledged version is enough.
//!
//! Promises: a read is right when it shows a version that is not older than what was acknowledged when
//! it began, and not newer than what was begun when it ended; a key with a write of unknown outcome is
//! not judged any more. Values carry key and version, and nothing is copied to compare them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes of a value that tell key and version: eight hex digits each.
pub const STAMP_BYTES: usize = 16;

/// Keys and what is known of them.
#[derive(Debug)]
pub struct Book {
    prefix: String,
    /// What stands behind the stamp of each value.
    filler: Vec<u8>,
    /// Newest acknowledged version of each key; 0: none.
    versions: Vec<AtomicU64>,
    /// Whether somebody writes the key now.
    busy: Vec<AtomicBool>,
    /// Whether nobody can say what is there.
    blurred: Vec<AtomicBool>,
}

/// What is known of a key when a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before(u64);

impl Before {
    /// Whether a write of it was acknowledged.
    pub const fn is_written(self) -> bool {
        self.0 > 0
    }
}

impl Book {
    /// A book of so many keys, of which nothing is written, named behind `prefix`.
    pub fn new(prefix: &str, keys: u64, value_bytes: usize) -> Arc<Self> {
        let flags = || (0..keys).map(|_| AtomicBool::new(false)).collect();
        Arc::new(Self {
            prefix: prefix.to_owned(),
            filler: vec![b'.'; value_bytes.saturating_sub(STAMP_BYTES)],
            versions: (0..keys).map(|_| AtomicU64::new(0)).collect(),
            busy: flags(),
            blurred: flags(),
        })
    }

    /// How many keys.
    pub fn keys(&self) -> u64 {
        u64::try_from(self.versions.len()).unwrap_or(u64::MAX)
    }

    fn of<T>(all: &[T], key: u64) -> &T {
        let at = usize::try_from(key).unwrap_or(usize::MAX);
        all.get(at).expect("a key's number is below the number of keys")
    }

    /// The name of a key, into a text that is used again.
    pub fn name_into(&self, name: &mut String, key: u64) {
        name.clear();
        name.push_str(&self.prefix);
        write!(name, "{key:08}").expect("memory takes all that is written");
    }

    /// The name of a key.
    pub fn name(&self, key: u64) -> String {
        let mut name = String::new();
        self.name_into(&mut name, key);
        name
    }

    /// The value of a version, into bytes that are used again: only the stamp is written anew.
    fn value_into(&self, value: &mut Vec<u8>, key: u64, version: u64) {
        if value.len() != STAMP_BYTES + self.filler.len() {
            value.clear();
            value.resize(STAMP_BYTES, b'0');
            value.extend_from_slice(&self.filler);
        }
        let (key, version) = (key & 0xffff_ffff, version & 0xffff_ffff);
        let mut stamp = value.get_mut(..STAMP_BYTES).expect("it was made that long");
        write!(stamp, "{key:08x}{version:08x}").expect("a stamp is so long");
    }

    /// The next version of a key, and its value, unless somebody else is writing the key.
    pub fn begin(&self, key: u64, value: &mut Vec<u8>) -> Option<u64> {
        if Self::of(&self.busy, key).swap(true, Ordering::AcqRel) {
            return None;
        }
        let version = Self::of(&self.versions, key).load(Ordering::Acquire) + 1;
        self.value_into(value, key, version);
        Some(version)
    }

    /// What became of it: acknowledged, surely nothing, or nobody knows.
    pub fn end(&self, key: u64, version: u64, applied: Option<bool>) {
        match applied {
            Some(true) => Self::of(&self.versions, key).store(version, Ordering::Release),
            Some(false) => {}
            None => Self::of(&self.blurred, key).store(true, Ordering::Release),
        }
        Self::of(&self.busy, key).store(false, Ordering::Release);
    }

    /// What is known of a key that is about to be read.
    pub fn before(&self, key: u64) -> Before {
        Before(Self::of(&self.versions, key).load(Ordering::Acquire))
    }

    /// Whether a read of it, which is over, may show this.
    pub fn is_right(&self, key: u64, before: Before, read: Option<&[u8]>) -> bool {
        // First whether somebody writes: a write that ends meanwhile is in the version then.
        let busy = u64::from(Self::of(&self.busy, key).load(Ordering::Acquire));
        let newest = Self::of(&self.versions, key).load(Ordering::Acquire) + busy;
        if Self::of(&self.blurred, key).load(Ordering::Acquire) {
            return true;
        }
        let Some(value) = read else { return before.0 == 0 };
        let Some((stamp, rest)) = value.split_at_checked(STAMP_BYTES) else { return false };
        let number =
            |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let (of, version) = stamp.split_at(STAMP_BYTES / 2);
        let version = number(version);
        number(of) == Some(key & 0xffff_ffff)
            && version.is_some_and(|version| (before.0..=newest).contains(&version))
            && rest == self.filler
    }

    /// Keys of which nothing was acknowledged yet.
    pub fn missing(&self) -> Vec<u64> {
        let written = |key: &u64| Self::of(&self.versions, *key).load(Ordering::Acquire) > 0;
        (0..self.keys()).filter(|key| !written(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(book: &Book, key: u64, applied: Option<bool>) -> String {
        let mut value = Vec::new();
        let version = book.begin(key, &mut value).unwrap();
        book.end(key, version, applied);
        String::from_utf8(value).unwrap()
    }

    #[test]
    fn a_read_shows_what_was_acknowledged_and_nothing_else() {
        let book = Book::new("b/", 3, 20);
        assert_eq!((book.name(2), book.missing()), ("b/00000002".to_owned(), vec![0, 1, 2]));
        let old = write(&book, 1, Some(true));
        let new = write(&book, 1, Some(true));
        assert_eq!(new, "0000000100000002....");
        let right = |read: Option<&str>| book.is_right(1, book.before(1), read.map(str::as_bytes));
        assert!(right(Some(&new)) && !right(Some(&old)) && !right(None));
        assert!(!right(Some("0000000100000002...")) && !right(Some("0000000100000002...x")));
        assert!(!right(Some("0000000200000002....")) && !right(Some("")));
        // A key that was never written is not there.
        assert!(book.is_right(0, book.before(0), None));
        assert!(!book.is_right(0, book.before(0), Some(new.as_bytes())));
        assert_eq!(book.missing(), [0, 2]);
    }

    #[test]
    fn a_read_beside_a_write_may_show_either() {
        let book = Book::new("b/", 1, 16);
        let old = write(&book, 0, Some(true));
        let before = book.before(0);
        let mut new = Vec::new();
        let version = book.begin(0, &mut new).unwrap();
        assert_eq!(book.begin(0, &mut Vec::new()), None);
        let new = String::from_utf8(new).unwrap();
        let right = |before, value: &str| book.is_right(0, before, Some(value.as_bytes()));
        assert!(right(before, &old) && right(before, &new));
        book.end(0, version, Some(true));
        assert!(right(before, &old) && right(before, &new));
        // But not when the read began after the answer.
        assert!(!right(book.before(0), &old));
    }

    #[test]
    fn what_nobody_knows_is_not_judged_and_what_failed_is_not_there() {
        let book = Book::new("b/", 2, 16);
        let refused = write(&book, 0, Some(false));
        assert!(!book.is_right(0, book.before(0), Some(refused.as_bytes())));
        assert!(book.is_right(0, book.before(0), None));
        let unknown = write(&book, 1, None);
        assert!(book.is_right(1, book.before(1), None));
        assert!(book.is_right(1, book.before(1), Some(unknown.as_bytes())));
    }
}

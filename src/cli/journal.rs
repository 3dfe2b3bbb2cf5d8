//! The journal of an import: what was acknowledged, with a hash of its value.
//!
//! Why it exists: an import that is broken off goes on where it was (`--resume`), and a check can
//! say key by key whether what was acknowledged is there (`kv verify`).
//!
//! Promises: a line is written only after the acknowledgement; a torn last line is dropped when the
//! journal is opened again. A line is the xxh3-64 of the value in 16 hex digits, a tab, and the
//! key percent-encoded.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use xxhash_rust::xxh3::xxh3_64;

/// The newest acknowledged hash of each key.
pub(super) type Acked = HashMap<Vec<u8>, u64>;

pub(super) fn hash(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// A journal open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    file: BufWriter<std::fs::File>,
}

impl Journal {
    /// Opens or creates a journal, and cuts a torn last line.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(false).read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        Ok(Self { file: BufWriter::new(file) })
    }

    pub(super) fn append(&mut self, key: &[u8], hash: u64) -> std::io::Result<()> {
        writeln!(self.file, "{hash:016x}\t{}", percent_encode(key, NON_ALPHANUMERIC))
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Reads a journal; a torn last line is passed over, any other damage is an error.
pub(super) fn load(path: &Path) -> std::io::Result<Acked> {
    let text = std::fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |at| text.get(..at).unwrap_or_default());
    let mut acked = Acked::new();
    for (number, line) in whole.lines().enumerate() {
        let parsed = line
            .split_once('\t')
            .and_then(|(hash, key)| Some((u64::from_str_radix(hash, 16).ok()?, key)));
        let Some((hash, key)) = parsed else {
            let text = format!("line {} is not HASH<TAB>KEY", number + 1);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        };
        acked.insert(percent_decode_str(key).collect(), hash);
    }
    Ok(acked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_goes_on_after_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acked");
        let mut journal = Journal::open(&path).unwrap();
        journal.append(b"a\t\n", hash(b"1")).unwrap();
        journal.append(b"b", hash(b"2")).unwrap();
        journal.flush().unwrap();
        drop(journal);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("00000000000000");
        std::fs::write(&path, text).unwrap();
        assert_eq!(load(&path).unwrap().len(), 2);
        let mut journal = Journal::open(&path).unwrap();
        journal.append(b"a\t\n", hash(b"3")).unwrap();
        journal.flush().unwrap();
        let acked = load(&path).unwrap();
        assert_eq!(acked.get(&b"a\t\n"[..]), Some(&hash(b"3")));
        assert_eq!(acked.get(&b"b"[..]), Some(&hash(b"2")));
    }

    #[test]
    fn a_file_that_is_no_journal_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acked");
        std::fs::write(&path, "hello\nworld\n").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("line 1"));
    }
}

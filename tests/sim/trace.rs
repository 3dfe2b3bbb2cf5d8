//! What happened in a run, as lines and as one number.
//!
//! Why it exists: two runs of one seed are the same run only if everything that can be seen of them is
//! the same; the number says so, and the lines show where they part.
//!
//! Promises: each line goes into the number with its virtual time.

use std::io::Write;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

/// The record of a run.
pub struct Trace {
    inner: Mutex<Inner>,
    start: Instant,
}

struct Inner {
    hash: Xxh3,
    lines: u64,
    file: Option<std::io::BufWriter<std::fs::File>>,
}

impl Trace {
    /// Begins now; every line is also written to the file, if one is given.
    pub fn begin(file: Option<&str>) -> Self {
        let file = file.map(|path| {
            std::io::BufWriter::new(std::fs::File::create(path).expect("the trace can be written"))
        });
        Self {
            inner: Mutex::new(Inner { hash: Xxh3::new(), lines: 0, file }),
            start: Instant::now(),
        }
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Adds a line.
    pub fn say(&self, line: &str) {
        let text = format!("{:10.3} {line}\n", self.now().as_secs_f64());
        let mut inner = self.inner.lock();
        inner.hash.update(text.as_bytes());
        inner.lines += 1;
        if let Some(file) = &mut inner.file {
            file.write_all(text.as_bytes()).expect("the trace can be written");
        }
    }

    /// The number of all lines so far, and how many there were.
    pub fn number(&self) -> (u64, u64) {
        let mut inner = self.inner.lock();
        if let Some(file) = &mut inner.file {
            file.flush().expect("the trace can be written");
        }
        (inner.hash.digest(), inner.lines)
    }
}

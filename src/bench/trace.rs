//! The file that a recording is kept in, and how it is made from several front doors.
//!
//! ```text
//!   {"trace":1,"namespace":"carts","nodes":[1,2,3],"mode":"lww","began_ms":…,"hashed":false}
//!   {"op":"put","at_us":1234,"took_us":800,"node":1,"client":"10.0.0.7:50312","key":"a","bytes":128,…}
//!   {"missed":12}
//!   {"end":"time","records":1,"missed":12}
//! ```
//!
//! Promises: JSON, a line for each request, in the order in which they were taken (times tell the true
//! order); no value is in it. It ends with the first of its bounds, and says which. A file that was cut
//! off is read as far as it goes.
//!
//! Relies on: nodes' wall clocks, to set their records beside each other: it is as exact as they are.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::client::{Client, ClientError, TraceRequest};
use crate::runtime::limits::{BENCH_TRACE_FLUSH, BENCH_TRACE_LINE_BYTES_MAX};
use crate::wire::{TRACE_VERSION, TraceEnd, TraceHead, TraceLine, TraceMissed, TraceRecord};

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A node could not be recorded.
    #[error("{endpoint} cannot be recorded: {source}")]
    Node {
        /// Which one.
        endpoint: String,
        /// Why.
        source: ClientError,
    },
    /// The file cannot be written or read.
    #[error("the trace cannot be kept: {0}")]
    File(#[from] io::Error),
    /// A line is none.
    #[error("line {line} is no line of a trace: {reason}")]
    Line {
        /// Which one, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// Another version.
    #[error("the trace has version {0}; this program reads {TRACE_VERSION}")]
    Version(u32),
    /// There is nothing to drive.
    #[error("{0}")]
    Empty(String),
}

/// How much is recorded.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// For how long.
    pub lasts: Duration,
    /// How many requests at each node.
    pub records: u64,
    /// How many bytes of file.
    pub bytes: u64,
    /// What the hashes begin with, where nothing shall stand as it is.
    pub salt: Option<String>,
}

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Requests.
    pub records: u64,
    /// Requests that are missing.
    pub missed: u64,
    /// Why it ended.
    pub end: String,
}

/// How a recording ends that lacks what a node was asked.
pub(super) const AWAY: &str = "a node went away";

impl Recorded {
    /// It has ended so, or a part of it: that one is incomplete is not covered by how others ended.
    fn ended(&mut self, how: &str) {
        if self.end != AWAY {
            how.clone_into(&mut self.end);
        }
    }
}

/// Records a namespace at all these nodes, until a bound is reached or `stop` is.
///
/// # Errors
///
/// When a node refuses, or the file cannot be written. A node that goes away ends its part only.
pub async fn record(
    nodes: &[Client],
    (namespace, mode): (&str, &str),
    bounds: &Bounds,
    out: &mut (impl Write + Send),
    stop: impl Future<Output = ()>,
) -> Result<Recorded, TraceError> {
    let mut streams = Vec::new();
    let mut heads = Vec::new();
    for node in nodes {
        let endpoint = node.endpoints().first().cloned().unwrap_or_default();
        let failed = |source| TraceError::Node { endpoint: endpoint.clone(), source };
        let (lasts, records) = (Some(bounds.lasts), Some(bounds.records));
        let request = TraceRequest { lasts, records, salt: bounds.salt.clone() };
        let (head, lines) = node.trace(namespace, &request).await.map_err(failed)?;
        streams.push(Box::pin(lines.map({
            let head = head.clone();
            move |line| (head.clone(), line)
        })));
        heads.push(head);
    }
    let began_ms = heads.iter().map(|head| head.began_ms).min().unwrap_or(0);
    let head = TraceHead {
        trace: TRACE_VERSION,
        namespace: namespace.to_owned(),
        node: None,
        nodes: heads.iter().filter_map(|head| head.node).collect(),
        mode: Some(mode.to_owned()),
        began_ms,
        hashed: bounds.salt.is_some(),
    };
    let mut file = File { out, bytes: 0 };
    file.line(&head)?;
    let mut told = Recorded { end: "time".to_owned(), ..Recorded::default() };
    let mut all = stream::select_all(streams);
    let mut stop = std::pin::pin!(stop);
    // Whoever is killed has written all but the last moment.
    let mut flush = tokio::time::interval(BENCH_TRACE_FLUSH);
    loop {
        let next = tokio::select! {
            next = all.next() => next,
            _ = flush.tick() => {
                file.out.flush()?;
                continue;
            }
            () = &mut stop => {
                told.ended("stopped");
                break;
            }
        };
        let Some((head, line)) = next else { break };
        match line {
            Ok(TraceLine::Record(record)) => {
                let later = head.began_ms.saturating_sub(began_ms).saturating_mul(1_000);
                let at_us = record.at_us.saturating_add(later);
                file.line(&TraceRecord { node: head.node, at_us, ..record })?;
                told.records += 1;
            }
            Ok(TraceLine::Missed(TraceMissed { missed })) => {
                told.missed += missed;
                file.line(&TraceMissed { missed })?;
            }
            Ok(TraceLine::End(end)) => told.ended(&end.end),
            Ok(TraceLine::Head(_)) => {}
            Err(_) => told.ended(AWAY),
        }
        if file.bytes >= bounds.bytes {
            told.ended("bytes");
            break;
        }
    }
    let end = TraceEnd { end: told.end.clone(), records: told.records, missed: told.missed };
    file.line(&end)?;
    file.out.flush()?;
    Ok(told)
}

struct File<'a, W> {
    out: &'a mut W,
    bytes: u64,
}

impl<W: Write> File<'_, W> {
    fn line(&mut self, line: &impl serde::Serialize) -> Result<(), TraceError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from)?;
        text.push(b'\n');
        self.out.write_all(&text)?;
        self.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// Reads a trace, handing over each request; says how many are missing in it, and whether it has its end.
///
/// # Errors
///
/// When it is none, or one of another version.
pub fn read(
    from: &mut impl BufRead,
    mut take: impl FnMut(TraceRecord) -> Result<(), TraceError>,
) -> Result<(TraceHead, u64, Option<TraceEnd>), TraceError> {
    let mut head: Option<TraceHead> = None;
    // Counted here: a file that was cut off has no sum of them.
    let mut missing: u64 = 0;
    let mut end = None;
    for line in 1.. {
        let wrong = |reason: &str| TraceError::Line { line, reason: reason.to_owned() };
        let mut text = Vec::new();
        let most = u64::try_from(BENCH_TRACE_LINE_BYTES_MAX).unwrap_or(u64::MAX);
        io::Read::take(&mut *from, most).read_until(b'\n', &mut text)?;
        if text.is_empty() {
            break;
        }
        let is_whole = text.last() == Some(&b'\n');
        match serde_json::from_slice::<TraceLine>(&text) {
            Ok(TraceLine::Head(first)) if head.is_none() => {
                if first.trace != TRACE_VERSION {
                    return Err(TraceError::Version(first.trace));
                }
                head = Some(first);
            }
            Ok(_) if head.is_none() => return Err(wrong("the first line must be the head")),
            Ok(TraceLine::Head(_)) => return Err(wrong("a second head")),
            Ok(TraceLine::Record(record)) => take(record)?,
            Ok(TraceLine::Missed(gap)) => missing = missing.saturating_add(gap.missed),
            Ok(TraceLine::End(last)) => end = Some(last),
            // The program that wrote it was killed within it.
            Err(_) if !is_whole && text.len() < BENCH_TRACE_LINE_BYTES_MAX => break,
            Err(error) => return Err(wrong(&error.to_string())),
        }
    }
    let head = head.ok_or_else(|| TraceError::Empty("the trace is empty".to_owned()))?;
    Ok((head, missing, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"trace":1,"namespace":"n","nodes":[1],"began_ms":5,"hashed":false}"#;
    const PUT: &str = r#"{"op":"put","at_us":1,"took_us":2,"key":"k","bytes":3,"status":201,"outcome":"applied"}"#;

    fn read_all(text: &str) -> Result<(usize, u64, Option<TraceEnd>), TraceError> {
        let mut many = 0;
        let (head, missing, end) = read(&mut text.as_bytes(), |record| {
            assert_eq!((record.op.as_str(), record.bytes), ("put", 3));
            many += 1;
            Ok(())
        })?;
        assert_eq!(head.namespace, "n");
        Ok((many, missing, end))
    }

    #[test]
    fn a_trace_reads_back_and_one_that_was_cut_off_as_far_as_it_goes() {
        let end = r#"{"end":"time","records":2,"missed":4}"#;
        let whole = format!("{HEAD}\n{PUT}\n{{\"missed\":4}}\n{PUT}\n{end}\n");
        let (many, missing, told) = read_all(&whole).unwrap();
        assert_eq!((many, missing, told.map(|end| end.missed)), (2, 4, Some(4)));
        let cut = format!("{HEAD}\n{PUT}\n{{\"missed\":7}}\n{}", &PUT[..20]);
        assert_eq!(read_all(&cut).unwrap(), (1, 7, None));
    }

    #[test]
    fn that_a_node_went_away_is_told_however_the_others_ended() {
        for how in [["time", AWAY], [AWAY, "time"], [AWAY, "stopped"]] {
            let mut told = Recorded::default();
            how.iter().for_each(|how| told.ended(how));
            assert_eq!(told.end, AWAY, "{how:?}");
        }
    }

    #[test]
    fn what_is_no_trace_is_refused_with_the_line() {
        for (text, said) in [
            (String::new(), "empty"),
            (format!("{PUT}\n"), "line 1"),
            (format!("{HEAD}\nnonsense\n{PUT}\n"), "line 2"),
            (format!("{HEAD}\n{HEAD}\n"), "second head"),
            (format!("{}\n", HEAD.replace("\"trace\":1", "\"trace\":2")), "version 2"),
            (format!("{HEAD}\n{}\n", "x".repeat(BENCH_TRACE_LINE_BYTES_MAX)), "line 2"),
        ] {
            let error = read_all(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}

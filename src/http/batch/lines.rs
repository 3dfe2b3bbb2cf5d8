//! The lines of a batch's body, in portions.
//!
//! Promises: never holds more than a line of the longest length, a portion and what one read brings;
//! `next` may be dropped at any await and called again. A portion is handed over when it is full, or
//! when nothing more comes for a moment: who sends one line and waits for its result gets it.

use std::collections::HashSet;
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use xxhash_rust::xxh3::xxh3_64;

use crate::runtime::limits::{
    BATCH_LINE_BYTES_MAX, BATCH_LINGER, BATCH_PORTION, BATCH_PORTION_BYTES, BODY_DISCARD_BYTES_MAX,
};
use crate::service::KeyStep;
use crate::service::eventual::SpaceStep;
use crate::wire::BatchLine;

use super::super::eventual::{asks, unsupported};
use super::super::parse::etag::line_condition;
use super::super::problem::Failure;
use super::super::steps::step;

/// A line as it was understood.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    pub(super) id: Option<String>,
    pub(super) step: Result<Planned, Failure>,
}

/// What a line asks for, on either side.
#[derive(Debug)]
pub(super) enum Planned {
    /// Of a group.
    Group(KeyStep),
    /// Of this node's shard.
    Here(Bytes, SpaceStep),
}

impl Planned {
    fn key(&self) -> &Bytes {
        match self {
            Self::Group(step) => &step.key,
            Self::Here(key, _) => key,
        }
    }
}

/// How lines are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// As operations of groups.
    Groups,
    /// As operations of an eventual namespace.
    Here,
}

/// Lines that go to the hall together, and the hashes of their keys.
#[derive(Debug, Default)]
pub(super) struct Portion {
    pub(super) lines: Vec<Line>,
    pub(super) keys: HashSet<u64>,
    bytes: usize,
}

impl Portion {
    fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_PORTION || self.bytes >= BATCH_PORTION_BYTES
    }
}

/// Why there are no more lines; without a code, because the body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: Option<&'static str>,
    pub(super) detail: Option<String>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Portion(Portion),
    End(Ended),
}

/// A body, read line by line.
#[derive(Debug)]
pub(super) struct Lines {
    side: Side,
    body: Body,
    /// How long the client may send nothing.
    stall: Duration,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of line.
    searched: usize,
    number: u64,
    portion: Portion,
    ended: Option<Ended>,
}

impl Lines {
    pub(super) fn new(side: Side, body: Body, stall: Duration) -> Self {
        Self {
            side,
            body,
            stall,
            buffer: BytesMut::new(),
            searched: 0,
            number: 0,
            portion: Portion::default(),
            ended: None,
        }
    }

    /// The next portion. Cancel-safe.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            self.take_lines();
            if self.portion.is_full() || (self.ended.is_some() && !self.portion.lines.is_empty()) {
                return Next::Portion(std::mem::take(&mut self.portion));
            }
            if let Some(ended) = &self.ended {
                return Next::End(ended.clone());
            }
            let pending = !self.portion.lines.is_empty();
            let patience = if pending { BATCH_LINGER } else { self.stall };
            match tokio::time::timeout(patience, self.body.frame()).await {
                Err(_) if pending => return Next::Portion(std::mem::take(&mut self.portion)),
                Err(_) => {
                    self.end("request_timeout", "nothing came for too long".to_owned());
                }
                Ok(None) => self.close(),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Ok(Some(Err(error))) => {
                    self.end("invalid", format!("the body cannot be read: {error}"));
                }
            }
        }
    }

    /// Reads on to nowhere for a while, so that the client comes to read its answer.
    pub(super) async fn discard(&mut self) {
        let body = std::mem::take(&mut self.body);
        let mut rest = Limited::new(body, BODY_DISCARD_BYTES_MAX);
        let discarding = async { while let Some(Ok(_)) = rest.frame().await {} };
        drop(tokio::time::timeout(self.stall, discarding).await);
    }

    fn end(&mut self, code: &'static str, detail: String) {
        self.buffer.clear();
        self.ended = Some(Ended { code: Some(code), detail: Some(detail) });
    }

    /// The body is over; what stands behind the last end of line is a line too.
    fn close(&mut self) {
        let last = self.buffer.split().freeze();
        self.searched = 0;
        self.add(&last);
        self.ended = Some(Ended { code: None, detail: None });
    }

    /// Moves whole lines from the buffer to the portion.
    fn take_lines(&mut self) {
        while !self.portion.is_full() {
            let new = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = new.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.searched > BATCH_LINE_BYTES_MAX {
                    self.too_long();
                }
                return;
            };
            let line = self.buffer.split_to(self.searched + at).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if line.len() > BATCH_LINE_BYTES_MAX {
                return self.too_long();
            }
            self.add(&line);
        }
    }

    fn too_long(&mut self) {
        let detail = format!("a line has at most {BATCH_LINE_BYTES_MAX} bytes");
        self.number += 1;
        let too_long = Failure { detail: detail.clone(), ..Failure::too_large(0) };
        self.portion.lines.push(Line { number: self.number, id: None, step: Err(too_long) });
        self.searched = 0;
        self.end("too_large", detail);
    }

    fn add(&mut self, line: &Bytes) {
        self.number += 1;
        if line.trim_ascii().is_empty() {
            return;
        }
        let (id, step) = understood(self.side, line);
        if let Ok(step) = &step {
            self.portion.keys.insert(xxh3_64(step.key()));
        }
        self.portion.bytes += line.len();
        self.portion.lines.push(Line { number: self.number, id, step });
    }
}

fn understood(side: Side, line: &[u8]) -> (Option<String>, Result<Planned, Failure>) {
    let mut line: BatchLine = match serde_json::from_slice(line) {
        Ok(line) => line,
        Err(error) => {
            let detail = format!("the line is not the JSON expected: {error}");
            return (None, Err(Failure::invalid(detail)));
        }
    };
    let id = line.id.take();
    let step = match side {
        Side::Here => asks::line(line).map(|(key, step)| Planned::Here(key, step)),
        Side::Groups => of_group(line).map(Planned::Group),
    };
    (id, step)
}

fn of_group(line: BatchLine) -> Result<KeyStep, Failure> {
    let BatchLine { if_match, if_none_match, context, op, .. } = line;
    if context.is_some() {
        return Err(unsupported("context is for eventual namespaces: send if_match"));
    }
    let condition = line_condition(if_match.as_deref(), if_none_match.as_deref())?;
    step(op, &condition).map(|(_, step)| step)
}

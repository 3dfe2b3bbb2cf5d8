//! A stream of JSON documents, one a line, as it arrives.
//!
//! Promises: no more than one line is held, and none longer than the bound; silence beyond the bound
//! is a broken connection. Relies on: the server saying something (a bookmark at least) now and then.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::ClientError;
use super::send::{Answer, broken, silent};
use crate::runtime::limits;

#[derive(Debug)]
pub(super) struct Lines {
    response: reqwest::Response,
    endpoint: String,
    held: BytesMut,
    /// Bytes of `held` that are known to have no newline.
    searched: usize,
    silence_max: Duration,
}

impl Lines {
    /// The lines of an answer that was asked for as a stream.
    pub(super) fn of(answer: Answer) -> Result<Self, ClientError> {
        let Answer { stream, endpoint, status, .. } = answer;
        let Some(response) = stream else {
            return Err(ClientError::Strange { endpoint, status });
        };
        let held = BytesMut::new();
        let silence_max = limits::CLIENT_SILENCE_MAX;
        Ok(Self { response, endpoint, held, searched: 0, silence_max })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The next line that is not empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let rest = self.held.get(self.searched..).unwrap_or_default();
            if let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                let line = self.held.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                let line = line.slice(..line.len() - 1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.held.len();
            if self.searched > limits::CLIENT_LINE_BYTES_MAX {
                return Err(self.cut_off("a line has no end"));
            }
            let chunk = tokio::time::timeout(self.silence_max, self.response.chunk()).await;
            let chunk = chunk.map_err(|_elapsed| silent(&self.endpoint))?;
            match chunk.map_err(|error| broken(&self.endpoint, &error))? {
                Some(chunk) => self.held.extend_from_slice(&chunk),
                None if self.held.is_empty() => return Ok(None),
                None => return Err(self.cut_off("within a line")),
            }
        }
    }

    pub(super) fn cut_off(&self, reason: &str) -> ClientError {
        ClientError::CutOff { endpoint: self.endpoint.clone(), reason: reason.to_owned() }
    }
}

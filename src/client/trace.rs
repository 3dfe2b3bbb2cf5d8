//! What is asked of a namespace at one node, as it is answered.
//!
//! Promises: the stream ends with the recording's end, or with an error that is final: what happened
//! while a connection was broken is not recorded, so nothing is taken up again. A client of one
//! endpoint is meant; dropping the stream ends the recording.

use std::time::Duration;

use async_stream::stream;
use futures_util::Stream;

use super::call::Call;
use super::coded::{Query, space_path};
use super::lines::Lines;
use super::{Client, ClientError};
use crate::wire::{NDJSON, TraceHead, TraceLine};

/// How much is recorded; the server's bounds where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceRequest {
    /// For how long.
    pub lasts: Option<Duration>,
    /// How many requests at most.
    pub records: Option<u64>,
    /// Keys, clients and tags stand as hashes that begin with this text.
    pub salt: Option<String>,
}

impl Client {
    /// Begins to record: the head, and the lines behind it.
    ///
    /// # Errors
    ///
    /// When no endpoint answered within the timeout, or the request was refused.
    pub async fn trace(
        &self,
        ns: &str,
        request: &TraceRequest,
    ) -> Result<
        (TraceHead, impl Stream<Item = Result<TraceLine, ClientError>> + Send + use<>),
        ClientError,
    > {
        let mut query = Query::after(format!("{}/trace", space_path(ns)));
        if let Some(lasts) = request.lasts {
            query.add("duration", format!("{}ms", lasts.as_millis()));
        }
        if let Some(records) = request.records {
            query.add("records", records.to_string());
        }
        if let Some(salt) = &request.salt {
            query.add("salt", salt);
        }
        let call = Call::read(query.path()).header("accept", NDJSON).stream();
        let mut lines = Lines::of(self.call(call).await?)?;
        let first = lines.next().await?.unwrap_or_default();
        let Ok(TraceLine::Head(head)) = serde_json::from_slice(&first) else {
            return Err(lines.cut_off("it does not begin with a head"));
        };
        let rest = stream! {
            loop {
                let line = match lines.next().await {
                    Ok(Some(line)) => line,
                    Ok(None) => {
                        yield Err(lines.cut_off("without an end"));
                        return;
                    }
                    Err(error) => {
                        yield Err(error);
                        return;
                    }
                };
                match serde_json::from_slice(&line) {
                    Ok(line) => {
                        let is_end = matches!(line, TraceLine::End(_));
                        yield Ok(line);
                        if is_end {
                            return;
                        }
                    }
                    Err(_) => {
                        yield Err(lines.cut_off("a line is no line of a trace"));
                        return;
                    }
                }
            }
        };
        Ok((head, rest))
    }
}

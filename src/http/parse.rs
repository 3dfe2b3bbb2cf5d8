//! Reading what a request says: paths with any bytes in them, queries, times.
//!
//! Promises: keys are taken from the path as it came, so that `%2F`, `%00` and bytes that are not
//! UTF-8 mean themselves; what is not understood is refused, never ignored.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use percent_encoding::percent_decode;

use crate::runtime::limits::{REQUEST_ID_BYTES_MAX, REQUEST_TIMEOUT_DEFAULT, REQUEST_TIMEOUT_MAX};
use crate::service::ReadMode;
use crate::wire::{REQUEST_ID, REQUEST_TIMEOUT};

use super::problem::Failure;

/// The namespace and key of `/v1/ns/{ns}/keys/{key…}`.
pub(super) fn key_path(path: &str) -> Result<(String, Bytes), Failure> {
    let rest = path.strip_prefix("/v1/ns/").unwrap_or_default();
    let (namespace, key) = rest
        .split_once("/keys/")
        .ok_or_else(|| Failure::invalid("the path is not /v1/ns/{ns}/keys/{key}"))?;
    let key = decoded(key)?;
    if key.is_empty() {
        return Err(Failure::invalid("the key is empty"));
    }
    Ok((text(namespace)?, key))
}

/// Percent-decodes, and refuses a `%` that begins no escape: it would mean two things.
fn decoded(raw: &str) -> Result<Bytes, Failure> {
    let bytes = raw.as_bytes();
    let broken = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').any(|(at, _)| {
        let digits = bytes.get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return Err(Failure::invalid("a % in the path must begin an escape such as %25"));
    }
    Ok(Bytes::from(percent_decode(bytes).collect::<Vec<u8>>()))
}

fn text(raw: &str) -> Result<String, Failure> {
    let bytes = decoded(raw)?;
    String::from_utf8(bytes.into())
        .map_err(|error| Failure::invalid(format!("a name is not UTF-8: {error}")))
}

/// The parameters of a query, still encoded. Each name may stand once.
pub(super) fn query<'a>(
    query: Option<&'a str>,
    known: &[&str],
) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let detail = format!("query parameter {name:?} is not known here (known: {known})");
            return Err(Failure::invalid(detail));
        }
        if pairs.iter().any(|(seen, _)| *seen == name) {
            return Err(Failure::invalid(format!("query parameter {name:?} stands twice")));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// How to read: `?read=linearizable` or `?read=stale`.
pub(super) fn read_mode(raw: Option<&str>) -> Result<ReadMode, Failure> {
    match query(raw, &["read"])?.first() {
        None | Some((_, "linearizable")) => Ok(ReadMode::Linearizable),
        Some((_, "stale")) => Ok(ReadMode::Stale),
        Some((_, other)) => {
            Err(Failure::invalid(format!("read={other} is not known (known: linearizable, stale)")))
        }
    }
}

/// The namespace and key of `/v1/route?ns=&key=`; the namespace may be left out.
pub(super) fn route_query(raw: Option<&str>) -> Result<(String, Bytes), Failure> {
    let pairs = query(raw, &["ns", "key"])?;
    let value = |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    let key = value("key").filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Failure::invalid("the query needs key="))?;
    let namespace = value("ns").unwrap_or(crate::placement::catalog::DEFAULT_NAMESPACE);
    Ok((text(namespace)?, decoded(key)?))
}

/// How long the client waits: `500ms`, `5s`, or a plain number of seconds.
pub(super) fn request_timeout(headers: &HeaderMap) -> Result<Duration, Failure> {
    let Some(value) = headers.get(REQUEST_TIMEOUT) else {
        return Ok(REQUEST_TIMEOUT_DEFAULT);
    };
    let asked = value.to_str().ok().and_then(duration).filter(|time| !time.is_zero());
    asked.map(|time| time.min(REQUEST_TIMEOUT_MAX)).ok_or_else(|| {
        Failure::invalid("Request-Timeout is a time such as 500ms, 5s or 5 (seconds), not 0")
    })
}

fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(number) = text.strip_suffix("ms") {
        return Some(Duration::from_millis(whole(number)?));
    }
    Some(Duration::from_secs(whole(text.strip_suffix('s').unwrap_or(text))?))
}

/// Digits only: `parse` alone would take a sign.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The client's own name for the request, if it is one that can be put into a log.
pub(super) fn request_id(headers: &HeaderMap) -> Option<(String, HeaderValue)> {
    let value = headers.get(REQUEST_ID)?;
    let id = value.to_str().ok()?;
    let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| (id.to_owned(), value.clone()))
}

#[cfg(test)]
mod tests;

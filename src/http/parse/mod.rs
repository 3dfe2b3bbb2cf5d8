//! Reading what a request says: paths with any bytes in them, queries, times.
//!
//! Promises: keys are taken from the path as it came, so that `%2F`, `%00` and bytes that are not
//! UTF-8 mean themselves; what is not understood is refused, never ignored.

pub(super) mod accept;
pub(super) mod etag;
pub(super) mod time;

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use bytes::Bytes;
use percent_encoding::percent_decode;

use crate::model::LeaseId;
use crate::runtime::limits::{
    CONTENT_TYPE_BYTES_MAX, LEASE_TTL_MAX, LEASE_TTL_MIN, REQUEST_ID_BYTES_MAX,
    REQUEST_TIMEOUT_DEFAULT, REQUEST_TIMEOUT_MAX,
};
use crate::service::ReadMode;
use crate::wire::{REQUEST_ID, REQUEST_TIMEOUT};

use super::problem::Failure;

/// The namespace and key of `/v1/ns/{ns}/keys/{key…}`.
pub(super) fn key_path(path: &str) -> Result<(String, Bytes), Failure> {
    named(path, "/keys/", "the key")
}

/// The namespace and name of `/v1/ns/{ns}/locks/{name…}`. Names are text: they stand in JSON.
pub(super) fn lock_path(path: &str) -> Result<(String, String), Failure> {
    let (namespace, name) = named(path, "/locks/", "the lock's name")?;
    let name = String::from_utf8(name.into())
        .map_err(|error| Failure::invalid(format!("the lock's name is not UTF-8: {error}")))?;
    Ok((namespace, name))
}

fn named(path: &str, between: &str, what: &str) -> Result<(String, Bytes), Failure> {
    let rest = path.strip_prefix("/v1/ns/").unwrap_or_default();
    let (namespace, name) = rest
        .split_once(between)
        .ok_or_else(|| Failure::invalid(format!("the path is not /v1/ns/{{ns}}{between}…")))?;
    let name = decoded(name)?;
    if name.is_empty() {
        return Err(Failure::invalid(format!("{what} is empty")));
    }
    Ok((text(namespace)?, name))
}

/// The namespace of `/v1/ns/{ns}/…`, whatever follows.
pub(super) fn namespace_path(path: &str) -> Result<String, Failure> {
    let rest = path.strip_prefix("/v1/ns/").unwrap_or_default();
    text(rest.split('/').next().unwrap_or_default())
}

/// The last segment of a path, decoded: a namespace's name or a lease's id.
pub(super) fn segment(raw: &str) -> Result<String, Failure> {
    text(raw)
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

/// The parameters of a query, by name.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    /// Reads a query; refuses parameters that are not known here or stand twice.
    pub(super) fn of(raw: Option<&'a str>, known: &[&str]) -> Result<Self, Failure> {
        query(raw, known).map(Self)
    }

    /// A parameter's value, still encoded.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// A parameter's value as text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        self.raw(name).map(text).transpose()
    }

    #[allow(dead_code, reason = "for scans and watches")]
    /// A parameter's value as bytes.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Bytes>, Failure> {
        self.raw(name).map(decoded).transpose()
    }

    #[allow(dead_code, reason = "for scans and watches")]
    /// Bytes that stand under `name`, or in base64url under `name` and `64`.
    pub(super) fn either(&self, name: &str, name64: &str) -> Result<Option<Bytes>, Failure> {
        match (self.bytes(name)?, self.text(name64)?) {
            (Some(_), Some(_)) => {
                Err(Failure::invalid(format!("the query takes {name} or {name64}, not both")))
            }
            (plain, None) => Ok(plain),
            (None, Some(encoded)) => base64url(name64, &encoded).map(Some),
        }
    }

    /// Whether `name=1`; `name=0` is the same as nothing.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name)?.as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => Err(Failure::invalid(format!("{name} is 1 or 0, not {other:?}"))),
        }
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let read = |text: String| {
            whole(&text)
                .ok_or_else(|| Failure::invalid(format!("{name} is a number, not {text:?}")))
        };
        self.text(name)?.map(read).transpose()
    }

    /// A duration.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, Failure> {
        self.text(name)?.map(|text| time::duration_of(name, &text)).transpose()
    }

    /// How to read: `?read=`, with `max_staleness=` where that is meant.
    pub(super) fn read_mode(&self) -> Result<ReadMode, Failure> {
        let bound = self.duration("max_staleness")?;
        let read = self.text("read")?;
        match (read.as_deref().unwrap_or("linearizable"), bound) {
            ("bounded", Some(bound)) => Ok(ReadMode::Bounded(bound)),
            ("bounded", None) => Err(Failure::invalid("read=bounded needs max_staleness=")),
            (_, Some(_)) => Err(Failure::invalid("max_staleness goes with read=bounded only")),
            ("linearizable", None) => Ok(ReadMode::Linearizable),
            ("stale", None) => Ok(ReadMode::Stale),
            ("session", None) => Ok(ReadMode::Session),
            (other, None) => Err(Failure::invalid(format!(
                "read={other} is not known (known: linearizable, stale, bounded, session)"
            ))),
        }
    }
}

/// Bytes from base64url, with or without padding.
pub(super) fn base64url(name: &str, text: &str) -> Result<Bytes, Failure> {
    let bytes = URL_SAFE_ANY.decode(text);
    bytes
        .map(Bytes::from)
        .map_err(|error| Failure::invalid(format!("{name} is not base64url: {error}")))
}

/// Bytes from base64 in either alphabet, with or without padding: values come from many languages.
pub(super) fn base64_any(name: &str, text: &str) -> Result<Bytes, Failure> {
    if !text.contains(['+', '/']) {
        return base64url(name, text);
    }
    let bytes = STANDARD_ANY.decode(text);
    bytes
        .map(Bytes::from)
        .map_err(|error| Failure::invalid(format!("{name} is not base64: {error}")))
}

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE_ANY: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);
const STANDARD_ANY: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);

/// A header that may stand once only: which of two would count?
pub(super) fn once_header<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a HeaderValue>, Failure> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (_, Some(_)) => Err(Failure::invalid(format!("the header {name} stands twice"))),
        (first, None) => Ok(first),
    }
}

/// The same as text.
pub(super) fn text_header<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    let read = |value: &'a HeaderValue| {
        let text = value.to_str().map_err(|_unprintable| {
            Failure::invalid(format!("the header {name} has bytes that are not printable ASCII"))
        });
        text.map(str::trim)
    };
    once_header(headers, name)?.map(read).transpose()
}

/// The media type that a value is stored with: `type/subtype` and parameters.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let text = text_header(headers, header::CONTENT_TYPE.as_str())?;
    text.map(|text| media_type(text).map(str::to_owned)).transpose()
}

/// A media type that can be stored and sent again as it is.
pub(super) fn media_type(text: &str) -> Result<&str, Failure> {
    let wrong = || Failure::invalid(format!("{text:?} is no media type such as text/plain"));
    if text.len() > CONTENT_TYPE_BYTES_MAX {
        let detail = format!("a content type has at most {CONTENT_TYPE_BYTES_MAX} bytes");
        return Err(Failure::invalid(detail));
    }
    let essence = text.split(';').next().unwrap_or_default().trim();
    let (kind, sub) = essence.split_once('/').ok_or_else(wrong)?;
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let fits = printable && is_token(kind) && is_token(sub) && kind != "*" && sub != "*";
    if fits { Ok(text) } else { Err(wrong()) }
}

/// A token of RFC 9110.
fn is_token(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(known)
}

/// The life of a lease or key in milliseconds, within its bounds.
pub(super) fn ttl_ms(name: &str, ttl: Duration) -> Result<u64, Failure> {
    if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
        let (least, most) =
            (time::duration_text(LEASE_TTL_MIN), time::duration_text(LEASE_TTL_MAX));
        return Err(Failure::invalid(format!("{name} is between {least} and {most}")));
    }
    Ok(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

/// A lease's id: 16 hexadecimal digits.
pub(super) fn lease_id(text: &str) -> Result<LeaseId, Failure> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    id.map(LeaseId)
        .ok_or_else(|| Failure::invalid(format!("{text:?} is no lease: 16 hexadecimal digits")))
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
    let Some(text) = text_header(headers, REQUEST_TIMEOUT)? else {
        return Ok(REQUEST_TIMEOUT_DEFAULT);
    };
    let asked = whole(text).map(Duration::from_secs).or_else(|| time::duration(text));
    let asked = asked.filter(|time| !time.is_zero());
    asked.map(|time| time.min(REQUEST_TIMEOUT_MAX)).ok_or_else(|| {
        Failure::invalid("Request-Timeout is a time such as 500ms, 5s or 5 (seconds), not 0")
    })
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

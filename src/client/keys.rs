//! One key at a time: read, write, remove, patch, with their conditions.
//!
//! Promises: a key that is not there is no error; a condition that does not hold is one
//! ([`ClientError::is_unmet`]), and then nothing was changed.
//!
//! ```no_run
//! use std::time::Duration;
//! use tetrarch::client::{Client, Patch, ReadMode, WriteOptions};
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! let only_new = WriteOptions { if_none_match: Some("*".into()), ..WriteOptions::default() };
//! client.put_with("default", b"counter", "0".into(), &only_new).await?;
//! // Repeated as often as it takes, and yet counted once:
//! let wrote = client.patch("default", b"counter", &Patch::Add(5.into())).await?;
//! println!("now {:?}", wrote.value);
//! // Ends by itself:
//! let brief = WriteOptions { ttl: Some(Duration::from_secs(30)), ..WriteOptions::default() };
//! client.put_with("default", b"online/ada", "".into(), &brief).await?;
//! // From the nearest replica, but not older than what this client wrote:
//! client.get("default", b"counter", ReadMode::Session).await?;
//! client.delete("default", b"counter").await?;
//! # Ok(()) }
//! ```

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use super::call::{Call, Idempotency, Repeat};
use super::coded::{Query, duration_text, key_path};
use super::row::{Fields, Row};
use super::send::Answer;
use super::{Client, ClientError, Place};
use crate::wire;

/// How a read is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// As the namespace promises: linearizable, or of an eventual one what the node has heard of.
    #[default]
    Usual,
    /// It sees every write acknowledged before it began; an eventual namespace refuses it.
    Linearizable,
    /// It answers at once from the node's own state.
    Stale,
    /// As stale, but not if the node is further behind than this.
    Bounded(Duration),
    /// From any replica that has what this client has seen.
    Session,
}

impl ReadMode {
    fn add_to(self, query: &mut Query) {
        match self {
            Self::Usual => {}
            Self::Linearizable => query.add("read", "linearizable"),
            Self::Stale => query.add("read", "stale"),
            Self::Bounded(age) => {
                query.add("read", "bounded");
                query.add("max_staleness", duration_text(age));
            }
            Self::Session => query.add("read", "session"),
        }
    }
}

/// A key that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Got {
    /// Its value; empty for a HEAD.
    pub value: Bytes,
    /// The entity tag of its newest write.
    pub etag: Option<String>,
    /// The revision of its newest write.
    pub revision: Option<u64>,
    /// How many writes it has seen.
    pub version: Option<u64>,
    /// The value's media type.
    pub content_type: Option<String>,
    /// The lease with which it ends.
    pub lease: Option<String>,
    /// What the read promises, in the server's words.
    pub read: Option<String>,
    /// Of an eventual namespace: all values, when there are several; then `value` is their JSON.
    pub siblings: Option<Vec<wire::Sibling>>,
    /// Of an eventual namespace: what was shown, for the write that replaces it.
    pub context: Option<String>,
    /// Of an eventual namespace: which write was shown.
    pub receipt: Option<String>,
    /// The place in the group's order that the answer reflects.
    pub place: Place,
}

/// The answer to a conditional read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum Fetched {
    /// There is no such key.
    Missing,
    /// It is still what the caller has.
    Unchanged,
    /// It is another one.
    Found(Got),
}

/// On what condition a write is made, and what goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Only if the key has one of these entity tags; `*` for any.
    pub if_match: Option<String>,
    /// Only if the key has none of these; `*` when it must not be there.
    pub if_none_match: Option<String>,
    /// The key ends by itself after this time, unless written again.
    pub ttl: Option<Duration>,
    /// The key ends with this lease.
    pub lease: Option<String>,
    /// The value's media type.
    pub content_type: Option<String>,
    /// The answer tells what the key held before.
    pub previous: bool,
    /// Of an eventual namespace: what the write replaces, as a read has shown it.
    pub context: Option<String>,
    /// Of an eventual namespace: on how many nodes the write must be flushed.
    pub ack: Option<u64>,
    /// How a repetition is recognised.
    pub idempotency: Idempotency,
}

/// An acknowledged write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrote {
    /// Whether the key was there before.
    pub existed: bool,
    /// The new entity tag.
    pub etag: Option<String>,
    /// The new revision.
    pub revision: Option<u64>,
    /// The value after a patch.
    pub value: Option<Bytes>,
    /// What the key held before, if that was asked for and it was there.
    pub previous: Option<Row>,
    /// Of an eventual namespace: the name of the write.
    pub receipt: Option<String>,
    /// Of an eventual namespace: what the next write of this client replaces.
    pub context: Option<String>,
    /// Whether an earlier request with the same idempotency key did it.
    pub replayed: bool,
    /// What a read must have seen that shows this write: for [`Client::get_after`].
    pub session: Option<String>,
    /// The write's place in the group's order.
    pub place: Place,
}

/// A change of a value that the server works out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7396.
    Merge(Value),
    /// RFC 6902: a list of operations.
    Json(Value),
    /// Adds to a number; a JSON number, or text for one that JSON would round.
    Add(Value),
    /// Keeps the greater number.
    Max(Value),
    /// Keeps the smaller number.
    Min(Value),
    /// Adds text to the end.
    Append(String),
    /// Changes a set of an eventual namespace.
    SetEdit {
        /// Elements that shall be there.
        add: Vec<String>,
        /// Elements that shall not.
        remove: Vec<String>,
    },
    /// Changes fields of a map of an eventual namespace: `{"a.b": {"add": 1}}`.
    Fields(Value),
}

impl Patch {
    fn parts(&self) -> (&'static str, Value) {
        match self {
            Self::Merge(patch) => (wire::MERGE_PATCH, patch.clone()),
            Self::Json(patch) => (wire::JSON_PATCH, patch.clone()),
            Self::Add(number) => (wire::KV_OP, json!({ "add": number })),
            Self::Max(number) => (wire::KV_OP, json!({ "max": number })),
            Self::Min(number) => (wire::KV_OP, json!({ "min": number })),
            Self::Append(text) => (wire::KV_OP, json!({ "append": text })),
            Self::SetEdit { add, remove } => {
                (wire::KV_OP, json!({ "set_add": add, "set_remove": remove }))
            }
            Self::Fields(fields) => (wire::KV_OP, json!({ "fields": fields })),
        }
    }
}

/// The member of an answer with `?prev=1` that tells what was there.
#[derive(serde::Deserialize)]
struct Before {
    previous: Option<Fields>,
}

impl Client {
    /// Reads a key; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When no endpoint answered within the timeout, or the request was refused.
    pub async fn get(
        &self,
        ns: &str,
        key: &[u8],
        mode: ReadMode,
    ) -> Result<Option<Got>, ClientError> {
        found(self.read(Method::GET, ns, key, mode, None).await)
    }

    /// Reads a key not before the node asked has all that a write's answer has told
    /// ([`Wrote::session`]), and waits for so long at most.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub async fn get_after(
        &self,
        ns: &str,
        key: &[u8],
        session: &str,
        patience: Duration,
    ) -> Result<Option<Got>, ClientError> {
        let mut query = Query::after(key_path(ns, key));
        ReadMode::Session.add_to(&mut query);
        let mut call = Call::read(query.path()).target(ns, key);
        (call.timeout, call.patience) = (Some(patience), Some(patience));
        match self.call(call.header(wire::KV_SESSION, session)).await {
            Ok(answer) => Ok(Some(got(answer)?)),
            Err(error) if error.is_missing_key() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a key's revision without its value.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub async fn head(
        &self,
        ns: &str,
        key: &[u8],
        mode: ReadMode,
    ) -> Result<Option<Got>, ClientError> {
        found(self.read(Method::HEAD, ns, key, mode, None).await)
    }

    /// Reads a key unless it still has the entity tag that the caller knows.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub async fn get_if_changed(
        &self,
        ns: &str,
        key: &[u8],
        mode: ReadMode,
        etag: &str,
    ) -> Result<Fetched, ClientError> {
        self.read(Method::GET, ns, key, mode, Some(etag)).await
    }

    /// Reads a key with all that is known of it.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub async fn get_row(
        &self,
        ns: &str,
        key: &[u8],
        mode: ReadMode,
    ) -> Result<Option<Row>, ClientError> {
        let mut query = Query::after(key_path(ns, key));
        mode.add_to(&mut query);
        let mut call = Call::read(query.path()).target(ns, key);
        call.session = mode == ReadMode::Session;
        match self.call(call.header("accept", "application/json")).await {
            Ok(answer) => answer.json::<Fields>()?.row().map(Some).ok_or_else(|| strange(&answer)),
            Err(error) if error.is_missing_key() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(
        &self,
        method: Method,
        ns: &str,
        key: &[u8],
        mode: ReadMode,
        known: Option<&str>,
    ) -> Result<Fetched, ClientError> {
        let mut query = Query::after(key_path(ns, key));
        mode.add_to(&mut query);
        let mut call = Call::new(method, query.path(), Repeat::Free).target(ns, key);
        call.session = mode == ReadMode::Session;
        match self.call(call.header_if("if-none-match", known)).await {
            Ok(answer) if answer.status == 304 => Ok(Fetched::Unchanged),
            Ok(answer) => Ok(Fetched::Found(got(answer)?)),
            Err(error) if error.is_missing_key() => Ok(Fetched::Missing),
            Err(error) => Err(error),
        }
    }

    /// Writes a key.
    ///
    /// # Errors
    ///
    /// [`ClientError::outcome`] says whether the write took effect.
    pub async fn put(&self, ns: &str, key: &[u8], value: Bytes) -> Result<Wrote, ClientError> {
        self.put_with(ns, key, value, &WriteOptions::default()).await
    }

    /// Writes a key on a condition, or with more than its value.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn put_with(
        &self,
        ns: &str,
        key: &[u8],
        value: Bytes,
        options: &WriteOptions,
    ) -> Result<Wrote, ClientError> {
        let call = self.write(Method::PUT, ns, key, options).body(value);
        let call = call
            .header_if("content-type", options.content_type.as_deref())
            .header_if(wire::KV_LEASE, options.lease.as_deref());
        let answer = self.call(call).await?;
        let previous = previous(&answer, options)?;
        let existed = if options.previous { previous.is_some() } else { answer.status != 201 };
        Ok(Wrote { existed, previous, ..wrote(&answer) })
    }

    /// Removes a key. A key that is not there is not an error.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn delete(&self, ns: &str, key: &[u8]) -> Result<Wrote, ClientError> {
        self.delete_with(ns, key, &WriteOptions::default()).await
    }

    /// Removes a key on a condition.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn delete_with(
        &self,
        ns: &str,
        key: &[u8],
        options: &WriteOptions,
    ) -> Result<Wrote, ClientError> {
        match self.call(self.write(Method::DELETE, ns, key, options)).await {
            Ok(answer) => {
                let previous = previous(&answer, options)?;
                Ok(Wrote { existed: true, etag: None, previous, ..wrote(&answer) })
            }
            Err(error) if error.is_missing_key() => {
                Ok(Wrote { place: error.place(), ..Wrote::default() })
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the server change a value.
    ///
    /// # Errors
    ///
    /// As [`Client::put`]; 409 `patch_conflict` when it does not fit the value.
    pub async fn patch(&self, ns: &str, key: &[u8], patch: &Patch) -> Result<Wrote, ClientError> {
        self.patch_with(ns, key, patch, &WriteOptions::default()).await
    }

    /// Lets the server change a value on a condition.
    ///
    /// # Errors
    ///
    /// As [`Client::patch`].
    pub async fn patch_with(
        &self,
        ns: &str,
        key: &[u8],
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Wrote, ClientError> {
        let (media_type, body) = patch.parts();
        let call = self.write(Method::PATCH, ns, key, options);
        let call = call.body(body.to_string().into()).header("content-type", media_type);
        let answer = self.call(call).await?;
        Ok(Wrote { value: Some(answer.body.clone()), ..wrote(&answer) })
    }

    fn write<'a>(
        &self,
        method: Method,
        ns: &'a str,
        key: &'a [u8],
        options: &WriteOptions,
    ) -> Call<'a> {
        let mut query = Query::after(key_path(ns, key));
        if let Some(ttl) = options.ttl {
            query.add("ttl", duration_text(ttl));
        }
        if options.previous {
            query.add("prev", "1");
        }
        if let Some(ack) = options.ack {
            query.add("ack", ack.to_string());
        }
        let needs_body = options.previous || method == Method::PATCH;
        let repeat = options.idempotency.repeat(&self.inner.env);
        let mut call = Call::new(method, query.path(), repeat).target(ns, key);
        call.needs_body = needs_body;
        call.header_if("if-match", options.if_match.as_deref())
            .header_if("if-none-match", options.if_none_match.as_deref())
            .header_if(wire::KV_CONTEXT, options.context.as_deref())
    }
}

fn got(answer: Answer) -> Result<Got, ClientError> {
    Ok(Got {
        siblings: match answer.status {
            300 if !answer.body.is_empty() => answer.json::<wire::EventualRow>()?.siblings,
            _ => None,
        },
        context: answer.header(wire::KV_CONTEXT),
        receipt: answer.header(wire::KV_RECEIPT),
        etag: answer.etag(),
        revision: answer.number(wire::KV_REVISION),
        version: answer.number(wire::KV_VERSION),
        content_type: answer.header("content-type"),
        lease: answer.header(wire::KV_LEASE),
        read: answer.header(wire::KV_READ),
        place: answer.place(),
        value: answer.body,
    })
}

fn found(fetched: Result<Fetched, ClientError>) -> Result<Option<Got>, ClientError> {
    Ok(match fetched? {
        Fetched::Found(got) => Some(got),
        Fetched::Missing | Fetched::Unchanged => None,
    })
}

fn wrote(answer: &Answer) -> Wrote {
    Wrote {
        existed: answer.status != 201,
        etag: answer.etag(),
        revision: answer.number(wire::KV_REVISION),
        value: None,
        previous: None,
        receipt: answer.header(wire::KV_RECEIPT),
        context: answer.header(wire::KV_CONTEXT),
        replayed: answer.header(wire::KV_REPLAYED).as_deref() == Some("?1"),
        session: answer.header(wire::KV_SESSION),
        place: answer.place(),
    }
}

fn previous(answer: &Answer, options: &WriteOptions) -> Result<Option<Row>, ClientError> {
    if !options.previous {
        return Ok(None);
    }
    Ok(answer.json::<Before>()?.previous.and_then(Fields::row))
}

fn strange(answer: &Answer) -> ClientError {
    ClientError::Strange { endpoint: answer.endpoint.clone(), status: answer.status }
}

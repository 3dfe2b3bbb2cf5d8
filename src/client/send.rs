//! One call: its tries, their deadline, and what is repeated.
//!
//! Why it exists: the rule "repeat only what surely took no effect" must be readable in one place,
//! and it is [`may_repeat`].
//!
//! Promises: no try starts after the deadline; pauses between tries grow and are spread by chance;
//! the server is told how long is left, so that it answers before the client gives up.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::error::reason;
use super::{Client, ClientError, Place};
use crate::runtime::{Moment, limits};
use crate::wire::{
    CLUSTER_PATH, KV_GROUP, KV_INDEX, KV_LEADER, KV_SERVED_BY, Outcome, REQUEST_TIMEOUT,
};

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Anyone,
    Key(&'a str, &'a [u8]),
}

/// A request before it has an address.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    method: Method,
    path: String,
    body: Option<Bytes>,
    json: bool,
    target: Target<'a>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: String) -> Self {
        Self { method, path, body: None, json: false, target: Target::Anyone }
    }

    pub(super) fn target(mut self, target: Target<'a>) -> Self {
        self.target = target;
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn json(mut self) -> Self {
        self.json = true;
        self
    }

    fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
    /// Who gave it.
    pub endpoint: String,
    headers: reqwest::header::HeaderMap,
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }

    /// The entity tag.
    pub fn etag(&self) -> Option<String> {
        self.header("etag")
    }

    /// What the answer reflects.
    pub fn place(&self) -> Place {
        Place {
            group: self.number(KV_GROUP),
            index: self.number(KV_INDEX),
            served_by: self.number(KV_SERVED_BY),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        // The body's error adds nothing that its reader could act on.
        serde_json::from_slice(&self.body).map_err(|_why| ClientError::Strange {
            endpoint: self.endpoint.clone(),
            status: self.status,
        })
    }
}

/// Whether a failed request may be sent again: reads always, writes only when the first surely had
/// no effect; and neither when nothing would change.
fn may_repeat(is_read: bool, error: &ClientError) -> bool {
    error.is_passing() && (is_read || error.outcome() == Outcome::NotApplied)
}

impl Client {
    /// Sends a call, again and again where that is safe, until it succeeds or the time is up.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, ClientError> {
        if matches!(call.target, Target::Key(_, b"" | b"." | b"..")) {
            return Err(ClientError::Key);
        }
        let inner = &self.inner;
        let clock = &inner.env.clock;
        let deadline = clock.now() + inner.options.timeout;
        self.look_if_needed(&call, deadline).await;
        let (first, longest) = limits::CLIENT_BACKOFF_MS;
        let mut pause_ms = first;
        let mut last = ClientError::TimeUp;
        let mut hint = None;
        loop {
            let now = clock.now();
            let left = deadline.since(now);
            if left.is_zero() {
                return Err(last);
            }
            let endpoint = hint.take().unwrap_or_else(|| self.choose(&call, now));
            let error = match self.attempt(&endpoint, &call, left).await {
                Ok(answer) if answer.status < 400 => return Ok(answer),
                Ok(answer) => {
                    // A refusal that names another leader is worth asking there at once, one time.
                    let leader = answer.header(KV_LEADER).filter(|leader| *leader != endpoint);
                    hint = leader.filter(|_| pause_ms == first && !inner.options.pinned);
                    ClientError::of(&answer, call.method == Method::HEAD)
                }
                Err(error) => {
                    inner.routes.rest(&endpoint, clock.now());
                    error
                }
            };
            if !may_repeat(call.is_read(), &error) {
                return Err(error);
            }
            last = error;
            let pause = Duration::from_millis(pause_ms / 2 + inner.env.rng.below(pause_ms));
            pause_ms = (pause_ms * 2).min(longest);
            if hint.is_none() {
                if deadline.since(clock.now()) <= pause {
                    return Err(last);
                }
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// One try at one endpoint, with a success required.
    pub(super) async fn ask_once(&self, endpoint: &str, path: &str) -> Result<Answer, ClientError> {
        let call = Call::new(Method::GET, path.to_owned());
        let answer = self.attempt(endpoint, &call, self.inner.options.timeout).await?;
        if answer.status < 400 { Ok(answer) } else { Err(ClientError::of(&answer, false)) }
    }

    fn choose(&self, call: &Call<'_>, now: Moment) -> String {
        let routes = &self.inner.routes;
        match call.target {
            Target::Key(ns, key) if !self.inner.options.pinned => {
                routes.leader_for(ns, key, now).unwrap_or_else(|| routes.next(now))
            }
            Target::Key(..) | Target::Anyone => routes.next(now),
        }
    }

    /// Reads the routes when they are missing or known to be wrong; without success the call goes
    /// to any endpoint.
    async fn look_if_needed(&self, call: &Call<'_>, deadline: Moment) {
        let inner = &self.inner;
        let now = inner.env.clock.now();
        let for_key = matches!(call.target, Target::Key("default", _));
        if !for_key || inner.options.pinned || !inner.routes.should_look(now) {
            return;
        }
        let endpoint = inner.routes.next(now);
        let ask = Call::new(Method::GET, CLUSTER_PATH.to_owned());
        let patience = deadline.since(now) / 4;
        match self.attempt(&endpoint, &ask, patience).await {
            Ok(answer) => {
                if let Ok(view) = answer.json() {
                    inner.routes.take(&view);
                }
            }
            Err(_) => inner.routes.rest(&endpoint, inner.env.clock.now()),
        }
    }

    async fn attempt(
        &self,
        endpoint: &str,
        call: &Call<'_>,
        left: Duration,
    ) -> Result<Answer, ClientError> {
        // A node that hangs must not use up a read's whole time: another one may answer.
        let patience =
            if call.is_read() { left.min((left / 3).max(Duration::from_secs(1))) } else { left };
        let server_ms = (patience.mul_f64(0.9)).as_millis().max(1);
        let mut request = self
            .inner
            .http
            .request(call.method.clone(), format!("{endpoint}{}", call.path))
            .timeout(patience)
            .header(REQUEST_TIMEOUT, format!("{server_ms}ms"));
        if call.json {
            request = request.header("content-type", "application/json");
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let mut response = request.send().await.map_err(|error| classify(endpoint, &error))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let body = match read_body(&mut response, status).await {
            Ok(body) => body,
            // The status of a write has said it all; its body is not needed.
            Err(_) if status < 400 && !call.is_read() => Bytes::new(),
            Err(error) => return Err(broken(endpoint, &error)),
        };
        let answer = Answer { status, body, endpoint: endpoint.to_owned(), headers };
        if let Some(group) = answer.number(KV_GROUP) {
            let target = match call.target {
                Target::Key(ns, key) => Some((ns, key)),
                Target::Anyone => None,
            };
            self.inner.routes.learn(target, group, answer.header(KV_LEADER));
        }
        Ok(answer)
    }
}

/// Reads a body to its end; of an error's body only so much as a problem may have.
async fn read_body(response: &mut reqwest::Response, status: u16) -> Result<Bytes, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.is_empty()
            && status < 400
            && response.content_length() == chunk.len().try_into().ok()
        {
            return Ok(chunk);
        }
        body.extend_from_slice(&chunk);
        if status >= 400 && body.len() > limits::PROBLEM_BYTES_MAX {
            break;
        }
    }
    Ok(body.freeze())
}

/// A connection that was never made carried nothing; after that nobody knows.
fn classify(endpoint: &str, error: &reqwest::Error) -> ClientError {
    if error.is_connect() || error.is_builder() {
        ClientError::refused(endpoint, error)
    } else {
        broken(endpoint, error)
    }
}

fn broken(endpoint: &str, error: &reqwest::Error) -> ClientError {
    ClientError::NoAnswer { endpoint: endpoint.to_owned(), reason: reason(error) }
}

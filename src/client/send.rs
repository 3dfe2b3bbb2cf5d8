//! One call: its tries, their deadline, and what is repeated.
//!
//! Why it exists: the rule "repeat only what has no second effect" must be readable in one place, and
//! it is [`may_repeat`].
//!
//! Promises: no try starts after the deadline; pauses between tries grow and are spread by chance; an
//! endpoint that said `Retry-After` is not asked before; the server is told how long is left, so that
//! it answers before the client gives up. Once a try was left without an answer, a call never ends
//! in an error that claims "not applied" without proof.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::call::{Call, Repeat, Target};
use super::error::reason;
use super::{Client, ClientError, Place};
use crate::runtime::{Moment, limits};
use crate::wire::{
    CLUSTER_PATH, IDEMPOTENCY_KEY, KV_GROUP, KV_INDEX, KV_LEADER, KV_SERVED_BY, KV_SESSION,
    Outcome, REQUEST_TIMEOUT,
};

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body; empty when it is read as a stream.
    pub body: Bytes,
    /// Who gave it.
    pub endpoint: String,
    headers: reqwest::header::HeaderMap,
    /// The body of a call that asked for a stream.
    pub(super) stream: Option<reqwest::Response>,
}

impl Answer {
    /// All of an answer.
    pub(super) async fn read(
        mut response: reqwest::Response,
        endpoint: &str,
    ) -> Result<Self, ClientError> {
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let body = read_body(&mut response, status).await;
        let body = body.map_err(|error| broken(endpoint, &error))?;
        Ok(Self { status, body, endpoint: endpoint.to_owned(), headers, stream: None })
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
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

/// Whether a failed request may be sent again: what the server recognises or what has no effect
/// always, anything else only when it surely had none; and neither when nothing would change.
fn may_repeat(call: &Call<'_>, error: &ClientError) -> bool {
    let harmless = !matches!(call.repeat, Repeat::IfSure);
    error.is_passing() && (harmless || error.outcome() == Outcome::NotApplied)
}

/// What the tries of one call have come to.
#[derive(Debug)]
struct Tries {
    deadline: Moment,
    pause_ms: u64,
    /// A try may have taken effect, and nobody said that it did not.
    unsure: bool,
    last: ClientError,
    /// Who is worth asking at once.
    hint: Option<String>,
    /// Who failed to answer last: another one may.
    avoid: Option<String>,
}

impl Tries {
    /// How the call ends with this error.
    fn end(self, error: ClientError) -> ClientError {
        // Answers that do not come out of the group's order say nothing about an earlier try.
        let proves = !error.is_passing() && error.comes_from_the_order();
        if self.unsure && !proves {
            return ClientError::Unsure { last: Box::new(error) };
        }
        error
    }

    fn give_up(mut self) -> ClientError {
        let last = std::mem::replace(&mut self.last, ClientError::TimeUp);
        self.end(last)
    }
}

impl Client {
    /// Sends a call, again and again where that is safe, until it succeeds or the time is up.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, ClientError> {
        call.check()?;
        let inner = &self.inner;
        let clock = &inner.env.clock;
        let deadline = clock.now() + call.timeout.unwrap_or(inner.options.timeout);
        self.look_if_needed(&call, deadline).await;
        let mut tries = Tries {
            deadline,
            pause_ms: limits::CLIENT_BACKOFF_MS.0,
            unsure: false,
            last: ClientError::TimeUp,
            hint: None,
            avoid: None,
        };
        loop {
            let now = clock.now();
            let left = tries.deadline.since(now);
            if left.is_zero() {
                return Err(tries.give_up());
            }
            let endpoint = match tries.hint.take() {
                Some(hint) => hint,
                None => self.choose(&call, now, tries.avoid.as_deref()),
            };
            let error = match self.attempt(&endpoint, &call, left).await {
                Ok(answer) if answer.status < 400 => return Ok(answer),
                Ok(answer) => self.take_refusal(&mut tries, &endpoint, &call, &answer),
                Err(error) => {
                    inner.routes.rest(&endpoint, clock.now());
                    tries.avoid = Some(endpoint);
                    error
                }
            };
            if !may_repeat(&call, &error) {
                return Err(tries.end(error));
            }
            tries.unsure |= call.changes() && error.outcome() != Outcome::NotApplied;
            tries.last = error;
            if tries.hint.is_none() && !self.pause(&mut tries).await {
                return Err(tries.give_up());
            }
        }
    }

    /// Notes what a refusal says about where and when to ask next.
    fn take_refusal(
        &self,
        tries: &mut Tries,
        endpoint: &str,
        call: &Call<'_>,
        answer: &Answer,
    ) -> ClientError {
        let (inner, now) = (&self.inner, self.inner.env.clock.now());
        if let Some(seconds) = answer.number("retry-after") {
            inner.routes.obey(endpoint, now + Duration::from_secs(seconds));
        }
        // A refusal that names another leader is worth asking there at once, one time.
        let first = tries.pause_ms == limits::CLIENT_BACKOFF_MS.0;
        let leader = answer.header(KV_LEADER).filter(|leader| *leader != endpoint);
        let leader = leader.filter(|leader| inner.routes.may_ask(leader, now));
        tries.hint = leader.filter(|_| first && !inner.options.pinned);
        tries.pause_ms = tries.pause_ms.max(limits::CLIENT_BACKOFF_MS.0 + 1);
        tries.avoid = Some(endpoint.to_owned());
        ClientError::of(answer, call.method == Method::HEAD)
    }

    /// Waits before the next try; `false` when the time does not suffice for another one.
    async fn pause(&self, tries: &mut Tries) -> bool {
        let inner = &self.inner;
        let pause_ms = tries.pause_ms;
        let pause = Duration::from_millis(pause_ms / 2 + inner.env.rng.below(pause_ms));
        let now = inner.env.clock.now();
        let pause = pause.max(inner.routes.all_wait(now));
        if tries.deadline.since(now) <= pause {
            return false;
        }
        tries.pause_ms = (pause_ms * 2).min(limits::CLIENT_BACKOFF_MS.1);
        tokio::time::sleep(pause).await;
        true
    }

    /// One try at one endpoint, with a success required.
    pub(super) async fn ask_once(&self, endpoint: &str, path: &str) -> Result<Answer, ClientError> {
        let call = Call::read(path.to_owned());
        let answer = self.attempt(endpoint, &call, self.inner.options.timeout).await?;
        if answer.status < 400 { Ok(answer) } else { Err(ClientError::of(&answer, false)) }
    }

    fn choose(&self, call: &Call<'_>, now: Moment, avoid: Option<&str>) -> String {
        let routes = &self.inner.routes;
        let leader = match call.target {
            Target::Key(ns, key) if !self.inner.options.pinned => routes.leader_for(ns, key, now),
            Target::Key(..) | Target::Anyone => None,
        };
        leader
            .filter(|leader| avoid != Some(leader.as_str()))
            .unwrap_or_else(|| routes.next_but(now, avoid))
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
        let endpoint = inner.routes.next_but(now, None);
        let ask = Call::read(CLUSTER_PATH.to_owned());
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
        // A node that hangs must not use up the whole time: another one may answer.
        let share = call.patience.unwrap_or_else(|| (left / 3).max(Duration::from_secs(1)));
        let patience = if call.repeat == Repeat::IfSure { left } else { left.min(share) };
        let request = self.request(endpoint, call, patience);
        let sent = tokio::time::timeout(patience, request.send()).await;
        let sent = sent.map_err(|_elapsed| silent(endpoint))?;
        let mut response = sent.map_err(|error| classify(endpoint, &error))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let (body, stream) = if call.streams && status < 400 {
            (Bytes::new(), Some(response))
        } else {
            let body = match read_body(&mut response, status).await {
                Ok(body) => body,
                // The status of a write has said it all; its body is not needed.
                Err(_) if status < 400 && !call.needs_body => Bytes::new(),
                Err(error) => return Err(broken(endpoint, &error)),
            };
            (body, None)
        };
        let answer = Answer { status, body, endpoint: endpoint.to_owned(), headers, stream };
        self.learn(call, &answer);
        Ok(answer)
    }

    fn request(
        &self,
        endpoint: &str,
        call: &Call<'_>,
        patience: Duration,
    ) -> reqwest::RequestBuilder {
        let inner = &self.inner;
        let url = format!("{endpoint}{}", call.path);
        let mut request = inner.http.request(call.method.clone(), url);
        if !call.streams {
            let server_ms = (patience.mul_f64(0.9)).as_millis().max(1);
            request = request.timeout(patience).header(REQUEST_TIMEOUT, format!("{server_ms}ms"));
        }
        if let Repeat::Keyed(key) = &call.repeat {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if call.session
            && let Some(session) = inner.session.get()
        {
            request = request.header(KV_SESSION, session);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        match &call.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }

    fn learn(&self, call: &Call<'_>, answer: &Answer) {
        if let Some(session) = answer.header(KV_SESSION) {
            self.inner.session.take(&session);
        }
        if let Some(group) = answer.number(KV_GROUP) {
            let target = match call.target {
                Target::Key(ns, key) => Some((ns, key)),
                Target::Anyone => None,
            };
            self.inner.routes.learn(target, group, answer.header(KV_LEADER));
        }
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

pub(super) fn broken(endpoint: &str, error: &reqwest::Error) -> ClientError {
    ClientError::NoAnswer { endpoint: endpoint.to_owned(), reason: reason(error) }
}

/// Nothing came within the time.
pub(super) fn silent(endpoint: &str) -> ClientError {
    ClientError::NoAnswer { endpoint: endpoint.to_owned(), reason: "it stayed silent".to_owned() }
}

//! A request before it has an address: what is sent, for whom, and whether it may be sent twice.
//!
//! Promises: whether a request may be sent twice is said where it is made, never guessed later.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;

use super::ClientError;
use crate::runtime::{Env, limits};

/// Whether the server is given a name for the request, by which it recognises a repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Idempotency {
    /// A random name of 128 bits: the request may then be sent as often as it takes.
    #[default]
    Generated,
    /// This name: for a program that itself starts over after a crash.
    Key(String),
    /// None: what may have taken effect is not sent again.
    Off,
}

impl Idempotency {
    pub(super) fn repeat(&self, env: &Env) -> Repeat {
        match self {
            Self::Generated => Repeat::Keyed(random_key(env)),
            Self::Key(key) => Repeat::Keyed(key.clone()),
            Self::Off => Repeat::IfSure,
        }
    }
}

/// 128 random bits in hex.
pub(super) fn random_key(env: &Env) -> String {
    format!("{:016x}{:016x}", env.rng.next(), env.rng.next())
}

/// Whether a request may be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// As often as one likes: twice is as good as once.
    Free,
    /// As often as one likes: the server recognises it.
    Keyed(String),
    /// Only when it surely had no effect.
    IfSure,
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Anyone,
    Key(&'a str, &'a [u8]),
}

/// A request before it has an address.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Bytes>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) target: Target<'a>,
    pub(super) repeat: Repeat,
    /// With all its tries; the client's when not given.
    pub(super) timeout: Option<Duration>,
    /// Of one try; a share of the whole when not given.
    pub(super) patience: Option<Duration>,
    /// The body is read piece by piece.
    pub(super) streams: bool,
    /// The answer is of no use without its body.
    pub(super) needs_body: bool,
    /// The answer must not be older than what this client has seen.
    pub(super) session: bool,
}

impl<'a> Call<'a> {
    pub(super) fn read(path: String) -> Self {
        Self::new(Method::GET, path, Repeat::Free)
    }

    pub(super) fn new(method: Method, path: String, repeat: Repeat) -> Self {
        let needs_body = method == Method::GET || method == Method::POST;
        Self {
            method,
            path,
            body: None,
            headers: Vec::new(),
            target: Target::Anyone,
            repeat,
            timeout: None,
            patience: None,
            streams: false,
            needs_body,
            session: false,
        }
    }

    pub(super) fn target(mut self, ns: &'a str, key: &'a [u8]) -> Self {
        self.target = Target::Key(ns, key);
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn header_if(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    pub(super) fn json<T: serde::Serialize>(self, body: &T) -> Self {
        let body = serde_json::to_vec(body).expect("requests of the wire are plain JSON");
        self.body(body.into()).header("content-type", "application/json")
    }

    pub(super) fn stream(mut self) -> Self {
        self.streams = true;
        self
    }

    /// Whether the call can change anything.
    pub(super) fn changes(&self) -> bool {
        self.repeat != Repeat::Free
    }

    /// Refuses what no server could take.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        if matches!(self.target, Target::Key(_, b"")) {
            return Err(ClientError::Key);
        }
        if let Repeat::Keyed(key) = &self.repeat {
            let printable = key.bytes().all(|byte| byte.is_ascii_graphic());
            if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX || !printable {
                return Err(ClientError::IdempotencyKey);
            }
        }
        Ok(())
    }
}

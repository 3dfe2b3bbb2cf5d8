//! Asking a simulated node what a client asks, through its front door's router.
//!
//! Promises: an answer is one that a client over HTTP would have got, and a silence says the same as a
//! connection that was refused or broke. Relies on: `http::router`, which `serve` puts behind a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use tetrarch::wire::{KV_GROUP, KV_INDEX, Outcome, Problem};
use tower::ServiceExt;

use super::world::World;

/// What a client waits for at most.
const ANSWER_MAX: Duration = Duration::from_secs(7);

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It was done.
    Done(Answer),
    /// Surely without effect.
    Not(String),
    /// Nobody knows.
    Unknown(String),
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Group and index that the answer reflects.
    pub fn place(&self) -> Option<(u64, u64)> {
        let number = |name: &str| self.header(name)?.parse().ok();
        Some((number(KV_GROUP)?, number(KV_INDEX)?))
    }

    /// The index of the write that made the value.
    pub fn written(&self) -> Option<u64> {
        let tag = self.header("etag")?.trim_matches('"');
        tag.split_once('-')?.1.parse().ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error's body.
    pub fn problem(&self) -> Option<Problem> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Sends a request to a node and judges what comes back.
pub async fn ask(world: &World, node: u64, request: Request<Body>) -> Fate {
    let life = world.life(node);
    let Some((life, up)) = life.and_then(|life| Some((Arc::clone(&life), life.up()?))) else {
        return Fate::Not("nobody listens".to_owned());
    };
    let router = up.router().clone();
    drop(up);
    let answer = async {
        let Ok(response) = router.oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    };
    tokio::select! {
        biased;
        () = life.dead.cancelled() => Fate::Unknown("the connection broke".to_owned()),
        answer = answer => match answer {
            Ok(answer) => fate(answer),
            Err(error) => Fate::Unknown(error),
        },
        () = tokio::time::sleep(ANSWER_MAX) => Fate::Unknown("no answer".to_owned()),
    }
}

fn fate(answer: Answer) -> Fate {
    let is_missing = |problem: &Problem| problem.code == "key_not_found";
    if answer.status < 400 || answer.problem().as_ref().is_some_and(is_missing) {
        return Fate::Done(answer);
    }
    match answer.problem() {
        Some(problem) => {
            let text = format!("{} {}", problem.status, problem.code);
            match problem.outcome {
                Outcome::NotApplied => Fate::Not(text),
                Outcome::Unknown | Outcome::Applied => Fate::Unknown(text),
            }
        }
        None => Fate::Unknown(format!("status {} without a problem", answer.status)),
    }
}

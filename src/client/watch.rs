//! Changes as they happen: a stream that outlives connections and nodes.
//!
//! Promises: after any failure the watch goes on at another endpoint from where it was, and each
//! change is given exactly once, in the order of its group. What cannot be made good is said:
//! [`Event::Restarted`] when the watch had to begin anew before it had a position, and
//! [`ClientError::Gone`], with the cursor from which one may start over, when the history needed is
//! gone. Does not promise: any order between changes of different groups.
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use tetrarch::client::{Client, ClientError, Event, Since, WatchRequest};
//!
//! # async fn tour(client: Client) -> Result<(), ClientError> {
//! let request = WatchRequest { prefix: "users/".into(), initial: true, ..WatchRequest::default() };
//! let mut events = std::pin::pin!(client.watch("default", request.clone()));
//! while let Some(event) = events.next().await {
//!     match event {
//!         Ok(Event::Change(change)) => println!("{:?} {:?}", change.kind, change.row.key),
//!         Ok(Event::Restarted) => println!("forget what was there; it is told again"),
//!         Ok(Event::Synced { .. } | Event::Bookmark { .. }) => {}
//!         Err(ClientError::Gone { restart, .. }) => {
//!             println!("read everything anew, then watch since {restart:?}");
//!         }
//!         Err(error) => return Err(error),
//!     }
//! }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures_util::Stream;
use serde::Deserialize;

use super::call::Call;
use super::coded::{Query, space_path};
use super::lines::Lines;
use super::row::{Fields, Row};
use super::{Client, ClientError};
use crate::runtime::limits;
use crate::wire::{KV_CURSOR, NDJSON};

/// Where a watch begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// With what happens from now on.
    #[default]
    Now,
    /// With the oldest change that is kept.
    Start,
    /// After a change that was seen.
    Cursor(String),
}

/// Which changes, and what of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRequest {
    /// Only keys that begin with this.
    pub prefix: Bytes,
    /// Only keys from this one on.
    pub start: Option<Bytes>,
    /// Only keys before this one.
    pub end: Option<Bytes>,
    /// Where it begins.
    pub since: Since,
    /// First tells what is there.
    pub initial: bool,
    /// Tells what a key held before.
    pub previous: bool,
    /// Only these kinds; all when empty.
    pub kinds: Vec<ChangeKind>,
    /// How long no endpoint may answer before the watch ends; for ever when not given.
    pub patience: Option<Duration>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was written.
    Put,
    /// It was removed.
    Delete,
    /// Its lease ended.
    Expire,
}

impl ChangeKind {
    /// The kind's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Expire => "expire",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Put, Self::Delete, Self::Expire].into_iter().find(|kind| kind.name() == name)
    }
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The key, and what it holds now.
    pub row: Row,
    /// What it held before, if that was asked for.
    pub previous: Option<Row>,
    /// The group that it happened in.
    pub group: u64,
    /// Its place in the group's order.
    pub index: u64,
    /// Its place among the changes at that index.
    pub seq: u64,
    /// Whether it tells what was there when the watch began.
    pub initial: bool,
    /// Where to go on from after it.
    pub cursor: Option<String>,
}

/// What a watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum Event {
    /// A key changed.
    Change(Change),
    /// All that was there has been told.
    Synced {
        /// Where to go on from.
        cursor: Option<String>,
    },
    /// Nothing happened for a while.
    Bookmark {
        /// Where to go on from.
        cursor: String,
    },
    /// The connection broke before the watch had a position. With `initial` everything is told
    /// again; without, changes between the two connections were missed.
    Restarted,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    cursor: Option<String>,
    #[serde(default)]
    group: u64,
    #[serde(default)]
    index: u64,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    initial: bool,
    previous: Option<Fields>,
    #[serde(flatten)]
    fields: Fields,
}

/// How far a watch has come.
#[derive(Debug, Default)]
struct Position {
    cursor: Option<String>,
    /// The newest change of each group: a cursor may stand before changes of an entry that were told.
    told: BTreeMap<u64, (u64, u64)>,
    /// What was there is still being told.
    telling: bool,
}

impl Position {
    /// What a line says that was not said before. `None`: nothing; `Err`: the server ends the watch.
    fn take(&mut self, line: Line) -> Result<Option<Event>, ()> {
        let cursor = line.cursor.clone();
        if cursor.is_some() && !line.initial {
            self.cursor.clone_from(&cursor);
        }
        match line.kind.as_str() {
            "synced" => {
                self.telling = false;
                Ok(Some(Event::Synced { cursor }))
            }
            "bookmark" => Ok(cursor.map(|cursor| Event::Bookmark { cursor })),
            "end" => Err(()),
            kind => Ok(ChangeKind::of(kind).and_then(|kind| self.change(kind, line))),
        }
    }

    fn change(&mut self, kind: ChangeKind, line: Line) -> Option<Event> {
        let place = (line.index, line.seq);
        if !line.initial {
            if self.told.get(&line.group).is_some_and(|told| *told >= place) {
                return None;
            }
            self.told.insert(line.group, place);
        }
        Some(Event::Change(Change {
            kind,
            row: line.fields.row()?,
            previous: line.previous.and_then(Fields::row),
            group: line.group,
            index: line.index,
            seq: line.seq,
            initial: line.initial,
            cursor: line.cursor,
        }))
    }

    /// Whether the watch can go on from where it was.
    fn is_known(&self) -> bool {
        self.cursor.is_some() && !self.telling
    }
}

impl WatchRequest {
    fn path(&self, ns: &str, position: &Position) -> String {
        let mut query = Query::after(format!("{}/watch", space_path(ns)));
        if !self.prefix.is_empty() {
            query.add_bytes("prefix", &self.prefix);
        }
        if let Some(start) = &self.start {
            query.add_bytes("start", start);
        }
        if let Some(end) = &self.end {
            query.add_bytes("end", end);
        }
        match (&position.cursor, &self.since) {
            (Some(cursor), _) if position.is_known() => query.add("since", cursor),
            (_, Since::Cursor(cursor)) => query.add("since", cursor),
            (_, Since::Start) => query.add("since", "start"),
            (_, Since::Now) => query.add("since", "now"),
        }
        if position.telling {
            query.add("initial", "1");
        }
        if self.previous {
            query.add("prev", "1");
        }
        if !self.kinds.is_empty() {
            let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
            query.add("kinds", kinds.join(","));
        }
        query.path()
    }
}

impl Client {
    /// Follows the changes of a namespace. The stream ends only after an error, which is final.
    pub fn watch(
        &self,
        ns: &str,
        request: WatchRequest,
    ) -> impl Stream<Item = Result<Event, ClientError>> + Send + 'static {
        let (client, ns) = (self.clone(), ns.to_owned());
        let mut position = Position { telling: request.initial, ..Position::default() };
        stream! {
            let mut begun = false;
            let mut heard = client.inner.env.clock.now();
            loop {
                let lines = client.open_watch(&ns, &request, &mut position, begun).await;
                let now = client.inner.env.clock.now();
                let mut lines = match lines {
                    Ok((lines, restarted)) => {
                        if restarted {
                            yield Ok(Event::Restarted);
                        }
                        begun = true;
                        lines
                    }
                    Err(error) => {
                        let waited = now.since(heard);
                        let patient = request.patience.is_none_or(|patience| waited < patience);
                        if begun && patient && error.is_passing() {
                            continue;
                        }
                        yield Err(error);
                        return;
                    }
                };
                while let Ok(Some(line)) = lines.next().await {
                    heard = client.inner.env.clock.now();
                    let Ok(line) = serde_json::from_slice::<Line>(&line) else { break };
                    match position.take(line) {
                        Ok(Some(event)) => yield Ok(event),
                        Ok(None) => {}
                        Err(()) => break,
                    }
                }
                // Another endpoint may be better off.
                client.inner.routes.rest(lines.endpoint(), client.inner.env.clock.now());
                tokio::time::sleep(Duration::from_millis(limits::CLIENT_BACKOFF_MS.0)).await;
            }
        }
    }

    /// Connects anew from where the watch is; says whether it had to begin from nothing.
    async fn open_watch(
        &self,
        ns: &str,
        request: &WatchRequest,
        position: &mut Position,
        begun: bool,
    ) -> Result<(Lines, bool), ClientError> {
        let fixed = matches!(request.since, Since::Start | Since::Cursor(_)) && !request.initial;
        let restarted = begun && !position.is_known() && !fixed;
        if !position.is_known() {
            position.cursor = None;
            position.told.clear();
        }
        let path = request.path(ns, position);
        let answer = self.call(Call::read(path).header("accept", NDJSON).stream()).await?;
        if position.cursor.is_none() {
            position.cursor = answer.header(KV_CURSOR);
        }
        Ok((Lines::of(answer)?, restarted))
    }
}

//! `tetrarch kv scan|count|watch`: many keys, as they are and as they change.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::{Stream, StreamExt};
use serde_json::json;

use super::key::SpaceArgs;
use super::{Failure, print};
use crate::client::{ChangeKind, ClientError, Event, Item, ScanRequest, Since, WatchRequest};
use crate::runtime::Env;

/// Which keys.
#[derive(Debug, Args)]
pub(super) struct RangeArgs {
    /// Only keys that begin with this.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Only keys from this one on.
    #[arg(long)]
    start: Option<String>,
    /// Only keys before this one.
    #[arg(long)]
    end: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    #[command(flatten)]
    space: SpaceArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// From the last key to the first.
    #[arg(long)]
    reverse: bool,
    /// No more than this many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Without values.
    #[arg(long)]
    keys_only: bool,
    /// Folds keys that agree up to this text behind the prefix.
    #[arg(long, value_name = "TEXT")]
    delimiter: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CountArgs {
    #[command(flatten)]
    space: SpaceArgs,
    #[command(flatten)]
    range: RangeArgs,
}

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    space: SpaceArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Where it begins: `now`, `start`, or the cursor of an event.
    #[arg(long, default_value = "now")]
    since: String,
    /// First tells what is there.
    #[arg(long)]
    initial: bool,
    /// Tells what a key held before (with --json).
    #[arg(long)]
    prev: bool,
    /// Only these kinds of changes.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    kinds: Vec<ChangeKind>,
    /// Ends after this many changes.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Ends when no node answers for so long.
    #[arg(long, value_parser = super::duration)]
    patience: Option<Duration>,
}

fn kind(text: &str) -> Result<ChangeKind, String> {
    match text {
        "put" => Ok(ChangeKind::Put),
        "delete" => Ok(ChangeKind::Delete),
        "expire" => Ok(ChangeKind::Expire),
        _ => Err("give put, delete or expire".to_owned()),
    }
}

impl RangeArgs {
    fn request(self) -> ScanRequest {
        ScanRequest {
            prefix: self.prefix.into(),
            start: self.start.map(Bytes::from),
            end: self.end.map(Bytes::from),
            ..ScanRequest::default()
        }
    }
}

/// A key or value for a person: what is no text is shown with its bytes escaped.
fn shown(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), str::to_owned)
}

pub(super) async fn scan(args: ScanArgs, env: &Env) -> Result<(), Failure> {
    let request = ScanRequest {
        reverse: args.reverse,
        limit: args.limit,
        keys_only: args.keys_only,
        delimiter: args.delimiter,
        ..args.range.request()
    };
    let items = args.space.reach.client(env)?.scan(&args.space.ns, request);
    let mut items = std::pin::pin!(items);
    while let Some(item) = items.next().await {
        match (item.map_err(|error| Failure::read(&error))?, args.space.json) {
            (Item::Row(row), true) => print::json(&row.to_json()),
            (Item::Prefix(prefix), true) => print::json(&json!({"prefix": shown(&prefix)})),
            (Item::Row(row), false) => match &row.value {
                Some(value) => print::line(format!("{}\t{}", shown(&row.key), shown(value))),
                None => print::line(shown(&row.key)),
            },
            (Item::Prefix(prefix), false) => print::line(shown(&prefix)),
        }
    }
    Ok(())
}

pub(super) async fn count(args: CountArgs, env: &Env) -> Result<(), Failure> {
    let client = args.space.reach.client(env)?;
    let count = client.count(&args.space.ns, &args.range.request()).await;
    let count = count.map_err(|error| Failure::read(&error))?;
    if args.space.json {
        print::json(&json!({"count": count}));
    } else {
        print::line(count);
    }
    Ok(())
}

pub(super) async fn watch(args: WatchArgs, env: &Env) -> Result<(), Failure> {
    let range = args.range.request();
    let request = WatchRequest {
        prefix: range.prefix,
        start: range.start,
        end: range.end,
        since: match args.since.as_str() {
            "now" => Since::Now,
            "start" => Since::Start,
            cursor => Since::Cursor(cursor.to_owned()),
        },
        initial: args.initial,
        previous: args.prev,
        kinds: args.kinds,
        patience: args.patience,
    };
    let events = args.space.reach.client(env)?.watch(&args.space.ns, request);
    let shown = show_events(events, args.space.json, args.count.unwrap_or(u64::MAX));
    tokio::select! {
        ended = shown => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn show_events(
    events: impl Stream<Item = Result<Event, ClientError>>,
    as_json: bool,
    mut left: u64,
) -> Result<(), Failure> {
    let mut events = std::pin::pin!(events);
    while left > 0 {
        let Some(event) = events.next().await else { return Ok(()) };
        let event = event.map_err(|error| match &error {
            ClientError::Gone { restart: Some(cursor), .. } => Failure::failed(format!(
                "{error}\nread the keys anew (`kv scan`), then watch with --since {cursor}"
            )),
            _ => Failure::read(&error),
        })?;
        if matches!(event, Event::Change(_)) {
            left -= 1;
        }
        if as_json {
            print::json(&event_json(&event));
            continue;
        }
        match event {
            Event::Change(change) => {
                let value = change.row.value.as_deref().map(shown).unwrap_or_default();
                let line = format!("{}\t{}\t{value}", change.kind.name(), shown(&change.row.key));
                print::line(line.trim_end_matches('\t'));
            }
            Event::Synced { .. } => print::note("what was there has been told; now changes"),
            Event::Restarted => print::note("the watch had to begin anew"),
            Event::Bookmark { .. } => {}
        }
    }
    Ok(())
}

fn event_json(event: &Event) -> serde_json::Value {
    match event {
        Event::Change(change) => {
            let mut object = change.row.to_json();
            if let Some(fields) = object.as_object_mut() {
                fields.insert("type".to_owned(), json!(change.kind.name()));
                fields.insert("group".to_owned(), json!(change.group));
                fields.insert("index".to_owned(), json!(change.index));
                fields.insert("seq".to_owned(), json!(change.seq));
                fields.insert("cursor".to_owned(), json!(change.cursor));
                if change.initial {
                    fields.insert("initial".to_owned(), json!(true));
                }
                if let Some(previous) = &change.previous {
                    fields.insert("previous".to_owned(), previous.to_json());
                }
            }
            object
        }
        Event::Synced { cursor } => json!({"type": "synced", "cursor": cursor}),
        Event::Bookmark { cursor } => json!({"type": "bookmark", "cursor": cursor}),
        Event::Restarted => json!({"type": "restarted"}),
    }
}

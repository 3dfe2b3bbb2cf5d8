//! `tetrarch kv get|put|delete|patch`: one key at a time.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::key::KeyArgs;
use super::{Failure, print};
use crate::client::{Idempotency, Patch, Place, ReadMode, WriteOptions, Wrote};
use crate::runtime::Env;

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    on: KeyArgs,
    /// How it is read: linearizable, stale, session, or the greatest age such as `250ms` [default: as the
    /// namespace promises].
    #[arg(long, value_parser = read_mode)]
    read: Option<ReadMode>,
    /// Takes what the node has at hand: short for `--read stale`.
    #[arg(long, conflicts_with = "read")]
    stale: bool,
    /// What a client has seen (`KV-Session`), for `--read session`.
    #[arg(long)]
    session: Option<String>,
}

/// On what condition, and under which name, a write is sent.
#[derive(Debug, Args)]
struct WriteArgs {
    /// Only if the key has this entity tag; `*` for any.
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
    /// Only if there is no such key.
    #[arg(long, conflicts_with = "if_match")]
    if_absent: bool,
    /// Names the write, so that running the command again has no second effect.
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
    /// Of an eventual namespace: what the write replaces, as a read has shown it (`KV-Context`).
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Of an eventual namespace: on how many nodes the write must be on disk.
    #[arg(long, value_name = "NODES")]
    ack: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    #[command(flatten)]
    on: KeyArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// The value; `-` reads it from standard input.
    #[arg(required_unless_present = "file")]
    value: Option<String>,
    /// Reads the value from a file.
    #[arg(long, conflicts_with = "value")]
    file: Option<PathBuf>,
    /// The key ends by itself after this time.
    #[arg(long, value_parser = super::duration)]
    ttl: Option<Duration>,
    /// The key ends with this lease.
    #[arg(long, conflicts_with = "ttl", value_name = "ID")]
    lease: Option<String>,
    /// The value's media type.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    on: KeyArgs,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub(super) struct PatchArgs {
    #[command(flatten)]
    on: KeyArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// Adds to a number.
    #[arg(long, group = "how", value_name = "N", allow_hyphen_values = true)]
    add: Option<String>,
    /// Keeps the greater number.
    #[arg(long, group = "how", value_name = "N", allow_hyphen_values = true)]
    max: Option<String>,
    /// Keeps the smaller number.
    #[arg(long, group = "how", value_name = "N", allow_hyphen_values = true)]
    min: Option<String>,
    /// Adds text to the end.
    #[arg(long, group = "how", value_name = "TEXT")]
    append: Option<String>,
    /// A JSON Merge Patch (RFC 7396).
    #[arg(long, group = "how", value_name = "JSON")]
    merge: Option<String>,
    /// A JSON Patch (RFC 6902).
    #[arg(long, group = "how", value_name = "JSON")]
    json_patch: Option<String>,
}

fn read_mode(text: &str) -> Result<ReadMode, String> {
    match text {
        "linearizable" => Ok(ReadMode::Linearizable),
        "stale" => Ok(ReadMode::Stale),
        "session" => Ok(ReadMode::Session),
        age => super::duration(age).map(ReadMode::Bounded).map_err(|_why| {
            "give linearizable, stale, session, or an age such as 250ms".to_owned()
        }),
    }
}

impl WriteArgs {
    fn options(&self) -> WriteOptions {
        let idempotency = self.idempotency_key.clone();
        WriteOptions {
            if_match: self.if_match.clone(),
            if_none_match: self.if_absent.then(|| "*".to_owned()),
            context: self.context.clone(),
            ack: self.ack,
            idempotency: idempotency.map_or(Idempotency::Generated, Idempotency::Key),
            ..WriteOptions::default()
        }
    }
}

pub(super) async fn get(args: GetArgs, env: &Env) -> Result<(), Failure> {
    let mode = if args.stale { ReadMode::Stale } else { args.read.unwrap_or_default() };
    let (space, key) = (&args.on.space, args.on.bytes()?);
    let client = space.reach.client(env)?;
    if let Some(session) = &args.session {
        client.adopt_session(session);
    }
    if space.json {
        let row = client.get_row(&space.ns, &key, mode).await;
        let row = row.map_err(|error| Failure::read(&error))?;
        print::json(&row.ok_or_else(|| args.on.missing())?.to_json());
        return Ok(());
    }
    let got = client.get(&space.ns, &key, mode).await.map_err(|error| Failure::read(&error))?;
    let got = got.ok_or_else(|| args.on.missing())?;
    if let Some(all) = &got.siblings {
        let context = got.context.unwrap_or_default();
        print::note(format!(
            "{} values stand beside each other; put one with --context {context} to replace them",
            all.len()
        ));
    }
    print::bytes(&got.value);
    Ok(())
}

pub(super) async fn put(args: PutArgs, env: &Env) -> Result<(), Failure> {
    let (space, key) = (&args.on.space, args.on.bytes()?);
    let value = match (args.value, args.file) {
        (_, Some(path)) => {
            std::fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?
        }
        (Some(text), None) if text == "-" => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
                .map_err(|error| Failure::failed(format!("standard input: {error}")))?;
            bytes
        }
        (text, None) => text.unwrap_or_default().into_bytes(),
    };
    let options = WriteOptions {
        ttl: args.ttl,
        lease: args.lease,
        content_type: args.content_type,
        ..args.write.options()
    };
    let client = space.reach.client(env)?;
    let wrote = client.put_with(&space.ns, &key, Bytes::from(value), &options).await;
    let wrote = wrote.map_err(|error| Failure::write(&error))?;
    if space.json {
        show(&args.on, &wrote, "created", !wrote.existed);
    }
    Ok(())
}

pub(super) async fn delete(args: DeleteArgs, env: &Env) -> Result<(), Failure> {
    let (space, key) = (&args.on.space, args.on.bytes()?);
    let client = space.reach.client(env)?;
    let wrote = client.delete_with(&space.ns, &key, &args.write.options()).await;
    let wrote = wrote.map_err(|error| Failure::write(&error))?;
    if space.json {
        show(&args.on, &wrote, "existed", wrote.existed);
    }
    if wrote.existed { Ok(()) } else { Err(args.on.missing()) }
}

pub(super) async fn patch(args: PatchArgs, env: &Env) -> Result<(), Failure> {
    let patch = args.patch()?;
    let (space, key) = (&args.on.space, args.on.bytes()?);
    let client = space.reach.client(env)?;
    let wrote = client.patch_with(&space.ns, &key, &patch, &args.write.options()).await;
    let wrote = wrote.map_err(|error| Failure::write(&error))?;
    let value = wrote.value.clone().unwrap_or_default();
    if space.json {
        show(&args.on, &wrote, "value", String::from_utf8_lossy(&value));
    } else {
        print::bytes(&value);
        print::line("");
    }
    Ok(())
}

impl PatchArgs {
    fn patch(&self) -> Result<Patch, Failure> {
        let parse = |text: &String| {
            serde_json::from_str::<Value>(text)
                .map_err(|error| Failure::usage(format!("\"{text}\" is not JSON: {error}")))
        };
        // Text, since JSON readers round long numbers.
        let number = |text: &String| Value::String(text.clone());
        Ok(match self {
            Self { add: Some(text), .. } => Patch::Add(number(text)),
            Self { max: Some(text), .. } => Patch::Max(number(text)),
            Self { min: Some(text), .. } => Patch::Min(number(text)),
            Self { append: Some(text), .. } => Patch::Append(text.clone()),
            Self { merge: Some(text), .. } => Patch::Merge(parse(text)?),
            Self { json_patch: Some(text), .. } => Patch::Json(parse(text)?),
            _ => return Err(Failure::usage("say how: --add, --max, --min, --append, --merge …")),
        })
    }
}

fn show(on: &KeyArgs, wrote: &Wrote, name: &str, value: impl serde::Serialize) {
    let Place { group, index, served_by } = wrote.place;
    let (key, key64) = crate::client::to_text(&on.bytes().unwrap_or_default());
    let mut answer = json!({name: value, "etag": wrote.etag, "revision": wrote.revision,
        "replayed": wrote.replayed, "group": group, "index": index, "served_by": served_by});
    if let Some(fields) = answer.as_object_mut() {
        if let Some(receipt) = &wrote.receipt {
            fields.insert("receipt".to_owned(), json!(receipt));
            fields.insert("context".to_owned(), json!(wrote.context));
        }
        let name = if key.is_some() { "key" } else { "key64" };
        fields.insert(name.to_owned(), json!(key.or(key64)));
    }
    print::json(&answer);
}

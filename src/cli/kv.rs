//! `tetrarch kv get|put|delete`: one key at a time.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::{Failure, Reach, print};
use crate::client::{Place, ReadMode};
use crate::runtime::Env;

/// Whom to ask for which key.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    reach: Reach,
    /// The namespace.
    #[arg(long, default_value = "default")]
    ns: String,
    /// Answers as one JSON line.
    #[arg(long)]
    json: bool,
    /// The key.
    key: String,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    on: KeyArgs,
    /// Takes what the node has at hand, without asking the group.
    #[arg(long)]
    stale: bool,
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    #[command(flatten)]
    on: KeyArgs,
    /// The value; `-` reads it from standard input.
    #[arg(required_unless_present = "file")]
    value: Option<String>,
    /// Reads the value from a file.
    #[arg(long, conflicts_with = "value")]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    on: KeyArgs,
}

pub(super) async fn get(args: GetArgs, env: &Env) -> Result<(), Failure> {
    let KeyArgs { reach, ns, json, key } = args.on;
    let mode = if args.stale { ReadMode::Stale } else { ReadMode::Linearizable };
    let got = reach.client(env)?.get(&ns, key.as_bytes(), mode).await;
    let Some(got) = got.map_err(|error| Failure::read(&error))? else {
        return Err(Failure::not_found(format!("there is no key \"{key}\" in namespace {ns}")));
    };
    if !json {
        print::bytes(&got.value);
        return Ok(());
    }
    let mut answer = super::records::value_json(&got.value);
    add(&mut answer, "key", json!(key));
    add(&mut answer, "etag", json!(got.etag));
    add(&mut answer, "read", json!(got.read));
    add_place(&mut answer, got.place);
    print::json(&answer);
    Ok(())
}

pub(super) async fn put(args: PutArgs, env: &Env) -> Result<(), Failure> {
    let KeyArgs { reach, ns, json, key } = args.on;
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
    let wrote = reach.client(env)?.put(&ns, key.as_bytes(), Bytes::from(value)).await;
    let wrote = wrote.map_err(|error| Failure::write(&error))?;
    if json {
        let mut answer = json!({"key": key, "created": !wrote.existed, "etag": wrote.etag});
        add_place(&mut answer, wrote.place);
        print::json(&answer);
    }
    Ok(())
}

pub(super) async fn delete(args: DeleteArgs, env: &Env) -> Result<(), Failure> {
    let KeyArgs { reach, ns, json, key } = args.on;
    let wrote = reach.client(env)?.delete(&ns, key.as_bytes()).await;
    let wrote = wrote.map_err(|error| Failure::write(&error))?;
    if json {
        let mut answer = json!({"key": key, "existed": wrote.existed});
        add_place(&mut answer, wrote.place);
        print::json(&answer);
    }
    if !wrote.existed {
        return Err(Failure::not_found(format!("there is no key \"{key}\" in namespace {ns}")));
    }
    Ok(())
}

fn add(answer: &mut serde_json::Value, name: &str, value: serde_json::Value) {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

fn add_place(answer: &mut serde_json::Value, place: Place) {
    add(answer, "group", json!(place.group));
    add(answer, "index", json!(place.index));
    add(answer, "served_by", json!(place.served_by));
}

//! `tetrarch kv export` and `kv verify`: many keys, read back.
//!
//! Promises: export writes records in the order of its keys, or the whole namespace as of one moment; verify asks **every** endpoint for
//! every acknowledged key, without learning leaders, and fails on any difference.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::import::{open, progress};
use super::records::{Format, bytes_of, record_json};
use super::{Failure, Reach, journal, print};
use crate::client::{Client, Item, ReadMode, ScanRequest};
use crate::runtime::{Env, limits};
use crate::wire::Sibling;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    reach: Reach,
    /// The namespace.
    #[arg(long, default_value = "default")]
    ns: String,
    /// Only these keys: one a line, or NDJSON with `key` or `key_b64`; `-` is standard input.
    /// Without it, all keys.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Of all keys only those that begin with this.
    #[arg(long, default_value = "", conflicts_with = "keys")]
    prefix: String,
    /// How records are written: ndjson or tsv.
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    /// Requests under way at a time.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    reach: Reach,
    /// The namespace.
    #[arg(long, default_value = "default")]
    ns: String,
    /// The journal of an import.
    #[arg(long, value_name = "FILE")]
    acked: PathBuf,
    /// Requests under way at a time, at each endpoint.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Prints the counts as JSON, one line for each endpoint.
    #[arg(long)]
    json: bool,
}

fn key_of(line: &[u8]) -> Result<Bytes, Failure> {
    if let Ok(object @ Value::Object(_)) = serde_json::from_slice::<Value>(line) {
        return bytes_of(&object, "key").map_err(Failure::usage);
    }
    Ok(Bytes::copy_from_slice(line))
}

pub(super) async fn export(args: ExportArgs, env: &Env) -> Result<(), Failure> {
    if args.format == Format::Deb822 {
        return Err(Failure::usage("export writes ndjson or tsv"));
    }
    let client = args.reach.client(env)?;
    let mut written = Written { format: args.format, unfit: 0 };
    let missing = match &args.keys {
        Some(path) => export_named(&client, &args, path, &mut written).await?,
        None => export_all(&client, &args, &mut written).await.map(|()| 0)?,
    };
    if written.unfit > 0 {
        let unfit = written.unfit;
        let text = format!("{unfit} records have tabs or newlines; use --format ndjson for them");
        return Err(Failure::failed(text));
    }
    if missing > 0 {
        return Err(Failure::not_found(format!("{missing} keys are not there")));
    }
    Ok(())
}

struct Written {
    format: Format,
    unfit: u64,
}

impl Written {
    fn write(&mut self, key: &[u8], value: &[u8]) {
        if self.format == Format::Ndjson {
            print::json(&record_json(key, value));
        } else if key.iter().any(|b| b"\t\r\n".contains(b)) || value.contains(&b'\n') {
            self.unfit += 1;
        } else {
            print::bytes(&[key, b"\t", value, b"\n"].concat());
        }
    }
}

async fn export_all(
    client: &Client,
    args: &ExportArgs,
    written: &mut Written,
) -> Result<(), Failure> {
    let request = ScanRequest { prefix: args.prefix.clone().into(), ..ScanRequest::default() };
    let bar = progress(None);
    let mut items = std::pin::pin!(client.scan_stream(&args.ns, request));
    while let Some(item) = items.next().await {
        if let Item::Row(row) = item.map_err(|error| Failure::read(&error))? {
            single(&row.key, row.siblings.as_ref())?;
            written.write(&row.key, row.value.as_deref().unwrap_or_default());
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// A record holds one value: of several, none may be left out without a word.
fn single(key: &[u8], siblings: Option<&Vec<Sibling>>) -> Result<(), Failure> {
    let Some(all) = siblings else { return Ok(()) };
    let (key, count) = (String::from_utf8_lossy(key), all.len());
    Err(Failure::failed(format!(
        "key \"{key}\" has {count} values beside each other: merge them first (kv put --context), or take \
         all there is with `tetrarch ns export`"
    )))
}

/// Returns how many of the keys are not there.
async fn export_named(
    client: &Client,
    args: &ExportArgs,
    keys: &Path,
    written: &mut Written,
) -> Result<u64, Failure> {
    let lines = open(keys)?.split(b'\n');
    let concurrency = args.concurrency.clamp(1, limits::IMPORT_CONCURRENCY_MAX);
    let reads = stream::iter(lines.filter(|l| !l.as_ref().is_ok_and(Vec::is_empty))).map(
        async |line| -> Result<_, Failure> {
            let line = line.map_err(|e| Failure::file("read", keys, &e))?;
            let key = key_of(line.strip_suffix(b"\r").unwrap_or(&line))?;
            let got = client.get(&args.ns, &key, ReadMode::Usual).await;
            Ok((key, got.map_err(|error| Failure::read(&error))?))
        },
    );
    let mut reads = std::pin::pin!(reads.buffered(concurrency));
    let mut missing = 0_u64;
    while let Some(read) = reads.next().await {
        match read? {
            (key, Some(got)) => {
                single(&key, got.siblings.as_ref())?;
                written.write(&key, &got.value);
            }
            (_, None) => missing += 1,
        }
    }
    Ok(missing)
}

pub(super) async fn verify(args: VerifyArgs, env: &Env) -> Result<(), Failure> {
    let acked =
        journal::load(&args.acked).map_err(|error| Failure::file("read", &args.acked, &error))?;
    let mut wrong = 0;
    for endpoint in &args.reach.endpoints {
        let client = args.reach.client_at(env, endpoint)?;
        let bar = progress(u64::try_from(acked.len()).ok());
        let (client, bar, ns) = (&client, &bar, &args.ns);
        let concurrency = args.concurrency.clamp(1, limits::IMPORT_CONCURRENCY_MAX);
        let mut checks = std::pin::pin!(
            stream::iter(&acked)
                .map(async |(key, hash)| {
                    let got = client.get(ns, key, ReadMode::Usual).await;
                    bar.inc(1);
                    (key, *hash, got)
                })
                .buffer_unordered(concurrency)
        );
        let (mut right, mut missing, mut different, mut failed) = (0_u64, 0_u64, 0_u64, 0_u64);
        while let Some((key, hash, got)) = checks.next().await {
            let (count, what) = match got {
                Ok(Some(got)) if journal::hash(&got.value) == hash => (&mut right, None),
                Ok(Some(_)) => (&mut different, Some("has another value".to_owned())),
                Ok(None) => (&mut missing, Some("is not there".to_owned())),
                Err(error) => (&mut failed, Some(format!("could not be read: {error}"))),
            };
            *count += 1;
            if let Some(what) = what
                && missing + different + failed <= 20
            {
                let key = String::from_utf8_lossy(key);
                bar.suspend(|| print::note(format!("{endpoint}: \"{key}\" {what}")));
            }
        }
        bar.finish_and_clear();
        if args.json {
            print::json(&json!({"endpoint": endpoint, "right": right, "missing": missing,
                "different": different, "unreadable": failed}));
        } else {
            print::line(format!(
                "{endpoint}: {right} of {} right, {missing} missing, {different} different, \
                 {failed} unreadable",
                acked.len()
            ));
        }
        wrong += missing + different + failed;
    }
    if wrong == 0 { Ok(()) } else { Err(Failure::failed(format!("{wrong} checks failed"))) }
}

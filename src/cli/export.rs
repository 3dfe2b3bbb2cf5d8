//! `tetrarch kv export` and `kv verify`: many keys, read back.
//!
//! Promises: export writes records in the order of its keys; verify asks **every** endpoint for
//! every acknowledged key, without learning leaders, and fails on any difference.

use std::io::BufRead;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::import::{open, progress};
use super::records::{Format, bytes_of, record_json};
use super::{Failure, Reach, journal, print};
use crate::client::ReadMode;
use crate::runtime::{Env, limits};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    reach: Reach,
    /// The namespace.
    #[arg(long, default_value = "default")]
    ns: String,
    /// The keys: one a line, or NDJSON with `key` or `key_b64`; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
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
    let lines = open(&args.keys)?.split(b'\n');
    let concurrency = args.concurrency.clamp(1, limits::IMPORT_CONCURRENCY_MAX);
    let (client, ns) = (&client, &args.ns);
    let reads = stream::iter(lines.filter(|l| !l.as_ref().is_ok_and(Vec::is_empty))).map(
        async |line| -> Result<_, Failure> {
            let line = line.map_err(|e| Failure::file("read", &args.keys, &e))?;
            let key = key_of(line.strip_suffix(b"\r").unwrap_or(&line))?;
            let got = client.get(ns, &key, ReadMode::Linearizable).await;
            Ok((key, got.map_err(|error| Failure::read(&error))?))
        },
    );
    let mut reads = std::pin::pin!(reads.buffered(concurrency));
    let (mut missing, mut unfit) = (0_u64, 0_u64);
    while let Some(read) = reads.next().await {
        let (key, got) = read?;
        let Some(got) = got else {
            missing += 1;
            continue;
        };
        if args.format == Format::Ndjson {
            print::json(&record_json(&key, &got.value));
        } else if key.iter().any(|b| b"\t\r\n".contains(b)) || got.value.contains(&b'\n') {
            unfit += 1;
        } else {
            print::bytes(&[&key[..], b"\t", &got.value, b"\n"].concat());
        }
    }
    if unfit > 0 {
        let text = format!("{unfit} records have tabs or newlines; use --format ndjson for them");
        return Err(Failure::failed(text));
    }
    if missing > 0 {
        return Err(Failure::not_found(format!("{missing} keys are not there")));
    }
    Ok(())
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
                    let got = client.get(ns, key, ReadMode::Linearizable).await;
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

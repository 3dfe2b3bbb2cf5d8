//! `tetrarch bench record`: what is asked of a live namespace, as a file to be driven through each mode.
//!
//! Promises: the namespace and its clients notice nothing; no value is kept; the file ends with the first of
//! its bounds, or at Ctrl-C or SIGTERM, with a line that says why. A file that is there is not overwritten.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::{Failure, duration, print};
use super::stopped;
use crate::bench::store;
use crate::bench::trace::{Bounds, record};
use crate::runtime::{Env, limits};

/// A recording.
#[derive(Debug, Args)]
pub(in crate::cli) struct RecordArgs {
    /// The namespace.
    #[arg(long, default_value = "default", env = "TETRARCH_NAMESPACE")]
    ns: String,
    /// Base URLs of nodes, separated by commas or given several times: each records what it is asked
    /// itself, so name all that clients ask.
    #[arg(long = "endpoint", env = "TETRARCH_ENDPOINTS", value_delimiter = ',')]
    #[arg(default_value = "http://127.0.0.1:7101")]
    endpoints: Vec<String>,
    /// The file, one request in JSON a line.
    #[arg(long, default_value = "trace.ndjson", value_name = "FILE")]
    out: PathBuf,
    /// For how long; an hour at most.
    #[arg(long, default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// Requests of each node, at most.
    #[arg(long, default_value_t = limits::TRACE_RECORDS_MAX)]
    records: u64,
    /// Bytes of the file, at most.
    #[arg(long, default_value_t = limits::BENCH_TRACE_BYTES_DEFAULT)]
    bytes: u64,
    /// Keys, clients and tags stand as hashes: what is alike stays alike, and nothing is readable. The
    /// nodes hash, with a text made by chance that is kept nowhere.
    #[arg(long)]
    hash_keys: bool,
    /// Prints what was recorded as JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(args: RecordArgs, env: &Env) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
    let clients =
        store::clients(&args.endpoints, env).map_err(|error| Failure::usage(error.to_string()))?;
    let first = clients.first().ok_or_else(|| Failure::usage("--endpoint names no node"))?;
    let space = first.namespace(&args.ns).await.map_err(|error| failed(&error))?;
    let mode = space.data_type.unwrap_or(space.mode);
    let file = OpenOptions::new().write(true).create_new(true).open(&args.out);
    let file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} is there already: give another --out", args.out.display()))
        }
        _ => Failure::file("written", &args.out, &error),
    })?;
    let mut file = BufWriter::new(file);
    let salt = args.hash_keys.then(|| format!("{:016x}{:016x}", env.rng.next(), env.rng.next()));
    let (lasts, records, bytes) = (args.duration, args.records, args.bytes);
    let bounds = Bounds { lasts, records, bytes, salt };
    print::note(format!(
        "Recording {} ({mode}) at {} nodes for {} s; Ctrl-C ends it",
        args.ns,
        clients.len(),
        lasts.as_secs()
    ));
    let told = record(&clients, (&args.ns, &mode), &bounds, &mut file, stopped()).await;
    let told = told.map_err(|error| {
        remove_if_empty(&mut file, &args.out);
        failed(&error)
    })?;
    let out = args.out.display().to_string();
    if args.json {
        let (records, missed, end) = (told.records, told.missed, told.end);
        print::json(&json!({ "out": out, "records": records, "missed": missed, "end": end }));
    } else {
        print::line(format!("{out}: {} requests, {} missed", told.records, told.missed));
        print::note(format!("It ended by: {}. Drive it: tetrarch bench replay {out}", told.end));
    }
    Ok(())
}

/// A recording that never began leaves its name to the next try.
#[allow(clippy::disallowed_methods, reason = "a file of the user's, not a node's")]
fn remove_if_empty(file: &mut BufWriter<File>, path: &Path) {
    let is_empty = file.flush().and_then(|()| file.get_ref().metadata());
    if is_empty.is_ok_and(|data| data.len() == 0) {
        std::fs::remove_file(path).ok();
    }
}

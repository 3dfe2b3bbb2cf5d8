//! `tetrarch kv txn|batch`: several keys at once or none, and many writes fast.

use std::io::{BufRead, Read};
use std::path::PathBuf;

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::import::{open, progress};
use super::key::SpaceArgs;
use super::{Failure, print};
use crate::client::{BatchOp, Idempotency, Txn};
use crate::runtime::Env;
use crate::wire::{Outcome, TxnRequest};

#[derive(Debug, Args)]
pub(super) struct TxnArgs {
    #[command(flatten)]
    space: SpaceArgs,
    /// The transaction in JSON: `{"if": […], "then": […], "else": […]}`; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Names the transaction, so that running the command again has no second effect.
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct BatchArgs {
    #[command(flatten)]
    space: SpaceArgs,
    /// One operation in JSON a line, such as `{"put": "k", "value": "v"}`; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Prints only the results of operations that failed.
    #[arg(long)]
    quiet: bool,
    /// Names the operations, so that running the command again with the same ones has no second effect.
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
}

pub(super) async fn txn(args: TxnArgs, env: &Env) -> Result<(), Failure> {
    let mut text = String::new();
    let read = open(&args.file)?.read_to_string(&mut text);
    read.map_err(|error| Failure::file("read", &args.file, &error))?;
    let request: TxnRequest = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("this is no transaction: {error}")))?;
    let client = args.space.reach.client(env)?;
    let idempotency = args.idempotency_key.map_or(Idempotency::Generated, Idempotency::Key);
    let txn = Txn::from(request).idempotency(idempotency);
    let done = client.txn(&args.space.ns, &txn).await;
    let done = done.map_err(|error| Failure::write(&error))?;
    let results: Vec<Value> = done.results.iter().map(|result| json!(result)).collect();
    if args.space.json {
        print::json(&json!(done));
        return Ok(());
    }
    let which = if done.succeeded { "the conditions held" } else { "a condition did not hold" };
    print::line(format!("{which}; revision {}", done.revision));
    for result in results {
        print::json(&result);
    }
    Ok(())
}

pub(super) async fn batch(args: BatchArgs, env: &Env) -> Result<(), Failure> {
    let input = open(&args.file)?;
    let client = args.space.reach.client(env)?;
    let bad = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let broken = std::sync::Arc::clone(&bad);
    let lines = (1_u64..).zip(input.lines()).map_while(move |(number, line)| {
        let line = line.map_err(|error| error.to_string());
        let parsed = line.and_then(|line| match line.trim() {
            "" => Ok(None),
            text => serde_json::from_str::<BatchOp>(text).map(Some).map_err(|e| e.to_string()),
        });
        match parsed {
            Ok(op) => Some(op),
            Err(reason) => {
                *broken.lock() = Some(format!("line {number}: {reason}"));
                None
            }
        }
    });
    let ops = stream::iter(lines.flatten());
    let bar = progress(None);
    let (mut failed, mut unknown) = (0_u64, 0_u64);
    let idempotency = args.idempotency_key.map_or(Idempotency::Generated, Idempotency::Key);
    let mut results = std::pin::pin!(client.batch_with(&args.space.ns, ops, idempotency));
    while let Some(result) = results.next().await {
        let result = result.map_err(|error| Failure::write(&error))?;
        bar.inc(1);
        let is_bad = result.status >= 400;
        failed += u64::from(is_bad);
        unknown += u64::from(is_bad && result.outcome == Outcome::Unknown);
        if is_bad || (args.space.json && !args.quiet) {
            bar.suspend(|| print::json(&json!(result)));
        }
    }
    let done = bar.position();
    bar.finish_and_clear();
    if let Some(reason) = bad.lock().take() {
        return Err(Failure::failed(format!(
            "{reason}\nthe {done} operations before it were sent, those after it were not"
        )));
    }
    if !args.space.json {
        print::line(format!("{} done, {failed} failed", done - failed));
    }
    match (failed, unknown) {
        (0, _) => Ok(()),
        (failed, 0) => Err(Failure::failed(format!("{failed} of {done} operations failed"))),
        (_, unknown) => Err(Failure {
            code: Failure::UNKNOWN,
            text: format!("{unknown} of {done} operations are of unknown outcome"),
        }),
    }
}

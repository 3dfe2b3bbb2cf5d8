//! `tetrarch ns export|import|bridge`: copies of eventual namespaces, by file or straight.
//!
//! Promises: a file of the name that was asked for is there only when all of the copy is in it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use futures_util::Stream;
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::spaces::Asked;
use super::{Failure, bridge, print};
use crate::client::{Client, Copy};
use crate::runtime::Env;
use crate::wire::ImportView;

/// Bytes of a file that are read at a time.
const READ_BYTES: usize = 256 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum CopyCommand {
    /// Writes a copy of an eventual namespace to a file, or of what another replica lacks of it.
    Export(ExportArgs),
    /// Takes a copy in, of any replica in any cluster of a namespace of the same type.
    Import {
        #[command(flatten)]
        asked: Asked,
        /// The namespace.
        ns: String,
        /// The file; `-` is standard input.
        file: PathBuf,
    },
    /// Keeps an eventual namespace of two clusters in step, both ways, until it is stopped.
    Bridge(bridge::BridgeArgs),
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    asked: Asked,
    /// Leaves out what this vector covers (`KV-Vector`, or what an import has printed).
    #[arg(long, value_name = "VECTOR", conflicts_with = "since_of")]
    since: Option<String>,
    /// Leaves out what the namespace of that name has at this node of another cluster.
    #[arg(long, value_name = "URL")]
    since_of: Option<String>,
    /// The namespace.
    ns: String,
    /// The file; `-` is standard output.
    file: PathBuf,
}

pub(super) async fn run(command: CopyCommand, env: &Env) -> Result<(), Failure> {
    match command {
        CopyCommand::Export(args) => export(args, env).await,
        CopyCommand::Import { asked, ns, file } => {
            let client = asked.reach.client(env)?;
            let came = client.import_copy(&ns, pieces(&file).await?).await;
            show(&came.map_err(|error| Failure::write(&error))?, asked.json);
            Ok(())
        }
        CopyCommand::Bridge(args) => bridge::run(args, env).await,
    }
}

async fn export(args: ExportArgs, env: &Env) -> Result<(), Failure> {
    let reach = &args.asked.reach;
    let read = |error| Failure::read(&error);
    let since = match (args.since, &args.since_of) {
        (None, Some(other)) => {
            let other = reach.client_at(env, other)?;
            Some(other.vector(&args.ns).await.map_err(read)?.vector)
        }
        (since, _) => since,
    };
    let client: Client = reach.client(env)?;
    let copy = client.export_copy(&args.ns, since.as_deref()).await.map_err(read)?;
    let bytes = if args.file == Path::new("-") {
        pour(copy, &mut tokio::io::stdout(), &args.file).await?
    } else {
        let mut part = args.file.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let failed = |error| Failure::file("written", &part, &error);
        let mut file = File::create(&part).await.map_err(failed)?;
        let bytes = pour(copy, &mut file, &part).await?;
        file.sync_all().await.map_err(failed)?;
        tokio::fs::rename(&part, &args.file)
            .await
            .map_err(|error| Failure::file("put in its place", &args.file, &error))?;
        bytes
    };
    if args.asked.json {
        print::note(json!({"bytes": bytes}));
    } else {
        print::note(format!("{bytes} bytes"));
    }
    Ok(())
}

async fn pour(
    mut copy: Copy,
    to: &mut (impl AsyncWrite + Unpin),
    path: &Path,
) -> Result<u64, Failure> {
    let mut bytes = 0;
    while let Some(piece) = copy.next().await.map_err(|error| Failure::read(&error))? {
        to.write_all(&piece).await.map_err(|error| Failure::file("written", path, &error))?;
        bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
    }
    to.flush().await.map_err(|error| Failure::file("written", path, &error))?;
    Ok(bytes)
}

async fn pieces(
    path: &Path,
) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + 'static, Failure> {
    let file: Box<dyn AsyncRead + Send + Unpin> = if path == Path::new("-") {
        Box::new(tokio::io::stdin())
    } else {
        let file = File::open(path).await;
        Box::new(file.map_err(|error| Failure::file("read", path, &error))?)
    };
    Ok(ReaderStream::with_capacity(file, READ_BYTES))
}

fn show(came: &ImportView, as_json: bool) {
    if as_json {
        return print::json(&json!(came));
    }
    let waiting = match came.waiting {
        0 => String::new(),
        waiting => format!(", {waiting} wait for others or for their time"),
    };
    print::line(format!("{} writes were news, {} were known{waiting}", came.applied, came.known));
    print::line(format!("vector {}", came.vector));
}

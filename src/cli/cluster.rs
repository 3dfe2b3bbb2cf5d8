//! `tetrarch cluster status|replace`: who leads what, and a node taking over another's replicas.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Reach, grid, print};
use crate::client::Client;
use crate::runtime::Env;
use crate::wire::ReplaceRequest;

/// Width when there is no terminal to ask.
const WIDTH: usize = 100;

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Draws nodes and groups with their leaders.
    Status {
        #[command(flatten)]
        reach: Reach,
        /// Draws anew each second until interrupted.
        #[arg(long)]
        watch: bool,
        /// Prints what the node answered, one JSON line each time.
        #[arg(long)]
        json: bool,
    },
    /// Lets a node that has joined take over all replicas of another.
    Replace {
        #[command(flatten)]
        reach: Reach,
        /// The node that leaves.
        #[arg(value_name = "OLD")]
        old: u64,
        /// The node that takes over; it runs already, started with `serve --join`.
        #[arg(long = "with", value_name = "NEW")]
        new: u64,
        /// Prints the answer as one JSON line.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: ClusterCommand, env: &Env) -> Result<(), Failure> {
    match command {
        ClusterCommand::Status { reach, watch, json } => {
            let client = reach.client(env)?;
            if watch { watch_status(&client, json).await } else { status(&client, json).await }
        }
        ClusterCommand::Replace { reach, old, new, json } => {
            let reply = reach.client(env)?.replace(&ReplaceRequest { old, new }).await;
            let reply = reply.map_err(|error| Failure::write(&error))?;
            if json {
                print::json(&json!({"epoch": reply.epoch, "old": old, "new": new}));
            } else {
                print::line(format!(
                    "node {new} takes over from node {old} (epoch {}); `tetrarch cluster status \
                     --watch` shows how far it is",
                    reply.epoch
                ));
            }
            Ok(())
        }
    }
}

fn width() -> usize {
    let columns = comfy_table::Table::new().width();
    columns.map_or(WIDTH, usize::from)
}

async fn picture(client: &Client, json: bool) -> Result<String, Failure> {
    let view = client.cluster().await.map_err(|error| Failure::read(&error))?;
    if json {
        let text = serde_json::to_string(&view);
        return text.map_err(|error| Failure::failed(error.to_string()));
    }
    Ok(grid::draw(&view, width()).trim_end().to_owned())
}

async fn status(client: &Client, json: bool) -> Result<(), Failure> {
    print::line(picture(client, json).await?);
    Ok(())
}

async fn watch_status(client: &Client, json: bool) -> Result<(), Failure> {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = second.tick() => {}
        }
        // While no node answers there is something to watch too.
        let text = picture(client, json).await.unwrap_or_else(|failure| failure.text);
        let clear = if json { "" } else { "\x1b[2J\x1b[H" };
        print::line(format!("{clear}{text}"));
    }
}

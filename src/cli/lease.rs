//! `tetrarch lease`: leases, made, looked at, kept, ended.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::spaces::{Asked, seconds};
use super::{Failure, print};
use crate::client::ClientError;
use crate::runtime::Env;
use crate::wire::LeaseView;

#[derive(Debug, Subcommand)]
pub(super) enum LeaseCommand {
    /// Makes a lease and prints its id.
    Grant {
        #[command(flatten)]
        asked: Asked,
        /// How long it lives without being renewed.
        #[arg(long, default_value = "30s", value_parser = super::duration)]
        ttl: Duration,
        /// A key of namespace `default` that will end with it in the same moment.
        #[arg(long, value_name = "KEY")]
        near: Option<String>,
    },
    /// Shows what is known of a lease.
    Get {
        #[command(flatten)]
        asked: Asked,
        /// The lease.
        id: String,
    },
    /// Lets it live for its whole time again.
    Renew {
        #[command(flatten)]
        asked: Asked,
        /// The lease.
        id: String,
    },
    /// Renews it until interrupted, or until it is lost.
    KeepAlive {
        #[command(flatten)]
        asked: Asked,
        /// The lease.
        id: String,
    },
    /// Ends it with all that it holds.
    Revoke {
        #[command(flatten)]
        asked: Asked,
        /// The lease.
        id: String,
    },
}

fn failure(error: &ClientError) -> Failure {
    if error.is_missing_lease() {
        return Failure::not_found("there is no such lease (any more)");
    }
    Failure::write(error)
}

pub(super) async fn run(command: LeaseCommand, env: &Env) -> Result<(), Failure> {
    match command {
        LeaseCommand::Grant { asked, ttl, near } => {
            let near = near.as_deref().map(|key| ("default", key));
            let lease = asked.reach.client(env)?.grant_lease(ttl, near).await;
            let lease = lease.map_err(|error| failure(&error))?;
            if asked.json {
                print::json(&json!(lease));
            } else {
                print::line(&lease.id);
            }
        }
        LeaseCommand::Get { asked, id } => {
            let lease = asked.reach.client(env)?.lease(&id).await;
            show(&lease.map_err(|error| failure(&error))?, asked.json);
        }
        LeaseCommand::Renew { asked, id } => {
            let lease = asked.reach.client(env)?.renew_lease(&id).await;
            show(&lease.map_err(|error| failure(&error))?, asked.json);
        }
        LeaseCommand::KeepAlive { asked, id } => {
            let keeper = asked.reach.client(env)?.keep_lease_of(&id).await;
            let keeper = keeper.map_err(|error| failure(&error))?;
            print::note(format!("keeping lease {id}; Ctrl-C leaves it to end by itself"));
            tokio::select! {
                lost = keeper.lost() => return Err(Failure::failed(lost.to_string())),
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        LeaseCommand::Revoke { asked, id } => {
            let keys = asked.reach.client(env)?.revoke_lease(&id).await;
            let keys = keys.map_err(|error| failure(&error))?;
            if asked.json {
                print::json(&json!({"id": id, "keys": keys}));
            }
        }
    }
    Ok(())
}

fn show(lease: &LeaseView, as_json: bool) {
    if as_json {
        return print::json(&json!(lease));
    }
    let left = lease.expires_in_ms.map_or_else(|| "an unknown part".to_owned(), seconds);
    print::line(format!("{}: lives {left} of {}", lease.id, seconds(lease.ttl_ms)));
}

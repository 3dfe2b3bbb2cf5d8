//! `tetrarch ns bridge`: keeps an eventual namespace of two clusters in step.
//!
//! ```text
//!   vector of A, vector of B --> what B lacks: export at A, straight into import at B
//!                            --> what A lacks: export at B, straight into import at A
//! ```
//!
//! Promises: both clusters take writes all the time; nothing goes round in circles, since each side
//! is sent only what its vector lacks; nothing is kept here, so that a bridge may be stopped, started,
//! or run twice at any time. A side that cannot be reached is tried again, at its other nodes, for as
//! long as it takes. Relies on copies for everything that is about merging.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::spaces::Asked;
use super::{Failure, duration, print};
use crate::client::{Client, ClientError, lacks};
use crate::runtime::Env;
use crate::runtime::limits::BRIDGE_PAUSE_MAX;
use crate::wire::ImportView;

#[derive(Debug, Args)]
pub(super) struct BridgeArgs {
    #[command(flatten)]
    asked: Asked,
    /// Base URLs of nodes of the other cluster.
    #[arg(long, value_name = "URL", value_delimiter = ',', required = true)]
    to: Vec<String>,
    /// The namespace's name there, if it is another one.
    #[arg(long, value_name = "NAME")]
    to_ns: Option<String>,
    /// How often it looks for what is new.
    #[arg(long, default_value = "1s", value_parser = duration)]
    interval: Duration,
    /// Brings both to the same once, and ends.
    #[arg(long)]
    once: bool,
    /// The namespace.
    ns: String,
}

/// One cluster.
#[derive(Debug)]
struct Side {
    ns: String,
    /// One for each node that was named: what a vector says must hold where the copy goes.
    clients: Vec<Client>,
    /// Which one is asked.
    at: usize,
}

/// What went wrong, and on which side.
#[derive(Debug)]
enum Broken {
    Here(ClientError),
    There(ClientError),
}

#[derive(Debug)]
struct Bridge {
    here: Side,
    there: Side,
    as_json: bool,
    /// What was last said about each direction's waiting writes.
    waiting: [u64; 2],
}

pub(super) async fn run(args: BridgeArgs, env: &Env) -> Result<(), Failure> {
    let reach = &args.asked.reach;
    let side = |ns: &str, endpoints: &[String]| -> Result<Side, Failure> {
        let clients = endpoints.iter().map(|endpoint| reach.client_at(env, endpoint));
        Ok(Side { ns: ns.to_owned(), clients: clients.collect::<Result<_, _>>()?, at: 0 })
    };
    let mut bridge = Bridge {
        here: side(&args.ns, &reach.endpoints)?,
        there: side(args.to_ns.as_deref().unwrap_or(&args.ns), &args.to)?,
        as_json: args.asked.json,
        waiting: [0; 2],
    };
    let (mut pause, mut said) = (args.interval, String::new());
    loop {
        match bridge.pass().await {
            Ok(()) if args.once => return Ok(()),
            Ok(()) => {
                if !std::mem::take(&mut said).is_empty() {
                    print::note("both sides answer again");
                }
                pause = args.interval;
            }
            Err(broken) => {
                let text = broken.error().to_string();
                if args.once || broken.is_for_good() {
                    return Err(Failure::failed(text));
                }
                bridge.turn_from(&broken);
                if said != text {
                    print::note(format!("{text}; trying on"));
                    said = text;
                }
                pause = (pause * 2).min(BRIDGE_PAUSE_MAX.max(args.interval));
            }
        }
        tokio::time::sleep(pause).await;
    }
}

impl Broken {
    fn error(&self) -> &ClientError {
        match self {
            Self::Here(error) | Self::There(error) => error,
        }
    }

    /// Whether trying on would change nothing.
    fn is_for_good(&self) -> bool {
        const FOR_GOOD: [&str; 2] = ["copy_mismatch", "mode_unsupported"];
        match self.error() {
            ClientError::Refused { problem, .. } => FOR_GOOD.contains(&problem.code.as_str()),
            _ => false,
        }
    }
}

impl Side {
    fn client(&self) -> &Client {
        // There is at least one, and `at` is below their number.
        self.clients.get(self.at).or_else(|| self.clients.first()).expect("a side has a node")
    }

    async fn vector(&self) -> Result<String, ClientError> {
        Ok(self.client().vector(&self.ns).await?.vector)
    }

    fn name(&self) -> &str {
        self.client().endpoints().first().map_or("", String::as_str)
    }
}

impl Bridge {
    /// Brings each side what it lacks of the other.
    async fn pass(&mut self) -> Result<(), Broken> {
        let ours = self.here.vector().await.map_err(Broken::Here)?;
        let theirs = self.there.vector().await.map_err(Broken::There)?;
        // A vector of a later form is the other node's to read.
        if lacks(&theirs, &ours).unwrap_or(true) {
            let copy = self.here.client().export_copy(&self.here.ns, Some(&theirs));
            let copy = copy.await.map_err(Broken::Here)?.into_stream();
            let came = self.there.client().import_copy(&self.there.ns, copy).await;
            self.tell(0, &came.map_err(Broken::There)?);
        }
        if lacks(&ours, &theirs).unwrap_or(true) {
            let copy = self.there.client().export_copy(&self.there.ns, Some(&ours));
            let copy = copy.await.map_err(Broken::There)?.into_stream();
            let came = self.here.client().import_copy(&self.here.ns, copy).await;
            self.tell(1, &came.map_err(Broken::Here)?);
        }
        Ok(())
    }

    /// The next node of the side that failed.
    fn turn_from(&mut self, broken: &Broken) {
        let side = match broken {
            Broken::Here(_) => &mut self.here,
            Broken::There(_) => &mut self.there,
        };
        side.at = (side.at + 1) % side.clients.len().max(1);
    }

    fn tell(&mut self, way: usize, came: &ImportView) {
        let (from, to) = match way {
            0 => (&self.here, &self.there),
            _ => (&self.there, &self.here),
        };
        let Some(waiting) = self.waiting.get_mut(way) else { return };
        if came.applied == 0 && came.waiting == *waiting {
            return;
        }
        *waiting = came.waiting;
        if self.as_json {
            let (from, to) = (from.name(), to.name());
            print::json(&json!({"from": from, "to": to, "applied": came.applied,
                "known": came.known, "waiting": came.waiting, "by_rows": came.by_rows}));
        } else {
            let rows = if came.by_rows { ", by rows" } else { "" };
            let (from, to) = (from.name(), to.name());
            print::note(format!("{from} -> {to}: {} writes{rows}", came.applied));
        }
    }
}
